"""`python -m benchmarks.sync_on_moodle URL TOKEN --auth cas`: what a run of the engine costs on a real Moodle.

Creates people by `sync apply` and gives all of them another family name, with one and with two calls at once; and the
same look-ups and writes, 50 rows a call, by bare `requests` posts, in turn within each round. Reading and writing are
timed apart, because a script that only writes spares itself the reading. Everybody made is deleted, so the token needs
`core_user_delete_users`. Other work on the machine swings the rates: compare within a row.
"""

from __future__ import annotations

import argparse
import secrets
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.moodle_client import Bare, Ours, cut
from external_accounts import audit
from external_accounts.accounts import Person
from external_accounts.addresses import parse_address, primary_address
from external_accounts.identities import create_local_account
from external_accounts.schema import Account
from lms_bridge import migrations
from lms_bridge.runtime import Runtime, build_runtime
from lms_bridge.schema import Mirror
from lms_bridge.settings import build
from lms_bridge.sync.runs import Orders, run_site, tools_of
from moodle_ws import NewUser
from moodle_ws.batches import MOST_ROWS

SITE = "moodle"


@dataclass(frozen=True)
class Times:
    """Seconds of one round's reading and writing, and processor seconds of this process over both."""

    read: float
    write: float
    cpu: float


class Script(Bare):
    """What a script would do that knows whom it wants: look everybody up, then write."""

    def look_up(self, field: str, values: Sequence[str]) -> None:
        form = {f"values[{n}]": value for n, value in enumerate(values)}
        self._call("core_user_get_users_by_field", {"field": field, **form})

    def rename(self, ids: Sequence[int], lastname: str) -> None:
        form = {f"users[{n}][id]": str(number) for n, number in enumerate(ids)}
        form |= {f"users[{n}][lastname]": lastname for n in range(len(ids))}
        assert self._call("core_user_update_users", form) == {"warnings": []}

    def run(
        self, pool: ThreadPoolExecutor, look: Callable[[Any], Any], write: Callable[[Any], Any], batches: Any
    ) -> Any:
        began, cpu = time.perf_counter(), time.process_time()
        list(pool.map(look, batches))
        middle = time.perf_counter()
        answers = list(pool.map(write, batches))
        return answers, Times(middle - began, time.perf_counter() - middle, time.process_time() - cpu)


def by_script(script: Script, people: Sequence[NewUser], clients: int) -> tuple[dict[str, Times], list[int]]:
    with ThreadPoolExecutor(clients) as pool:
        batches = cut(people, MOST_ROWS)
        names = lambda rows: script.look_up("username", [row.username for row in rows])  # noqa: E731
        made, create = script.run(pool, names, script.create, batches)
        ids = [number for batch in made for number in batch]
        by_id = lambda some: script.look_up("id", list(map(str, some)))  # noqa: E731
        _, refresh = script.run(pool, by_id, lambda some: script.rename(some, "Renamed"), cut(ids, MOST_ROWS))
    return {"create": create, "refresh": refresh}, ids


def by_engine(bridge: Runtime, folder: Path) -> tuple[dict[str, Times], list[int]]:
    create = timed_run(bridge, folder)
    with bridge.database.begin() as session:
        for account in session.query(Account):
            account.family_name = "Renamed"
            account.note_change()
    refresh = timed_run(bridge, folder)
    with bridge.database.read() as session:
        ids = [mirror.moodle_id for mirror in session.query(Mirror) if mirror.moodle_id is not None]
    return {"create": create, "refresh": refresh}, ids


def timed_run(bridge: Runtime, folder: Path) -> Times:
    """`sync apply`: reading lasts until the last account was compared, writing until the end."""
    last_read = began = time.perf_counter()
    cpu = time.process_time()

    def progress(work: str, _done: int, _total: int) -> None:
        nonlocal last_read
        if work == "read":
            last_read = time.perf_counter()

    report = run_site(tools_of(bridge, SITE), SITE, Orders(write=True), folder, progress=progress)
    assert report.outcome == "done", report
    return Times(last_read - began, time.perf_counter() - last_read, time.process_time() - cpu)


@contextmanager
def bridge_of(folder: Path, site: dict[str, Any], people: Sequence[NewUser]) -> Iterator[Runtime]:
    """A bridge that knows these people and has never seen the site."""
    freely = {"percent": 100, "floor": 10**6}
    values = {
        "public_url": "http://127.0.0.1:1",
        "secret_keys": [secrets.token_hex(32)],
        "database_url": f"sqlite:///{folder}/bridge.db",
        "log_level": "error",
        "institution": {"name": "Benchmark", "short_name": "B", "help_email": "help@univ.example"},
        "mail": {"host": "127.0.0.1", "port": 9, "security": "none", "sender": "noreply@univ.example"},
        "services": [
            {"name": "m", "label": {"fr": "M", "en": "M"}, "url": f"{site['url']}/login/index.php", "site": SITE}
        ],
        "sites": [{**site, "name": SITE, "guard": {"create": freely, "refresh": freely}}],
    }
    bridge = build_runtime(build(values))
    try:
        migrations.upgrade(bridge.database)
        with bridge.database.begin() as session:
            for row in people:
                account = create_local_account(
                    session,
                    username=row.username,
                    profile="learner",
                    person=Person(row.firstname, row.lastname),
                    email=parse_address(row.email),
                    password_hash="",
                    now=bridge.clock(),
                    origin=audit.SYSTEM,
                )
                address = primary_address(account)
                assert address is not None
                address.confirmed_at = bridge.clock()
        yield bridge
    finally:
        bridge.close()


def people(count: int, auth: str) -> list[NewUser]:
    prefix = f"bench-{secrets.token_hex(4)}-"
    return [
        NewUser(
            username=f"{prefix}{n}",
            firstname="F",
            lastname="L",
            email=f"{prefix}{n}@mail.example",
            auth=auth,
            idnumber=f"{prefix}{n:014d}",
        )
        for n in range(count)
    ]


def table(samples: dict[tuple[str, int, str], list[Times]], count: int) -> str:
    heads = ["what", "calls at once"]
    for scope in ("written", "with reading"):
        heads += [f"script, {scope}/s", f"engine, {scope}/s", "ratio by round (all rounds)"]
    heads.append("CPU µs a person: script, engine")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for what, clients in dict.fromkeys((what, clients) for what, clients, _ in samples):
        script, engine = (samples[what, clients, way] for way in ("script", "engine"))
        cells: list[object] = [what, clients]
        for seconds in (lambda one: one.write, lambda one: one.read + one.write):
            cells += [f"{statistics.median(count / seconds(one) for one in way):.0f}" for way in (script, engine)]
            ratios = [seconds(a) / seconds(b) for a, b in zip(script, engine, strict=True)]
            cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        cells.append(
            ", ".join(f"{statistics.median(one.cpu for one in way) / count * 1e6:.0f}" for way in (script, engine))
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sync_on_moodle", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("token")
    parser.add_argument("--auth", default="cas")
    parser.add_argument("--canary", required=True, help="user name of an ordinary user there")
    parser.add_argument("--people", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    url = chosen.url.rstrip("/")
    script, client = Script(url, chosen.token), Ours(url, chosen.token)
    samples: dict[tuple[str, int, str], list[Times]] = defaultdict(list)
    for number in range(chosen.rounds):
        for clients in (1, 2):
            # Who goes first changes, so that neither always meets the colder site.
            for way in ("script", "engine") if number % 2 else ("engine", "script"):
                rows = people(chosen.people, chosen.auth)
                if way == "script":
                    times, ids = by_script(script, rows, clients)
                else:
                    site = {"url": url, "token": chosen.token, "auth": chosen.auth, "canary": chosen.canary}
                    with tempfile.TemporaryDirectory() as name:
                        folder = Path(name)
                        with bridge_of(folder, site | {"parallel_calls": clients}, rows) as bridge:
                            times, ids = by_engine(bridge, folder)
                for what, one in times.items():
                    samples[what, clients, way].append(one)
                client.delete(ids)
        sys.stdout.write(f"After round {number + 1} of {chosen.rounds}:\n\n{table(samples, chosen.people)}\n\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
