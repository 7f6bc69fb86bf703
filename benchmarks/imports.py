"""`python -m benchmarks.imports`: rows a second and peak memory of `lms-bridge import`, each run a process of its own.

A fresh database takes a file of people (CSV and XLSX), then the same file again without a difference, then one in which
a tenth has another department. With `--among N` there are N accounts before, among whom homonyms are looked for.
Meanwhile another process writes a small transaction again and again: how long it waits is what a person would.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path

from sqlalchemy import insert, text

from external_accounts import name_index
from external_accounts.database import Database
from external_accounts.institution_schema import NameKey
from external_accounts.schema import Account, AuditEvent
from external_accounts.spreadsheets import written
from lms_bridge import migrations
from lms_bridge.runtime import utc_now
from tests.bridge_under_test import settings_values
from tests.served_bridge import to_toml

COMMAND = [sys.executable, "-c", "from lms_bridge.cli import main; main()"]
HEADER = ["matricule", "nom", "prénom", "profil", "adresse privée", "composante", "fin de droits"]
PAGE = 5000
_SYLLABLES = [first + last for first in "bcdfglmnprstv" for last in "aeiou"]


def names(count: int, *, after: int = 0) -> Iterator[tuple[str, str]]:
    """Given and family names, as spread as real ones: some given names are everywhere, few have the same two."""
    draw = random.Random(1)
    given = ["".join(draw.choices(_SYLLABLES, k=2)).capitalize() for _ in range(2000)]
    family = ["".join(draw.choices(_SYLLABLES, k=4)).capitalize() for _ in range(60_000)]
    for number in range(after + count):
        name = given[int(len(given) * draw.random() ** 2)], family[int(len(family) * draw.random() ** 1.3)]
        if number >= after:
            yield name


def file_of(count: int, *, moved: bool = False) -> list[list[str]]:
    rows = [HEADER]
    for number, (given, family) in enumerate(names(count)):
        unit = "Droit" if moved and number % 10 == 0 else "Lettres"
        mail = f"p{number}@courriel.example"
        rows.append([f"V{number:06}", family, given, "vacataire", mail, unit, "2099-06-30"])
    return rows


def fill(database: Database, count: int, *, after: int) -> None:
    """`count` accounts that come from no file: further people, whose names are drawn from the same ones."""
    now = utc_now()
    people = list(names(count, after=after))
    for start in range(0, count, PAGE):
        page = people[start : start + PAGE]
        accounts = [
            {
                "id": start + number + 1,
                "username": f"e{start + number}",
                "profile": "staff",
                "given_name": given,
                "family_name": family,
                "created_at": now,
                "activated_at": now,
            }
            for number, (given, family) in enumerate(page)
        ]
        with database.begin() as session:
            session.execute(insert(Account), accounts)
            keys = [
                row for one in accounts for row in name_index.rows(one["id"], one["given_name"], one["family_name"])
            ]
            session.execute(insert(NameKey), keys)
    with database.engine.begin() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT setval(pg_get_serial_sequence('accounts', 'id'), :n)"), {"n": count + 1})
        connection.exec_driver_sql("ANALYZE")


def neighbour(url: str, over: Event, path: Path) -> None:
    """Somebody else who writes: notes how long each small transaction took, in milliseconds."""
    database, waits = Database(url), []
    while not over.is_set():
        began = time.perf_counter()
        with database.begin() as session:
            session.add(AuditEvent(at=utc_now(), event="benchmark", outcome="ok", details={}))
        waits.append((time.perf_counter() - began) * 1000)
        over.wait(0.05)
    path.write_text(json.dumps(waits))


def command(config: Path, *words: str) -> tuple[float, float, float, str]:
    """Run a command: seconds, CPU seconds, peak MiB, and what it said last."""
    began = time.perf_counter()
    process = subprocess.Popen([*COMMAND, "--config", str(config), *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 2, 4), code
    lines = [line for line in said.splitlines() if line.startswith(("Would be", "Done"))]
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, lines[-1]


def measure(rows: int, among: int, kind: str, url: str | None) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-imports-") as name:
        folder = Path(name)
        values = settings_values(
            folder,
            upstreams=[{"issuer": "sel", "cas_url": "https://cas.univ.example/cas"}],
            directories=[{"name": "sel", "kind": "embedded"}],
            profiles=[{"name": "vacataire", "label": {"fr": "x"}, "issuer": "sel", "directory": "sel"}],
        )
        values |= {"database_url": url} if url else {}
        config = folder / "lms-bridge.toml"
        config.write_text(to_toml(values), encoding="utf-8")
        database = Database(values["database_url"])
        migrations.upgrade(database)
        fill(database, among, after=rows)
        database.close()
        for moved in (False, True):
            (folder / f"{moved}.{kind}").write_bytes(
                written("xlsx" if kind == "xlsx" else "csv", file_of(rows, moved=moved))
            )
        first, second = str(folder / f"False.{kind}"), str(folder / f"True.{kind}")
        over, waits = multiprocessing.Event(), folder / "waits.json"
        other = multiprocessing.Process(target=neighbour, args=(values["database_url"], over, waits), daemon=True)
        for what, words in (
            ("preview", ["import", first]),
            ("create", ["import", first, "--apply", "--yes"]),
            ("again", ["import", first, "--apply", "--yes"]),
            ("a tenth changed", ["import", second, "--apply", "--yes"]),
        ):
            if what == "create":
                other.start()
            seconds, cpu, memory, said = command(config, *words)
            if what == "create":
                over.set()
                other.join(30)
            figures = f"{rows / seconds:.0f} rows/s, {cpu / rows * 1000:.2f} ms CPU a row, {memory:.0f} MiB"
            print(f"{kind}, {rows} rows, {among} accounts before, {what}: {figures} – {said}", flush=True)
        held = sorted(json.loads(waits.read_text()))
        p99 = held[int(0.99 * (len(held) - 1))]
        middle = statistics.median(held)
        print(f"  a neighbour's write: median {middle:.1f} ms, p99 {p99:.0f} ms, longest {held[-1]:.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--among", type=int, default=0)
    parser.add_argument("--kind", choices=["csv", "xlsx"], default="csv")
    parser.add_argument("--postgresql", metavar="URL", help="of an empty database: postgresql+psycopg://…")
    options = parser.parse_args()
    measure(options.rows, options.among, options.kind, options.postgresql)


if __name__ == "__main__":
    main()
