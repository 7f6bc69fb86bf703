"""One account among many: what Moodle is asked, how soon a change is there, and what waiting for one costs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event, text

from benchmarks.sync.bridge import SITE, Bridge, command, filled_bridge
from benchmarks.sync.moodle import Moodle
from benchmarks.sync.people import Figure
from benchmarks.sync.table import Table
from external_accounts.database import Database
from lms_bridge.jobs import functions
from lms_bridge.sync.sites import policy_behind
from lms_bridge.sync.step import bring_into_step

EVERY_SECOND_OR_TWO = (
    functions.deliver_logouts,
    functions.deliver_mails,
    functions.end_sessions_in_moodle,
    functions.bring_mirrors_into_step,
)


def measure(
    moodle: Moodle, what: str, table: Table, idle: Table, *, size: int, changes: int, postgresql: str | None
) -> None:
    with filled_bridge(moodle, size, mirrored=True, postgresql=postgresql) as bridge:
        name = f"{size} accounts, {what}"
        _requests(bridge, name, table)
        _delays(bridge, f"commit to Moodle, one round of the worker, {name}", table, changes, told=True)
        with command(bridge, "worker"):
            _delays(bridge, f"commit to Moodle, by `lms-bridge worker`, {name}", table, changes, told=False)
        _idle(bridge, name, idle)


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _one_round(bridge: Bridge) -> None:
    assert functions.bring_mirrors_into_step(bridge.runtime) == 1


def _requests(bridge: Bridge, name: str, table: Table) -> None:
    """The calls for one account: each change is made here, then the worker looks once."""
    runtime = bridge.runtime
    looked = time.perf_counter()
    bring_into_step(
        runtime.database, runtime.sites, SITE, 1, policy_behind(runtime.settings, SITE), now=runtime.clock()
    )
    looked = time.perf_counter() - looked
    table.add(f"sign-in, in step, {name}", requests=bridge.moodle.calls().total(), p50_ms=looked * 1000)
    for verb, assignment in (
        ("nothing to tell", "profile = profile"),
        ("refresh", "given_name = 'Dominique'"),
        ("close", "suspended_at = created_at"),
        ("open again", "suspended_at = NULL"),
    ):
        _change(bridge.runtime.database, Figure(0), assignment)
        began = time.perf_counter()
        _one_round(bridge)
        seconds = time.perf_counter() - began
        table.add(f"{verb}, {name}", requests=bridge.moodle.calls().total(), p50_ms=seconds * 1000)


def _change(database: Database, figure: Figure, assignment: str) -> None:
    with database.begin() as session:
        session.execute(
            text(f"UPDATE accounts SET {assignment}, version = version + 1 WHERE id = :id"),  # noqa: S608
            {"id": figure.account_id},
        )


def _delays(bridge: Bridge, name: str, table: Table, changes: int, *, told: bool) -> None:
    """From the commit of a change to its being in Moodle: through one round here, or whenever a worker looks."""
    seconds: list[float] = []
    asked: list[int] = []
    for number in range(-1, changes):
        if not told:
            time.sleep(max(0, number) / changes)  # rounds are a second apart: meet them at every moment
        figure, value = Figure(max(0, number)), f"Prénom {number} {told}"
        _change(bridge.runtime.database, figure, f"given_name = '{value}'")
        committed = time.perf_counter()
        if told:
            _one_round(bridge)
        took = bridge.moodle.wait_for(figure.username, "firstname", value) - committed
        calls = bridge.moodle.calls().total()
        if number >= 0:  # the first change waits for the worker to start
            seconds.append(took)
            asked.append(calls)
    table.add(
        name,
        requests=max(asked),
        p50_ms=statistics.median(seconds) * 1000,
        p95_ms=percentile(seconds, 0.95) * 1000,
    )


def _idle(bridge: Bridge, name: str, table: Table, rounds: int = 50) -> None:
    """What looking for work costs when there is none."""
    for job in EVERY_SECOND_OR_TWO:
        job(bridge.runtime)
        seconds: list[float] = []
        with _counted(bridge.runtime.database) as statements:
            cpu = time.process_time()
            for _ in range(rounds):
                began = time.perf_counter()
                assert not job(bridge.runtime)
                seconds.append(time.perf_counter() - began)
            cpu = time.process_time() - cpu
        table.add(
            f"{job.__name__}, {name}",
            statements=len(statements) / rounds,
            cpu_ms=cpu / rounds * 1000,
            p50_ms=statistics.median(seconds) * 1000,
            p95_ms=percentile(seconds, 0.95) * 1000,
        )


@contextmanager
def _counted(database: Database) -> Iterator[list[str]]:
    """The statements SQLAlchemy sends, transaction control aside."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if not statement.startswith("BEGIN"):
            statements.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
