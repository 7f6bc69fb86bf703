"""The end of an account's rights: moved to another day, or taken away, and what follows from that at once.

Whoever moves an end does it here (an extension that was granted, the staff office's file, an operator), so that an
account that comes back within its retention is the same account, warned and closed anew when the new end comes.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.accounts import lock_account
from external_accounts.handovers import REVIVED, hand_over
from external_accounts.institution_schema import LifecycleNotice
from external_accounts.schema import AccountId


class AccountErased(Exception):
    """Nothing is left of it but its name, which nobody gets again. Who comes back gets another account."""


def move_end(
    session: Session, account_id: AccountId, end: datetime | None, *, now: datetime, origin: audit.Origin
) -> bool:
    """Let the account's rights end at `end`; None: they do not end by themselves. False when they did so already.

    An account whose rights had ended is revived: everything that was closed to it opens again, in Moodle too.

    Raises:
        AccountErased: it is too late.
    """
    account = lock_account(session, account_id)
    if account.erased_at is not None:
        raise AccountErased
    before = account.rights_end_at
    if before == end:
        return False
    account.rights_end_at = end
    account.note_change()
    session.execute(delete(LifecycleNotice).where(LifecycleNotice.account_id == account_id))
    revived = before is not None and before <= now and (end is None or end > now)
    if revived:
        hand_over(session, REVIVED, account_id, now=now)
    audit.record(
        session,
        "rights.moved",
        outcome="revived" if revived else "ok",
        now=now,
        origin=origin,
        account_id=account_id,
        before=before.isoformat() if before else None,
        end=end.isoformat() if end else None,
    )
    return True
