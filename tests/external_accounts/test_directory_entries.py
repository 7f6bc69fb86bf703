"""Entries reach their directory whatever happens on the way, and one that cannot be written holds up nobody."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from external_accounts import directory_entries
from external_accounts.accounts import Person, create_account
from external_accounts.database import Database
from external_accounts.directory import DirectoryError, DirectoryUnavailable, Entry, EntryMissing
from external_accounts.directory.embedded import EmbeddedDirectory
from external_accounts.directory_entries import LEASE, NOT_CONFIGURED, Behind, pause_after
from external_accounts.institution_schema import DirectoryWrite
from external_accounts.passwords import PasswordHashing
from external_accounts.schema import Account
from tests.external_accounts.conftest import NOW


class Killed(BaseException):
    """The process ends here: nothing catches this."""


class Watched(EmbeddedDirectory):
    """Counts what is saved; fails for the names in `errors`, for all under `*`."""

    def __init__(self, database: Database, hashing: PasswordHashing) -> None:
        super().__init__("people", database, hashing)
        self.errors: dict[str, BaseException] = {}
        self.asked: list[str] = []

    def save(self, entry: Entry) -> None:
        self.asked.append(entry.username)
        error = self.errors.get(entry.username) or self.errors.get("*")
        if error is not None:
            raise error
        super().save(entry)


@dataclass
class Office:
    database: Database
    directory: Watched
    now: datetime = field(default=NOW)

    def add(self, username: str, directory: str = "people") -> int:
        with self.database.begin() as session:
            account = create_account(
                session, username=username, profile="vacataire", person=Person("N", username), activated=False, now=NOW
            )
            account.directory = directory
            return account.id

    def run(self, limit: int = 50) -> int:
        return directory_entries.write_due(
            self.database, {"people": self.directory}, clock=lambda: self.now, limit=limit
        )

    def behind(self) -> list[Behind]:
        with self.database.read() as session:
            return directory_entries.behind(session)


@pytest.fixture
def office(database: Database) -> Iterator[Office]:
    hashing = PasswordHashing(time_cost=1, memory_kib=64)
    yield Office(database, Watched(database, hashing))
    hashing.close()


def test_an_account_gets_its_entry_once(office: Office) -> None:
    office.add("ada")
    office.add("bob", directory="")
    assert (office.run(), office.run()) == (1, 0)
    assert office.directory.asked == ["ada"]
    assert office.directory.find("ada") == Entry("ada", "N", "ada")
    assert office.behind() == []


def test_a_changed_account_is_written_again(office: Office) -> None:
    account_id = office.add("ada")
    office.run()
    with office.database.begin() as session:
        account = session.get_one(Account, account_id)
        account.family_name = "Lovelace"
        account.note_change()
    assert office.run() == 1
    assert office.directory.find("ada") == Entry("ada", "N", "Lovelace")


def test_an_erased_account_is_not_written(office: Office) -> None:
    account_id = office.add("ada")
    with office.database.begin() as session:
        session.get_one(Account, account_id).erased_at = NOW
    assert office.run() == 0


def test_one_that_fails_waits_longer_each_time_and_holds_up_nobody(office: Office) -> None:
    office.directory.errors = {"ada": EntryMissing("none is made from here")}
    office.add("ada")
    office.add("bob")
    assert office.run() == 1
    assert office.behind() == [Behind("people", 1, 1, "EntryMissing: none is made from here")]
    assert office.run() == 0
    assert office.directory.asked == ["ada", "bob"]
    office.now += pause_after(1)
    office.run()
    office.now += pause_after(1)
    office.run()
    assert office.directory.asked == ["ada", "bob", "ada"]
    office.directory.errors = {}
    office.now += pause_after(2)
    assert office.run() == 1
    assert office.behind() == []


def test_pauses_grow_and_end() -> None:
    pauses = [pause_after(attempts) for attempts in range(1, 30)]
    assert pauses[:4] == [timedelta(minutes=minutes) for minutes in (1, 2, 4, 8)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == timedelta(hours=6)


def test_a_silent_directory_is_asked_once_a_round(office: Office) -> None:
    for number in range(5):
        office.add(f"p{number}")
    office.directory.errors = {"*": DirectoryUnavailable("no route")}
    assert office.run() == 0
    assert office.directory.asked == ["p0"]
    assert office.behind() == [Behind("people", 5, 1, "DirectoryUnavailable: no route")]
    office.directory.errors = {}
    assert office.run() == 4
    office.now += pause_after(1)
    assert office.run() == 1


def test_a_directory_nobody_configured_is_said(office: Office) -> None:
    office.add("ada", directory="gone")
    assert office.run() == 0
    assert office.behind() == [Behind("gone", 1, 1, NOT_CONFIGURED)]


@pytest.mark.parametrize("error", [Killed(), ZeroDivisionError()])
def test_a_worker_that_is_gone_leaves_its_batch_to_the_next_one_i8(office: Office, error: BaseException) -> None:
    office.add("ada")
    office.add("bob")
    office.directory.errors = {"bob": error}
    with pytest.raises(type(error)):
        office.run()
    office.directory.errors = {}
    assert office.run() == 0, "the lease holds"
    office.now += LEASE
    assert office.run() == 2
    assert office.behind() == []


def test_many_workers_write_every_entry(office: Office) -> None:
    names = [f"p{number}" for number in range(40)]
    for name in names:
        office.add(name)
    with ThreadPoolExecutor(4) as pool:
        for _round in range(6):
            list(pool.map(lambda _n: office.run(limit=5), range(4)))
    assert sorted(set(office.directory.asked)) == sorted(names)
    assert office.behind() == []


def test_a_change_while_it_is_written_is_written_after(office: Office) -> None:
    account_id = office.add("ada")

    class Changing(Watched):
        def save(self, entry: Entry) -> None:
            super().save(entry)
            with office.database.begin() as session:
                account = session.get_one(Account, account_id)
                if account.family_name == "ada":
                    account.family_name = "Lovelace"
                    account.note_change()

    office.directory = Changing(office.database, office.directory._hashing)
    assert (office.run(), office.run(), office.run()) == (1, 1, 0)
    assert office.directory.find("ada") == Entry("ada", "N", "Lovelace")


def test_an_account_erased_while_it_is_written_leaves_no_row(office: Office) -> None:
    account_id = office.add("ada")

    class Erasing(Watched):
        def save(self, entry: Entry) -> None:
            super().save(entry)
            with office.database.begin() as session:
                session.delete(session.get_one(DirectoryWrite, account_id))

    office.directory = Erasing(office.database, office.directory._hashing)
    office.run()
    with office.database.read() as session:
        assert session.scalars(select(DirectoryWrite)).all() == []


def test_a_long_error_is_cut(office: Office) -> None:
    office.directory.errors = {"*": DirectoryError("x" * 5000)}
    office.add("ada")
    office.run()
    assert len(office.behind()[0].last_error) == 200
