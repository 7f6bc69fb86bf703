"""Moodle's client has no time-out: a validation answers or fails within two seconds, whatever the database does."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import psycopg

from tests.bridge_under_test import APP, running_bridge, ticket_in
from tests.postgresql_server import PostgresqlServer

WITHIN_SECONDS = 4
"""Two, and as much again for a busy test machine. Without a bound it would be ten and more."""


def test_a_locked_sqlite_database_is_an_internal_error_in_time_and_the_ticket_survives(tmp_path: Path) -> None:
    with running_bridge(tmp_path) as bridge:
        bridge.add_account("ext.ada")
        ticket = ticket_in(bridge.browser().sign_in("ext.ada", service=APP))
        blocker = sqlite3.connect(tmp_path / "bridge.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        answer = bridge.validate(ticket)
        took = time.monotonic() - started
        blocker.execute("ROLLBACK")
        blocker.close()
        assert 'code="INTERNAL_ERROR"' in answer.text
        assert took < WITHIN_SECONDS
        assert "<cas:user>ext.ada</cas:user>" in bridge.validate(ticket).text


def test_a_locked_postgresql_row_is_an_internal_error_in_time(tmp_path: Path, postgresql: PostgresqlServer) -> None:
    url = postgresql.create_database()
    with running_bridge(tmp_path, database_url=url) as bridge:
        bridge.add_account("ext.ada")
        ticket = ticket_in(bridge.browser().sign_in("ext.ada", service=APP))
        with psycopg.connect(url.replace("+psycopg", "")) as blocker:
            blocker.execute("LOCK TABLE tickets IN ACCESS EXCLUSIVE MODE")
            started = time.monotonic()
            answer = bridge.validate(ticket)
            took = time.monotonic() - started
            blocker.rollback()
        assert 'code="INTERNAL_ERROR"' in answer.text
        assert took < WITHIN_SECONDS


def test_a_database_that_is_gone_is_an_internal_error_in_time(tmp_path: Path, postgresql: PostgresqlServer) -> None:
    url = postgresql.create_database()
    with running_bridge(tmp_path, database_url=url) as bridge:
        bridge.add_account("ext.ada")
        ticket = ticket_in(bridge.browser().sign_in("ext.ada", service=APP))
        postgresql.drop_database(url)
        started = time.monotonic()
        answer = bridge.validate(ticket)
        assert 'code="INTERNAL_ERROR"' in answer.text
        assert time.monotonic() - started < WITHIN_SECONDS
        page = bridge.browser().get("/signin/local")
        assert page.status_code == 200, "a page that needs no row is still there"
