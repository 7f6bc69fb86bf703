# ruff: noqa: S608 (statements are put together from what this file says)
"""The audit trail's chain: sealed late or early, on every database, and no change goes unseen."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from external_accounts import audit
from external_accounts.audit import Origin
from external_accounts.audit_sealing import pseudonymise_account, pseudonymise_before, seal
from external_accounts.audit_verification import Report, verify
from external_accounts.database import Database
from external_accounts.keys import Keys
from lms_bridge import migrations
from lms_bridge.migrations import audit_triggers
from tests.external_accounts.conftest import NOW
from tests.migrated import migrate
from tests.postgresql_server import PostgresqlServer


def append(database: Database, count: int = 1, *, account_id: int = 7, at: Any = NOW) -> None:
    with database.begin() as session:
        for number in range(count):
            origin = Origin(network="192.0.2.7", actor="cli:ada")
            audit.record(session, "test.é", outcome="ok", now=at, origin=origin, account_id=account_id, number=number)


def seal_all(database: Database, keys: Keys, now: Any = NOW) -> int:
    with database.begin() as session:
        return seal(session, keys, now=now).events


def kinds(report: Report) -> set[str]:
    return {finding.kind for finding in report.findings}


def by_hand(database: Database, *statements: str) -> None:
    """As somebody who may do everything to the database, and knows it: without the triggers."""
    with database.begin() as session:
        if database.is_sqlite:
            for table, verbs in (
                ("audit_events", ("insert", "update", "delete")),
                ("audit_checkpoints", ("update", "delete")),
            ):
                for verb in verbs:
                    session.execute(text(f"DROP TRIGGER IF EXISTS {table}_{verb}"))
        else:
            session.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in statements:
            session.execute(text(statement))


def test_what_is_sealed_is_whole_and_sealing_again_does_nothing(database: Database, keys: Keys) -> None:
    append(database, 5)
    assert (seal_all(database, keys), seal_all(database, keys)) == (5, 0)
    report = verify(database, keys)
    assert (report.found, report.events, report.checkpoints, report.waiting) == (0, 5, 1, 0)


def test_an_empty_trail_is_whole(database: Database, keys: Keys) -> None:
    assert seal_all(database, keys) == 0
    assert verify(database, keys).whole


def test_what_waits_for_its_seal_is_said(database: Database, keys: Keys) -> None:
    append(database, 2)
    seal_all(database, keys)
    append(database, 3)
    report = verify(database, keys)
    assert (report.whole, report.events, report.waiting) == (True, 2, 3)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_events SET outcome = 'refused' WHERE id = 2",
        "UPDATE audit_events SET actor = 'nobody' WHERE id = 2",
        "UPDATE audit_events SET account_id = NULL WHERE id = 2",
        "UPDATE audit_events SET position = NULL WHERE id = 2",
        "UPDATE audit_events SET position = 9, hash = '', outcome = 'x' WHERE id = 4",
        "UPDATE audit_events SET salt = NULL WHERE id = 2",
        "DELETE FROM audit_events WHERE id = 2",
        "DELETE FROM audit_events WHERE id = 4",
        "DELETE FROM audit_checkpoints",
        "UPDATE audit_checkpoints SET position = 1",
        (
            "INSERT INTO audit_events (at, event, outcome, actor, network, details, position) "
            "VALUES ('2026-01-01 00:00:00.000000', 'x', 'ok', '', '', '{}', 4)"
        ),
    ],
)
def test_the_database_itself_refuses_every_change(database: Database, keys: Keys, statement: str) -> None:
    append(database, 3)
    seal_all(database, keys)
    append(database)
    with pytest.raises(DBAPIError, match=audit_triggers.REFUSED), database.begin() as session:
        session.execute(text(statement))
    assert verify(database, keys).whole


def test_postgresql_refuses_to_truncate(postgresql: PostgresqlServer) -> None:
    database = Database(postgresql.create_database())
    migrations.upgrade(database)
    for table in ("audit_events", "audit_checkpoints"):
        with pytest.raises(DBAPIError, match=audit_triggers.REFUSED), database.begin() as session:
            session.execute(text(f"TRUNCATE {table}"))
    database.close()


def test_after_some_months_nothing_says_who_it_was_and_the_chain_holds(database: Database, keys: Keys) -> None:
    append(database, 3, at=NOW - timedelta(days=400))
    append(database, 2)
    seal_all(database, keys)
    with database.begin() as session:
        assert pseudonymise_before(session, NOW - timedelta(days=365), now=NOW) == 3
    with database.begin() as session:
        assert pseudonymise_before(session, NOW - timedelta(days=365), now=NOW) == 0
    with database.read() as session:
        rows = session.execute(text("SELECT account_id, actor, network, salt FROM audit_events WHERE id <= 3")).all()
    assert set(rows) == {(None, "", "", None)}
    assert verify(database, keys).whole, "the notice need not be sealed to count"
    seal_all(database, keys)
    report = verify(database, keys)
    assert (report.found, report.pseudonymous, report.events) == (0, 3, 6)


def test_an_erased_account_leaves_no_trace_once_its_events_are_sealed(database: Database, keys: Keys) -> None:
    append(database, 2, account_id=7)
    append(database, 1, account_id=8)
    seal_all(database, keys)
    append(database, 1, account_id=7)
    with database.begin() as session:
        assert pseudonymise_account(session, 7, now=NOW) is False
    seal_all(database, keys)
    with database.begin() as session:
        assert pseudonymise_account(session, 7, now=NOW) is True
    with database.read() as session:
        left = session.execute(text("SELECT account_id FROM audit_events WHERE account_id IS NOT NULL")).scalars().all()
    assert left == [8]
    seal_all(database, keys)
    assert verify(database, keys).whole


def test_an_event_that_loses_its_person_without_a_notice_is_found(database: Database, keys: Keys) -> None:
    append(database, 3)
    seal_all(database, keys)
    with database.begin() as session:  # the triggers let it pass
        session.execute(
            text(
                "UPDATE audit_events SET salt = NULL, account_id = NULL, actor = '', network = '', details = '{}' "
                "WHERE id = 2"
            )
        )
    assert kinds(verify(database, keys)) == {"pseudonymised"}


def test_a_tail_that_is_cut_off_is_found(database: Database, keys: Keys) -> None:
    append(database, 5)
    seal_all(database, keys)
    by_hand(database, "DELETE FROM audit_events WHERE position > 3")
    report = verify(database, keys)
    assert (report.findings[0].kind, report.findings[0].position) == ("cut", 4)


def test_a_chain_made_anew_after_a_change_is_found_by_its_checkpoint(database: Database, keys: Keys) -> None:
    append(database, 3)
    seal_all(database, keys)
    by_hand(
        database,
        "UPDATE audit_events SET outcome = 'ok, really', position = NULL, hash = NULL, commitment = NULL, salt = NULL",
    )
    with database.begin() as session:
        seal(session, Keys(["x" * 32]), now=NOW)
    report = verify(database, keys)
    assert "checkpoint" in kinds(report)


def test_a_checkpoint_by_another_key_vouches_for_nothing(database: Database, keys: Keys) -> None:
    append(database, 3)
    seal_all(database, Keys(["a stranger's key, thirty-two characters"]))
    report = verify(database, keys)
    assert (report.unchecked, kinds(report)) == (1, {"checkpoint"})


def test_a_new_key_signs_the_head_at_once(database: Database) -> None:
    old, new = "o" * 32, "n" * 32
    append(database, 3)
    seal_all(database, Keys([old]))
    seal_all(database, Keys([new, old]))
    report = verify(database, Keys([new]))
    assert (report.found, report.checkpoints, report.unchecked) == (0, 1, 1)


def test_a_transaction_that_commits_late_is_sealed_late_and_never_skipped(
    postgresql: PostgresqlServer, migrated_postgresql: str, keys: Keys
) -> None:
    """PostgreSQL: the lower id is invisible while the higher one is sealed."""
    database = Database(postgresql.create_database(like=migrated_postgresql))
    appended, may_commit = threading.Event(), threading.Event()

    def slow() -> None:
        with database.begin() as session:
            audit.record(session, "late", outcome="ok", now=NOW, origin=audit.SYSTEM)
            appended.set()
            may_commit.wait(30)

    thread = threading.Thread(target=slow)
    thread.start()
    assert appended.wait(30)
    append(database)
    assert seal_all(database, keys) == 1
    may_commit.set()
    thread.join(30)
    assert seal_all(database, keys) == 1
    with database.read() as session:
        order = session.execute(text("SELECT id, event FROM audit_events ORDER BY position")).all()
    assert order == [(2, "test.é"), (1, "late")]
    report = verify(database, keys)
    assert (report.found, report.events, report.waiting) == (0, 2, 0)
    database.close()


def test_many_who_append_and_several_who_seal_leave_one_whole_chain(database: Database, keys: Keys) -> None:
    writers, rounds = 6, 15
    ended = threading.Event()
    failures: list[BaseException] = []

    def guarded(work: Any) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 (shown by the test)
            failures.append(error)

    def write() -> None:
        for _ in range(rounds):
            append(database, 2)

    def sealing() -> None:
        while not ended.is_set():
            with database.begin() as session:
                seal(session, keys, now=NOW, limit=7)

    writing = [threading.Thread(target=guarded, args=(write,)) for _ in range(writers)]
    sealers = [threading.Thread(target=guarded, args=(sealing,)) for _ in range(2)]
    for thread in [*writing, *sealers]:
        thread.start()
    for thread in writing:
        thread.join()
    ended.set()
    for thread in sealers:
        thread.join()
    while seal_all(database, keys):
        pass
    assert not failures
    report = verify(database, keys)
    assert (report.found, report.events, report.waiting) == (0, writers * rounds * 2, 0)


CHANGES = {
    "at": "at = '2020-01-01 00:00:00.000000'",
    "event": "event = 'another'",
    "outcome": "outcome = 'another'",
    "account_id": "account_id = 4711",
    "actor": "actor = 'another'",
    "network": "network = '198.51.100.1'",
    "details": "details = '{\"number\": 99}'",
    "salt": "salt = '00000000000000000000000000000000'",
    "salt gone": "salt = NULL",
    "commitment": "commitment = 'aa'",
    "hash": "hash = 'not even hexadecimal'",
    "id": "id = id + 1000",
    "position": "position = position + 1000",
    "out of the chain": "position = NULL",
}


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Database, Keys]:
    database, keys = Database(f"sqlite:///{tmp_path_factory.mktemp('chain')}/a.db"), Keys(["k" * 32])
    migrate(database)
    append(database, 12)
    seal_all(database, keys)
    by_hand(database)
    return database, keys


@given(row=st.integers(1, 12), change=st.sampled_from([*CHANGES, "delete", "swap", "copy"]), other=st.integers(1, 11))
def test_any_single_mutation_is_found(sealed: tuple[Database, Keys], row: int, change: str, other: int) -> None:
    database, keys = sealed
    partner = (row - 1 + other) % 12 + 1
    columns = "id, at, event, outcome, account_id, actor, network, details, salt, commitment, hash"
    statements = {
        "delete": [f"DELETE FROM audit_events WHERE id = {row}"],
        "swap": [
            f"UPDATE audit_events SET position = -1 WHERE id = {row}",
            f"UPDATE audit_events SET position = {row} WHERE id = {partner}",
            f"UPDATE audit_events SET position = {partner} WHERE id = {row}",
        ],
        "copy": [
            (
                f"INSERT INTO audit_events ({columns}, position) "
                f"SELECT id + 500, {columns[4:]}, 13 FROM audit_events WHERE id = {row}"
            )
        ],
    }.get(change) or [f"UPDATE audit_events SET {CHANGES[change]} WHERE id = {row}"]
    with database.begin() as session:
        kept = session.execute(text(f"SELECT {columns}, position FROM audit_events")).all()
    try:
        with database.begin() as session:
            for statement in statements:
                session.execute(text(statement))
        assert not verify(database, keys).whole, (row, change)
    finally:
        names = [f":p{number}" for number in range(12)]
        with database.begin() as session:
            session.execute(text("DELETE FROM audit_events"))
            for values in kept:
                session.execute(
                    text(f"INSERT INTO audit_events ({columns}, position) VALUES ({', '.join(names)})"),
                    {f"p{number}": value for number, value in enumerate(values)},
                )
    assert verify(database, keys).whole
