"""The index by which people are found who may be the same: kept with the names, in the flush that changes them.

A row for each key of `duplicates.stored_keys`. Whatever changes a name of an `Account` object changes its rows; what
inserts accounts by the thousand writes them itself (`rows`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Select, delete, event, func, insert, inspect, select
from sqlalchemy.orm import Mapper, Session

from external_accounts.duplicates import WORTH_SHOWING, Likeness, Traits, likeness, sought_keys, stored_keys, traits
from external_accounts.institution_schema import NameKey
from external_accounts.linking_schema import PersonKey
from external_accounts.schema import Account, AccountId, Address

NAMES = ("given_name", "family_name", "birth_name")
MOST_ALIKE = 50
"""Looked at for one key: of a name that many have, any of them stops a row."""
MOST_SHOWN = 5
_AT_ONCE = 900
"""Values in one `IN (…)`."""


def rows(account_id: AccountId, given_name: str, family_name: str, birth_name: str = "") -> list[dict[str, int]]:
    """The rows of an account with these names, for `insert(NameKey)`."""
    return [
        {"key": key, "account_id": account_id}
        for key in sorted(stored_keys(traits(given_name, family_name, birth_name)))
    ]


@event.listens_for(Account, "after_insert")
def _added(_mapper: Mapper[Account], connection: Connection, account: Account) -> None:
    _write(connection, account)


@event.listens_for(Account, "after_update")
def _changed(_mapper: Mapper[Account], connection: Connection, account: Account) -> None:
    if any(inspect(account).attrs[name].history.has_changes() for name in NAMES):
        connection.execute(delete(NameKey).where(NameKey.account_id == account.id))
        _write(connection, account)


def _write(connection: Connection, account: Account) -> None:
    if written := rows(account.id, account.given_name or "", account.family_name or "", account.birth_name or ""):
        connection.execute(insert(NameKey), written)


@dataclass(frozen=True, slots=True)
class Alike:
    """An account that may be the same person as somebody who is to get one."""

    account_id: AccountId
    username: str
    external_key: str
    display_name: str
    unit: str
    likeness: Likeness


def alike(session: Session, people: Mapping[str, Traits]) -> dict[str, list[Alike]]:
    """For each of `people`, by whatever names them, the accounts that may be theirs, the likeliest first.

    All of `people` are looked up together, by index; nothing here goes through all accounts.
    """
    found = _candidates(session, people)
    known = _accounts(session, set().union(*found.values()) if found else set())
    return {
        name: sorted(
            (
                Alike(account.id, account.username, account.external_key or "", account.name, account.unit, score)
                for account in (known[one] for one in found.get(name, ()) if one in known)
                if (score := likeness(person, account.traits)).points >= WORTH_SHOWING
            ),
            key=lambda one: (-one.likeness.points, one.username),
        )[:MOST_SHOWN]
        for name, person in people.items()
    }


def _candidates(session: Session, people: Mapping[str, Traits]) -> dict[str, set[AccountId]]:
    found: dict[str, set[AccountId]] = defaultdict(set)
    place = func.row_number().over(partition_by=NameKey.key, order_by=NameKey.account_id).label("place")
    numbered = select(NameKey.key, NameKey.account_id, place)
    by_name = _seekers(people, sought_keys)
    for keys in chunks(sorted(by_name)):
        counted = numbered.where(NameKey.key.in_(keys)).subquery()
        few = select(counted.c.key, counted.c.account_id).where(counted.c.place <= MOST_ALIKE)
        _gather(session, found, by_name, few)
    by_address = _seekers(people, lambda person: person.addresses)
    for addresses in chunks(sorted(by_address)):
        holders = select(Address.email_key, Address.account_id).where(Address.email_key.in_(addresses))
        _gather(session, found, by_address, holders)
    by_number = _seekers(people, lambda person: person.person_keys)
    for numbers in chunks(sorted(by_number)):
        bearers = select(PersonKey.key, PersonKey.account_id).where(PersonKey.key.in_(numbers))
        _gather(session, found, by_number, bearers)
    return found


def _seekers(people: Mapping[str, Traits], values: Callable[[Traits], Iterable[Any]]) -> dict[Any, list[str]]:
    """Who is looked for by each value."""
    by_value: dict[Any, list[str]] = defaultdict(list)
    for name, person in people.items():
        for value in values(person):
            by_value[value].append(name)
    return by_value


def _gather(
    session: Session,
    found: dict[str, set[AccountId]],
    by_value: Mapping[Any, list[str]],
    holders: Select[Any, AccountId],
) -> None:
    for value, account_id in session.execute(holders):
        for name in by_value[value]:
            found[name].add(account_id)


@dataclass(frozen=True, slots=True)
class _Known:
    id: AccountId
    username: str
    external_key: str | None
    name: str
    unit: str
    traits: Traits


def _accounts(session: Session, ids: set[AccountId]) -> dict[AccountId, _Known]:
    addresses: dict[AccountId, list[str]] = defaultdict(list)
    person_keys: dict[AccountId, set[int]] = defaultdict(set)
    columns = (Account.username, Account.external_key, Account.given_name, Account.family_name, Account.birth_name)
    found = {}
    for chunk in chunks(sorted(ids)):
        held = select(Address.account_id, Address.email_key).where(Address.account_id.in_(chunk))
        for account_id, email_key in session.execute(held):
            addresses[account_id].append(email_key)
        borne = select(PersonKey.account_id, PersonKey.key).where(PersonKey.account_id.in_(chunk))
        for account_id, key in session.execute(borne):
            person_keys[account_id].add(key)
        living = select(Account.id, *columns, Account.unit).where(
            Account.id.in_(chunk), Account.erased_at.is_(None), Account.merged_into_id.is_(None)
        )
        for number, username, external_key, given, family, birth, unit in session.execute(living):
            person = traits(given, family, birth, addresses=addresses[number], unit=unit)
            person = replace(person, person_keys=frozenset(person_keys[number]))
            found[number] = _Known(number, username, external_key, f"{given} {family}".strip(), unit, person)
    return found


def chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """`values` in pieces that one `IN (…)` takes."""
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]


def alike_among(people: Mapping[str, Traits]) -> dict[str, list[tuple[str, Likeness]]]:
    """The same among `people` themselves: for each, the others they may be, the likeliest first."""
    by_key: dict[int, list[str]] = defaultdict(list)
    by_address: dict[str, list[str]] = defaultdict(list)
    for name in sorted(people):
        _file(by_key, stored_keys(people[name]), name)
        _file(by_address, people[name].addresses, name)
    found = {}
    for name, person in people.items():
        others = {other for key in sought_keys(person) for other in by_key.get(key, ())}
        others |= {other for address in person.addresses for other in by_address[address]}
        scored = [(other, likeness(person, people[other])) for other in others - {name}]
        showing = [one for one in scored if one[1].points >= WORTH_SHOWING]
        found[name] = sorted(showing, key=lambda one: (-one[1].points, one[0]))[:MOST_SHOWN]
    return found


def _file(index: dict[Any, list[str]], keys: Iterable[Any], name: str) -> None:
    for key in keys:
        # One more than is looked at: a person must not be hidden by finding themselves.
        if len(index[key]) <= MOST_ALIKE:
            index[key].append(name)
