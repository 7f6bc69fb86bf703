"""The database's history: from nothing to what the models say, once, whoever else is doing the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, select, text
from sqlalchemy.exc import IntegrityError

import external_accounts.audit_schema
import external_accounts.institution_schema  # noqa: F401
import lms_bridge.schema  # noqa: F401
from external_accounts.accounts import Person, create_account
from external_accounts.database import Base, Database
from external_accounts.linking_schema import SearchWord
from lms_bridge import migrations
from lms_bridge.schema import Mirror, SiteState
from tests.bridge_under_test import settings_values

UPGRADE = "from lms_bridge.cli import main; main()"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database with nothing in it."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new.db"
    empty: str = request.getfixturevalue("postgresql").create_database()
    return empty


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url)
    yield database
    database.close()


def is_current(database: Database) -> bool:
    """Whether the tables are in the form of the newest migration."""
    newest = ScriptDirectory(str(Path(migrations.__file__).parent)).get_current_head()
    with database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() == newest


def test_an_upgrade_from_nothing_is_what_the_models_say(database: Database) -> None:
    assert not is_current(database)
    migrations.upgrade(database)
    assert is_current(database)
    with database.engine.connect() as connection:
        # An identity column is plain on SQLite and looks like a difference of defaults there.
        options = {"compare_type": True, "compare_server_default": not database.is_sqlite}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata) == []


def test_the_accounts_there_were_can_be_searched_after_the_upgrade(database: Database) -> None:
    """Filled by pages, so there are more accounts than a page has; what is found is what would be written today."""
    command.upgrade(migrations._config(database), "0006")
    names = "username, key, profile, given_name, family_name, birth_name, unit, language, suspension_reason"
    account = f"INSERT INTO accounts ({names}, directory, version, created_at, erased_at) VALUES "  # noqa: S608
    row = "('{0}', '{0}', 'learner', 'Zoé', 'D''Œuf{0}', '', 'Lettres', '', '', '', 1, '2026-01-01 00:00:00', {1})"
    with database.engine.begin() as connection:
        values = [row.format(f"p{n}", "'2026-02-01 00:00:00'" if n == 7 else "NULL") for n in range(1, 1003)]
        connection.exec_driver_sql(account + ", ".join(values))
        of = {"number": connection.scalar(text("SELECT id FROM accounts WHERE username = 'p1002'"))}
        connection.execute(
            text(
                "INSERT INTO addresses (account_id, email, email_key, role, is_primary, created_at, confirmed_by, "
                "lost_reason) VALUES (:number, 'Q@x.example', 'q@x.example', 'contact', true, '2026-01-01', '', '')"
            ),
            of,
        )
        connection.execute(
            text(
                "INSERT INTO identities (account_id, issuer, subject, attributes, created_at, refreshed_at) "
                "VALUES (:number, 'sel', 'zdoeuf', '{}', '2026-01-01', '2026-01-01')"
            ),
            of,
        )
    migrations.upgrade(database)
    expected = {"p1002", "zoe", "doeufp1002", "oeufp1002", "lettres", "q", "x.example", "zdoeuf"}
    with database.read() as session:
        words = select(SearchWord.word).where(SearchWord.account_id == of["number"])
        assert set(session.scalars(words)) == expected
        assert len(set(session.scalars(select(SearchWord.account_id)))) == 1001, "all but the erased one"


def test_a_new_account_has_a_mirror_and_a_changed_one_is_due(database: Database) -> None:
    """The triggers stand after the last migration, whichever of them made the table of accounts anew."""
    migrations.upgrade(database)
    with database.begin() as session:
        session.add(SiteState(site="moodle"))
        session.flush()
        account = create_account(
            session, username="ada", profile="staff", person=Person(), activated=True, now=datetime.now(UTC)
        )
        mirror = session.scalars(select(Mirror).where(Mirror.account_id == account.id)).one()
        mirror.due = False
        session.flush()
        account.note_change()
        session.flush()
        session.refresh(mirror)
        assert mirror.due


def test_a_second_upgrade_does_nothing(database: Database) -> None:
    migrations.upgrade(database)
    before = set(inspect(database.engine).get_table_names())
    migrations.upgrade(database)
    assert set(inspect(database.engine).get_table_names()) == before


def test_a_process_that_migrates_and_then_serves_minds_foreign_keys(tmp_path: Path) -> None:
    """A migration of an SQLite file does not mind them, on a connection that nobody gets afterwards."""
    served = Database(f"sqlite:///{tmp_path}/new.db")
    migrations.upgrade(served)
    with served.begin() as session:
        assert session.scalar(text("PRAGMA foreign_keys")) == 1
        session.add(Mirror(account_id=404, site="updago"))
        with pytest.raises(IntegrityError):
            session.flush()
        session.rollback()
    served.close()


def test_three_processes_that_start_at_once_upgrade_once(url: str, database: Database, tmp_path: Path) -> None:
    values = settings_values(tmp_path)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LMS_BRIDGE_")} | {
        "LMS_BRIDGE_PUBLIC_URL": "http://127.0.0.1:1",
        "LMS_BRIDGE_SECRET_KEYS": f'["{values["secret_keys"][0]}"]',
        "LMS_BRIDGE_DATABASE_URL": url,
        "LMS_BRIDGE_INSTITUTION__HELP_EMAIL": "aide@univ.example",
        "LMS_BRIDGE_MAIL__HOST": "127.0.0.1",
        "LMS_BRIDGE_MAIL__SENDER": "noreply@univ.example",
    }
    running = [
        subprocess.Popen(
            [sys.executable, "-c", UPGRADE, "db", "upgrade"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    outcomes = [process.communicate(timeout=90) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], outcomes
    assert is_current(database)
