"""The embedded runner: a thread for each job, which goes round when it is due or woken.

Several processes may each have one: rows are taken by lease, so nothing is done twice, and a killed process's rows are
taken over. A thread for each, because what a job waits for (a mail server, Moodle, an application) must not hold up
the others. A commit of this process wakes its own runner; what other processes write, the sweeps find.
"""

from __future__ import annotations

import threading
import time

from external_accounts.database import Waiting
from lms_bridge.jobs.schedule import JOBS, Job, woken
from lms_bridge.runtime import Runtime


def start_background_work(runtime: Runtime) -> Runner | None:
    """Start what a serving process does beside serving; the caller stops it.

    With a broker the work belongs to `lms-bridge worker`.
    """
    if runtime.settings.jobs.broker_url:
        return None
    runner = Runner(runtime)
    runner.start()
    return runner


class Runner:
    """Does the background work of one process until stopped."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._jobs = JOBS
        self._stopping = threading.Event()
        self._wake = {job.name: threading.Event() for job in JOBS}
        self._threads = [
            threading.Thread(target=self._loop, args=[job], name=f"job-{job.name}", daemon=True) for job in JOBS
        ]

    def start(self) -> None:
        self._runtime.database.on_waiting = self.wake
        for thread in self._threads:
            thread.start()

    def wake(self, kinds: Waiting) -> None:
        """Rows of these kinds were just committed: do not wait for the next sweep."""
        for job in woken(kinds):
            self._wake[job.name].set()

    def stop(self, timeout: float = 10) -> None:
        """Finish what is at hand and end. `timeout` in seconds."""
        self._stopping.set()
        for event in self._wake.values():
            event.set()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0, deadline - time.monotonic()))

    def run_once(self) -> None:
        """One round of everything, one after the other, in this thread."""
        for job in self._jobs:
            job.work(self._runtime, self._stopping)

    def _loop(self, job: Job) -> None:
        event = self._wake[job.name]
        while not self._stopping.is_set():
            job.work(self._runtime, self._stopping)
            event.wait(job.every)
            event.clear()
