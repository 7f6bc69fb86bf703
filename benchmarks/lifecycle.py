"""`python -m benchmarks.lifecycle`: what a plan, a forecast and a run of the life cycle cost over many accounts.

The accounts are a university some years old: most rights run on, a part ends in the months to come, a part is in
retention (closed already, most of it weeks from its erasure), and a handful is due today.
"""

from __future__ import annotations

import argparse
import resource
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import text

from external_accounts.database import Base, Database, stored_time
from external_accounts.lifecycle_forecast import cohorts, forecast, horizon
from lms_bridge import migrations
from lms_bridge.lifecycle import runs
from lms_bridge.lifecycle.terms import terms
from lms_bridge.ops import logs
from lms_bridge.runtime import Runtime, build_runtime
from lms_bridge.settings import load

NOW = datetime(2026, 11, 25, 2, 0, tzinfo=UTC)
PROFILES = {"staff": 12, "vacataire": 6, "hosted": 6, "other_staff": 3, "learner": None}
_SETTINGS = """
public_url = "http://127.0.0.1:1"
secret_keys = ["{key}"]
database_url = "{database_url}"
log_level = "error"
[institution]
help_email = "help@univ.example"
[mail]
host = "127.0.0.1"
port = 9
security = "none"
sender = "noreply@univ.example"
"""
_PROFILE = """
[[profiles]]
name = "{name}"
label = {{ fr = "{name}", en = "{name}" }}
"""

_ACCOUNTS = """
INSERT INTO accounts (username, key, profile, given_name, family_name, language, created_at, activated_at,
  suspension_reason, birth_name, unit, directory, rights_end_at, version) {series}
SELECT 'p' || i, {padded},
  CASE i % 5 WHEN 0 THEN 'staff' WHEN 1 THEN 'vacataire' WHEN 2 THEN 'hosted' WHEN 3 THEN 'other_staff'
  ELSE 'learner' END, 'Camille', 'Martin', '', :created, :created, '', '', '', '',
  CASE WHEN i % 10 < 6 THEN {ahead} WHEN i % 10 < 8 THEN {soon} WHEN i % 10 = 8 THEN {past} ELSE NULL END, 1 FROM n"""
"""Six in ten end one to three years ahead, two within a year, one ended up to a year ago, one has no end."""
_SQLITE = {
    "series": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :size)",
    "padded": "printf('%020d', i)",
    "ahead": "strftime('%Y-%m-%d 22:59:00.000000', :now, '+' || (365 + i % 730) || ' days')",
    "soon": "strftime('%Y-%m-%d 22:59:00.000000', :now, '+' || (i / 10 % 365) || ' days')",
    "past": "strftime('%Y-%m-%d 22:59:00.000000', :now, '-' || (1 + i / 10 % 365) || ' days')",
}
_TODAY = "date_trunc('day', CAST(:now AS timestamptz)) + interval '23 hours'"
_POSTGRESQL = {
    "series": "WITH n(i) AS (SELECT generate_series(1, CAST(:size AS integer)))",
    "padded": "lpad(CAST(i AS text), 20, '0')",
    "ahead": _TODAY + " + (365 + i % 730) * interval '1 day'",
    "soon": _TODAY + " + (i / 10 % 365) * interval '1 day'",
    "past": _TODAY + " - (1 + i / 10 % 365) * interval '1 day'",
}
_NOTICES = (
    """INSERT INTO lifecycle_notices (account_id, kind, about, at)
    SELECT id, 'closed', rights_end_at, rights_end_at FROM accounts WHERE rights_end_at < :yesterday""",
    """INSERT INTO lifecycle_notices (account_id, kind, about, at)
    SELECT id, 'rights_30_days', rights_end_at, :now FROM accounts
    WHERE rights_end_at >= :yesterday AND rights_end_at < :warned""",
)


@contextmanager
def university(size: int, postgresql: str | None) -> Iterator[Runtime]:
    with tempfile.TemporaryDirectory(prefix="bench-lifecycle-") as folder:
        config = Path(folder) / "lms-bridge.toml"
        database_url = postgresql or f"sqlite:///{folder}/bridge.db"
        profiles = "".join(
            _PROFILE.format(name=name) + (f"retention_months = {months}\n" if months else "")
            for name, months in PROFILES.items()
        )
        config.write_text(
            _SETTINGS.format(key=secrets.token_hex(32), database_url=database_url) + profiles, encoding="utf-8"
        )
        runtime = build_runtime(load(config), clock=lambda: NOW)
        try:
            migrations.upgrade(runtime.database)
            fill(runtime.database, size)
            yield runtime
        finally:
            runtime.close()


def fill(database: Database, size: int) -> None:
    """People by the million, in a few statements."""

    def moment(days: int) -> object:
        when = NOW + timedelta(days=days)
        return stored_time(when) if database.is_sqlite else when

    values = {"now": moment(0), "created": moment(-2000), "yesterday": moment(-1), "warned": moment(29), "size": size}
    words = _SQLITE if database.is_sqlite else _POSTGRESQL
    with database.engine.begin() as connection:
        if not database.is_sqlite:
            connection.execute(text("SET statement_timeout = 0"))
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())
        if not database.is_sqlite:
            connection.execute(text("ALTER SEQUENCE accounts_id_seq RESTART"))
        for statement in (_ACCOUNTS.format(**words), *_NOTICES):
            used = {name: value for name, value in values.items() if f":{name}" in statement}
            connection.execute(text(statement), used)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


def timed(what: str, work: Callable[[], object]) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, used = time.perf_counter(), time.process_time()
    found = work()
    seconds, used = time.perf_counter() - started, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(
        f"| {what} | {seconds:.1f} s | {used:.1f} s | {peak / 1024:.0f} MiB (was {before / 1024:.0f}) | {found} |\n"
    )


def measure(runtime: Runtime, writes: bool) -> None:
    def plan() -> str:
        found = runs.make_plan(runtime, NOW)
        return f"{found.read} of {found.living} read, {found.size} steps due"

    def months() -> str:
        zone = runtime.settings.zone
        until = horizon(NOW, 12, zone)
        with runtime.database.read() as session:
            found = forecast(cohorts(session, NOW, until), {"now": terms(runtime).policies}, NOW, until, zone)
        return f"{sum(found['now'].values())} steps in 12 months"

    def apply() -> str:
        report = runs.run(runtime, actor="benchmark", checksum=runs.make_plan(runtime, NOW).checksum)
        return f"{sum(report.done.values())} steps taken"

    timed("plan", plan)
    timed("simulate, 12 months", months)
    if writes:
        timed("apply", apply)
        timed("plan after it", plan)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lifecycle", description=__doc__)
    parser.add_argument("--accounts", type=int, default=1_000_000)
    parser.add_argument("--postgresql", metavar="URL", help="postgresql+psycopg://user@127.0.0.1:port/name, emptied")
    parser.add_argument("--apply", action="store_true", help="take the steps too")
    chosen = parser.parse_args()
    logs.configure("error", "console")
    with university(chosen.accounts, chosen.postgresql) as runtime:
        sys.stdout.write(f"{chosen.accounts} accounts, {'PostgreSQL' if chosen.postgresql else 'SQLite'}\n\n")
        sys.stdout.write("| what | seconds | CPU of this process | memory | |\n|---|---|---|---|---|\n")
        measure(runtime, chosen.apply)


if __name__ == "__main__":
    main()
