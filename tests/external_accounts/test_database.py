"""The database: what its errors may say, and what it refuses to store."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, StatementError

from external_accounts.database import Database
from external_accounts.schema import Account, LocalPassword
from lms_bridge import migrations
from tests.external_accounts.conftest import NOW


def test_an_error_names_no_value_of_the_row(database: Database, add_person: Callable[..., int]) -> None:
    account_id = add_person(database)
    with pytest.raises(IntegrityError) as error, database.begin() as session:
        session.add(LocalPassword(account_id=account_id, hash="$argon2id$very-secret", set_at=NOW))
    assert "very-secret" not in str(error.value)


def test_a_time_without_a_zone_is_refused(database: Database, add_person: Callable[..., int]) -> None:
    account_id = add_person(database)
    with pytest.raises(StatementError, match="naive"), database.begin() as session:
        session.get_one(Account, account_id).suspended_at = datetime(2026, 1, 1)  # noqa: DTZ001


def test_a_failed_transaction_leaves_nothing_behind_i8(database: Database, add_person: Callable[..., int]) -> None:
    account_id = add_person(database)

    def stop_half_way() -> None:
        with database.begin() as session:
            session.get_one(Account, account_id).given_name = "Half"
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stop_half_way()
    with database.read() as session:
        assert session.get_one(Account, account_id).given_name == "Ada"


def test_whoever_keeps_the_turn_without_writing_holds_nobody_up(tmp_path: Path) -> None:
    """Another process that stands still: SQLite's own lock decides, and it is free."""
    database = Database(f"sqlite:///{tmp_path}/people.db")
    migrations.upgrade(database)
    with open(f"{tmp_path}/people.db-turn", "ab") as other:  # noqa: PTH123
        fcntl.flock(other, fcntl.LOCK_EX)
        for _ in range(2):
            with database.begin() as session:
                session.execute(text("DELETE FROM throttle_buckets"))
        with database.driver_for_writing() as connection:
            connection.cursor().execute("DELETE FROM throttle_buckets")
    database.close()


def test_a_folder_that_takes_no_further_file_is_written_all_the_same(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/people.db")
    migrations.upgrade(database)
    database.close()
    (tmp_path / "people.db-turn").mkdir()  # what cannot be opened for writing
    again = Database(f"sqlite:///{tmp_path}/people.db")
    with again.begin() as session:
        session.execute(text("DELETE FROM throttle_buckets"))
    again.close()
