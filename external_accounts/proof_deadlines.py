"""How long a proof lives: counted from the moment a mail server takes its mail, with a hard cap.

A server that does not want the mail yet (greylisting), or is down, takes nothing from the time people have. So each
time a mail of the proof is offered to a server, its life begins anew, as long as no server has taken one; the mail is
written after that and states the very deadline. The cap keeps a link that nobody could deliver from living for ever.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from external_accounts.accounts import lock_account
from external_accounts.schema import Proof, Registration

CODE_LIFETIME = timedelta(minutes=10)
"""TOK-06 (ASVS 6.5.5)."""
LEAST_GRACE = timedelta(hours=6)
MOST_GRACE = timedelta(hours=24)


def hard_cap(created_at: datetime, lifetime: timedelta) -> datetime:
    """The moment at which a proof is over however late its mail was taken: its lifetime, and as long again, but at
    least 6 and at most 24 hours. 30 minutes become 6 h 30 at most, 24 hours become 48.
    """
    return created_at + lifetime + min(max(lifetime, LEAST_GRACE), MOST_GRACE)


def deadline_if_taken(
    created_at: datetime, lifetime: timedelta, now: datetime, *, calendar_end: datetime | None = None
) -> datetime:
    """The deadline of a proof whose first mail is taken `now`.

    A `calendar_end` (23:59 of a day) stays where it is, unless the mail is taken so late that `lifetime` would not be
    left; a day after it, it is over all the same.
    """
    if calendar_end is not None:
        return max(calendar_end, min(now + lifetime, calendar_end + MOST_GRACE))
    return min(now + lifetime, hard_cap(created_at, lifetime))


def begin_life(session: Session, proof: Proof, now: datetime) -> None:
    """A mail of the proof is about to be offered to a mail server: its time begins now, unless it has begun before.

    Never shortens it: a mail that is out, though the server's answer was lost, has stated the deadline there was.
    """
    if proof.expires_at <= now:
        # Somebody may be asking for a newer one at this moment; everybody holds the subject before the proof.
        hold_subject(session, account_id=proof.account_id, registration_id=proof.registration_id)
        if _replaced(session, proof):
            return  # one at a time (D16)
    session.flush()  # a refresh forgets what was not written
    session.refresh(proof, with_for_update=True)
    if proof.accepted_at is not None or proof.claimed_at is not None or proof.cancelled_at is not None:
        return
    lifetime = timedelta(seconds=proof.lifetime_seconds)
    ends = deadline_if_taken(proof.created_at, lifetime, now, calendar_end=proof.calendar_end)
    proof.expires_at = max(proof.expires_at, ends)
    proof.code_expires_at = max(proof.code_expires_at, min(now + CODE_LIFETIME, proof.expires_at))


def note_accepted(session: Session, proof_id: int, now: datetime) -> None:
    """A mail server has taken a mail of the proof: from now on nothing lengthens its life."""
    session.execute(update(Proof).where(Proof.id == proof_id).values(accepted_at=func.coalesce(Proof.accepted_at, now)))


def is_waiting_for_its_mail(proof: Proof, now: datetime) -> bool:
    """Whether no server has taken a mail of the proof yet, and one that takes it now would give it its whole life."""
    lifetime = timedelta(seconds=proof.lifetime_seconds)
    whole = deadline_if_taken(proof.created_at, lifetime, now, calendar_end=proof.calendar_end)
    return proof.accepted_at is None and now + lifetime <= whole


def hold_subject(session: Session, *, account_id: int | None, registration_id: int | None) -> None:
    """Whoever asks for a proof of somebody or something waits here for whoever does the same."""
    if account_id is not None:
        lock_account(session, account_id)
    if registration_id is not None:
        session.get_one(Registration, registration_id, with_for_update=True)


def _replaced(session: Session, proof: Proof) -> bool:
    newer = select(Proof.id).where(
        Proof.id > proof.id,
        Proof.purpose == proof.purpose,
        Proof.account_id == proof.account_id,
        Proof.address_id == proof.address_id,
        Proof.registration_id == proof.registration_id,
        Proof.sought == proof.sought,
        Proof.email_key == proof.email_key,
    )
    return session.scalar(newer.limit(1)) is not None
