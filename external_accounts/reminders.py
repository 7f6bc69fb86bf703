"""Looking through one's contact details once a year, and renewing the password where the university asks for it.

A reminder asks, it forces nothing (PWD-03). One mail a year at most, whatever it is about; the pages say it as long as
it is due.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from external_accounts import audit, outbox
from external_accounts.accounts import lock_account
from external_accounts.identities import LOCAL
from external_accounts.schema import Account, AccountId, Address, LocalPassword, SignInIdentity

MAIL_PAUSE = timedelta(days=365)
MONTH = timedelta(days=30.5)


@dataclass(frozen=True, slots=True)
class Periods:
    """After how many months something is asked for. 0: never."""

    check_months: int = 12
    password_months: int = 0


@dataclass(frozen=True, slots=True)
class Due:
    """What a person is to be reminded of."""

    check: bool
    password: bool

    def __bool__(self) -> bool:
        return self.check or self.password


_KEPT_HERE = or_(
    Account.identities.any(SignInIdentity.issuer == LOCAL), Account.addresses.any(Address.role == "recovery")
)
"""Whether contact details are kept here: of others the university knows all there is."""


def due(looked_at: datetime, password_set_at: datetime | None, periods: Periods, now: datetime) -> Due:
    """What is due. `looked_at` is when the person last said that the details are right, or the account was made."""
    return Due(
        check=bool(periods.check_months) and now - looked_at >= MONTH * periods.check_months,
        password=bool(periods.password_months)
        and password_set_at is not None
        and now - password_set_at >= MONTH * periods.password_months,
    )


def of_account(session: Session, account_id: AccountId, periods: Periods, now: datetime) -> Due:
    """What this account's owner is to be reminded of now."""
    row = session.execute(
        select(Account.created_at, Account.checked_at, LocalPassword.set_at, _KEPT_HERE.label("kept_here"))
        .outerjoin(LocalPassword, LocalPassword.account_id == Account.id)
        .where(Account.id == account_id)
    ).one()
    if not row.kept_here:
        return Due(check=False, password=False)
    return due(row.checked_at or row.created_at, row.set_at, periods, now)


def checked(session: Session, account_id: AccountId, *, now: datetime, origin: audit.Origin) -> None:
    """The person looked through their contact details: they are right."""
    lock_account(session, account_id).checked_at = now
    audit.record(session, "account.checked", outcome="ok", now=now, origin=origin, account_id=account_id)


def send_due(
    session: Session, periods: Periods, *, default_locale: str, mail_domain: str, now: datetime, limit: int
) -> int:
    """Queue the mails that are due, for `limit` accounts at most; returns for how many.

    The mail and the note that it was sent are one transaction (I8), on rows nobody else holds: never twice.
    """
    if not periods.check_months and not periods.password_months:
        return 0
    accounts = session.execute(_people(periods, now).limit(limit).with_for_update(of=Account, skip_locked=True)).all()
    for account, set_at, email in accounts:
        found = due(account.checked_at or account.created_at, set_at, periods, now)
        account.reminded_at = now
        outbox.enqueue(
            session,
            "check_reminder",
            email,
            locale=account.language or default_locale,
            now=now,
            mail_domain=mail_domain,
            account_id=account.id,
            context={"check": found.check, "password": found.password},
        )
        audit.record(
            session,
            "account.reminded",
            outcome="ok",
            now=now,
            origin=audit.SYSTEM,
            account_id=account.id,
            check=found.check,
            password=found.password,
        )
    return len(accounts)


def _people(periods: Periods, now: datetime) -> Select[Account, datetime, str]:
    """Whoever can be written to, may be here, keeps contact details here, and is due."""
    looked_at = func.coalesce(Account.checked_at, Account.created_at)
    asked: list[ColumnElement[bool]] = []
    if periods.check_months:
        asked.append(looked_at <= now - MONTH * periods.check_months)
    if periods.password_months:
        asked.append(LocalPassword.set_at <= now - MONTH * periods.password_months)
    return (
        select(Account, LocalPassword.set_at, Address.email)
        .join(Address, and_(Address.account_id == Account.id, Address.is_primary, Address.confirmed_at.is_not(None)))
        .outerjoin(LocalPassword, LocalPassword.account_id == Account.id)
        .where(
            or_(*asked),
            or_(Account.reminded_at.is_(None), Account.reminded_at <= now - MAIL_PAUSE),
            Account.erased_at.is_(None),
            Account.erasure_due_at.is_(None),
            Account.suspended_at.is_(None),
            or_(Account.rights_end_at.is_(None), Account.rights_end_at > now),
            _KEPT_HERE,
        )
        .order_by(Account.id)
    )
