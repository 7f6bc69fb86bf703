"""A bridge's background work as processes of its own, seen from the mail server and the database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from external_accounts import outbox
from external_accounts.database import Database
from external_accounts.schema import OutboxMail
from lms_bridge.runtime import Runtime, build_runtime
from lms_bridge.settings import build
from tests.bridge_under_test import settings_values
from tests.lms_bridge.sync.conftest import world
from tests.message_brokers import broker, rabbitmq, redis
from tests.migrated import migrate
from tests.peers.mail_server import MailServer, running_mail_server
from tests.peers.programs import reserved_port
from tests.served_bridge import to_toml

__all__ = ["broker", "rabbitmq", "redis", "world"]

MAIL = {"display_name": "Ada", "link": "https://bridge.example/", "code": None, "deadline": "-", "service_label": None}
SECONDS = 60
"""For anything that should happen soon, on a busy machine."""


def eventually(what: Callable[[], Any], *, seconds: float = SECONDS) -> Any:
    """The first true value of `what`, looked for until the deadline."""
    deadline = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)
    return value


class Hold:
    """Makes the mail server wait before it answers for a recipient, so that a worker can be caught at work."""

    def __init__(self, recipient: str) -> None:
        self._recipient = recipient
        self.reached = threading.Event()
        self._released = threading.Event()

    def __call__(self, address: str) -> str:
        if address == self._recipient and not self._released.is_set():
            self.reached.set()
            assert self._released.wait(SECONDS)
        return "250 OK"

    def release(self) -> None:
        self._released.set()


def command_process(config: Path, *words: str, **options: Any) -> subprocess.Popen[bytes]:
    """`lms-bridge …` with these settings and no others, as a process that the caller stops."""
    program = [sys.executable, "-W", "ignore", "-c", "from lms_bridge.cli import main; main()"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LMS_BRIDGE_")}
    return subprocess.Popen([*program, "--config", str(config), *words], env=environment, **options)


@dataclass
class Works:
    """The settings of a bridge, its database, its mail server, and processes on all of them."""

    folder: Path
    mail: MailServer
    values: dict[str, Any]
    runtime: Runtime
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def command(self, *words: str) -> subprocess.Popen[bytes]:
        """`lms-bridge …` as a process, stopped at the end of the test."""
        config = self.folder / "lms-bridge.toml"
        config.write_text(to_toml(self.values), encoding="utf-8")
        with (self.folder / "processes.log").open("ab") as log:
            process = command_process(config, *words, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def worker(self, *words: str) -> subprocess.Popen[bytes]:
        return self.command("worker", *words)

    def put_to_sleep(self, process: subprocess.Popen[bytes]) -> None:
        """Stop a process between two transactions: in one, it would keep everybody else from writing to SQLite."""
        impatient = Database(self.runtime.settings.database_url, patience=0.5)
        try:
            while True:
                process.send_signal(signal.SIGSTOP)
                with suppress(OperationalError), impatient.begin():
                    return
                process.send_signal(signal.SIGCONT)
        finally:
            impatient.close()

    def write_mails(self, *recipients: str) -> None:
        """Put mails into the outbox in one transaction."""
        with self.runtime.database.begin() as session:
            for recipient in recipients:
                outbox.enqueue(
                    session,
                    "confirm_address",
                    recipient,
                    locale="fr",
                    now=self.runtime.clock(),
                    mail_domain="univ.example",
                    context=MAIL,
                )

    def mails(self) -> list[OutboxMail]:
        with self.runtime.database.read() as session:
            return list(session.scalars(select(OutboxMail).order_by(OutboxMail.id)))

    def states(self) -> set[str]:
        return {mail.state for mail in self.mails()}

    def received(self) -> list[str]:
        """Recipients of what the mail server has taken."""
        return sorted(str(message["To"]) for message in list(self.mail.accepted))

    def let_leases_end(self) -> None:
        """As if the time of every lease were over."""
        past = self.runtime.clock() - timedelta(seconds=1)
        with self.runtime.database.begin() as session:
            session.execute(update(OutboxMail).where(OutboxMail.leased_until.is_not(None)).values(leased_until=past))

    def log(self) -> str:
        return (self.folder / "processes.log").read_text(errors="replace")


def end(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> int:
    """Send a signal and wait for the end; returns the exit code."""
    process.send_signal(number)
    return process.wait(SECONDS)


def addresses(count: int, name: str = "m") -> list[str]:
    return [f"{name}{number:02d}@mail.example" for number in range(count)]


def worker_caught_at(works: Works, waiting: list[str], recipient: str) -> tuple[subprocess.Popen[bytes], Hold]:
    """A worker that has mails to all `waiting` in hand, and waits for the mail server to answer for `recipient`."""
    works.write_mails(*waiting)
    works.mail.to_recipient = hold = Hold(recipient)
    worker = works.worker()
    assert hold.reached.wait(SECONDS)
    return worker, hold


def check_a_clean_stop(works: Works, number: int) -> None:
    """A worker that gets the signal finishes what it has in hand, and says that all is well."""
    worker, hold = worker_caught_at(works, addresses(3), "m01@mail.example")
    worker.send_signal(number)
    hold.release()
    assert worker.wait(SECONDS) == 0
    assert works.states() == {"sent"}
    assert works.received() == addresses(3)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/works.db"
    url: str = request.getfixturevalue("postgresql").create_database()
    return url


@pytest.fixture
def broker_url() -> str:
    """None, unless a test module says otherwise."""
    return ""


@pytest.fixture
def works(tmp_path: Path, database_url: str, broker_url: str) -> Iterator[Works]:
    with ExitStack() as stack:
        port = stack.enter_context(reserved_port())
        mail = stack.enter_context(running_mail_server(port))
        values = settings_values(
            tmp_path,
            database_url=database_url,
            jobs={"broker_url": broker_url},
            mail={"host": "127.0.0.1", "port": port, "security": "none", "sender": "noreply@univ.example"},
        )
        runtime = build_runtime(build(values))
        stack.callback(runtime.close)
        migrate(runtime.database)
        found = Works(tmp_path, mail, values, runtime)
        try:
            yield found
        finally:
            for process in found.processes:
                if process.poll() is None:
                    process.kill()
                process.wait()
            if found.processes:
                print(found.log()[-20_000:])  # pytest shows it when the test has failed
