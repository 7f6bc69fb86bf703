"""The shipped processes under load, killed with SIGKILL at random moments and started again.

A world is `lms-bridge serve` (two web workers, which do the background work too) and `lms-bridge worker`, a real mail
server that notes what it took and which conversations ended without a word, and people who do something. What people
do is pluggable: an `Act`. What must hold afterwards is for the test to say.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import requests
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope

from tests.bridge_under_test import Browser
from tests.served_bridge import to_toml

START_SECONDS = 60
PATIENCE_SECONDS = 60
MAIL_SERVER_SECONDS = 0.01
"""What the mail server takes over each mail: the moment in which a sender can die without the answer."""

COMMAND = [sys.executable, "-c", "from lms_bridge.cli import main; main()"]


@dataclass
class NotingMailServer:
    """Takes everything. A sender that lives always has another word after a mail: the next one, or goodbye."""

    accepted: list[EmailMessage] = field(default_factory=list)
    last_words: dict[int, str | None] = field(default_factory=dict)
    """By conversation: the Message-ID of the mail it ended with, as far as nothing came after it."""

    def unanswered(self) -> Counter[str]:
        """How often a mail was the last word of its sender: it may not know that the mail was taken."""
        return Counter(message_id for message_id in self.last_words.values() if message_id)

    def message_ids(self) -> Counter[str]:
        return Counter(str(message["Message-ID"]) for message in list(self.accepted))

    def mail_to(self, recipient: str, *, patience: float) -> EmailMessage | None:
        """The mail of somebody, as soon as it is there; None after `patience` seconds."""
        with self._arrival:
            self._arrival.wait_for(lambda: recipient in self._mails, timeout=patience)
            return self._mails.get(recipient)

    async def handle_MAIL(
        self, _server: Any, session: Any, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        self.last_words[id(session)] = None
        # Kept: another session object must not get this one's number.
        self._sessions.append(session)
        envelope.mail_from = address
        return "250 OK"

    async def handle_DATA(self, _server: Any, session: Any, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        with self._arrival:
            self.accepted.append(message)
            self._mails[str(message["To"])] = message
            self._arrival.notify_all()
        self.last_words[id(session)] = str(message["Message-ID"])
        await asyncio.sleep(MAIL_SERVER_SECONDS)
        return "250 OK"

    async def handle_QUIT(self, _server: Any, session: Any, _envelope: Envelope) -> str:
        self.last_words[id(session)] = None
        return "221 Bye"

    _sessions: list[Any] = field(default_factory=list)
    _mails: dict[str, EmailMessage] = field(default_factory=dict)
    _arrival: threading.Condition = field(default_factory=threading.Condition)


@contextmanager
def noting_mail_server(port: int) -> Iterator[NotingMailServer]:
    handler = NotingMailServer()
    controller = Controller(handler, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield handler
    finally:
        controller.stop()


class Interrupted(Exception):
    """The server went away: whether the act took effect, nobody knows."""


Act = Callable[["KilledWorld", Browser, int], None]
"""What person number n does with their browser, from the beginning or from where it was interrupted.

Ends without an exception when there is no more to do. What the bridge said was done is noted in `world.said`.
"""


class KilledWorld:
    """The processes, and the hand that kills them."""

    def __init__(self, folder: Path, settings: dict[str, Any], port: int, mail: NotingMailServer, seed: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.mail = mail
        self.killed: Counter[str] = Counter()
        self.said: defaultdict[str, set[int]] = defaultdict(set)
        """What the bridge said to whom that it was done."""
        self._random = random.Random(seed)
        self._log = folder / "processes.log"
        self._config = folder / "lms-bridge.toml"
        self._config.write_text(to_toml({**settings, "public_url": self.url}), encoding="utf-8")
        self._port = port
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._over = threading.Event()

    def start(self) -> None:
        for name in ("serve", "worker"):
            self._begin(name)
        self._wait_for_an_answer()

    def stop(self) -> None:
        self._over.set()
        for process in self._running.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def live_through(self, kills: int, act: Act, *, people: int, errand: Callable[[], None]) -> None:
        """Let `people` at a time act, one person after the other, while `kills` processes are killed.

        `errand` is done again and again meanwhile, by a process that lives.
        """
        numbers = iter(range(1_000_000))
        lock = threading.Lock()

        def lives() -> None:
            while not self._over.is_set():
                with lock:
                    number = next(numbers)
                self._persist(act, number)

        def runs_errands() -> None:
            while not self._over.wait(0.1):
                errand()

        threads = [*(threading.Thread(target=lives) for _ in range(people)), threading.Thread(target=runs_errands)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(kills):
                self._pause()
                self._kill_something()
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def _persist(self, act: Act, number: int) -> None:
        """Do it until the bridge says that it is done, as people do; or until all is over."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        browser = Browser(self.url)
        while time.monotonic() < deadline:
            try:
                act(self, browser, number)
            except (requests.RequestException, Interrupted):
                if self._over.is_set():
                    return
                self._over.wait(0.05)
            else:
                return
        raise AssertionError(f"person {number} is told nothing any more")

    def _pause(self) -> None:
        """Some moment: the kills must not fall into step with anything."""
        self._over.wait(self._random.uniform(0.05, 1.0))

    def _kill_something(self) -> None:
        draw = self._random.random()
        if draw < 0.04:
            self._kill_and_restart("serve")
        elif draw < 0.2:
            self._kill_and_restart("worker")
        else:
            self._kill_a_web_worker()

    def _kill_and_restart(self, name: str) -> None:
        process = self._running[name]
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.killed[name] += 1
        self._begin(name)
        if name == "serve":
            self._wait_for_an_answer()

    def _kill_a_web_worker(self) -> None:
        """The master starts another one by itself."""
        master = self._running["serve"].pid
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
            if children:
                with suppress(ProcessLookupError):
                    os.kill(int(self._random.choice(children)), signal.SIGKILL)
                    self.killed["web worker"] += 1
                    return
            self._over.wait(0.02)
        raise AssertionError("the server starts no workers any more")

    def _begin(self, name: str) -> None:
        extra = ["--bind", f"127.0.0.1:{self._port}", "--workers", "2"] if name == "serve" else []
        environment = {key: value for key, value in os.environ.items() if not key.startswith("LMS_BRIDGE_")}
        with self._log.open("ab") as output:
            self._running[name] = subprocess.Popen(
                [*COMMAND, "--config", str(self._config), name, *extra],
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )

    def _wait_for_an_answer(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                requests.get(f"{self.url}/healthz", timeout=5)
            except requests.RequestException:
                self._over.wait(0.05)
            else:
                return
        raise AssertionError(f"the bridge did not start:\n{self._log.read_text(errors='replace')[-3000:]}")
