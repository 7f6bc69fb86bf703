"""`python -m benchmarks.audit`: what the audit trail costs, on SQLite or on a PostgreSQL of its own.

Appending is measured on the transaction of a sign-in without its password hash: a session and two events, beside the
same rows without the chain's index. Then a long trail is sealed, verified in the database and in a file.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import insert, text

from external_accounts import audit, audit_files, audit_sealing, audit_verification
from external_accounts.accounts import Person
from external_accounts.addresses import parse_address
from external_accounts.audit import Origin
from external_accounts.database import Database
from external_accounts.identities import LOCAL, create_local_account
from external_accounts.keys import Keys
from external_accounts.schema import AuditEvent
from lms_bridge import migrations
from lms_bridge.settings.sections import Sessions
from lms_bridge.signin import sessions
from tests.postgresql_server import _find_binaries, running_postgresql

SIGN_INS = 500
ORIGIN = Origin(network="192.0.2.7")


@contextmanager
def fresh(kind: str) -> Iterator[Database]:
    """A migrated, empty database."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield from _opened(f"sqlite:///{folder}/audit.db")
        return
    binaries = _find_binaries()
    if binaries is None:
        raise SystemExit("PostgreSQL is not installed.")
    with running_postgresql(binaries) as server:
        yield from _opened(server.create_database())


def _opened(url: str) -> Iterator[Database]:
    database = Database(url)
    migrations.upgrade(database)
    yield database
    database.close()


def sign_ins(database: Database, account_id: int, identity_id: int) -> list[float]:
    """Milliseconds of each transaction."""
    now, taken = datetime.now(UTC), []
    for _ in range(SIGN_INS):
        began = time.perf_counter()
        with database.begin() as session:
            audit.record(session, "signin.local", outcome="ok", now=now, origin=ORIGIN, account_id=account_id)
            sessions.start(
                session,
                account_id=account_id,
                identity_id=identity_id,
                issuer=LOCAL,
                limits=Sessions(),
                now=now,
                origin=ORIGIN,
                user_agent="",
            )
        taken.append((time.perf_counter() - began) * 1000)
    return taken


def append_cost(database: Database) -> None:
    """With everything, without the index of what waits, and with no event at all; in turn, three rounds."""
    with database.begin() as session:
        account = create_local_account(
            session,
            username="ext.ada",
            profile="learner",
            person=Person("Ada", "Lovelace"),
            email=parse_address("ada@mail.example"),
            password_hash="$argon2id$none",
            now=datetime.now(UTC),
            origin=audit.SYSTEM,
        )
        account_id, identity_id = account.id, account.identities[0].id
    where = {True: [], False: [], None: []}  # type: dict[bool | None, list[float]]
    recording = audit.record
    for _round in range(3):
        where[True] += sign_ins(database, account_id, identity_id)
        with database.begin() as session:
            session.execute(text("DROP INDEX ix_audit_events_unsealed"))
        where[False] += sign_ins(database, account_id, identity_id)
        with database.begin() as session:
            session.execute(text("CREATE INDEX ix_audit_events_unsealed ON audit_events (id) WHERE position IS NULL"))
        audit.record = lambda *_a, **_k: None
        where[None] += sign_ins(database, account_id, identity_id)
        audit.record = recording
    for name, kind in (("as shipped", True), ("without the chain's index", False), ("without any event", None)):
        sys.stdout.write(f"a sign-in's transaction, {name}: {statistics.median(where[kind]):.2f} ms (median)\n")


def fill(database: Database, count: int) -> None:
    """Events like those of a sign-in, unsealed."""
    row = {
        "at": datetime.now(UTC),
        "event": "session.started",
        "outcome": "ok",
        "account_id": 1,
        "actor": "",
        "network": "192.0.2.7",
        "details": {"issuer": "local"},
    }
    for first in range(0, count, 10_000):
        with database.begin() as session:
            session.execute(insert(AuditEvent), [row] * min(10_000, count - first))


def run(database: Database, count: int) -> None:
    keys = Keys(["k" * 32])
    append_cost(database)
    fill(database, count)
    began, longest, done = time.perf_counter(), 0.0, 0
    while True:
        batch = time.perf_counter()
        with database.begin() as session:
            sealed = audit_sealing.seal(session, keys, now=datetime.now(UTC)).events
        longest = max(longest, time.perf_counter() - batch)
        done += sealed
        if not sealed:
            break
    seconds = time.perf_counter() - began
    sys.stdout.write(f"sealed {done} events: {done / seconds:.0f}/s, longest batch {longest * 1000:.0f} ms\n")
    before = _memory()
    began = time.perf_counter()
    report = audit_verification.verify(database, keys)
    seconds = time.perf_counter() - began
    assert report.whole, report.findings
    grown = _memory() - before
    sys.stdout.write(f"verified {report.events} events in {seconds:.1f} s: {report.events / seconds:.0f}/s, ")
    sys.stdout.write(f"{grown:.0f} MiB more memory at the peak\n")
    with tempfile.TemporaryDirectory() as folder:
        _file(database, keys, Path(folder) / "trail.jsonl")


def _file(database: Database, keys: Keys, path: Path) -> None:
    began = time.perf_counter()
    with database.read() as session, path.open("w", encoding="utf-8") as out:
        part = audit_files.stretch(session, since=None, until=None, account_id=None)
        for line in audit_files.write(session, keys, part):
            out.write(line + "\n")
    wrote = time.perf_counter() - began
    began, before = time.perf_counter(), _memory()
    with path.open("rb") as lines:
        report = audit_files.verify(lines, keys)
    seconds = time.perf_counter() - began
    assert report.whole, report.findings
    size = path.stat().st_size / 1024 / 1024
    sys.stdout.write(f"exported in {wrote:.1f} s ({size:.0f} MiB); the file verified in {seconds:.1f} s: ")
    sys.stdout.write(f"{report.events / seconds:.0f}/s, {_memory() - before:.0f} MiB more memory at the peak\n")


def _memory() -> float:
    """The highest memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    options = parser.parse_args()
    sys.stdout.write(f"{options.database}, {options.events} events, load {os.getloadavg()[0]:.1f} at the start\n")
    with fresh(options.database) as database:
        run(database, options.events)
    sys.stdout.write(f"load {os.getloadavg()[0]:.1f} at the end\n")


if __name__ == "__main__":
    main()
