"""Whose turn it is to write to an SQLite file."""

from __future__ import annotations

import fcntl
import threading
import time
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import IO


class Turns:
    """Whose turn it is to write to an SQLite file, among the threads and processes of this machine.

    SQLite's own busy handler sleeps in steps that grow to tens of milliseconds, where a transaction takes a fraction
    of one, and lets the unlucky starve. So threads are woken one by one, and processes look often at a lock on a file
    beside the database. Whoever is not reached by that (another program, a process that stands still) is left to
    SQLite: the turn is a courtesy, the database's own lock is the truth.
    """

    LOOK_AGAIN_SECONDS = 0.0001
    LOOK_SECONDS = 0.1
    """After which SQLite decides: a transaction that takes so long is none of ours, or its process stands still."""

    def __init__(self, path: str | None, patience: float) -> None:
        """`path` of the database file; without one nobody waits here. `patience` in seconds."""
        self._path, self._patience = path, patience
        self._threads = threading.Lock()
        self._file: IO[bytes] | None = None

    def mine(self) -> AbstractContextManager[None]:
        """For the length of the block. Past the patience it goes on without: the database itself says what is wrong."""
        return _Turn(self) if self._path is not None else nullcontext()

    def take(self) -> tuple[bool, IO[bytes] | None]:
        """Whether this thread is the first here, and the file whose lock it holds."""
        first = self._threads.acquire(timeout=self._patience)
        file = self._lock_file() if first else None
        return first, file if file is not None and self._hold(file) else None

    def give_back(self, first: bool, file: IO[bytes] | None) -> None:
        if file is not None:
            fcntl.flock(file, fcntl.LOCK_UN)
        if first:
            self._threads.release()

    def _lock_file(self) -> IO[bytes] | None:
        """Opened by the first who writes, so that it belongs to the process that uses it: a lock goes with the file."""
        if self._file is None:
            with suppress(OSError):  # a folder that takes no further file: SQLite decides alone
                self._file = open(f"{self._path}-turn", "ab")  # noqa: PTH123, SIM115 (kept open)
        return self._file

    def _hold(self, file: IO[bytes]) -> bool:
        deadline = time.monotonic() + self.LOOK_SECONDS
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(self.LOOK_AGAIN_SECONDS)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class _Turn:
    """The length of one turn. A class, not a generator: every validation takes one, and it costs a third."""

    __slots__ = ("_taken", "_turns")

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def __enter__(self) -> None:
        self._taken = self._turns.take()

    def __exit__(self, *_error: object) -> None:
        self._turns.give_back(*self._taken)
