"""Outside programs as throw-away servers on loopback: started, waited for with a deadline, stopped by their id."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 40
STOP_SECONDS = 10


@contextmanager
def reserved_port() -> Iterator[int]:
    """A free port that nobody else is given meanwhile.

    The socket stays bound without listening: Linux then lets the one program that is told the number listen there,
    and gives it to nobody who asks for any port.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@contextmanager
def running_program(
    command: Sequence[str | Path],
    *,
    port: int,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    user: str | None = None,
    ready: Path | None = None,
) -> Iterator[None]:
    """Run `command` in `folder`, wait until it listens on `port`, stop it at the end. Its output: program.log there.

    `ready` is a file that appears when it is, for a program that opens its port more than once on its way. `user` is
    for a program that refuses to be root; only root obeys it, and `folder` must be open to it.
    """
    log = folder / "program.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=_clean_environment() | dict(environment or {}),
            user=user if os.geteuid() == 0 else None,
            group=user if os.geteuid() == 0 else None,
        )
    try:
        _wait(process, port, ready, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _clean_environment() -> dict[str, str]:
    """Without proxies: whatever a peer wants is on loopback."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


def _wait(process: subprocess.Popen[bytes], port: int, ready: Path | None, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        if process.poll() is not None:
            raise AssertionError(f"{process.args!r} ended with {process.returncode}:\n{_tail(log)}")
        if (ready is None or ready.exists()) and _listens(port):
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"{process.args!r} did not listen in time:\n{_tail(log)}")
        time.sleep(0.05)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-3000:]
