"""SIGTERM and SIGINT as the wish to stop, however often and however close together they come."""

from __future__ import annotations

import signal
from queue import SimpleQueue


class StopSignals:
    """From its construction on, the two signals no longer end the process: `wait` returns at the first one.

    A handler runs in the middle of whatever the main thread is at. An Event or a lock would not do: a second signal
    that comes while the first one is taken waits for the lock that it has interrupted, for ever. `SimpleQueue.put` may
    interrupt itself.
    """

    def __init__(self) -> None:
        self._told: SimpleQueue[int] = SimpleQueue()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda told, _frame: self._told.put(told))

    def wait(self) -> None:
        """Wait until the process is told to stop."""
        self._told.get()
