"""A bridge for CAS tests: more services, and either database under it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from external_accounts.database import Database
from lms_bridge import migrations
from tests.bridge_under_test import SERVICES, BridgeUnderTest, Clock, running_bridge
from tests.postgresql_server import PostgresqlServer

ON_BOTH_DATABASES = pytest.mark.parametrize("bridge", ["sqlite", "postgresql"], indirect=True)
"""For the tests whose subject is a row claimed, kept or dropped."""


@pytest.fixture
def services() -> list[dict[str, Any]]:
    """The registered services; modules that need their own override this."""
    return SERVICES


@pytest.fixture(scope="session")
def migrated_database(postgresql: PostgresqlServer) -> str:
    """A PostgreSQL database with all tables and no row, to copy."""
    url = postgresql.create_database()
    database = Database(url)
    migrations.upgrade(database)
    database.close()  # PostgreSQL copies only what nobody is connected to
    return url


@pytest.fixture
def bridge(request: pytest.FixtureRequest, tmp_path: Path, services: list[dict[str, Any]]) -> Iterator[BridgeUnderTest]:
    """A running bridge of its own with an empty database; see `ON_BOTH_DATABASES`."""
    kind = getattr(request, "param", "sqlite")
    if kind == "sqlite":
        with running_bridge(tmp_path, clock=Clock(), services=services) as running:
            yield running
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    url = server.create_database(like=request.getfixturevalue("migrated_database"))
    with running_bridge(tmp_path, clock=Clock(), services=services, database_url=url) as running:
        yield running
    server.drop_database(url)
