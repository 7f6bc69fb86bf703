"""`python -m benchmarks.search`: how long the help desk's search takes, among 1,000, 100,000 and 1,000,000 accounts.

Names are drawn as unevenly as real ones are: one account in 200 is a Martin, one in 40 a Jean. Each kind of question is
asked about many people, on SQLite or on a PostgreSQL of its own; the answer's page is not drawn.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, insert, select, text

from external_accounts import search_index
from external_accounts.database import Database
from external_accounts.linking_schema import SearchWord
from external_accounts.schema import Account, Address, SignInIdentity
from lms_bridge import migrations
from lms_bridge.helpdesk.members import Grant, Member, Role
from lms_bridge.helpdesk.search import search
from lms_bridge.schema import Mirror
from lms_bridge.settings import Settings, build
from tests.bridge_under_test import settings_values
from tests.postgresql_server import _find_binaries, running_postgresql

PAGE = 5000
DRAWN = 50_000
"""People that are drawn; a larger university has them several times."""
NOW = datetime(2026, 11, 25, 9, tzinfo=UTC)
VIEWER = Member(0, "viewer", (Grant(Role.VIEWER),))
_SYLLABLES = [first + last for first in "bcdfglmnprstv" for last in "aeiou"]
_DRAW = random.Random(1)
GIVEN = ["Jean", "Marie", *("".join(_DRAW.choices(_SYLLABLES, k=2)).capitalize() for _ in range(2000))]
FAMILY = ["Martin", "Bernard", *("".join(_DRAW.choices(_SYLLABLES, k=4)).capitalize() for _ in range(120_000))]


class Person:
    """One of the university's people, the same in each run."""

    def __init__(self, number: int) -> None:
        draw = random.Random(number)
        self.number = number
        self.given = "Jean" if draw.random() < 1 / 40 else GIVEN[int(len(GIVEN) * draw.random() ** 2)]
        self.family = "Martin" if draw.random() < 1 / 200 else FAMILY[int(len(FAMILY) * draw.random() ** 1.3)]
        outside = number % 5 == 0
        name = f"{self.given}.{self.family}{number}".lower()
        self.username = f"ext.{name}" if outside else f"{self.given[0]}{self.family}{number}".lower()
        self.email = f"{name}@{'courriel.example' if outside else 'etu.univ-demo.example'}"
        self.unit = f"UFR {FAMILY[2 + number % 40]}"
        self.seen = NOW - timedelta(minutes=draw.randrange(500_000)) if draw.random() < 0.7 else None

    def said(self) -> dict[str, Any]:
        return {"username": self.username, "given_name": self.given, "family_name": self.family, "unit": self.unit}


def fill(database: Database, count: int) -> float:
    """The accounts with everything they are found by; returns the seconds that the words took, as in migration 0007."""
    spent, wanted, count = 0.0, count, min(count, DRAWN)
    when = {"created_at": NOW, "refreshed_at": NOW}
    for start in range(1, count + 1, PAGE):
        people = [Person(number) for number in range(start, min(start + PAGE, count + 1))]
        accounts = [
            one.said() | {"id": one.number, "key": str(one.number), "profile": "student", "created_at": NOW,
                          "activated_at": NOW, "last_sign_in_at": one.seen}
            for one in people
        ]  # fmt: skip
        held = {"role": "contact", "is_primary": True, "created_at": NOW, "confirmed_at": NOW, "confirmed_by": "proof"}
        with database.begin() as session:
            session.execute(insert(Account), accounts)
            session.execute(
                insert(Address),
                [held | {"account_id": one.number, "email": one.email, "email_key": one.email} for one in people],
            )
            session.execute(
                insert(SignInIdentity),
                [when | {"account_id": one.number, "issuer": "sel", "subject": one.username} for one in people],
            )
            session.execute(
                insert(Mirror),
                [{"account_id": one.number, "site": "updago", "moodle_id": 10_000 + one.number} for one in people],
            )
        began = time.perf_counter()
        with database.begin() as session:
            rows = [
                row
                for one in people
                for row in search_index.rows(one.number, **one.said(), emails=[one.email], subjects=[one.username])
            ]
            session.execute(insert(SearchWord), rows)
        spent += time.perf_counter() - began
    _repeat(database, count, wanted)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE")
    return spent


_AGAIN = (
    """INSERT INTO accounts (id, username, key, profile, given_name, family_name, birth_name, unit, language,
    suspension_reason, directory, version, created_at, activated_at, last_sign_in_at)
    SELECT id + :past, username || :suffix, key || :suffix, profile, given_name, family_name, '', unit, '',
    '', '', 1, created_at, activated_at, last_sign_in_at FROM accounts WHERE id <= :count""",
    """INSERT INTO addresses (account_id, email, email_key, role, is_primary, created_at, confirmed_at, confirmed_by,
    lost_reason) SELECT account_id + :past, email || :suffix, email_key || :suffix, role, is_primary, created_at,
    confirmed_at, confirmed_by, '' FROM addresses WHERE account_id <= :count""",
    """INSERT INTO search_words SELECT word, account_id + :past FROM search_words WHERE account_id <= :count
    ORDER BY word, account_id""",
)


def _repeat(database: Database, count: int, wanted: int) -> None:
    """Further universities of the same people, by the database itself: every word is as much more frequent."""
    if wanted <= count:
        return
    with database.engine.begin() as connection:
        if database.is_sqlite:
            connection.exec_driver_sql("PRAGMA cache_size = -200000")
        connection.exec_driver_sql("DROP INDEX ix_search_words_account_id")
        for past in range(count, wanted, count):
            for statement in _AGAIN:
                connection.execute(text(statement), {"past": past, "suffix": f"-{past}", "count": count})
        connection.exec_driver_sql("CREATE INDEX ix_search_words_account_id ON search_words (account_id, word)")


def misspelt(name: str) -> str:
    """With two letters in the middle exchanged, as a hand does it."""
    return name[:3] + name[4] + name[3] + name[5:]


QUESTIONS: dict[str, Callable[[Person], str]] = {
    "a family name": lambda one: one.family,
    "Martin": lambda _one: "martin",
    "a given and a family name": lambda one: f"{one.family} {one.given}",
    "Jean Martin": lambda _one: "jean martin",
    "Martin and an initial": lambda one: f"martin {one.given[0]}",
    "a beginning that one in five has (`ext`)": lambda _one: "ext",
    "two letters (`ma`)": lambda _one: "ma",
    "a whole address": lambda one: one.email,
    "a domain and a name": lambda one: f"@courriel {one.family}",
    "a user name": lambda one: one.username,
    "Moodle’s number": lambda one: f"moodle:{10_000 + one.number}",
    "nobody": lambda one: f"zzq{one.number}",
    "a typing error": lambda one: misspelt(one.family),
}


def measure(database: Database, settings: Settings, count: int, times: int) -> list[tuple[str, float, float]]:
    """Median and 99th percentile in milliseconds, by kind of question."""
    draw, figures = random.Random(7), []
    for what, question in QUESTIONS.items():
        took = []
        for _ in range(times):
            asked = question(Person(draw.randrange(1, min(count, DRAWN) + 1)))
            began = time.perf_counter()
            with database.read() as session:
                search(session, settings, VIEWER, asked)
            took.append((time.perf_counter() - began) * 1000)
        took.sort()
        figures.append((what, statistics.median(took), took[min(len(took) - 1, int(0.99 * len(took)))]))
    return figures


@contextmanager
def fresh(kind: str) -> Iterator[str]:
    """The address of an empty database."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="bench-search-") as folder:
            yield f"sqlite:///{folder}/search.db"
        return
    binaries = _find_binaries()
    if binaries is None:
        raise SystemExit("PostgreSQL is not installed.")
    with running_postgresql(binaries) as server:
        yield server.create_database()


def run(kind: str, count: int, times: int) -> None:
    with fresh(kind) as url:
        settings = build(
            settings_values(
                Path("/tmp"),
                database_url=url,
                sites=[{"name": "updago", "url": "https://moodle.example", "token": "x" * 32}],
                upstreams=[{"issuer": "sel", "cas_url": "https://cas.univ.example/cas"}],
            )
        )
        database = Database(url)
        migrations.upgrade(database)
        seconds = fill(database, count)
        with database.read() as session:
            words = session.scalar(select(func.count()).select_from(SearchWord)) or 0
            size = session.scalar(text(_SIZES[kind])) or 0
        load = os.getloadavg()[0]
        print(f"\n{kind}, {count} accounts, {words} words, {size / 2**20:.0f} MiB, words written in {seconds:.0f} s")
        for what, median, worst in measure(database, settings, count, times):
            print(f"| {what} | {median:.1f} | {worst:.1f} |", flush=True)
        print(f"load {load:.1f} before, {os.getloadavg()[0]:.1f} after")
        database.close()


_SIZES = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "postgresql": "SELECT pg_total_relation_size('search_words')",
}
"""Of the whole file, and of the words with their indexes."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--accounts", type=int, nargs="+", default=[1000, 100_000, 1_000_000])
    parser.add_argument("--times", type=int, default=50)
    options = parser.parse_args(arguments)
    for count in options.accounts:
        run(options.kind, count, options.times)


if __name__ == "__main__":
    main()
