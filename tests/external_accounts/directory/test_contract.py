"""What every directory does, whatever stands behind it: the one kept here, and a real slapd."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from external_accounts.database import Database
from external_accounts.directory import Directory, Entry, EntryMissing
from external_accounts.directory.embedded import EmbeddedDirectory
from external_accounts.passwords import PasswordHashing
from tests.directory_server import DirectoryServer
from tests.postgresql_server import PostgresqlServer

ADA = Entry("ada", "Ada", "Lovelace", "ada@univ.example")
FIRST, SECOND = "une vieille horloge bleue", "sept violons dans la brume"


@pytest.fixture(params=["sqlite", "postgresql", "ldap"])
def directory(request: pytest.FixtureRequest) -> Iterator[Directory]:
    if request.param == "ldap":
        yield request.getfixturevalue("open_directory")()
        return
    if request.param == "sqlite":
        database: Database = request.getfixturevalue("embedded")
    else:
        server: PostgresqlServer = request.getfixturevalue("postgresql")
        database = Database(server.create_database(like=request.getfixturevalue("migrated_postgresql")))
    hashing = PasswordHashing(time_cost=1, memory_kib=64)
    yield EmbeddedDirectory("people", database, hashing)
    hashing.close()
    database.close()


def test_an_entry_is_found_as_it_was_saved(directory: Directory) -> None:
    assert directory.find("ada") is None
    directory.save(ADA)
    assert directory.find("ada") == ADA


def test_saving_again_brings_names_and_address_up_to_date_and_touches_no_password(directory: Directory) -> None:
    directory.save(ADA)
    directory.set_password("ada", FIRST)
    directory.save(Entry("ada", "Augusta", "King", "augusta@univ.example"))
    assert directory.find("ada") == Entry("ada", "Augusta", "King", "augusta@univ.example", has_password=True)
    assert directory.verify("ada", FIRST)


def test_saving_the_same_twice_changes_nothing(directory: Directory) -> None:
    directory.save(ADA)
    directory.save(ADA)
    assert directory.find("ada") == ADA


def test_a_password_is_set_verified_and_replaced(directory: Directory) -> None:
    directory.save(ADA)
    assert not directory.verify("ada", FIRST)
    directory.set_password("ada", FIRST)
    assert directory.verify("ada", FIRST)
    directory.set_password("ada", SECOND)
    assert directory.verify("ada", SECOND)
    assert not directory.verify("ada", FIRST)


@pytest.mark.parametrize("password", ["", " ", FIRST.upper(), FIRST + "\0", "\ud800", "*", FIRST[:-1]])
def test_anything_else_is_not_the_password(directory: Directory, password: str) -> None:
    directory.save(ADA)
    directory.set_password("ada", FIRST)
    assert not directory.verify("ada", password)


def test_no_password_is_nobodys_password(directory: Directory) -> None:
    """RFC 4513, 5.1.2: a server lets a name without a password in as nobody, and calls that a success."""
    directory.save(ADA)
    assert not directory.verify("ada", "")


@pytest.mark.parametrize("name", ["nobody", "ADA", "ad*", "ada)(uid=*", "ada\\2a", "", "ad\0a", "éda", "ada,ou=people"])
def test_another_name_is_nobody(directory: Directory, name: str) -> None:
    directory.save(ADA)
    directory.set_password("ada", FIRST)
    assert directory.find(name) is None
    assert not directory.verify(name, FIRST)
    with pytest.raises(EntryMissing):
        directory.set_password(name, SECOND)
    with pytest.raises(EntryMissing):
        directory.write_choices(name, {"forward_to": "a@mail.example"})
    assert directory.verify("ada", FIRST)


def test_choices_are_handed_over_and_replaced(directory: Directory) -> None:
    directory.save(ADA)
    directory.write_choices("ada", {"forward_to": "ada@mail.example", "listed": "yes"})
    directory.write_choices("ada", {"forward_to": "", "listed": "no"})
    assert directory.find("ada") == ADA


def test_accents_go_there_and_back(directory: Directory) -> None:
    entry = Entry("zoe", "Zoé", "Ñúñez – D'Aubigné", "zoe@univ.example")
    directory.save(entry)
    directory.set_password("zoe", "été à la plage, œuf et 🎻")
    assert directory.find("zoe") == Entry("zoe", entry.given_name, entry.family_name, entry.email, has_password=True)
    assert directory.verify("zoe", "été à la plage, œuf et 🎻")


def test_many_at_once_each_get_their_own(directory: Directory) -> None:
    names = [f"person{number}" for number in range(12)]

    def make(name: str) -> bool:
        directory.save(Entry(name, "N", name))
        directory.set_password(name, f"the password of {name}")
        return directory.verify(name, f"the password of {name}")

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(make, names))


def test_one_entry_saved_by_many_at_once_is_one(directory: Directory) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _n: directory.save(ADA), range(24)))
    assert directory.find("ada") == ADA


def test_the_servers_own_view_of_a_new_entry(slapd: DirectoryServer, open_directory: object) -> None:
    directory = open_directory()  # type: ignore[operator]
    directory.save(ADA)
    directory.write_choices("ada", {"forward_to": "ada@mail.example", "listed": "no", "antispam": "high"})
    assert slapd.entry("ada") == {
        "objectClass": ["inetOrgPerson", "supannPerson"],
        "uid": ["ada"],
        "givenName": ["Ada"],
        "sn": ["Lovelace"],
        "cn": ["Ada Lovelace"],
        "displayName": ["Ada Lovelace"],
        "mail": ["ada@univ.example"],
        "supannEtablissement": ["{UAI}0000000X"],
        "supannListeRouge": ["TRUE"],
        "mailForwardingAddress": ["ada@mail.example"],
    }
