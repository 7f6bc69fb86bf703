"""The embedded runner: one thread that does the jobs when they are due or when it is woken.

Several processes may each have one: rows are taken by lease, so nothing is done twice, and a killed process's rows are
taken over. Losing a wake-up loses nothing: the next round finds the rows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from lms_bridge.jobs import functions
from lms_bridge.runtime import Runtime

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Job:
    run: Callable[[Runtime], int]
    every: float
    """Seconds between two rounds."""
    due: float = 0.0


class Runner:
    """Does the background work of one process until stopped."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="jobs", daemon=True)
        self._jobs = [
            _Job(functions.introduce_sites, 600),
            _Job(functions.deliver_logouts, 1),
            _Job(functions.deliver_mails, 1),
            _Job(functions.end_sessions_in_moodle, 2),
            _Job(functions.bring_mirrors_into_step, 1),
            _Job(functions.make_nightly_runs, 60),
            _Job(functions.end_overdue_sessions, 30),
            _Job(functions.give_memory_back, 2),
            _Job(functions.purge, 600),
        ]

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Something was just written: do not wait for the next round."""
        self._wake.set()

    def stop(self, timeout: float = 10) -> None:
        """Finish the job at hand and end. `timeout` in seconds."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def run_once(self) -> None:
        """One round of everything, in this thread."""
        for job in self._jobs:
            self._do(job)

    def _loop(self) -> None:
        while not self._stop.is_set():
            woken = self._wake.wait(timeout=0.5)
            self._wake.clear()
            now = time.monotonic()
            for job in self._jobs:
                if self._stop.is_set():
                    return
                if job.due <= now or (woken and job.every <= 2):
                    self._do(job)
                    job.due = time.monotonic() + job.every

    def _do(self, job: _Job) -> None:
        try:
            while job.run(self._runtime) and not self._stop.is_set():
                pass
        except Exception:  # a failing job must not end the others; the next round tries again
            log.exception("jobs.round", job=job.run.__name__)
