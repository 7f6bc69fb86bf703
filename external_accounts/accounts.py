"""Accounts: creating them, finding them, suspending them, and the facts the gate decides on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

import external_accounts.name_index
import external_accounts.search_index  # noqa: F401 (whoever changes an account keeps the indexes it is found by)
from external_accounts import audit
from external_accounts.database import Database, Prepared, read_time
from external_accounts.schema import Account, AccountId, Address, Engagement

USERNAME_PATTERN = re.compile(r"[a-z0-9._@-]{1,100}")
"""Invariant I12: the only names that are distinct under every collation a Moodle database may have."""


class UsernameRefused(ValueError):
    """The text cannot be a user name."""


class UsernameTaken(Exception):
    """Another account holds, or once held, this user name."""


def check_username(text: str) -> str:
    """Return `text` if it may be a user name.

    Raises:
        UsernameRefused: anything else. Nothing is folded or transliterated: `rené` is not `rene` (I12).
    """
    if not USERNAME_PATTERN.fullmatch(text):
        raise UsernameRefused(text)
    return text


@dataclass(frozen=True, slots=True)
class Person:
    """What a person is called. Both may be empty when nobody told us."""

    given_name: str = ""
    family_name: str = ""

    @property
    def display_name(self) -> str:
        return f"{self.given_name} {self.family_name}".strip()


def create_account(
    session: Session, *, username: str, profile: str, person: Person, language: str = "", activated: bool, now: datetime
) -> Account:
    """Add an account. It may enter nothing yet: the gate looks at its addresses.

    Raises:
        UsernameRefused: see `check_username`.
        UsernameTaken: the name is or was somebody's.
    """
    check_username(username)
    if session.scalar(select(Account.id).where(Account.username == username)) is not None:
        raise UsernameTaken(username)
    account = Account(
        username=username,
        profile=profile,
        given_name=person.given_name,
        family_name=person.family_name,
        language=language,
        created_at=now,
        activated_at=now if activated else None,
        suspension_reason="",
        version=1,
    )
    session.add(account)
    session.flush()
    return account


def account_by_username(session: Session, username: str) -> Account | None:
    """The living account of that name; of one that was joined to another, the one that was kept."""
    account = session.scalar(select(Account).where(Account.username == username, Account.erased_at.is_(None)))
    while account is not None and account.merged_into_id is not None:
        account = session.scalar(
            select(Account).where(Account.id == account.merged_into_id, Account.erased_at.is_(None))
        )
    return account


def lock_account(session: Session, account_id: AccountId) -> Account:
    """The account, held until the transaction ends: whoever looks first and writes then is alone with it."""
    session.flush()
    return session.get_one(Account, account_id, with_for_update=True, populate_existing=True)


def suspend(
    session: Session, account: Account, *, reason: str, until: datetime | None, now: datetime, origin: audit.Origin
) -> None:
    """Close every gated service to the account, until `until` or until it is lifted."""
    account.suspended_at, account.suspended_until, account.suspension_reason = now, until, reason
    account.note_change()
    audit.record(
        session, "account.suspended", outcome="ok", now=now, origin=origin, account_id=account.id, reason=reason
    )


def readmit(session: Session, account: Account, *, now: datetime, origin: audit.Origin, reason: str = "") -> None:
    """Lift a suspension; `reason` is kept in the audit trail."""
    account.suspended_at = account.suspended_until = None
    account.suspension_reason = ""
    account.note_change()
    audit.record(
        session, "account.readmitted", outcome="ok", now=now, origin=origin, account_id=account.id, reason=reason
    )


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """All the gate may know of an account, read in one statement at the moment of the decision (I1)."""

    account_id: AccountId
    username: str
    profile: str
    given_name: str
    family_name: str
    language: str
    activated_at: datetime | None
    suspended_at: datetime | None
    suspended_until: datetime | None
    rights_end_at: datetime | None
    erased_at: datetime | None
    version: int
    email: str | None
    """The primary address, confirmed or not; None when there is none."""
    email_confirmed_at: datetime | None
    charter_version: str | None
    """The charter version accepted last and not withdrawn."""
    merged_into_id: AccountId | None = None
    """The account that the person kept when they joined this one to it."""

    @property
    def display_name(self) -> str:
        return f"{self.given_name} {self.family_name}".strip() or self.username


_COLUMNS = (
    Account.id,
    Account.username,
    Account.profile,
    Account.given_name,
    Account.family_name,
    Account.language,
    Account.activated_at,
    Account.suspended_at,
    Account.suspended_until,
    Account.rights_end_at,
    Account.erased_at,
    Account.version,
)

FACT_COLUMNS = (
    *_COLUMNS,
    Address.email,
    Address.confirmed_at,
    select(Engagement.version)
    .where(Engagement.account_id == Account.id, Engagement.document == "charter", Engagement.withdrawn_at.is_(None))
    .order_by(Engagement.accepted_at.desc())
    .limit(1)
    .scalar_subquery()
    .label("charter_version"),
    Account.merged_into_id,
)
"""The columns of `AccountFacts`, in order, for statements that read them together with something else."""

_FACTS = Prepared(
    lambda: (
        select(*FACT_COLUMNS)
        .outerjoin(Address, (Address.account_id == Account.id) & Address.is_primary)
        .where(Account.id == bindparam("account_id"))
    )
)
_TIMES = (6, 7, 8, 9, 10, 13)


def facts_from_row(row: tuple[Any, ...]) -> AccountFacts:
    """`AccountFacts` from a driver row that begins with `FACT_COLUMNS`."""
    values = list(row[: len(FACT_COLUMNS)])
    for index in _TIMES:
        values[index] = read_time(values[index])
    return AccountFacts(*values)


def account_facts(database: Database, account_id: AccountId) -> AccountFacts | None:
    """The facts as they are now, or None when there is no such account."""
    with database.driver() as connection:
        rows = _FACTS.run(connection, database, {"account_id": account_id})
    return facts_from_row(rows[0]) if rows else None


def release(facts: AccountFacts, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that may be released about the account to a service, by our own attribute names.

    The issuer's allow-listed attributes come first, so that they can never replace what the bridge itself knows.
    """
    released = dict(attributes)
    released.update(
        {
            "mail": facts.email if facts.email_confirmed_at else None,
            "givenName": facts.given_name,
            "sn": facts.family_name,
            "displayName": f"{facts.given_name} {facts.family_name}".strip(),
            "profile": facts.profile,
        }
    )
    return {name: value for name, value in released.items() if value not in (None, "", [])}
