"""Which of two accounts is proposed to be kept: the one with the longer history, as far as it is known here."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts.schema import Account, AccountId
from lms_bridge.schema import Mirror


def longer(session: Session, one: AccountId, two: AccountId) -> AccountId:
    """The one that has a user in a Moodle, where only one has; else the older one."""
    query = select(Mirror.account_id).where(Mirror.account_id.in_((one, two)), Mirror.moodle_id.is_not(None))
    known = set(session.scalars(query))
    return min((one, two), key=lambda each: (each not in known, session.get_one(Account, each).created_at, each))
