"""What an import has to know of the accounts there are: looked up by index, for some hundred lines at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from external_accounts.addresses import stored_address
from external_accounts.duplicates import STAFF_OFFICE, Traits, person_key, traits
from external_accounts.import_rows import Wish
from external_accounts.imports import Facts, Known, KnownAddress
from external_accounts.name_index import Alike, alike
from external_accounts.schema import Account, AccountId, Address, SignInIdentity

PAGE = 2000
"""Accounts looked through at once for people who are absent from a file."""


def traits_of(wish: Wish) -> Traits:
    """What is compared of a line that would create an account."""
    addresses = [stored_address(one).key for one in (wish.private_email, wish.institutional_email) if one]
    names = (wish.given_name or "", wish.family_name or "", wish.birth_name or "")
    person = traits(*names, addresses=addresses, unit=wish.unit or "")
    return replace(person, person_keys=frozenset({person_key(STAFF_OFFICE, wish.external_key)}))


def facts_for(
    session: Session, wishes: Sequence[Wish], *, alike_lines: Mapping[str, tuple[str, ...]], lock: bool = False
) -> dict[str, Facts]:
    """The facts about each wish, by its key. With `lock` nobody else changes those accounts meanwhile."""
    keys = {wish.external_key for wish in wishes}
    names = {wish.username for wish in wishes if wish.username}
    accounts = _accounts(session, keys, names, lock=lock)
    by_key = {account.external_key: account for account in accounts if account.external_key}
    by_name = {account.username: account for account in accounts}
    sponsors = _sponsors(session, {wish.sponsor for wish in wishes if wish.sponsor})
    new = {wish.external_key: traits_of(wish) for wish in wishes if _is_new(by_key.get(wish.external_key))}
    likely: dict[str, list[Alike]] = alike(session, new) if new else {}
    return {
        wish.external_key: Facts(
            account=by_key.get(wish.external_key),
            namesake=by_name.get(wish.username or ""),
            sponsor_id=sponsors.get(wish.sponsor or ""),
            alike=tuple(likely.get(wish.external_key, ())),
            alike_lines=alike_lines.get(wish.external_key, ()),
        )
        for wish in wishes
    }


def _is_new(account: Known | None) -> bool:
    return account is None or account.erased


def _accounts(session: Session, keys: Collection[str], names: Collection[str], *, lock: bool) -> list[Known]:
    wanted = select(Account).where(or_(Account.external_key.in_(keys), Account.username.in_(names)))
    if lock:
        # Always in the same order, so that two runs cannot wait for each other.
        wanted = wanted.order_by(Account.id).with_for_update()
    rows = session.scalars(wanted.execution_options(populate_existing=True)).all()
    ids = [account.id for account in rows]
    addresses: dict[AccountId, list[KnownAddress]] = defaultdict(list)
    held = select(Address).where(Address.account_id.in_(ids)).order_by(Address.id)
    for one in session.scalars(held.execution_options(populate_existing=True)):
        addresses[one.account_id].append(
            KnownAddress(one.email_key, one.role, one.is_primary, one.confirmed_at is not None)
        )
    issuers: dict[AccountId, set[str]] = defaultdict(set)
    named = {account.id: account.username for account in rows}
    identities = select(SignInIdentity.account_id, SignInIdentity.issuer, SignInIdentity.subject)
    for account_id, issuer, subject in session.execute(identities.where(SignInIdentity.account_id.in_(ids))):
        if subject == named[account_id]:
            issuers[account_id].add(issuer)
    kept_ids = [account.merged_into_id for account in rows if account.merged_into_id is not None]
    kept: dict[AccountId, str] = dict(
        session.execute(select(Account.id, Account.username).where(Account.id.in_(kept_ids))).all() if kept_ids else ()
    )
    return [
        Known(
            id=account.id,
            username=account.username,
            external_key=account.external_key,
            profile=account.profile,
            given_name=account.given_name,
            family_name=account.family_name,
            birth_name=account.birth_name,
            unit=account.unit,
            sponsor_id=account.sponsor_id,
            rights_end_at=account.rights_end_at,
            activated=account.activated_at is not None,
            erased=account.erased_at is not None,
            joined_to=kept.get(account.merged_into_id or 0, ""),
            addresses=tuple(addresses[account.id]),
            issuers=frozenset(issuers[account.id]),
        )
        for account in rows
    ]


def _sponsors(session: Session, texts: set[str]) -> dict[str, AccountId]:
    """Accounts by what a line calls them: key, user name, or an address that they confirmed, in this order."""
    if not texts:
        return {}
    found: dict[str, AccountId] = {}
    by_address: dict[str, set[AccountId]] = defaultdict(set)
    lowered = {text.lower() for text in texts}
    holders = (
        select(Address.email_key, Address.account_id)
        .join(Account, Account.id == Address.account_id)
        .where(Address.email_key.in_(lowered), Address.confirmed_at.is_not(None), Account.erased_at.is_(None))
    )
    for email_key, holder in session.execute(holders):
        by_address[email_key].add(holder)
    living = Account.erased_at.is_(None)
    named = select(Account.username, Account.id).where(Account.username.in_(lowered), living)
    by_name: dict[str, AccountId] = dict(session.execute(named).all())
    keyed = select(Account.external_key, Account.id).where(Account.external_key.in_(texts), living)
    by_key: dict[str | None, AccountId] = dict(session.execute(keyed).all())
    for text in texts:
        shared = by_address[text.lower()]
        only = next(iter(shared)) if len(shared) == 1 else None
        account_id: AccountId | None = by_key.get(text) or by_name.get(text.lower()) or only
        if account_id is not None:
            found[text] = account_id
    return found


def living_from_files(session: Session, profile: str | None) -> int:
    """How many accounts come from files and still have rights; what limits are a percentage of."""
    count = select(func.count()).select_from(Account)
    count = count.where(
        Account.external_key.is_not(None), Account.erased_at.is_(None), Account.merged_into_id.is_(None)
    )
    if profile is not None:
        count = count.where(Account.profile == profile)
    return session.scalar(count) or 0


def absent(session: Session, profile: str, present: Collection[str], now: datetime) -> Iterator[tuple[AccountId, str]]:
    """Accounts of a profile that came from a file, have rights, and are not among `present`; in the order of keys."""
    last: Any = ""
    columns = (Account.id, Account.external_key, Account.rights_end_at)
    while True:
        page = (
            select(*columns)
            .where(Account.external_key > last, Account.profile == profile)
            .where(Account.erased_at.is_(None), Account.merged_into_id.is_(None))
            .order_by(Account.external_key)
            .limit(PAGE)
        )
        rows = session.execute(page).all()
        if not rows:
            return
        last = rows[-1][1]
        for account_id, key, end in rows:
            if key is not None and key not in present and (end is None or end > now):
                yield account_id, key
