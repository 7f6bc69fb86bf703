"""Which accounts may be one person's: what is compared of each, and whom it is worth comparing with, by index alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from external_accounts.duplicates import STAFF_OFFICE, Traits, person_key, sought_keys, traits
from external_accounts.institution_schema import NameKey
from external_accounts.linking_schema import PersonKey
from external_accounts.name_index import chunks
from external_accounts.schema import Account, AccountId, Address, SignInIdentity

MOST_NAMESAKES = 20
"""A name that more accounts bear says nothing: by it alone they would be likened in hundreds of pairs."""
MOST_SHARING = 5
"""An address that more accounts have confirmed is a department's, and a number that more have is a filler (`0`)."""


@dataclass(frozen=True, slots=True)
class PersonKeys:
    """Which attributes of a CAS name a person."""

    attributes: tuple[str, ...] = ()
    staff_office: str = ""
    """The one among them whose values are the keys of the staff office's files too."""


@dataclass(frozen=True, slots=True)
class Known:
    """An account as it is compared."""

    traits: Traits
    merged_into_id: AccountId | None


def load(session: Session, ids: Collection[AccountId], keys: PersonKeys) -> dict[AccountId, Known]:
    """What is compared of these accounts; nothing of those that are erased."""
    found: dict[AccountId, Known] = {}
    for some in chunks(sorted(ids)):
        confirmed, claimed = _addresses(session, some)
        numbers = _person_keys(session, some, keys)
        columns = (Account.id, Account.given_name, Account.family_name, Account.birth_name, Account.unit)
        living = select(*columns, Account.external_key, Account.merged_into_id).where(
            Account.id.in_(some), Account.erased_at.is_(None)
        )
        for number, given, family, birth, unit, external_key, merged_into_id in session.execute(living):
            if external_key:
                numbers[number].add(person_key(STAFF_OFFICE, external_key))
            person = replace(
                traits(given, family, birth, unit=unit),
                confirmed=frozenset(confirmed[number]),
                claimed=frozenset(claimed[number]),
                person_keys=frozenset(numbers[number]),
            )
            found[number] = Known(person, merged_into_id)
    return found


def _addresses(
    session: Session, ids: Sequence[AccountId]
) -> tuple[Mapping[AccountId, set[str]], Mapping[AccountId, set[str]]]:
    confirmed: dict[AccountId, set[str]] = defaultdict(set)
    claimed: dict[AccountId, set[str]] = defaultdict(set)
    held = select(Address.account_id, Address.email_key, Address.confirmed_at).where(Address.account_id.in_(ids))
    for account_id, email_key, confirmed_at in session.execute(held):
        (claimed if confirmed_at is None else confirmed)[account_id].add(email_key)
    return confirmed, claimed


def _person_keys(session: Session, ids: Sequence[AccountId], keys: PersonKeys) -> dict[AccountId, set[int]]:
    found: dict[AccountId, set[int]] = defaultdict(set)
    if not keys.attributes:
        return found
    released = select(SignInIdentity.account_id, SignInIdentity.attributes).where(SignInIdentity.account_id.in_(ids))
    for account_id, attributes in session.execute(released):
        for name in keys.attributes:
            kind = STAFF_OFFICE if name == keys.staff_office else name
            found[account_id].update(person_key(kind, value) for value in _values(attributes.get(name)))
    return found


def _values(value: Any) -> Iterator[str]:
    for one in value if isinstance(value, list) else [value]:
        if one is not None and str(one).strip():
            yield str(one)


def candidates(session: Session, people: Mapping[AccountId, Traits]) -> dict[AccountId, set[AccountId]]:
    """For each of `people` the accounts that share a name, a confirmed address or a person key with it.

    All are looked up together. What is shared by too many is left out (see the limits above).
    """
    by_name: dict[int, set[AccountId]] = defaultdict(set)
    by_address: dict[str, set[AccountId]] = defaultdict(set)
    by_key: dict[int, set[AccountId]] = defaultdict(set)
    for account_id, person in people.items():
        for key in sought_keys(person):
            by_name[key].add(account_id)
        for address in person.confirmed:
            by_address[address].add(account_id)
        for key in person.person_keys:
            by_key[key].add(account_id)
    found: dict[AccountId, set[AccountId]] = defaultdict(set)
    _gather(session, found, by_name, NameKey.key, NameKey.account_id, most=MOST_NAMESAKES)
    _gather(session, found, by_address, Address.email_key, Address.account_id, Address.confirmed_at.is_not(None))
    _gather(session, found, by_key, PersonKey.key, PersonKey.account_id)
    for account_id, others in found.items():
        others.discard(account_id)
    return found


def _gather(
    session: Session,
    found: dict[AccountId, set[AccountId]],
    seekers: Mapping[Any, set[AccountId]],
    key: Any,
    holder: Any,
    *conditions: Any,
    most: int = MOST_SHARING,
) -> None:
    for keys in chunks(sorted(seekers)):
        count = func.count().over(partition_by=key).label("holders")
        held = select(key.label("key"), holder.label("holder"), count).where(key.in_(keys), *conditions).subquery()
        for value, account_id in session.execute(select(held.c.key, held.c.holder).where(held.c.holders <= most)):
            for seeker in seekers[value]:
                found[seeker].add(account_id)
