"""A connection that PostgreSQL closed while it rested is replaced unseen; one that breaks at work is not kept."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import literal, select, text
from sqlalchemy.exc import SQLAlchemyError

from external_accounts import database as database_module
from external_accounts.database import Database, Prepared
from tests.postgresql_server import PostgresqlServer

_ONE = Prepared(lambda: select(literal(1)))


@pytest.fixture
def databases(postgresql: PostgresqlServer) -> Iterator[tuple[Database, Database]]:
    """The one under test, and another that can end its connections."""
    url = postgresql.create_database()
    pair = Database(url), Database(url)
    yield pair
    for one in pair:
        one.close()


def ask(database: Database) -> int:
    with database.driver() as connection:
        return int(_ONE.run(connection, database, {})[0][0])


def end_connections(other: Database) -> None:
    with other.begin() as session:
        session.execute(
            text(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


def add_then_fail(database: Database) -> None:
    with database.begin() as session:
        session.execute(text("INSERT INTO things VALUES (1)"))
        raise ZeroDivisionError


def test_a_connection_closed_while_it_rested_is_replaced(
    databases: tuple[Database, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "PING_AFTER_SECONDS", 0.0)
    mine, other = databases
    assert ask(mine) == 1
    end_connections(other)
    assert ask(mine) == 1


def test_a_connection_that_broke_is_not_handed_out_again(
    databases: tuple[Database, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "PING_AFTER_SECONDS", 3600.0)
    mine, other = databases
    assert ask(mine) == 1
    end_connections(other)
    with pytest.raises(SQLAlchemyError):
        ask(mine)
    assert ask(mine) == 1


def test_a_transaction_after_a_single_statement_rolls_back_as_a_whole(databases: tuple[Database, Database]) -> None:
    """The connection that ran a statement by itself is the one that the transaction gets."""
    mine, _ = databases
    with mine.begin() as session:
        session.execute(text("CREATE TABLE things (id integer)"))
    assert ask(mine) == 1
    with pytest.raises(ZeroDivisionError):
        add_then_fail(mine)
    with mine.read() as session:
        assert session.scalar(text("SELECT count(*) FROM things")) == 0
