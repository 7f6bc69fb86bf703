"""The notice of a sign-in from a browser that is new to the account (PWD-09).

A browser is known by its cookie. Only a sign-in without one asks the database anything more.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import outbox, throttle
from external_accounts.schema import Account, AccountId, Address
from lms_bridge import i18n
from lms_bridge.runtime import Runtime
from lms_bridge.signin.devices import device_in_words


def tell(session: Session, runtime: Runtime, account_id: AccountId, *, user_agent: str, now: datetime) -> None:
    """Queue the notice to every confirmed address. Not at the first sign-in of all: then everything is new.

    To be called before the sign-in itself is noted on the account.
    """
    account = session.get_one(Account, account_id)
    if account.last_sign_in_at is None:
        return
    query = select(Address.email).where(Address.account_id == account_id, Address.confirmed_at.is_not(None))
    emails = session.scalars(query.order_by(Address.id)).all()
    if not emails or not _within_budget(session, account_id, now):
        return
    locale = account.language or i18n.current_locale()
    with i18n.use_locale(locale):
        device = device_in_words(user_agent)
    for email in emails:
        outbox.enqueue(
            session,
            "new_device",
            email,
            locale=locale,
            now=now,
            mail_domain=runtime.settings.public_host,
            account_id=account_id,
            context={"device": device, "moment": i18n.format_deadline(now, runtime.settings.zone, locale)},
        )


def _within_budget(session: Session, account_id: AccountId, now: datetime) -> bool:
    try:
        with session.begin_nested():
            throttle.reserve(session, [throttle.Use(throttle.NEW_DEVICE_NOTICE, str(account_id))], now)
    except throttle.Throttled:
        return False
    return True
