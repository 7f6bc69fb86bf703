"""Sealing the audit trail: what was appended is put into the chain, and the chain's head is signed.

Events are appended by any number of transactions side by side, each in its own change's (I8), and none waits for
another: an event that hashed its predecessor at that moment would make the whole product queue behind one row. One
sealer at a time takes what has no position yet, in the order of the ids, and gives it the next positions. "No position
yet" is a state of the row itself: PostgreSQL commits ids out of order, and a row that commits late is found late, never
passed over.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select, text, update
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.audit_chain import GENESIS, NOTICE, Link, commit, hash_of
from external_accounts.audit_schema import AuditCheckpoint
from external_accounts.keys import Keys
from external_accounts.schema import AccountId, AuditEvent

BATCH = 500
CHECKPOINT_EVENTS = 1000
CHECKPOINT_PAUSE = timedelta(seconds=60)
_LOCK = 0x6C6D_7363  # any constant number: names the sealer's lock in PostgreSQL
_PURPOSE = "audit checkpoint"
CONTENT = (
    AuditEvent.id,
    AuditEvent.at,
    AuditEvent.event,
    AuditEvent.outcome,
    AuditEvent.account_id,
    AuditEvent.actor,
    AuditEvent.network,
    AuditEvent.details,
)
"""What a link holds of its event, in its order."""
JOB = audit.Origin(actor="job:pseudonymise_events")


@dataclass(frozen=True, slots=True)
class Sealed:
    """What one round did."""

    events: int
    checkpoint: AuditCheckpoint | None
    """The one that was written, if it was time."""


def seal(session: Session, keys: Keys, *, now: datetime, limit: int = BATCH) -> Sealed:
    """Put up to `limit` events into the chain, oldest first, and sign its head when it is time."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    position, previous = _head(session)
    waiting = select(*CONTENT).where(AuditEvent.position.is_(None)).order_by(AuditEvent.id).limit(limit)
    written: list[dict[str, Any]] = []
    for row in session.execute(waiting):
        position += 1
        salt = secrets.token_hex(16)
        commitment = commit(salt, row.account_id, row.actor, row.network, row.details)
        link = Link(
            position=position,
            id=row.id,
            at=row.at,
            event=row.event,
            outcome=row.outcome,
            account_id=row.account_id,
            actor=row.actor,
            network=row.network,
            details=row.details,
            salt=salt,
            commitment=commitment,
            hash="",
        )
        previous = hash_of(previous, link)
        written.append({"row": row.id, "position": position, "salt": salt, "commitment": commitment, "hash": previous})
    if written:
        session.connection().execute(_SEAL, written)
    return Sealed(len(written), _checkpoint(session, keys, position, previous, now) if position else None)


_TABLE: Any = AuditEvent.__table__
_SEAL = (
    update(_TABLE)
    .where(_TABLE.c.id == bindparam("row"))
    .values({name: bindparam(name) for name in ("position", "salt", "commitment", "hash")})
)


def _head(session: Session) -> tuple[int, str]:
    last = session.execute(
        select(AuditEvent.position, AuditEvent.hash)
        .where(AuditEvent.position.is_not(None))
        .order_by(AuditEvent.position.desc())
        .limit(1)
    ).first()
    return (last.position or 0, last.hash or "") if last else (0, GENESIS)


def _checkpoint(session: Session, keys: Keys, position: int, head: str, now: datetime) -> AuditCheckpoint | None:
    last = session.scalar(select(AuditCheckpoint).order_by(AuditCheckpoint.id.desc()).limit(1))
    if last is not None and last.key_id == keys.current_id:
        new = position - last.position
        if not new or (new < CHECKPOINT_EVENTS and now - last.at < CHECKPOINT_PAUSE):
            return None
    checkpoint = AuditCheckpoint(position=position, hash=head, at=now, key_id=keys.current_id, signature="")
    checkpoint.signature = signature_of(keys, checkpoint)
    session.add(checkpoint)
    return checkpoint


def signature_of(keys: Keys, checkpoint: AuditCheckpoint) -> str:
    """
    Raises:
        UnknownKey: the key it names is not among the configured ones.
    """
    text_of = f"{checkpoint.position}:{checkpoint.hash}"
    return keys.derive(_PURPOSE, text_of.encode(), key_id=checkpoint.key_id).hex()


def is_genuine(keys: Keys, checkpoint: AuditCheckpoint) -> bool:
    """Whether the server's key signed it.

    Raises:
        UnknownKey: the key it names is not among the configured ones.
    """
    return hmac.compare_digest(signature_of(keys, checkpoint), checkpoint.signature)


_FORGOTTEN: dict[str, Any] = {"account_id": None, "actor": "", "network": "", "details": {}, "salt": None}


def pseudonymise_before(session: Session, moment: datetime, *, now: datetime, limit: int = BATCH) -> int:
    """Drop the personal part of sealed events from before `moment`; says so in the trail. Returns how many."""
    return _pseudonymise(session, (AuditEvent.at < moment, AuditEvent.salt.is_not(None)), now, limit)


def pseudonymise_account(session: Session, account_id: AccountId, *, now: datetime) -> bool:
    """Drop it from everything about an account. False: some events are not sealed yet and keep theirs until then."""
    theirs = (AuditEvent.account_id == account_id, AuditEvent.salt.is_not(None))
    while _pseudonymise(session, theirs, now, BATCH):
        pass
    return session.scalar(select(AuditEvent.id).where(AuditEvent.account_id == account_id).limit(1)) is None


def _pseudonymise(session: Session, which: Sequence[Any], now: datetime, limit: int) -> int:
    ids = session.scalars(
        select(AuditEvent.id).where(*which, AuditEvent.event != NOTICE).order_by(AuditEvent.at).limit(limit)
    ).all()
    if ids:
        session.execute(
            update(AuditEvent).where(AuditEvent.id.in_(ids)).values(_FORGOTTEN),
            execution_options={"synchronize_session": False},
        )
        audit.record(session, NOTICE, outcome="ok", now=now, origin=JOB, events=len(ids))
    return len(ids)
