"""The panic button: every session, ticket, proxy grant and proof of before a moment ends, and Moodle's sessions too.

The revocation is written down first (`external_accounts.revocations`); the rest is clearing up in short transactions.
Each batch looks for what is still open, so a run that was killed is finished by the next, and a second finds nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from external_accounts import audit, revocations
from external_accounts.audit_schema import Revocation
from external_accounts.revocations import Declared, Scope
from external_accounts.schema import Proof
from lms_bridge.runtime import Runtime
from lms_bridge.schema import ProxyGrant, SsoSession, Ticket
from lms_bridge.signin import sessions
from lms_bridge.sync.mirrors import ask_for_sign_out

BATCH = 200
REASON = "panic button"
SETTLE_SECONDS = 60.0
"""A transaction of ours ends within 10 s; longer can only be somebody's who works by hand."""
LOOK_AGAIN_SECONDS = 0.05

Progress = Callable[[str, int, int], None]


@dataclass(slots=True)
class Counts:
    """What was ended, or would be."""

    sessions: int = 0
    tickets: int = 0
    proxy_grants: int = 0
    proofs: int = 0


class StillOpen(Exception):
    """A transaction of before the revocation did not end in time: what it commits may still have to be ended."""


def _sessions(before: datetime, scope: Scope) -> list[Any]:
    found: list[Any] = [SsoSession.ended_at.is_(None), SsoSession.created_at < before]
    if scope.issuer:
        found.append(SsoSession.issuer == scope.issuer)
    return [*found, *scope.accounts(SsoSession.account_id)]


def _opened(table: type[Ticket | ProxyGrant], scope: Scope) -> list[Any]:
    found = [*scope.accounts(table.account_id)]
    if scope.issuer:
        found.append(table.session_id.in_(select(SsoSession.id).where(SsoSession.issuer == scope.issuer)))
    return found


def _tickets(before: datetime, scope: Scope, now: datetime) -> list[Any]:
    living = (Ticket.expires_at > now, Ticket.claimed_at.is_(None))
    return [*living, Ticket.issued_at < before, *_opened(Ticket, scope)]


def _grants(before: datetime, scope: Scope) -> list[Any]:
    issued = func.coalesce(ProxyGrant.issued_at < before, True)  # those of before this was noted are old
    return [issued, *_opened(ProxyGrant, scope)]


def _proofs(before: datetime, scope: Scope, now: datetime) -> list[Any]:
    """Also what takes a change back: whoever reads the mailboxes could use it."""
    pending = (Proof.claimed_at.is_(None), Proof.cancelled_at.is_(None))
    living = (Proof.expires_at > now) | Proof.accepted_at.is_(None)  # whose mail is late begins its life later
    return [*pending, living, Proof.created_at < before, *scope.proofs()]


def count(session: Session, before: datetime, scope: Scope, now: datetime) -> Counts:
    """What would be ended now."""

    def rows(table: Any, conditions: list[Any]) -> int:
        return session.scalar(select(func.count()).select_from(table).where(*conditions)) or 0

    return Counts(
        sessions=rows(SsoSession, _sessions(before, scope)),
        tickets=rows(Ticket, _tickets(before, scope, now)),
        proxy_grants=rows(ProxyGrant, _grants(before, scope)),
        proofs=rows(Proof, _proofs(before, scope, now)),
    )


def press(
    runtime: Runtime,
    before: datetime,
    scope: Scope,
    *,
    origin: audit.Origin,
    progress: Progress = lambda _work, _done, _total: None,
    settle_seconds: float = SETTLE_SECONDS,
) -> Counts:
    """End it all. Returns what this run ended.

    Raises:
        StillOpen: everything that can be seen was ended; run it again.
    """
    database = runtime.database
    with database.begin() as session:
        declared = revocations.declare(session, before, scope, now=runtime.clock(), origin=origin)
    done = Counts()
    _sweep(runtime, before, scope, done, origin, progress)  # what is there ends at once, whatever is under way
    settled = _wait(runtime, declared, settle_seconds)
    _sweep(runtime, before, scope, done, origin, progress)
    if not settled:
        raise StillOpen
    with database.begin() as session:
        now = runtime.clock()
        session.execute(update(Revocation).where(Revocation.id == declared.id).values(done_at=now, counts=asdict(done)))
        audit.record(session, "panic.done", outcome="ok", now=now, origin=origin, **asdict(done))
    return done


def _wait(runtime: Runtime, declared: Declared, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        with runtime.database.read() as session:
            if revocations.is_settled(session, declared):
                return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(LOOK_AGAIN_SECONDS)


def _sweep(
    runtime: Runtime, before: datetime, scope: Scope, done: Counts, origin: audit.Origin, progress: Progress
) -> None:
    with runtime.database.read() as session:
        there = count(session, before, scope, runtime.clock())
    there.sessions += done.sessions
    there.proofs += done.proofs
    while ended := _end_sessions(runtime, before, scope, origin):
        done.sessions += ended
        progress("sessions", done.sessions, there.sessions)
    with runtime.database.begin() as session:
        now = runtime.clock()
        done.tickets += _deleted(session, Ticket, Ticket.hash, _tickets(before, scope, now))
        done.proxy_grants += _deleted(session, ProxyGrant, ProxyGrant.hash, _grants(before, scope))
    while ended := _cancel_proofs(runtime, before, scope):
        done.proofs += ended
        progress("proofs", done.proofs, there.proofs)


def _end_sessions(runtime: Runtime, before: datetime, scope: Scope, origin: audit.Origin) -> int:
    with runtime.database.begin() as session:
        query = select(SsoSession.id, SsoSession.account_id).where(*_sessions(before, scope)).order_by(SsoSession.id)
        rows = session.execute(query.limit(BATCH)).all()
        sessions.end(session, [row.id for row in rows], reason=REASON, now=runtime.clock(), origin=origin)
        for account_id in sorted({row.account_id for row in rows}):
            ask_for_sign_out(session, account_id)
    return len(rows)


def _deleted(session: Session, table: Any, key: Any, conditions: list[Any]) -> int:
    return len(session.scalars(delete(table).where(*conditions).returning(key)).all())


def _cancel_proofs(runtime: Runtime, before: datetime, scope: Scope) -> int:
    with runtime.database.begin() as session:
        now = runtime.clock()
        query = select(Proof.id).where(*_proofs(before, scope, now)).order_by(Proof.id).limit(BATCH)
        ids = session.scalars(query).all()
        still = update(Proof).where(Proof.id.in_(ids), Proof.claimed_at.is_(None), Proof.created_at < before)
        session.execute(still.values(cancelled_at=now, search_due_at=None))
    return len(ids)
