"""What becomes of registrations by themselves: undecided ones are refused, and no name stays for ever."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import and_, delete, or_, select, update
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.keys import Keys
from external_accounts.registration_outcome import AlreadyDecided, decide
from external_accounts.registration_steps import ACCEPTED, DONE, REFUSED, UNPROVED, WAITING, WITHDRAWN, Terms
from external_accounts.schema import OutboxMail, Proof, Registration

BATCH = 200


def refuse_undecided(session: Session, keys: Keys, terms: Terms, *, now: datetime) -> int:
    """Refuse requests that nobody decided in time, so that people are not left waiting. Returns how many."""
    overdue = session.scalars(
        select(Registration.id).where(Registration.state == WAITING, Registration.expires_at <= now).limit(BATCH)
    ).all()
    refused = 0
    for registration_id in overdue:
        try:
            decide(
                session,
                keys,
                registration_id,
                accept=False,
                reason="",
                rights_end_at=None,
                terms=terms,
                by=audit.SYSTEM.actor,
                now=now,
                origin=audit.SYSTEM,
            )
        except AlreadyDecided:
            continue
        refused += 1
    return refused


def purge(session: Session, *, keep: timedelta, now: datetime) -> int:
    """Delete unfinished requests once their proof is over, and everything else `keep` after it ended.

    A mail that is just being sent keeps its registration until the next round. Returns how many were deleted.
    """
    living = select(Proof.id).where(Proof.registration_id == Registration.id, Proof.expires_at > now)
    sending = (
        select(OutboxMail.id)
        .join(Proof, Proof.id == OutboxMail.proof_id)
        .where(Proof.registration_id == Registration.id, OutboxMail.state == "pending")
    )
    over = session.scalars(
        select(Registration.id)
        .where(
            or_(
                and_(Registration.state == UNPROVED, Registration.expires_at <= now, ~living.exists()),
                and_(
                    Registration.state.in_((ACCEPTED, DONE, REFUSED, WITHDRAWN)), Registration.expires_at <= now - keep
                ),
            ),
            ~sending.exists(),
        )
        .order_by(Registration.id)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    ).all()
    if over:
        theirs = select(Proof.id).where(Proof.registration_id.in_(over))
        session.execute(update(OutboxMail).where(OutboxMail.proof_id.in_(theirs)).values(proof_id=None, context={}))
        session.execute(delete(Proof).where(Proof.registration_id.in_(over)))
        session.execute(delete(Registration).where(Registration.id.in_(over)))
    return len(over)
