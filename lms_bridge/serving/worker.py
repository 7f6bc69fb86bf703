"""gunicorn's worker with threads, with two habits of its own.

* A thread stays with a kept connection for a moment after an answer. The next request often follows at once (a reverse
  proxy, a browser fetching what a page needs), and is then answered without a detour over the worker's main thread.
* A worker that has more connections than another leaves new ones to that one, unless it is too busy to take them. Else
  kept connections often end up in one worker, and the other cores idle.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import select
import time
from collections.abc import Set as AbstractSet
from typing import Any

from gunicorn.http.body import LengthReader
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from gunicorn.workers.gthread import ThreadWorker

STAY_MILLISECONDS = 5
"""How long a thread stays. Work that waits for a thread waits at most this much longer because of it."""
YIELD_SECONDS = 0.001
"""What a worker with more connections waits before it looks again: an idle worker needs much less."""
PATIENCE_SECONDS = 0.05
"""After which it takes the connection itself: the other one is busy."""


class ConnectionCounts:
    """How many connections each worker has, in memory that all of them share by being forked."""

    def __init__(self, workers: int) -> None:
        # More seats than workers: while one is replaced, the old one may still be there. An empty seat counts as busy.
        self._seats = multiprocessing.RawArray(ctypes.c_int, [_NOBODY] * (2 * workers))

    def free_seat(self, taken: AbstractSet[int]) -> int:
        """A seat for a new worker; all but those `taken` by living workers are empty."""
        for seat in range(len(self._seats)):
            if seat not in taken:
                self._seats[seat] = _NOBODY
        return min(set(range(len(self._seats))) - taken, default=0)

    def note(self, seat: int, connections: int) -> None:
        self._seats[seat] = connections

    def someone_has_fewer(self, connections: int) -> bool:
        return any(other < connections for other in self._seats)


_NOBODY = 2**31 - 1


class StayingWorker(ThreadWorker):
    """See above. Its `counts` and `seat` are set before it is forked."""

    counts: ConnectionCounts
    seat: int
    _left_since = _left_at = 0.0

    def notify(self) -> None:
        # Called once a round of the main loop, after connections came and went.
        super().notify()  # type: ignore[no-untyped-call]
        self.counts.note(self.seat, self.nr_conns)

    def accept(self, listener: Any) -> None:
        if self.counts.someone_has_fewer(self.nr_conns) and self._has_patience():
            time.sleep(YIELD_SECONDS)
            return  # asked again while the connection waits; what came on others goes first
        # Finds nothing when another worker took it meanwhile.
        super().accept(listener)  # type: ignore[no-untyped-call]

    def _has_patience(self) -> bool:
        """Whether connections were left to others for a short time only."""
        now = time.monotonic()
        if now - self._left_at > PATIENCE_SECONDS:
            self._left_since = now
        self._left_at = now
        return now - self._left_since < PATIENCE_SECONDS

    def handle(self, conn: Any) -> Any:
        if conn.parser is None:
            conn.parser = _Parser(self.cfg, conn.sock, conn.client)  # type: ignore[no-untyped-call]
        result = super().handle(conn)  # type: ignore[no-untyped-call]
        while result is True and self._next_request_is_here(conn):
            result = super().handle(conn)  # type: ignore[no-untyped-call]
        return result

    def _next_request_is_here(self, conn: Any) -> bool:
        """Whether to stay: only while no other work waits for a thread, and this worker is not told to stop."""
        threads: Any = self.tpool
        if not self.alive or not threads._work_queue.empty() or conn.parser.unreader.buf.getvalue():
            return False
        waiting = select.poll()
        waiting.register(conn.sock, select.POLLIN)
        return bool(waiting.poll(STAY_MILLISECONDS))


class _Request(Request):
    """gunicorn's request, which otherwise looks each time whether the peer is a proxy that it should believe.

    It believes none: how people reach the bridge is a setting (`public_url`, `trusted_proxies`), and no proxy may name
    another path by a header (`SCRIPT_NAME`, `PATH_INFO`).
    """

    def _peer_trusted_for_forwarded(self) -> tuple[dict[str, str], list[str]]:
        return {}, []


class _Parser(RequestParser):
    """gunicorn's parser, which otherwise reads twice, with a time limit, from bodies that are not there."""

    mesg_class = _Request

    def finish_body(self, deadline: float | None = None, max_bytes: int | None = None) -> bool:
        reader = getattr(getattr(self.mesg, "body", None), "reader", None)
        if isinstance(reader, LengthReader) and reader.length == 0:
            return True
        return bool(super().finish_body(deadline, max_bytes))  # type: ignore[no-untyped-call]
