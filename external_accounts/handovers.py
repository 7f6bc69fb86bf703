"""News for the university's other systems, written in the transaction of the change it tells about (I8)."""

from __future__ import annotations

import secrets
from datetime import datetime

from sqlalchemy.orm import Session

from external_accounts.database import note_waiting
from external_accounts.institution_schema import Handover
from external_accounts.schema import AccountId

ACTIVATED = "account.activated"
ENDED = "account.ended"
ERASED = "account.erased"
REVIVED = "account.revived"
MAILBOX_CHANGED = "mailbox.changed"
LISTING_CHANGED = "listing.changed"
EVENTS = (ACTIVATED, ENDED, ERASED, REVIVED, MAILBOX_CHANGED, LISTING_CHANGED)


def hand_over(session: Session, event: str, account_id: AccountId, *, now: datetime) -> Handover:
    """Tell the other systems of `event`. What they are told is read when they are."""
    handover = Handover(
        event=event,
        account_id=account_id,
        key=secrets.token_hex(16),
        created_at=now,
    )
    session.add(handover)
    note_waiting(session, Handover)
    return handover
