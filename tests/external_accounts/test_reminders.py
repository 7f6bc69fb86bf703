"""What is due and when, and that nobody is reminded twice for one occasion."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from external_accounts import audit, reminders
from external_accounts.addresses import primary_address
from external_accounts.database import Database
from external_accounts.keys import Keys
from external_accounts.reminders import MAIL_PAUSE, MONTH, Due, Periods, due
from external_accounts.schema import Account, OutboxMail
from tests.external_accounts.conftest import NOW
from tests.external_accounts.test_address_changes import confirm

YEAR = MONTH * 12
YEARLY = Periods(check_months=12)
BOTH = Periods(check_months=12, password_months=6)


@pytest.mark.parametrize(
    ("after", "periods", "expected"),
    [
        (YEAR - timedelta(seconds=1), YEARLY, Due(check=False, password=False)),
        (YEAR, YEARLY, Due(check=True, password=False)),
        (YEAR, Periods(check_months=0), Due(check=False, password=False)),
        (MONTH * 6, BOTH, Due(check=False, password=True)),
        (YEAR, BOTH, Due(check=True, password=True)),
    ],
)
def test_what_is_due(after: timedelta, periods: Periods, expected: Due) -> None:
    assert due(NOW, NOW, periods, NOW + after) == expected


def test_an_account_without_a_password_here_is_not_reminded_of_one() -> None:
    assert not due(NOW, None, Periods(check_months=0, password_months=1), NOW + YEAR)


@pytest.fixture
def people(database: Database, keys: Keys, add_person: Callable[..., int]) -> list[int]:
    """Five people with a confirmed address, made a year and a day ago."""
    ids = [add_person(database, f"ext.p{number}") for number in range(5)]
    with database.begin() as session:
        for account_id in ids:
            address = primary_address(session.get_one(Account, account_id))
            assert address is not None
            confirm(session, keys, address)
    return ids


def send(database: Database, after: timedelta, *, limit: int = 100, periods: Periods = YEARLY) -> int:
    with database.begin() as session:
        return reminders.send_due(
            session, periods, default_locale="fr", mail_domain="bridge.example", now=NOW + after, limit=limit
        )


def recipients(database: Database) -> list[str]:
    with database.read() as session:
        return sorted(session.scalars(select(OutboxMail.recipient).where(OutboxMail.template == "check_reminder")))


def test_one_mail_a_year_however_often_it_is_asked_and_by_how_many(database: Database, people: list[int]) -> None:
    with ThreadPoolExecutor(6) as pool:
        counts = list(pool.map(lambda _number: send(database, YEAR), range(6)))
    assert sum(counts) == len(people)
    assert recipients(database) == [f"ext.p{number}@mail.example" for number in range(5)]
    assert send(database, YEAR + MAIL_PAUSE - timedelta(seconds=1)) == 0
    assert send(database, YEAR + MAIL_PAUSE) == len(people)


def test_a_crash_before_the_commit_sends_nothing_and_forgets_nobody_i8(database: Database, people: list[int]) -> None:
    with contextlib.suppress(ZeroDivisionError), database.begin() as session:
        reminders.send_due(
            session, YEARLY, default_locale="fr", mail_domain="bridge.example", now=NOW + YEAR, limit=100
        )
        raise ZeroDivisionError
    assert recipients(database) == []
    assert send(database, YEAR) == len(people)


def test_mails_go_out_in_batches(database: Database, people: list[int]) -> None:
    assert [send(database, YEAR, limit=2) for _ in range(4)] == [2, 2, 1, 0]
    assert len(recipients(database)) == len(people)


@pytest.mark.parametrize(
    "values",
    [
        {"erased_at": NOW},
        {"erasure_due_at": NOW + YEAR * 2},
        {"suspended_at": NOW},
        {"rights_end_at": NOW},
        {"checked_at": NOW + YEAR},
    ],
)
def test_who_is_not_here_or_has_looked_is_not_written_to(
    database: Database, people: list[int], values: dict[str, object]
) -> None:
    with database.begin() as session:
        session.execute(update(Account).where(Account.id == people[0]).values(**values))
    assert send(database, YEAR + timedelta(days=1)) == len(people) - 1


def test_nobody_is_written_to_when_nothing_is_switched_on(database: Database, people: list[int]) -> None:
    assert people
    assert send(database, YEAR * 5, periods=Periods(check_months=0)) == 0


def test_having_looked_is_recorded(database: Database, people: list[int]) -> None:
    with database.begin() as session:
        reminders.checked(session, people[0], now=NOW + YEAR, origin=audit.SYSTEM)
        assert not reminders.of_account(session, people[0], YEARLY, NOW + YEAR)
        assert reminders.of_account(session, people[1], YEARLY, NOW + YEAR).check
