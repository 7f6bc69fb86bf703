"""The demo as people start it: the command in a process of its own, on four free ports."""

from __future__ import annotations

import os
import random
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import requests

COMMAND = Path(sys.executable).with_name("lms-bridge")
START_SECONDS = 60
STOP_SECONDS = 20

T = TypeVar("T")


class DemoEnded(Exception):
    """The command ended before it was ready; the text is what it wrote."""


@dataclass
class RunningDemo:
    """A demo that answers: its addresses, its accounts by case, and its process."""

    process: subprocess.Popen[bytes]
    printed: list[str]
    document: dict[str, Any]
    folder: Path

    @property
    def bridge(self) -> str:
        return str(self.document["urls"]["bridge"])

    @property
    def moodle(self) -> str:
        return str(self.document["urls"]["moodle"])

    @property
    def sel(self) -> str:
        return str(self.document["urls"]["sel"])

    @property
    def mailbox(self) -> str:
        return str(self.document["urls"]["mailbox"])

    @property
    def updago(self) -> str:
        """The service that the simulated UPdago names."""
        return f"{self.moodle}/login/index.php"

    def account(self, case: str) -> dict[str, str]:
        return next(account for account in self.document["accounts"] if account["case"] == case)

    def mails(self, case: str) -> list[dict[str, str]]:
        """The messages to this account, oldest first."""
        address = self.account(case)["email"]
        found = requests.get(f"{self.mailbox}/api/messages", timeout=20).json()
        return [mail for mail in found if mail["to"] == address]

    def mail(self, case: str, number: int = 1) -> dict[str, str]:
        """The account's message number `number`, as soon as it is there."""
        return eventually(lambda: self.mails(case)[number - 1 : number])[0]


def eventually(look: Callable[[], T], seconds: float = 15) -> T:
    """What `look` returns as soon as it is true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s; last seen: {found!r}"
        time.sleep(0.05)
    return found


def link_in(mail: dict[str, str]) -> str:
    """The link of a message, from its text part."""
    found = re.search(r"http://\S+/account/(?:confirm|reset)/\S+", mail["text"])
    assert found, mail["text"]
    return found.group(0)


def code_in(mail: dict[str, str]) -> str:
    """The typed code of a message, from its text part."""
    found = re.search(r"^[B-Z2-9]{4}-[B-Z2-9]{4}$", mail["text"], re.MULTILINE)
    assert found, mail["text"]
    return found.group(0)


@contextmanager
def running_demo(folder: Path | None = None, *options: str) -> Iterator[RunningDemo]:
    """Start the demo, wait until it is ready, and end it as Ctrl-C does."""
    demo = _start_somewhere([*(["--data", str(folder)] if folder else []), *options])
    try:
        yield demo
    finally:
        stop(demo.process)


def _start_somewhere(options: list[str]) -> RunningDemo:
    for _ in range(5):
        try:
            return start(free_ports(), options)
        except DemoEnded as ended:
            if "in use" not in str(ended):
                raise
    raise AssertionError("no four free ports in five tries")


def start(port: int | None, options: list[str], **variables: str) -> RunningDemo:
    """Start the demo at `port` (None: where `variables` of the environment say) and wait for its line `ready`.

    Raises:
        DemoEnded: it ended before.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LMS_BRIDGE_")}
    process = subprocess.Popen(
        [COMMAND, "demo", *(["--port", str(port)] if port else []), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment | variables,
        start_new_session=True,  # a group of its own, so that a test can see whether anything of it is left
    )
    try:
        printed = _lines_until_ready(process)
        mailbox = (port or int(variables["LMS_BRIDGE_DEMO_PORT"])) + 3
        document = requests.get(f"http://127.0.0.1:{mailbox}/api/demo", timeout=20).json()
    except BaseException:
        stop(process)
        raise
    return RunningDemo(process, printed, document, _folder(printed))


def _lines_until_ready(process: subprocess.Popen[bytes]) -> list[str]:
    assert process.stdout is not None
    assert process.stderr is not None
    deadline = time.monotonic() + START_SECONDS
    text = b""
    while not text.endswith(b"ready\n"):
        part = _read(process.stdout, deadline)
        if not part:
            process.wait(STOP_SECONDS)
            raise DemoEnded((text + process.stderr.read()).decode())
        text += part
    return text.decode().splitlines()


def _read(stream: IO[bytes], deadline: float) -> bytes:
    ready, _, _ = select.select([stream], [], [], max(0, deadline - time.monotonic()))
    assert ready, f"the demo was not ready within {START_SECONDS} s"
    return os.read(stream.fileno(), 65536)


def _folder(printed: list[str]) -> Path:
    line = next((line for line in printed if "--config" in line), None)
    return Path(shlex.split(line)[2]).parent if line else Path()


def stop(process: subprocess.Popen[bytes], number: int = signal.SIGINT) -> int:
    """End the process and return its exit status; kills it, and fails, when it does not end in time."""
    if process.poll() is None:
        process.send_signal(number)
    try:
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
    finally:
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def free_ports() -> int:
    """The first of four free neighbours, below the ports the system hands out itself."""
    for _ in range(200):
        first = random.randrange(20_000, 32_000, 4)
        if all(_is_free(port) for port in range(first, first + 4)):
            return first
    raise AssertionError("no four neighbouring free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
