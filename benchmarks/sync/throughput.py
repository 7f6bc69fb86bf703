"""Users a second through a run, against the client alone making the same calls on the same server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.sync.bridge import Bridge, change_names, filled_bridge
from benchmarks.sync.moodle import TOKEN, Moodle
from benchmarks.sync.people import Figure
from benchmarks.sync.table import Table
from moodle_ws import MoodleClient, NewUser, UserUpdate
from moodle_ws.batches import MOST_ROWS

CREATE, UPDATE = "core_user_create_users", "core_user_update_users"


@dataclass(slots=True)
class Spent:
    """Seconds and processor seconds of this process."""

    seconds: float = 0.0
    cpu: float = 0.0


@contextmanager
def measured() -> Iterator[Spent]:
    spent = Spent()
    began, cpu = time.perf_counter(), time.process_time()
    yield spent
    spent.seconds, spent.cpu = time.perf_counter() - began, time.process_time() - cpu


class ClientAlone:
    """The least that must be asked of Moodle, in the best batches, from so many threads."""

    def __init__(self, moodle: Moodle, threads: int) -> None:
        self._client = MoodleClient(moodle.url, TOKEN, read_timeout=60, answer_timeout=60)
        self._threads = threads

    def provision(self, count: int) -> tuple[Spent, Spent]:
        """Looking everybody up by name and creating them: the looking up and the creating."""
        figures = [Figure(index) for index in range(count)]
        return self._look_up("username", [figure.username for figure in figures]), self._each(
            figures, lambda batch: self._client.create_users([_new_user(figure) for figure in batch])
        )

    def update(self, count: int, given_name: str) -> tuple[Spent, Spent]:
        """Looking everybody up by id and changing their first name."""
        ids = [Figure(index).moodle_id for index in range(count)]
        return self._look_up("id", ids), self._each(
            ids,
            lambda batch: self._client.update_users([UserUpdate(id=number, firstname=given_name) for number in batch]),
        )

    def close(self) -> None:
        self._client.close()

    def _look_up(self, field: Any, values: Sequence[Any]) -> Spent:
        return self._each(values, lambda batch: list(self._client.iter_users_by_field(field, batch)))

    def _each(self, rows: Sequence[Any], call: Callable[[Any], object]) -> Spent:
        batches = [rows[start : start + MOST_ROWS] for start in range(0, len(rows), MOST_ROWS)]
        with ThreadPoolExecutor(self._threads) as pool, measured() as spent:
            list(pool.map(call, batches))
        return spent


def _new_user(figure: Figure) -> NewUser:
    return NewUser(auth="cas", **figure.written)


class Writing:
    """Seconds and processor seconds between the end of reading and the end of writing."""

    def __init__(self) -> None:
        self.at_read = self.at_write = (0.0, 0.0)

    def __call__(self, phase: str, _done: int, _of: int) -> None:
        moment = time.perf_counter(), time.process_time()
        if phase == "read":
            self.at_read = moment
        else:
            self.at_write = moment

    @property
    def spent(self) -> Spent:
        return Spent(self.at_write[0] - self.at_read[0], self.at_write[1] - self.at_read[1])


def measure(moodle: Moodle, what: str, table: Table, *, count: int, rounds: int, postgresql: str | None) -> None:
    """The client alone and the bridge in turn: each moment of the machine hits both."""
    for number in range(rounds):
        for threads in (1, 2):
            name = f"{what}, {threads} at once"
            if number % 2:
                _client_alone(moodle, name, table, count, threads)
            with filled_bridge(moodle, count, mirrored=False, parallel_calls=threads, postgresql=postgresql) as bridge:
                _run(bridge, f"create, bridge, {name}", table, count)
                change_names(bridge.runtime.database, "Dominique", count)
                _run(bridge, f"update, bridge, {name}", table, count)
            if not number % 2:
                _client_alone(moodle, name, table, count, threads)


def _client_alone(moodle: Moodle, name: str, table: Table, count: int, threads: int) -> None:
    moodle.empty()
    moodle.calls()
    client = ClientAlone(moodle, threads)
    looking, writing = client.provision(count)
    _add(table, moodle, f"create, client alone, {name}", count, writing, looking.seconds + writing.seconds)
    looking, writing = client.update(count, "Dominique")
    _add(table, moodle, f"update, client alone, {name}", count, writing, looking.seconds + writing.seconds)
    client.close()


def _run(bridge: Bridge, name: str, table: Table, count: int) -> None:
    checksum = bridge.plan().plan.checksum
    bridge.moodle.calls()
    writing = Writing()
    with measured() as whole:
        report = bridge.apply(checksum, progress=writing)
    assert sum(report.done.values()) == count, report
    _add(table, bridge.moodle, name, count, writing.spent, whole.seconds)


def _add(table: Table, moodle: Moodle, name: str, count: int, writing: Spent, whole: float) -> None:
    table.add(
        name,
        written_per_s=count / writing.seconds,
        cpu_us_a_user=writing.cpu / count * 1e6,
        whole_run_s=whole,
        requests=moodle.calls().total(),
    )
