"""`lms-bridge lifecycle …` and `lms-bridge accounts extend`, as an operator uses them."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import func, insert, select

from external_accounts import audit
from external_accounts.accounts import suspend
from external_accounts.database import Database
from external_accounts.institution_schema import Handover, LifecycleNotice
from external_accounts.local_calendar import add_months, end_of_day, local_day
from external_accounts.schema import Account, AuditEvent
from lms_bridge.cli import main
from tests.bridge_under_test import settings_values
from tests.external_accounts.people_with_ends import PARIS
from tests.migrated import migrate
from tests.served_bridge import to_toml

PROFILES = [
    {"name": "vacataire", "label": {"fr": "Vacataire", "en": "Adjunct"}, "retention_months": 6},
    {"name": "staff", "label": {"fr": "Personnel", "en": "Staff"}, "retention_months": 12},
]
Run = Callable[..., Result]
COMMAND = [sys.executable, "-c", "from lms_bridge.cli import main; main()"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    values = settings_values(tmp_path, profiles=PROFILES)
    values["lifecycle"] = {"close": {"percent": 0, "floor": 5}}
    path = tmp_path / "operator.toml"
    path.write_text(to_toml(values), encoding="utf-8")
    return path


@pytest.fixture
def database(config: Path, tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/bridge.db")
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def run(config: Path) -> Run:
    return lambda *words: CliRunner().invoke(main, ["--config", str(config), *map(str, words)])


def add(database: Database, count: int, *, days: float, profile: str = "vacataire") -> None:
    now = datetime.now(UTC)
    with database.begin() as session:
        first = session.scalar(select(func.count()).select_from(Account)) or 0
        session.execute(
            insert(Account),
            [
                {
                    "username": f"person{first + number}",
                    "profile": profile,
                    "created_at": now - timedelta(days=400),
                    "rights_end_at": now + timedelta(days=days),
                }
                for number in range(count)
            ],
        )


def test_plan_shows_what_is_due_and_writes_nothing(run: Run, database: Database, tmp_path: Path) -> None:
    add(database, 3, days=20)
    add(database, 2, days=-1, profile="staff")
    found = run("lifecycle", "plan", "--list", tmp_path / "steps.jsonl")
    assert found.exit_code == 2, found.output
    assert "3  warned, 30 days before the end of rights  (vacataire 3)" in found.output
    assert "2  closed  (staff 2)" in found.output
    steps = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text(encoding="utf-8").splitlines()]
    assert Counter(step["step"] for step in steps) == {"rights_30_days": 3, "closed": 2}
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(AuditEvent)) == 0
        assert session.scalar(select(func.count()).select_from(LifecycleNotice)) == 0


def test_nothing_due_is_exit_code_0(run: Run, database: Database) -> None:
    add(database, 3, days=200)
    assert run("lifecycle", "plan").exit_code == 0
    assert run("lifecycle", "apply").exit_code == 0


def test_apply_does_it_once_and_says_what_for_machines(run: Run, database: Database) -> None:
    add(database, 4, days=-1)
    planned = json.loads(run("lifecycle", "plan", "--json").output)
    applied = run("lifecycle", "apply", "--json")
    document = json.loads(applied.output)
    assert (applied.exit_code, document["outcome"], document["done"]) == (0, "done", {"closed": 4})
    assert document["checksum"] == planned["checksum"]
    assert document["profiles"] == {"vacataire": {"closed": 4}}
    assert json.loads(run("lifecycle", "plan", "--json").output)["exit_code"] == 0
    with database.read() as session:
        actor = session.scalar(select(AuditEvent.actor).where(AuditEvent.event == "lifecycle.run"))
    assert actor is not None
    assert actor.startswith("cli:")


def test_i9_the_guard_stops_it_until_the_checksum_of_the_plan_is_given(run: Run, database: Database) -> None:
    add(database, 6, days=-1)
    stopped = run("lifecycle", "apply")
    assert stopped.exit_code == 3
    assert "STOP TooManyChanges: close: 6 (100.0 % of 6 accounts), 5 are allowed" in stopped.output
    checksum = json.loads(run("lifecycle", "plan", "--json").output)["checksum"]
    assert run("lifecycle", "apply", "--checksum", "feedfeedfeedfeed").exit_code == 3
    assert run("lifecycle", "apply", "--checksum", checksum).exit_code == 0


def test_accounts_that_are_held_are_counted(run: Run, database: Database) -> None:
    add(database, 1, days=-400)
    assert run("lifecycle", "apply").exit_code == 0
    with database.begin() as session:
        account = session.scalars(select(Account)).one()
        now = datetime.now(UTC)
        suspend(session, account, reason="look into it", until=None, now=now, origin=audit.SYSTEM)
    document = json.loads(run("lifecycle", "plan", "--json").output)
    assert (document["held"], document["exit_code"]) == ({"suspended": 1}, 0)


def test_wrong_settings_are_exit_code_5(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMS_BRIDGE_LIFECYCLE__CLOSE__FLOOR", "-5")
    found = run("lifecycle", "plan")
    assert found.exit_code == 5
    assert "lifecycle.close.floor" in found.output


def test_killed_at_any_moment_and_run_again_it_does_everything_once(config: Path, database: Database) -> None:
    people = 500
    add(database, people, days=-1)
    command = [*COMMAND, "--config", str(config), "lifecycle", "apply", "--checksum"]
    plan = [*COMMAND, "--config", str(config), "lifecycle", "plan", "--json"]

    def closed() -> int:
        with database.read() as session:
            return session.scalar(select(func.count()).select_from(LifecycleNotice)) or 0

    for enough in (1, people // 10, people // 5):
        checksum = json.loads(subprocess.run(plan, capture_output=True, check=False).stdout)["checksum"]
        worker = subprocess.Popen([*command, checksum], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while closed() < enough and worker.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        assert closed() >= enough
    assert closed() < people, "the process was faster than the kill: the test has shown nothing"
    checksum = json.loads(subprocess.run(plan, capture_output=True, check=False).stdout)["checksum"]
    assert subprocess.run([*command, checksum], capture_output=True, check=False).returncode == 0
    assert subprocess.run(plan, capture_output=True, check=False).returncode == 0
    with database.read() as session:
        assert closed() == people
        each = select(func.count()).select_from(Handover).group_by(Handover.account_id)
        assert session.scalars(each).all() == [1] * people
        events = select(func.count()).where(AuditEvent.event == "lifecycle.closed")
        assert session.scalar(events) == people


# --- The forecast ---


def month(ahead: int) -> str:
    first = local_day(datetime.now(UTC), PARIS).replace(day=1)
    return f"{add_months(first, ahead):%Y-%m}"


def ending_in(database: Database, ahead: int, count: int, profile: str = "vacataire") -> None:
    """People whose rights end on the 15th of the month so many months ahead."""
    first = local_day(datetime.now(UTC), PARIS).replace(day=15)
    end = end_of_day(add_months(first, ahead), PARIS)
    add(database, count, days=(end - datetime.now(UTC)) / timedelta(days=1), profile=profile)


def rows(output: str) -> dict[tuple[str, str], dict[str, int]]:
    found = {}
    for row in csv.DictReader(io.StringIO(output)):
        key = row.pop("month"), row.pop("profile")
        found[key] = {name: int(number) for name, number in row.items()}
    return found


def test_simulate_says_by_month_and_profile_who_is_warned_closed_and_erased(run: Run, database: Database) -> None:
    ending_in(database, 3, 10)
    ending_in(database, 3, 4, "staff")
    found = run("lifecycle", "simulate", "--as", "csv")
    assert found.exit_code == 0, found.output
    table = rows(found.output)
    assert table[month(3), "vacataire"] == {"warned": 10, "closed": 10, "erased": 0}
    assert table[month(2), "all"] == {"warned": 14, "closed": 0, "erased": 0}
    assert table[month(9), "vacataire"] == {"warned": 10, "closed": 0, "erased": 10}
    assert table[month(9), "staff"] == {"warned": 0, "closed": 0, "erased": 0}
    assert len(table) == 12 * 3
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(LifecycleNotice)) == 0


def test_simulate_compares_another_retention_side_by_side(run: Run, database: Database) -> None:
    ending_in(database, 1, 10)
    found = run("lifecycle", "simulate", "--what-if", "vacataire=3", "--as", "csv")
    table = rows(found.output)
    assert (table[month(4), "vacataire"]["erased"], table[month(4), "vacataire"]["erased_what_if"]) == (0, 10)
    assert (table[month(7), "vacataire"]["erased"], table[month(7), "vacataire"]["erased_what_if"]) == (10, 0)
    text = run("lifecycle", "simulate", "--what-if", "vacataire=3").output
    assert "erased (now) erased (what if)" in text
    never = rows(run("lifecycle", "simulate", "--what-if", "vacataire=never", "--as", "csv").output)
    assert sum(row["erased_what_if"] for row in never.values()) == 0


@pytest.mark.parametrize("typed", ["vacataire", "vacataire=six", "vacataire=-1", "vacataire=999", "nobody=6"])
def test_simulate_refuses_what_it_does_not_understand(run: Run, database: Database, typed: str) -> None:
    found = run("lifecycle", "simulate", "--what-if", typed)
    assert found.exit_code == 2
    assert typed.partition("=")[0] in found.output


def test_simulate_draws_bars_and_a_picture_that_stands_alone(run: Run, database: Database, tmp_path: Path) -> None:
    ending_in(database, 1, 8)
    path = tmp_path / "forecast.svg"
    found = run("lifecycle", "simulate", "--as", "chart", "--what-if", "vacataire=3", "--svg", path)
    assert f"closed (now)       {'#' * 40} 8" in found.output
    root = ET.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314 (our own file)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {month(0), month(11), "erased (what if)", "8"} <= set(texts)
    assert not [element for element in root.iter() if any("href" in name for name in element.attrib)]


def test_simulate_for_machines(run: Run, database: Database) -> None:
    ending_in(database, 1, 2)
    document = json.loads(run("lifecycle", "simulate", "--as", "json", "--months", "2").output)
    assert document[-1] == {"month": month(1), "profile": "all", "now": {"warned": 2, "closed": 2, "erased": 0}}


def test_the_forecast_of_a_day_is_what_the_plan_of_that_day_says(run: Run, database: Database) -> None:
    for days in (-800, -200, -170, -20, -1, 5, 25):
        add(database, 2, days=days)
        add(database, 1, days=days, profile="staff")
    planned = json.loads(run("lifecycle", "plan", "--json").output)["steps"]
    this_month = rows(run("lifecycle", "simulate", "--as", "csv").output)[month(0), "all"]
    assert this_month["closed"] >= planned["closed"] == 15
    assert this_month["warned"] >= sum(count for step, count in planned.items() if step.endswith("_days"))


# --- Moving an end by hand ---


def test_extend_moves_the_end_and_revives(run: Run, database: Database) -> None:
    add(database, 1, days=-1)
    run("lifecycle", "apply")
    day = local_day(datetime.now(UTC), PARIS) + timedelta(days=90)
    found = run("accounts", "extend", "person0", "--until", day.isoformat())
    assert (found.exit_code, found.output) == (0, f"The rights of person0 end with {day}.\n")
    with database.read() as session:
        assert session.scalars(select(Account.rights_end_at)).one() == end_of_day(day, PARIS)
        assert session.scalars(select(Handover.event).order_by(Handover.id)).all()[-1] == "account.revived"
    assert run("accounts", "extend", "person0", "--without-end").exit_code == 0
    assert run("lifecycle", "plan").exit_code == 0


@pytest.mark.parametrize(
    "words",
    [[], ["--until", "soon"], ["--until", "2001-01-01"], ["--until", "2099-01-01", "--without-end"]],
)
def test_extend_refuses_what_it_does_not_understand(run: Run, database: Database, words: list[Any]) -> None:
    add(database, 1, days=20)
    found = run("accounts", "extend", "person0", *words)
    assert found.exit_code == 2
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(AuditEvent)) == 0
