"""Password hashing: argon2id, bounded and polite.

A hash costs about 50 ms of one core. Eight sign-ins at once would push everything else, ticket validation included, far
over its time; so a process hashes in a few threads of its own that run at a lower priority, and people queue for them.
When the queue is longer than anybody would wait for, the sign-in page says so instead of getting slower.
"""

from __future__ import annotations

import ctypes
import os
import re
import threading
import time
import unicodedata
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

TIME_COST = 2
MEMORY_KIB = 19 * 1024
PARALLELISM = 1
"""OWASP's argon2id parameters. Four lanes are ten times slower here on two cores."""

MAX_PASSWORD_LENGTH = 1024
"""Code points; PWD-02 asks for at least 64. A bound keeps a megabyte of text from being normalised and hashed."""

HASHING_NICENESS = 5

IDLE_SECONDS = 2

T = TypeVar("T")

_SURROGATES = re.compile("[\ud800-\udfff]")


class HashingBusy(Exception):
    """More people sign in at this moment than the machine can check; trying again in some seconds will do."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of one check. `new_hash` is set when the stored hash should be replaced (parameters changed)."""

    correct: bool
    new_hash: str | None = None


class PasswordHashing:
    """Hashes and verifies. One per process."""

    def __init__(
        self,
        *,
        threads: int = 1,
        queue: int = 40,
        time_cost: int = TIME_COST,
        memory_kib: int = MEMORY_KIB,
        parallelism: int = PARALLELISM,
    ) -> None:
        """`threads` hash at once, at most `queue` requests wait for them."""
        self._hasher = PasswordHasher(time_cost=time_cost, memory_cost=memory_kib, parallelism=parallelism)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="hashing", initializer=_lower_priority)
        self._used = time.monotonic()
        self._room = threading.BoundedSemaphore(threads + queue)
        self._decoy: Future[str] = self._pool.submit(self._hasher.hash, os.urandom(16).hex())

    def hash(self, password: str) -> str:
        """The string to store. The password must have passed the policy before.

        Raises:
            HashingBusy: the queue is full.
            UnicodeEncodeError: half a character (a lone surrogate), which no form can send.
        """
        return self._run(lambda: self._hasher.hash(normal_form(password)))

    def verify(self, stored: str | None, password: str) -> Verdict:
        """Check `password`. `stored` is None when there is no such account: the same work is done then (I3).

        Raises:
            HashingBusy: the queue is full.
        """
        return self._run(lambda: self._verify(stored, password))

    def _verify(self, stored: str | None, password: str) -> Verdict:
        usable = len(password) <= MAX_PASSWORD_LENGTH and not _SURROGATES.search(password)
        try:
            self._hasher.verify(stored or self._decoy.result(), normal_form(password) if usable else "")
        except (VerificationError, InvalidHashError):
            return Verdict(correct=False)
        if stored is None or not usable:
            return Verdict(correct=False)
        stale = self._hasher.check_needs_rehash(stored)
        return Verdict(correct=True, new_hash=self._hasher.hash(normal_form(password)) if stale else None)

    def _run(self, work: Callable[[], T]) -> T:
        if not self._room.acquire(blocking=False):
            raise HashingBusy
        self._used = time.monotonic()
        try:
            return self._pool.submit(work).result()
        finally:
            self._room.release()

    def give_memory_back(self) -> None:
        """Return the 19 MiB a hash worked in to the system, when nobody signed in for a while.

        glibc keeps them otherwise, in every process, for good. Giving them back after each hash would cost a tenth of
        the sign-ins per second in page faults.
        """
        if self._used and time.monotonic() - self._used > IDLE_SECONDS:
            self._used = 0.0
            with suppress(OSError, AttributeError):  # not glibc: its own allocator decides
                ctypes.CDLL(None).malloc_trim(0)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def normal_form(password: str) -> str:
    """PWD-02 (NIST): the same password typed on two keyboards must be the same password."""
    return unicodedata.normalize("NFKC", password)


def _lower_priority() -> None:
    # Linux gives every thread its own niceness; elsewhere this would slow the whole process down.
    if hasattr(os, "sched_getaffinity"):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), HASHING_NICENESS)
