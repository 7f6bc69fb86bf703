"""A bridge to measure: its folder, settings and database, in this process or as the installed command."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text

from benchmarks.emptied import forget_everything
from benchmarks.servers import BIN
from benchmarks.sync import people
from benchmarks.sync.moodle import TOKEN, Moodle
from external_accounts.database import Database
from lms_bridge import migrations
from lms_bridge.runtime import Runtime, build_runtime, utc_now
from lms_bridge.settings import load
from lms_bridge.sync.runs import Orders, Progress, Report, run_site, tools_of
from lms_bridge.sync.sites import enrol_sites

SITE = "updago"

_SETTINGS = """
public_url = "{public_url}"
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
[[upstreams]]
issuer = "sel"
cas_url = "https://cas.univ.example/cas"
[[services]]
name = "updago"
label = {{ fr = "UPdago", en = "UPdago" }}
url = "{moodle}/login/index.php"
site = "updago"
[[sites]]
name = "updago"
url = "{moodle}"
token = "{token}"
canary = "{canary}"
parallel_calls = {parallel_calls}
nightly = ""
"""


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge whose database is filled."""

    folder: Path
    config: Path
    runtime: Runtime
    moodle: Moodle

    def plan(self) -> Report:
        return self._run(Orders(write=False))

    def apply(self, checksum: str, *, progress: Progress = lambda *_: None) -> Report:
        """A run as an operator starts it who has looked at the plan."""
        report = self._run(Orders(write=True, checksum=checksum), progress)
        assert report.outcome in ("done", "nothing"), report
        return report

    def _run(self, orders: Orders, progress: Progress = lambda *_: None) -> Report:
        return run_site(tools_of(self.runtime, SITE), SITE, orders, self.folder, progress=progress)


@contextmanager
def filled_bridge(
    moodle: Moodle,
    count: int,
    *,
    mirrored: bool,
    parallel_calls: int = 2,
    postgresql: str | None = None,
    public_url: str = "http://127.0.0.1:1",
) -> Iterator[Bridge]:
    """A bridge with `count` accounts. `mirrored`: Moodle has all of them, and the bridge knows; else it has nobody."""
    moodle.empty()
    folder = Path(tempfile.mkdtemp(prefix="bench-sync-"))
    config = folder / "lms-bridge.toml"
    config.write_text(
        _SETTINGS.format(
            public_url=public_url,
            key=secrets.token_hex(32),
            database_url=postgresql or f"sqlite:///{folder}/bridge.db",
            moodle=moodle.url,
            token=TOKEN,
            canary=people.CANARY,
            parallel_calls=parallel_calls,
        )
    )
    runtime = build_runtime(load(config))
    try:
        _fill(runtime.database, count, mirrored=mirrored)
        if mirrored:
            moodle.fill(count)
        enrol_sites(runtime.database, runtime.sites)
        moodle.calls()
        yield Bridge(folder, config, runtime, moodle)
    finally:
        runtime.close()
        shutil.rmtree(folder, ignore_errors=True)


def _fill(database: Database, count: int, *, mirrored: bool) -> None:
    forget_everything(database)
    migrations.upgrade(database)
    people.add_accounts(database, count, utc_now())
    if mirrored:
        people.add_mirrors(database, count, SITE, utc_now())


def change_names(database: Database, given_name: str, count: int) -> None:
    """Give the first `count` people another first name, as one statement."""
    with database.begin() as session:
        session.execute(
            text("UPDATE accounts SET given_name = :name, version = version + 1 WHERE id <= :last"),
            {"name": given_name, "last": count},
        )


@contextmanager
def command(bridge: Bridge, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """`lms-bridge` with these arguments, until the end of the block."""
    program = [str(BIN / "lms-bridge"), "--config", str(bridge.config), *arguments]
    process = subprocess.Popen(program, stdout=sys.stderr, stderr=sys.stderr)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)
