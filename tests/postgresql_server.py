"""A throw-away PostgreSQL cluster on a free loopback port, made of the installed programs.

Nothing of the machine's own PostgreSQL is touched: data lives in a temporary folder, there is no Unix socket, nothing
is synced to disk, and the server is stopped by its process id.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.outside_programs import require

OWNER = "bridge"
START_SECONDS = 60
_SPEED = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "autovacuum": "off",
}


class PostgresqlServer:
    """A running cluster. Databases are made on demand and go with it."""

    def __init__(self, port: int) -> None:
        self.port = port

    def create_database(self, *, like: str | None = None) -> str:
        """Make a database, empty or a copy of database `like` (its URL), and return its URL for the settings."""
        name = f"bridge_{secrets.token_hex(6)}"
        template = f' TEMPLATE "{like.rpartition("/")[2]}"' if like else ""
        self.execute("postgres", f'CREATE DATABASE "{name}"{template}')
        return f"postgresql+psycopg://{OWNER}@127.0.0.1:{self.port}/{name}"

    def drop_database(self, url: str) -> None:
        """Drop a database that `create_database` made, whoever is still connected."""
        self.execute("postgres", f'DROP DATABASE "{url.rpartition("/")[2]}" WITH (FORCE)')

    def execute(self, database: str, statement: str) -> None:
        with psycopg.connect(host="127.0.0.1", port=self.port, user=OWNER, dbname=database, autocommit=True) as session:
            session.execute(statement.encode())


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """A cluster for this process's tests: skipped, or failed where it is demanded, when PostgreSQL is missing."""
    binaries = require("PostgreSQL (postgresql)", _find_binaries())
    with running_postgresql(binaries) as server:
        yield server


@contextmanager
def running_postgresql(binaries: Path) -> Iterator[PostgresqlServer]:
    """Make a cluster with the programs of the folder `binaries`, start it, and remove it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="lms-bridge-postgresql-"))
    # PostgreSQL refuses to run as root.
    identity = _identity()
    if identity:
        os.chown(folder, identity["user"], identity["group"])
    data = folder / "data"
    process: subprocess.Popen[bytes] | None = None
    try:
        initdb = [binaries / "initdb", "--pgdata", data, "--username", OWNER, "--auth", "trust", "--no-sync"]
        _run([*initdb, "--encoding", "UTF8", "--locale", "C"], cwd=folder, **identity)
        port, process = _start(binaries, data, folder, identity)
        yield PostgresqlServer(port)
    finally:
        if process is not None:
            process.send_signal(signal.SIGINT)  # "fast": closes the connections that tests forgot
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGQUIT)
                process.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def _start(binaries: Path, data: Path, folder: Path, identity: dict[str, Any]) -> tuple[int, subprocess.Popen[bytes]]:
    for _attempt in range(5):  # somebody else may take the port between our look and the start
        port = _free_port()
        options = {**_SPEED, "port": str(port), "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        arguments = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [binaries / "postgres", "-D", data, *arguments], cwd=folder, stdout=output, stderr=output, **identity
            )
        if _answers(port, process):
            return port, process
        if process.poll() is None:
            process.send_signal(signal.SIGQUIT)
            process.wait(timeout=30)
    raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text(errors='replace')}")


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            psycopg.connect(host="127.0.0.1", port=port, user=OWNER, dbname="postgres", connect_timeout=5).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return True
    return False


def _find_binaries() -> Path | None:
    """The folder of `initdb` and `postgres`: the newest of Debian's, or the one on PATH."""
    debian = sorted(
        (path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")),
        key=lambda folder: int(folder.parent.name) if folder.parent.name.isdecimal() else 0,
    )
    on_path = shutil.which("initdb")
    return debian[-1] if debian else Path(on_path).resolve().parent if on_path else None


def _identity() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise RuntimeError("PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`")


def _run(command: list[Any], **options: Any) -> None:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False, **options
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout.decode(errors='replace')}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
