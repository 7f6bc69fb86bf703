"""Verifying the audit trail in the database: one walk over one snapshot, in batches, whatever its length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from external_accounts.audit_chain import NOTICE, Finding, Link, Walk, announced_by
from external_accounts.audit_schema import AuditCheckpoint
from external_accounts.audit_sealing import BATCH, CHECKPOINT_EVENTS, CONTENT, is_genuine
from external_accounts.database import Database
from external_accounts.keys import Keys, UnknownKey
from external_accounts.schema import AuditEvent

ROWS = 2000
FINDINGS = 100
"""How many are kept to be shown; all are counted."""

Progress = Callable[[int, int], None]
"""Called with how many events are verified, of how many."""


@dataclass(slots=True)
class Report:
    """What a verification found."""

    events: int = 0
    pseudonymous: int = 0
    waiting: int = 0
    """Events that are not in the chain yet: nothing is proved about them."""
    checkpoints: int = 0
    """Genuine ones that fit."""
    unchecked: int = 0
    """Those signed with a key that is not configured any more, or when no key was at hand."""
    position: int = 0
    hash: str = ""
    """The chain's end."""
    found: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        return self.found == 0

    def add(self, finding: Finding) -> None:
        self.found += 1
        if len(self.findings) < FINDINGS:
            self.findings.append(finding)


def verify(database: Database, keys: Keys, *, progress: Progress = lambda _done, _all: None) -> Report:
    """Walk along the whole chain and its checkpoints."""
    report, walk = Report(), Walk()
    with database.read() as session:
        if not database.is_sqlite:  # SQLite's read transactions are snapshots anyway
            session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        total = session.scalar(select(func.max(AuditEvent.position))) or 0
        checkpoints = _Checkpoints(session, keys, report)
        for link in links(session):
            for finding in walk.take(link):
                report.add(finding)
            checkpoints.pass_by(link)
            if walk.seen % ROWS == 0:
                progress(walk.seen, total)
        later = [
            announced_by(details)
            for details in session.scalars(
                select(AuditEvent.details).where(AuditEvent.position.is_(None), AuditEvent.event == NOTICE)
            )
        ]
        for finding in walk.settle(sum(later)):
            report.add(finding)
        checkpoints.end(walk.position)
        report.waiting = session.scalar(select(func.count()).where(AuditEvent.position.is_(None))) or 0
    report.events, report.pseudonymous = walk.seen, walk.pseudonymous
    report.position, report.hash = walk.position, walk.previous or ""
    progress(walk.seen, total)
    return report


_LINK_COLUMNS = (
    AuditEvent.position,
    *CONTENT,
    AuditEvent.salt,
    AuditEvent.commitment,
    AuditEvent.hash,
)


def links(
    session: Session, *, after: int = 0, through: int | None = None, account_id: int | None = None
) -> Iterator[Link]:
    """The sealed events in the order of the chain: after a position, through another, of one account."""
    query = select(*_LINK_COLUMNS).order_by(AuditEvent.position).limit(ROWS)
    if through is not None:
        query = query.where(AuditEvent.position <= through)
    if account_id is not None:
        query = query.where(AuditEvent.account_id == account_id)
    # A position below 1 is none of ours, and is shown all the same.
    batch = session.execute(
        query.where(AuditEvent.position > after if after else AuditEvent.position.is_not(None))
    ).all()
    while batch:
        yield from (Link(*row) for row in batch)
        batch = session.execute(query.where(AuditEvent.position > batch[-1].position)).all()


def checkpoints_after(session: Session, position: int, row_id: int = 0) -> list[AuditCheckpoint]:
    """The next checkpoints, in the order of their positions."""
    query = select(AuditCheckpoint).order_by(AuditCheckpoint.position, AuditCheckpoint.id).limit(ROWS)
    beyond = (AuditCheckpoint.position > position) | (
        (AuditCheckpoint.position == position) & (AuditCheckpoint.id > row_id)
    )
    return list(session.scalars(query.where(beyond)))


class _Checkpoints:
    """The checkpoints beside the walk: each must name the hash of the event at its position."""

    def __init__(self, session: Session, keys: Keys, report: Report) -> None:
        self._session, self._keys, self._report = session, keys, report
        self._ahead = checkpoints_after(session, -1)
        self._signed = 0
        """The last position that a genuine checkpoint vouches for."""

    def pass_by(self, link: Link) -> None:
        while self._ahead and self._ahead[0].position <= link.position:
            checkpoint = self._next()
            if checkpoint.position == link.position:
                self._judge(checkpoint, link.hash)
            else:
                self._report.add(_odd(checkpoint, "the event it vouches for is gone"))

    def end(self, last: int) -> None:
        while self._ahead:
            checkpoint = self._next()
            self._report.add(
                Finding("cut", last + 1, f"the trail ends at {last}, a checkpoint vouches for {checkpoint.position}")
            )
        # Each round of sealing signs when so many are unsigned: more can only mean that checkpoints are gone.
        if last and (not self._signed or last - self._signed >= CHECKPOINT_EVENTS + BATCH):
            self._report.add(Finding("checkpoint", last, f"nothing is signed after position {self._signed}"))

    def _next(self) -> AuditCheckpoint:
        checkpoint = self._ahead.pop(0)
        if not self._ahead:
            self._ahead = checkpoints_after(self._session, checkpoint.position, checkpoint.id)
        return checkpoint

    def _judge(self, checkpoint: AuditCheckpoint, found: str) -> None:
        try:
            genuine = is_genuine(self._keys, checkpoint)
        except UnknownKey:
            self._report.unchecked += 1
            return
        if not genuine:
            self._report.add(_odd(checkpoint, "its signature is not the server's"))
        elif checkpoint.hash != found:
            self._report.add(_odd(checkpoint, "the trail up to there is not the one that was signed"))
        else:
            self._report.checkpoints += 1
            self._signed = checkpoint.position


def _odd(checkpoint: AuditCheckpoint, why: str) -> Finding:
    return Finding("checkpoint", checkpoint.position, f"checkpoint {checkpoint.id}: {why}")
