"""A migrated database of each supported kind, keys, and a person with an address."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from external_accounts import audit
from external_accounts.accounts import Person
from external_accounts.addresses import parse_address
from external_accounts.database import Database
from external_accounts.identities import create_local_account
from external_accounts.keys import Keys
from lms_bridge import migrations
from tests.migrated import migrate
from tests.postgresql_server import PostgresqlServer

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql: PostgresqlServer) -> str:
    """The URL of an empty, migrated database that others are copied from."""
    url = postgresql.create_database()
    database = Database(url)
    migrations.upgrade(database)
    database.close()
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty, migrated database: SQLite always, PostgreSQL where it is installed."""
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path}/people.db")
        migrate(database)
        yield database
        database.close()
        return
    server, template = request.getfixturevalue("postgresql"), request.getfixturevalue("migrated_postgresql")
    url = server.create_database(like=template)
    database = Database(url)
    yield database
    database.close()
    server.drop_database(url)


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Database]:
    """An empty, migrated SQLite database, for what does not depend on the kind."""
    database = Database(f"sqlite:///{tmp_path}/people.db")
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def keys() -> Keys:
    return Keys([secrets.token_hex(32)])


@pytest.fixture
def add_person() -> Callable[..., int]:
    """Adds a local account with an unconfirmed address to a database; returns its id."""

    def add(database: Database, username: str = "ext.ada", email: str | None = None) -> int:
        with database.begin() as session:
            return create_local_account(
                session,
                username=username,
                profile="learner",
                person=Person("Ada", "Lovelace"),
                email=parse_address(email or f"{username}@mail.example"),
                password_hash="$argon2id$none",
                now=NOW,
                origin=audit.SYSTEM,
            ).id

    return add
