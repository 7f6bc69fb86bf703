"""Engagements: dated, versioned acceptance of documents, and consents."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.accounts import lock_account
from external_accounts.handovers import LISTING_CHANGED, hand_over
from external_accounts.schema import Account, AccountId, Engagement

CHARTER = "charter"
"""Terms of use: without them there is no account to use, so they are not withdrawn but ended with the account."""

LISTING = "listing"
"""To stand in the university's public directory. Every change is handed to the systems that show it."""
LISTING_VERSION = "1"
"""Of the question. Whoever asks something else asks under another version."""


class CannotBeWithdrawn(ValueError):
    """Not a consent, or none that is given."""


def may_withdraw(engagement: Engagement) -> bool:
    return engagement.document != CHARTER and engagement.withdrawn_at is None


def withdraw(
    session: Session, account_id: AccountId, engagement_id: int, *, now: datetime, origin: audit.Origin
) -> None:
    """Take a consent back, as easily as it was given.

    Raises:
        CannotBeWithdrawn: see there.
    """
    lock_account(session, account_id)
    engagement = session.get(Engagement, engagement_id)
    if engagement is None or engagement.account_id != account_id or not may_withdraw(engagement):
        raise CannotBeWithdrawn
    _withdraw(session, engagement, now=now, origin=origin)


def withdraw_all(
    session: Session, account_id: AccountId, document: str, *, now: datetime, origin: audit.Origin
) -> None:
    """Take every consent to `document` back, whatever its version. Where none is given, nothing changes."""
    lock_account(session, account_id)
    given = select(Engagement).where(
        Engagement.account_id == account_id, Engagement.document == document, Engagement.withdrawn_at.is_(None)
    )
    for engagement in session.scalars(given).all():
        _withdraw(session, engagement, now=now, origin=origin)


def _withdraw(session: Session, engagement: Engagement, *, now: datetime, origin: audit.Origin) -> None:
    engagement.withdrawn_at = now
    session.get_one(Account, engagement.account_id).note_change()
    _tell_others(session, engagement.account_id, engagement.document, now)
    audit.record(
        session,
        "engagement.withdrawn",
        outcome="ok",
        now=now,
        origin=origin,
        account_id=engagement.account_id,
        document=engagement.document,
        version=engagement.version,
    )


def accept(
    session: Session,
    account_id: AccountId,
    document: str,
    version: str,
    *,
    now: datetime,
    origin: audit.Origin,
    accepted_at: datetime | None = None,
) -> None:
    """Record the acceptance of one version. Accepting again changes nothing, unless it was withdrawn.

    `accepted_at` is when the person accepted it, where that was before there was an account.
    """
    account = lock_account(session, account_id)
    known = session.scalar(
        select(Engagement).where(
            Engagement.account_id == account_id, Engagement.document == document, Engagement.version == version
        )
    )
    if known is not None and known.withdrawn_at is None:
        return
    if known is None:
        session.add(
            Engagement(account_id=account_id, document=document, version=version, accepted_at=accepted_at or now)
        )
    else:
        known.accepted_at, known.withdrawn_at = accepted_at or now, None
    account.note_change()
    _tell_others(session, account_id, document, now)
    audit.record(
        session,
        "engagement.accepted",
        outcome="ok",
        now=now,
        origin=origin,
        account_id=account_id,
        document=document,
        version=version,
    )


def _tell_others(session: Session, account_id: AccountId, document: str, now: datetime) -> None:
    if document == LISTING:
        hand_over(session, LISTING_CHANGED, account_id, now=now)
