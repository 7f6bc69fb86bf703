"""What follows when a local account's password is set anew, in the transaction of the caller."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from external_accounts import audit, outbox, recovery, throttle
from external_accounts.proofs import cancel_pending
from external_accounts.schema import Account, LocalPassword
from lms_bridge.i18n import current_locale, format_deadline
from lms_bridge.runtime import Runtime
from lms_bridge.signin import sessions
from lms_bridge.signin.local import every_budget_of


def set_password(
    session: Session,
    runtime: Runtime,
    account: Account,
    password_hash: str,
    *,
    event: str,
    now: datetime,
    origin: audit.Origin,
    keep: int | None = None,
) -> None:
    """Set the password; end the account's sessions but for `keep`, and its pending proofs (I10, TOK-12, LNK-02); clear
    its counters (D39); tell its mailboxes (TOK-10). Confirms nothing (I4).

    The account is held by the caller. `event` is what the audit trail calls it.
    """
    stored = session.get_one(LocalPassword, account.id)
    stored.hash, stored.set_at = password_hash, now
    sessions.end_all_of(session, account.id, reason=event, now=now, origin=origin, keep=keep)
    cancel_pending(session, account.id, now)
    throttle.clear(session, every_budget_of(account))
    audit.record(session, event, outcome="ok", now=now, origin=origin, account_id=account.id)
    locale = account.language or current_locale()
    for address in recovery.mailboxes(account):
        outbox.enqueue(
            session,
            "password_changed",
            address.email,
            locale=locale,
            now=now,
            mail_domain=runtime.settings.public_host,
            account_id=account.id,
            context={"username": account.username, "when": format_deadline(now, runtime.settings.zone, locale)},
        )
