"""`python -m benchmarks.radar`: what the duplicate radar costs, for one account and for all of them.

A fresh database is filled with accounts (`--accounts`), each with a confirmed address; some share one, and some a
name. All wait for a look, as after an upgrade: the first scan takes them a page at a time. Then some change, and are
looked at again. Peak memory is that of a process of its own, which does nothing but look.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import insert, select, text

from benchmarks.imports import fill, names
from external_accounts import likely_pairs, pair_listing
from external_accounts.database import Database
from external_accounts.likely_pairs import AT_ONCE, OPEN, Found, Terms
from external_accounts.linking_schema import PairCheck
from external_accounts.pair_candidates import PersonKeys
from external_accounts.schema import Address
from lms_bridge import migrations
from lms_bridge.runtime import utc_now

TERMS = Terms(60, PersonKeys())
SHARED = 500
"""One address in so many belongs to two accounts."""
CHANGED = 1000
PAGE = 5000


def prepare(database: Database, count: int) -> None:
    """Accounts with names as spread as real ones, and a confirmed address each."""
    migrations.upgrade(database)
    fill(database, count, after=0)
    now = utc_now()
    for start in range(0, count, PAGE):
        rows = []
        for number in range(start, min(count, start + PAGE)):
            email = f"p{number - 1 if number % SHARED == 1 else number}@mail.example"
            row = {"account_id": number + 1, "email": email, "email_key": email, "role": "contact", "is_primary": True}
            rows.append(row | {"created_at": now, "confirmed_at": now, "confirmed_by": "proof"})
        with database.begin() as session:
            session.execute(insert(Address), rows)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE")


def scan(url: str) -> dict[str, float]:
    """Look at everybody who waits, in this process."""
    database = Database(url)
    sums, longest = Found(), 0.0
    began, cpu = time.perf_counter(), time.process_time()
    while True:
        turn = time.perf_counter()
        found = likely_pairs.look(database, TERMS, clock=utc_now)
        if not found.accounts:
            break
        longest = max(longest, time.perf_counter() - turn)
        sums = Found(sums.accounts + found.accounts, sums.opened + found.opened, sums.gone + found.gone)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    database.close()
    return {"accounts": sums.accounts, "opened": sums.opened, "seconds": seconds, "cpu": cpu, "longest": longest}


def in_a_process(url: str) -> dict[str, float]:
    """The same in a process of its own, with its peak memory in MiB."""
    command = [sys.executable, "-m", "benchmarks.radar", "--scan", url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = json.loads(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return {**said, "mib": usage.ru_maxrss / 1024}


def say(what: str, found: dict[str, float]) -> None:
    each = found["accounts"] or 1
    print(
        f"{what}: {found['accounts']:.0f} accounts, {found['opened']:.0f} pairs, {found['seconds']:.1f} s, "
        f"{each / found['seconds']:.0f} a second, {1000 * found['cpu'] / each:.2f} ms of CPU each, "
        f"longest look ({AT_ONCE} accounts) {1000 * found['longest']:.0f} ms, peak {found['mib']:.0f} MiB"
    )


def lists(database: Database) -> None:
    """The help desk's list: its first page, its last one, and the count."""
    with database.read() as session:
        began = time.perf_counter()
        count = pair_listing.count(session, state=OPEN, points=0)
        counted = time.perf_counter()
        page = pair_listing.page(session, state=OPEN, points=0, after=None, limit=51)
        read = time.perf_counter()
        lowest = session.scalars(select(likely_pairs.LikelyPair.id).order_by(likely_pairs.LikelyPair.points).limit(1))
        pair_listing.page(session, state=OPEN, points=0, after=lowest.first(), limit=51)
        deep = time.perf_counter()
    print(
        f"list of {count}: count {1000 * (counted - began):.1f} ms, first page of {len(page)} "
        f"{1000 * (read - counted):.1f} ms, a page at the end {1000 * (deep - read):.1f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--scan", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.scan:
        print(json.dumps(scan(options.scan)))
        return
    with tempfile.TemporaryDirectory(prefix="bench-radar-") as folder:
        url = f"sqlite:///{Path(folder)}/radar.db"
        database = Database(url)
        prepare(database, options.accounts)
        different = len(set(names(options.accounts)))
        print(f"load average {os.getloadavg()[0]:.1f}; {options.accounts} accounts, {different} names")
        say("first scan", in_a_process(url))
        with database.begin() as session:
            changed = text("UPDATE accounts SET unit = 'Droit' WHERE id % :step = 0")
            session.execute(changed, {"step": max(1, options.accounts // CHANGED)})
            assert session.scalar(select(PairCheck.account_id).limit(1))
        say("after a change", in_a_process(url))
        lists(database)
        database.close()


if __name__ == "__main__":
    main()
