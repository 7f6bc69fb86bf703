"""gunicorn, configured here and nowhere else: its master process, and what a worker opens and closes."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from lms_bridge.app import create_app
from lms_bridge.jobs.embedded import Runner, start_background_work
from lms_bridge.ops import logs
from lms_bridge.runtime import build_runtime
from lms_bridge.serving.worker import ConnectionCounts, StayingWorker
from lms_bridge.settings import Settings

_M_ARENA_MAX = -8  # <malloc.h>


@dataclass(frozen=True, slots=True)
class Serving:
    """How the bridge is to be served."""

    settings: Settings
    bind: str
    workers: int
    threads: int
    jobs: bool
    """Whether the workers do the background work too. With a broker they never do."""


class Server(BaseApplication):
    """`run()` serves until told to stop."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._counts = ConnectionCounts(serving.workers)
        super().__init__()  # type: ignore[no-untyped-call]

    def load_config(self) -> None:
        values: dict[str, Any] = {
            "bind": self._serving.bind,
            "workers": self._serving.workers,
            "worker_class": StayingWorker,
            "threads": self._serving.threads,
            "backlog": 1024,
            "keepalive": 15,
            "graceful_timeout": 10,
            "timeout": 60,
            "accesslog": None,
            "loglevel": "warning",
            # A worker's heartbeat file must not wait for a disk.
            "worker_tmp_dir": "/dev/shm" if Path("/dev/shm").is_dir() else None,  # noqa: S108 (gunicorn makes it safely)
            "limit_request_line": 8190,
            "pre_fork": self._seat,
            "worker_exit": _close,
        }
        config: Any = self.cfg
        for name, value in values.items():
            if value is not None:
                config.set(name, value)
        # Read many times a request: from here on as plain attributes, not looked up by gunicorn's `__getattr__`.
        config.__dict__.update({name: setting.get() for name, setting in config.settings.items()})

    def run(self) -> None:
        _one_heap()
        gc.collect()
        gc.freeze()  # what is there now stays; looking through it again would only copy pages that workers share
        super().run()  # type: ignore[no-untyped-call]

    def load(self) -> Flask:
        """The application of one worker, with its background work at work."""
        logs.configure(self._serving.settings.log_level, self._serving.settings.log_format)
        runtime = build_runtime(self._serving.settings, processes=self._serving.workers)
        app = create_app(runtime)
        app.extensions["lms_bridge_jobs"] = start_background_work(runtime) if self._serving.jobs else None
        return app

    def _seat(self, server: Any, worker: StayingWorker) -> None:
        worker.counts = self._counts
        worker.seat = self._counts.free_seat({other.seat for other in server.WORKERS.values()})


def _close(_server: Any, worker: Any) -> None:
    """End a worker's background work before its process ends."""
    app = getattr(worker, "wsgi", None)
    if app is not None:
        jobs: Runner | None = app.extensions["lms_bridge_jobs"]
        if jobs is not None:
            jobs.stop()
        app.extensions["lms_bridge"].close()


def _one_heap() -> None:
    """Have glibc serve all threads from one heap: each of its own keeps what it once needed, 3 MiB a worker in all.

    Python's own allocator stands in front of it, so nobody waits for the heap. The workers inherit this.
    """
    with suppress(OSError, AttributeError):  # not glibc: its own allocator decides
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
