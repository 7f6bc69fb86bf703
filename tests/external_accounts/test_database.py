"""The database: what its errors may say, and what it refuses to store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest
from sqlalchemy.exc import IntegrityError, StatementError

from external_accounts.database import Database
from external_accounts.schema import Account, LocalPassword
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
