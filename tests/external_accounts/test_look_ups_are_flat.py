"""What is looked up at every sign-in costs a full university what it costs an empty one.

SQLite counts the steps of its machine, so nothing is timed. That it goes through a whole table shows at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, insert, text
from sqlalchemy.orm import Session

from external_accounts import name_index, search_index
from external_accounts.database import Database
from external_accounts.identities import LOCAL, find_local_credential
from external_accounts.import_facts import facts_for
from external_accounts.import_rows import Wish
from external_accounts.institution_schema import NameKey
from external_accounts.linking_schema import SearchWord
from external_accounts.schema import Account, Address, LocalPassword, SignInIdentity
from tests.external_accounts.conftest import NOW
from tests.migrated import migrate

SMALL, LARGE = 50, 5000
STEPS = 10
"""Counted by so many."""


def look_up(identifier: str) -> Callable[[Session], object]:
    return lambda session: find_local_credential(session, identifier)


@pytest.fixture(scope="module")
def universities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Database]]:
    found = {}
    for size in (SMALL, LARGE):
        path: Path = tmp_path_factory.mktemp("flat")
        found[size] = Database(f"sqlite:///{path}/people.db")
        migrate(found[size])
        fill(found[size], size)
    yield found
    for database in found.values():
        database.close()


def fill(database: Database, size: int) -> None:
    people = [(number, f"ext.p{number}", f"p{number}@mail.example") for number in range(1, size + 1)]
    when = {"created_at": NOW, "refreshed_at": NOW}
    with database.begin() as session:
        account = {"profile": "learner", "created_at": NOW, "version": 1}
        names = [
            {"given_name": f"Given{n}", "family_name": f"Family{n}", "external_key": f"k{n}"} for n, _, _ in people
        ]
        rows = [
            account | said | {"id": n, "username": name, "key": name}
            for said, (n, name, _) in zip(names, people, strict=True)
        ]
        session.execute(insert(Account), rows)
        keys = [key for n, _, _ in people for key in name_index.rows(n, f"Given{n}", f"Family{n}")]
        session.execute(insert(NameKey), keys)
        search = [
            row
            for n, name, mail in people
            for row in search_index.rows(
                n, username=name, given_name=f"Given{n}", family_name=f"Family{n}", emails=[mail]
            )
        ]
        session.execute(insert(SearchWord), search)
        identities = [{"account_id": n, "issuer": LOCAL, "subject": name, **when} for n, name, _ in people]
        session.execute(insert(SignInIdentity), identities)
        address = {"role": "contact", "is_primary": True, "created_at": NOW}
        addresses = [address | {"account_id": n, "email": mail, "email_key": mail} for n, _, mail in people]
        session.execute(insert(Address), addresses)
        session.execute(insert(LocalPassword), [{"account_id": n, "hash": "x", "set_at": NOW} for n, _, _ in people])
    with database.engine.begin() as connection:
        connection.execute(text("ANALYZE"))


def steps(database: Database, act: Callable[[Session], object]) -> int:
    """How far SQLite's machine went for `act`, the second time: the first one reads the schema."""
    counted = 0

    def step() -> int:
        nonlocal counted
        counted += 1
        return 0

    def watch(connection: Any, _record: object, _proxy: object) -> None:
        connection.set_progress_handler(step, STEPS)

    for turn in range(2):
        if turn:
            event.listen(database.engine, "checkout", watch)
        with database.begin() as session:
            act(session)
    event.remove(database.engine, "checkout", watch)
    return counted * STEPS


@pytest.mark.parametrize("identifier", ["ext.p7", "p7@mail.example", "ext.nobody", "nobody@mail.example"])
def test_finding_who_signs_in(universities: dict[int, Database], identifier: str) -> None:
    few, many = (steps(universities[size], look_up(identifier)) for size in (SMALL, LARGE))
    assert many < 3 * few + 200, f"{few} steps among {SMALL} accounts, {many} among {LARGE}"


@pytest.mark.parametrize(
    "wish",
    [
        Wish("k7", given_name="Ada", family_name="Unheard"),
        Wish("new", given_name="Given7", family_name="Family7", private_email="p7@mail.example", sponsor="ext.p9"),
        Wish("new", given_name="A", family_name="Family7", username="ext.p8", sponsor="p9@mail.example"),
    ],
)
def test_finding_what_an_import_has_to_know_of_a_line(universities: dict[int, Database], wish: Wish) -> None:
    def look_up(session: Session) -> object:
        return facts_for(session, [wish], alike_lines={})

    few, many = (steps(universities[size], look_up) for size in (SMALL, LARGE))
    assert many < 3 * few + 200, f"{few} steps among {SMALL} accounts, {many} among {LARGE}"


@pytest.mark.parametrize("text", ["family7", "given7 family7", "p7@mail.example", "ext family7", "nobody", "faimly7"])
def test_the_help_desk_s_search(universities: dict[int, Database], text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A word that all have (`ext`) is counted and gone through no further than to its bound."""
    monkeypatch.setattr(search_index, "MOST_LOOKED_AT", 100)

    def look_up(session: Session) -> object:
        beginnings = search_index.terms(session, text)
        return search_index.find(session, beginnings).ids or search_index.nearly(session, beginnings)

    few, many = (steps(universities[size], look_up) for size in (SMALL, LARGE))
    assert many < 3 * few + 6000, f"{few} steps among {SMALL} accounts, {many} among {LARGE}"


def test_a_walk_through_all_accounts_would_be_seen(universities: dict[int, Database]) -> None:
    def walk(session: Session) -> object:
        return session.execute(text("SELECT count(*) FROM accounts WHERE family_name = 'x'")).scalar()

    few, many = (steps(universities[size], walk) for size in (SMALL, LARGE))
    assert many > 3 * few + 200
