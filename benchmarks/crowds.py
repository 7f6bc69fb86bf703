"""`python -m benchmarks.crowds`: what many accounts do to the work of a sign-in and of a forgotten password.

Everything runs in this process, with a hash that costs nothing, so that what remains is the bridge's own work and the
database's. Flat is the goal: a million accounts must cost what a thousand do.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from urllib.parse import quote

from flask import Flask
from sqlalchemy import text

from benchmarks.emptied import forget_everything
from external_accounts.database import stored_time
from external_accounts.passwords import PasswordHashing
from lms_bridge import migrations
from lms_bridge.app import create_app
from lms_bridge.jobs import functions
from lms_bridge.ops import logs
from lms_bridge.runtime import Runtime, build_runtime
from lms_bridge.settings import load

PASSWORD = "correct horse battery"
SERVICE = "https://app.univ.example/landing"
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
[throttle]
trusted_proxies = 1
[[services]]
name = "app"
label = {{ fr = "Appli", en = "App" }}
url = "{service}"
"""
_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


@contextmanager
def crowd(size: int, postgresql: str | None) -> Iterator[tuple[Runtime, Flask]]:
    """A bridge with `size` local accounts: `ext.p0000001` with `p0000001@mail.example` and so on."""
    with tempfile.TemporaryDirectory(prefix="bench-crowd-") as folder:
        config = Path(folder) / "lms-bridge.toml"
        database_url = postgresql or f"sqlite:///{folder}/bridge.db"
        config.write_text(
            _SETTINGS.format(key=secrets.token_hex(32), database_url=database_url, service=SERVICE), encoding="utf-8"
        )
        runtime = build_runtime(load(config))
        runtime.hashing.close()
        runtime = replace(runtime, hashing=PasswordHashing(time_cost=1, memory_kib=8))
        try:
            forget_everything(runtime.database)
            migrations.upgrade(runtime.database)
            fill(runtime, size)
            yield runtime, create_app(runtime)
        finally:
            runtime.close()


_PEOPLE = (
    """INSERT INTO accounts (username, key, profile, given_name, family_name, language, created_at, activated_at,
    suspension_reason, version) {series}
    SELECT 'ext.p' || {digits}, {padded}, 'learner', 'Camille', 'Numéro ' || i, '', :now, :now, '', 1 FROM n""",
    """INSERT INTO identities (account_id, issuer, subject, attributes, created_at, refreshed_at) {series}
    SELECT i, 'local', 'ext.p' || {digits}, '{{}}', :now, :now FROM n""",
    """INSERT INTO addresses (account_id, email, email_key, role, is_primary, created_at, confirmed_at, confirmed_by,
    lost_reason) {series}
    SELECT i, 'p' || {digits} || '@mail.example', 'p' || {digits} || '@mail.example', 'contact', {yes}, :now, :now,
    'proof', '' FROM n""",
    "INSERT INTO local_passwords (account_id, hash, set_at) {series} SELECT i, :hash, :now FROM n",
)
_SQLITE = {
    "series": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :size)",
    "digits": "printf('%07d', i)",
    "padded": "printf('%020d', i)",
    "yes": "1",
}
_POSTGRESQL = {
    "series": "WITH n(i) AS (SELECT generate_series(1, CAST(:size AS integer)))",
    "digits": "lpad(CAST(i AS text), 7, '0')",
    "padded": "lpad(CAST(i AS text), 20, '0')",
    "yes": "true",
}


def fill(runtime: Runtime, size: int) -> None:
    """People by the million, in four statements."""
    database = runtime.database
    now = runtime.clock()
    values = {
        "size": size,
        "now": stored_time(now) if database.is_sqlite else now,
        "hash": runtime.hashing.hash(PASSWORD),
    }
    with database.engine.begin() as connection:
        for template in _PEOPLE:
            statement = template.format(**(_SQLITE if database.is_sqlite else _POSTGRESQL))
            wanted = {name: value for name, value in values.items() if f":{name}" in statement}
            connection.execute(text(statement), wanted)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


class Visitors:
    """Strangers, each from an address of their own, so that no budget runs out."""

    def __init__(self, app: Flask, size: int) -> None:
        self._app, self._size = app, size
        self._numbers = count()

    def sign_in(self) -> float:
        """CPU seconds of the form's post, by user name and by address in turn."""
        who = self._somebody()
        named = f"ext.{who}" if next(self._numbers) % 2 else f"{who}@mail.example"
        return self._post(f"/signin/local?service={quote(SERVICE, safe='')}", identifier=named, password=PASSWORD)

    def forgot_somebody(self) -> float:
        return self._post("/account/forgot", username=f"ext.{self._somebody()}")

    def forgot_nobody(self) -> float:
        return self._post("/account/forgot", username=f"ext.nobody{next(self._numbers)}")

    def forgot_address(self) -> float:
        return self._post("/account/forgot", email=f"{self._somebody()}@mail.example")

    def _somebody(self) -> str:
        return f"p{secrets.randbelow(self._size) + 1:07d}"

    def _post(self, path: str, **fields: str) -> float:
        client = self._app.test_client()
        where = {"REMOTE_ADDR": "127.0.0.1"}
        headers = {"X-Forwarded-For": f"10.{secrets.randbelow(250)}.{secrets.randbelow(250)}.{secrets.randbelow(250)}"}
        page = client.get(path, environ_base=where, headers=headers)
        token = _TOKEN.search(page.text)
        assert token, page.status
        begun = time.process_time()
        answer = client.post(path, data={"csrf_token": token[1], **fields}, environ_base=where, headers=headers)
        spent = time.process_time() - begun
        assert answer.status_code in (302, 303), answer.text
        return spent


def timed(act: Callable[[], float], times: int) -> tuple[float, float, float]:
    """Median milliseconds of CPU, and p50 and p99 of the whole act by the clock."""
    spent, walls = [], []
    for _ in range(times):
        begun = time.perf_counter()
        spent.append(act() * 1000)
        walls.append((time.perf_counter() - begun) * 1000)
    walls.sort()
    return statistics.median(spent), walls[len(walls) // 2], walls[int(len(walls) * 0.99)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crowds", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--times", type=int, default=300)
    parser.add_argument("--postgresql", metavar="URL", help="postgresql+psycopg://user@127.0.0.1:port/name, emptied")
    chosen = parser.parse_args()
    logs.configure("error", "json")
    sys.stdout.write("| accounts | what | CPU ms | page and post, p50 ms | p99 ms |\n|---|---|---|---|---|\n")
    for size in chosen.sizes:
        begun = time.perf_counter()
        with crowd(size, chosen.postgresql) as (runtime, app):
            sys.stderr.write(f"{size} accounts written in {time.perf_counter() - begun:.0f} s\n")
            visitors = Visitors(app, size)

            acts = {
                "sign in": visitors.sign_in,
                "forgot, a user name": visitors.forgot_somebody,
                "forgot, nobody's name": visitors.forgot_nobody,
                "forgot, an address": visitors.forgot_address,
            }
            for what, act in acts.items():
                for _ in range(20):
                    act()
                figures = timed(act, chosen.times)
                sys.stdout.write(f"| {size} | {what} | " + " | ".join(f"{one:.2f}" for one in figures) + " |\n")
            begun, rounds = time.perf_counter(), 0
            while functions.answer_searches(runtime):
                rounds += 1
            waited = (time.perf_counter() - begun) * 1000
            sys.stdout.write(f"| {size} | looking up {3 * (chosen.times + 20)} searches | | {waited:.0f} in all | |\n")
            sys.stdout.flush()
    sys.stdout.write(f"\n{os.cpu_count()} cores\n")


if __name__ == "__main__":
    main()
