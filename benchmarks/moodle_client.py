"""`python -m benchmarks.moodle_client URL TOKEN`: what the Moodle client adds to the calls themselves.

Creates and suspends people on a test site in batches, through `moodle_ws` and through bare `requests` posts of the
same forms, in turn within each round, and prints users a second and this process's CPU a user. Everybody made is
deleted, so the token needs `core_user_delete_users`. Other work on the machine swings the rates: compare within a row.
"""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import requests

from moodle_ws import MoodleClient, NewUser, UserUpdate
from moodle_ws.batches import MOST_ROWS
from moodle_ws.client import ENDPOINT

BATCHES = {1: 40, 10: 200, 50: 400, 100: 400}
"""Rows a call, and people a measurement."""
FIELDS = ("username", "firstname", "lastname", "email", "auth", "idnumber")


class Way(Protocol):
    """A way to write people into Moodle, one call for the rows given."""

    def create(self, rows: Sequence[NewUser]) -> list[int]: ...

    def suspend(self, ids: Sequence[int]) -> None: ...


class Bare:
    """What a script would do: one kept connection, one form a batch, the answer's JSON."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url + ENDPOINT
        self._control = {"wstoken": token, "moodlewsrestformat": "json"}
        self._session = requests.Session()

    def _call(self, function: str, form: dict[str, str]) -> Any:
        answer = self._session.post(self._url, data={**self._control, "wsfunction": function, **form}, timeout=120)
        return json.loads(answer.content)

    def create(self, rows: Sequence[NewUser]) -> list[int]:
        form = {
            f"users[{n}][{name}]": value
            for n, row in enumerate(rows)
            for name in FIELDS
            if (value := getattr(row, name)) is not None
        }
        return [row["id"] for row in self._call("core_user_create_users", form)]

    def suspend(self, ids: Sequence[int]) -> None:
        form = {f"users[{n}][id]": str(number) for n, number in enumerate(ids)}
        form |= {f"users[{n}][suspended]": "1" for n in range(len(ids))}
        assert self._call("core_user_update_users", form) == {"warnings": []}


class Ours:
    """The same through the client."""

    def __init__(self, url: str, token: str) -> None:
        self.client = MoodleClient(url, token, read_timeout=120, answer_timeout=120)

    def create(self, rows: Sequence[NewUser]) -> list[int]:
        return [created.id for created in self.client.create_users(rows)]

    def suspend(self, ids: Sequence[int]) -> None:
        outcomes = self.client.update_users([UserUpdate(id=number, suspended=True) for number in ids])
        assert all(outcome.applied for outcome in outcomes)

    def delete(self, ids: Sequence[int]) -> None:
        for start in range(0, len(ids), MOST_ROWS):
            self.client.call("core_user_delete_users", {"userids": list(ids[start : start + MOST_ROWS])}, read=False)


@dataclass
class Samples:
    """Users a second and CPU microseconds a user, by what was done and how."""

    rates: dict[tuple[str, int, int, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    cpu: dict[tuple[str, int, int, str], list[float]] = field(default_factory=lambda: defaultdict(list))

    def measure(self, key: tuple[str, int, int, str], work: Callable[[Any], Any], batches: list[Any]) -> list[Any]:
        clients = key[2]
        people = sum(len(batch) for batch in batches)
        with ThreadPoolExecutor(clients) as pool:
            began, cpu = time.perf_counter(), time.process_time()
            answers = list(pool.map(work, batches))
            self.rates[key].append(people / (time.perf_counter() - began))
            self.cpu[key].append((time.process_time() - cpu) / people * 1e6)
        return answers

    def table(self) -> str:
        lines = [
            "| what | rows | clients | bare/s | moodle_ws/s | ratio by round | CPU µs a user, bare | moodle_ws |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for what, size, clients, way in self.rates:
            if way != "bare":
                continue
            bare, ours = ((what, size, clients, name) for name in ("bare", "moodle_ws"))
            ratio = statistics.median(b / a for a, b in zip(self.rates[bare], self.rates[ours], strict=True))
            rates = (statistics.median(self.rates[key]) for key in (bare, ours))
            cpu = (statistics.median(self.cpu[key]) for key in (bare, ours))
            cells = [
                what,
                size,
                clients,
                *(f"{rate:.0f}" for rate in rates),
                f"{ratio:.2f}",
                *(f"{c:.0f}" for c in cpu),
            ]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
        return "\n".join(lines)


def people(count: int) -> list[NewUser]:
    prefix = f"bench-{secrets.token_hex(4)}-"
    return [
        NewUser(username=f"{prefix}{n}", firstname="F", lastname="L", email=f"{prefix}{n}@mail.example", auth="cas")
        for n in range(count)
    ]


def cut(rows: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.moodle_client", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("token")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    ours = Ours(chosen.url.rstrip("/"), chosen.token)
    ways: dict[str, Way] = {"bare": Bare(chosen.url.rstrip("/"), chosen.token), "moodle_ws": ours}
    samples = Samples()
    for number in range(chosen.rounds):
        for size, count in BATCHES.items():
            for clients in (1, 2):
                # Who goes first changes, so that neither always meets the colder site.
                for name, way in sorted(ways.items(), reverse=bool(number % 2)):
                    made = samples.measure(("create", size, clients, name), way.create, cut(people(count), size))
                    ids = [number for batch in made for number in batch]
                    samples.measure(("suspend", size, clients, name), way.suspend, cut(ids, size))
                    ours.delete(ids)
        sys.stderr.write(f"round {number + 1} of {chosen.rounds}\n")
    sys.stdout.write(f"moodle_ws sends at most {MOST_ROWS} rows a call.\n\n{samples.table()}\n")


if __name__ == "__main__":
    main()
