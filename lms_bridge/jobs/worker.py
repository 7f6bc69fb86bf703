"""The worker of several machines: Celery's, with a thread for each job, and Celery's beat for the sweeps."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import structlog
from celery import beat, signals

from lms_bridge.jobs.distributed import Sender, celery_app, task_name
from lms_bridge.jobs.schedule import JOBS, Job
from lms_bridge.runtime import Runtime

log = structlog.get_logger(__name__)

DEAF_SECONDS = 5
"""A worker with beat that no message has reached for so long does its sweeps itself."""


class Turn:
    """One job in this process: one round at a time. Asked for meanwhile, it goes round once more.

    Sweeps are asked for every second or two, whether or not Moodle answers in time: without this they would fill the
    worker.
    """

    def __init__(self, job: Job, runtime: Runtime, stopping: threading.Event) -> None:
        self._job = job
        self._runtime = runtime
        self._stopping = stopping
        self._asked = threading.Event()
        self._working = threading.Lock()

    def take(self) -> None:
        self._asked.set()
        # Asked again: whoever holds the lock looks once more after giving it back, so no wish is overlooked.
        while self._asked.is_set() and not self._stopping.is_set() and self._working.acquire(blocking=False):
            try:
                self._asked.clear()
                self._job.work(self._runtime, self._stopping)
            finally:
                self._working.release()


class Ears:
    """When a message last reached this worker, in monotonic time.

    A broker that takes messages proves nothing: after it was away, Celery tries again later and later, up to half a
    minute apart, and a connection that died without a word looks alive for minutes.
    """

    def __init__(self) -> None:
        self._heard = float("-inf")

    def hear(self) -> None:
        self._heard = time.monotonic()

    @property
    def deaf(self) -> bool:
        return time.monotonic() - self._heard > DEAF_SECONDS

    def on_message(self, turn: Turn) -> Callable[[], None]:
        def take() -> None:
            self.hear()
            turn.take()

        return take


class Sweeps(beat.Scheduler):  # type: ignore[misc]  # Celery has no types
    """Celery's beat, but it keeps no file, and while messages do not get through it has the sweeps done here.

    What is due is read from the rows, so nobody needs to know when a sweep was last asked for, and two beats ask twice
    for the same nothing.
    """

    producer = None
    """Celery's own would wait for the broker for ever."""

    def __init__(self, *, sender: Sender, ears: Ears, here: Callable[[str], None], **options: Any) -> None:
        super().__init__(**options)
        self._sender = sender
        self._ears = ears
        self._here = here
        self._away = False

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        taken = self._sender.send([entry.task])
        if not taken or self._ears.deaf:
            self._here(entry.task)
        if taken is self._away:
            self._away = not taken
            log.log(20 if taken else 30, "jobs.broker", outcome="back" if taken else "away: sweeping here")


def run_worker(runtime: Runtime, *, with_beat: bool) -> int:
    """Work until SIGTERM or SIGINT; returns the exit code. `with_beat`: also ask for the periodic sweeps."""
    # A line for each message would be some in every second.
    logging.getLogger("celery").setLevel(logging.WARNING)
    stopping = threading.Event()
    told: list[str] = []

    def shutting_down(how: str, **_: Any) -> None:
        told.append(how)
        stopping.set()

    signals.worker_shutting_down.connect(shutting_down, weak=False)
    turns = {task_name(job): Turn(job, runtime, stopping) for job in JOBS}
    app = celery_app(runtime.settings.jobs)
    ears = Ears()
    for name, turn in turns.items():
        app.task(ears.on_message(turn), name=name)
    worker = app.Worker(
        pool="threads",
        concurrency=len(turns),
        quiet=True,
        without_gossip=True,
        without_heartbeat=True,
        without_mingle=True,
    )
    with ThreadPoolExecutor(len(turns), thread_name_prefix="sweep") as here:
        beats = _beat(app, runtime, ears, lambda name: here.submit(turns[name].take)) if with_beat else None
        worker.start()
        stopping.set()
        if beats is not None:
            beats.stop(wait=True)
    # Celery calls Ctrl-C a failure. It is one when people could not wait for the end of what was in hand.
    return 0 if told == ["Warm"] else int(worker.exitcode or 0)


def _beat(app: Any, runtime: Runtime, ears: Ears, here: Callable[[str], Any]) -> beat.Service:
    app.conf.beat_schedule = {
        job.name: {"task": task_name(job), "schedule": job.every, "relative": False} for job in JOBS
    }
    scheduler = partial(Sweeps, sender=Sender(runtime.settings.jobs), ears=ears, here=here)
    service = beat.Service(app, max_interval=1, scheduler_cls=scheduler, remote_control=False)
    threading.Thread(target=service.start, name="beat", daemon=True).start()
    return service
