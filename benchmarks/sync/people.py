"""People by the hundred thousand, the same on both sides, filled in without the rules that would slow it down."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, text

from external_accounts.database import Database
from external_accounts.schema import Account, Address, SignInIdentity
from lms_bridge.schema import Mirror

CANARY = "canary"
FIRST_USER_ID = 5
"""After guest, administrator, the token's user, and the canary."""
CHUNK = 5000


@dataclass(frozen=True, slots=True)
class Figure:
    """The person number `index`, from 0."""

    index: int

    @property
    def account_id(self) -> int:
        return self.index + 1

    @property
    def moodle_id(self) -> int:
        return self.index + FIRST_USER_ID

    @property
    def username(self) -> str:
        return f"p{self.index:06d}"

    @property
    def email(self) -> str:
        return f"{self.username}@univ.example"

    @property
    def given_name(self) -> str:
        return "Camille"

    @property
    def family_name(self) -> str:
        return f"Numéro {self.index}"

    @property
    def key(self) -> str:
        return f"{self.index:020x}"

    @property
    def idnumber(self) -> str:
        return f"lmsb-{self.key}"

    @property
    def written(self) -> dict[str, str]:
        return {
            "username": self.username,
            "firstname": self.given_name,
            "lastname": self.family_name,
            "email": self.email,
            "idnumber": self.idnumber,
        }


def add_accounts(database: Database, count: int, now: datetime) -> None:
    """`count` admitted people who came in through the university's CAS, into an empty database."""
    for figures in _chunks(count):
        accounts = [
            {
                "id": figure.account_id,
                "username": figure.username,
                "key": figure.key,
                "profile": "student",
                "given_name": figure.given_name,
                "family_name": figure.family_name,
                "created_at": now,
                "activated_at": now,
            }
            for figure in figures
        ]
        addresses = [
            {
                "account_id": figure.account_id,
                "email": figure.email,
                "email_key": figure.email,
                "role": "institutional",
                "is_primary": True,
                "created_at": now,
                "confirmed_at": now,
            }
            for figure in figures
        ]
        identities = [
            {
                "account_id": figure.account_id,
                "issuer": "sel",
                "subject": figure.username,
                "attributes": {"supannEtuId": figure.key},
                "created_at": now,
                "refreshed_at": now,
            }
            for figure in figures
        ]
        _insert(database, ((Account, accounts), (Address, addresses), (SignInIdentity, identities)))
    _tidy(database)


def add_mirrors(database: Database, count: int, site: str, now: datetime) -> None:
    """What the bridge knows of these people when Moodle holds all of them as it should."""
    for figures in _chunks(count):
        rows = [
            {
                "account_id": figure.account_id,
                "site": site,
                "moodle_id": figure.moodle_id,
                "state": "in_step",
                "owned": True,
                "written": figure.written,
                "account_version": 1,
                "seen_at": now,
            }
            for figure in figures
        ]
        _insert(database, ((Mirror, rows),))
    _tidy(database)


def _insert(database: Database, tables: Iterable[tuple[Any, list[dict[str, Any]]]]) -> None:
    with database.begin() as session:
        for table, rows in tables:
            session.connection().execute(insert(table), rows)


def _chunks(count: int) -> Iterator[list[Figure]]:
    for start in range(0, count, CHUNK):
        yield [Figure(index) for index in range(start, min(start + CHUNK, count))]


def _tidy(database: Database) -> None:
    """PostgreSQL plans by statistics that its autovacuum would gather within a minute or two of such a change, and its
    sequence has not seen the ids."""
    if not database.is_sqlite:
        with database.begin() as session:
            session.execute(text("SELECT setval(pg_get_serial_sequence('accounts', 'id'), max(id)) FROM accounts"))
            session.execute(text("ANALYZE"))
