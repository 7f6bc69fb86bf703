"""A circuit breaker: after several calls in a row that could not be made, answer at once instead of waiting again.

A Moodle that hangs would otherwise hold every sign-in for the length of a time-out. Only `Unavailable` counts: an
answer, even a refusal, shows that the site is there. The clock is passed in, in seconds, and must never go back.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from moodle_ws.errors import CircuitOpen, MoodleError, Unavailable


class Breaker:
    """Opens after `failures` consecutive `Unavailable`, stays open for `pause` seconds, then lets one call through.

    That call closes it when Moodle answers, and opens it for another `pause` when not. Safe to share by threads.
    """

    def __init__(self, *, failures: int = 5, pause: float = 15.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._failures = failures
        self._pause = pause
        self._clock = clock
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._opened_at: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether a call made now would be answered without asking Moodle."""
        with self._lock:
            return self._refuses()

    @contextmanager
    def guarding(self, function: str) -> Iterator[None]:
        """Guards one call. Raises CircuitOpen instead of running it while the breaker is open."""
        with self._lock:
            if self._refuses():
                raise CircuitOpen(function=function)
            self._probing = self._opened_at is not None
        try:
            yield
        except Unavailable:
            self._failed()
            raise
        except MoodleError:
            self._answered()
            raise
        except BaseException:
            with self._lock:
                self._probing = False
            raise
        self._answered()

    def _refuses(self) -> bool:
        if self._opened_at is None:
            return False
        return self._probing or self._clock() - self._opened_at < self._pause

    def _failed(self) -> None:
        with self._lock:
            self._probing = False
            self._in_a_row += 1
            if self._in_a_row >= self._failures:
                self._opened_at = self._clock()

    def _answered(self) -> None:
        with self._lock:
            self._probing = False
            self._in_a_row = 0
            self._opened_at = None
