"""A new password in place of the one just shown (PWD-05), and what ends with the old one (I10)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import update
from sqlalchemy.orm import Session

from external_accounts import audit, outbox
from external_accounts.accounts import lock_account
from external_accounts.address_changes import Notices
from external_accounts.proofs import cancel_pending
from external_accounts.schema import AccountId, LocalPassword


class PasswordMoved(Exception):
    """The password that was shown is not the account's any more: another change came first."""


def change_password(
    session: Session,
    account_id: AccountId,
    *,
    shown: str,
    new: str,
    notices: Notices,
    now: datetime,
    origin: audit.Origin,
) -> None:
    """Put the hash `new` in the place of `shown`, end the pending proofs, and tell every confirmed address.

    The caller ends the account's other sessions in the same transaction, after this: a sign-in that is under way with
    the old password holds its row.

    Raises:
        PasswordMoved: see there.
    """
    account = lock_account(session, account_id)
    moved = session.scalar(
        update(LocalPassword)
        .where(LocalPassword.account_id == account_id, LocalPassword.hash == shown)
        .values(hash=new, set_at=now)
        .returning(LocalPassword.account_id)
    )
    if moved is None:
        raise PasswordMoved
    cancel_pending(session, account_id, now)
    audit.record(session, "password.changed", outcome="ok", now=now, origin=origin, account_id=account_id)
    for address in account.addresses:
        if address.confirmed_at is not None:
            outbox.enqueue(
                session,
                "password_changed",
                address.email,
                locale=notices.locale,
                now=now,
                mail_domain=notices.mail_domain,
                account_id=account_id,
            )
