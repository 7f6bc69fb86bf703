"""`lms-bridge serve`"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from gunicorn.app.base import BaseApplication

from external_accounts.database import Database
from lms_bridge.app import create_app
from lms_bridge.cli import settings as cli_settings
from lms_bridge.jobs.runner import Runner
from lms_bridge.ops import logs
from lms_bridge.runtime import build_runtime
from lms_bridge.settings import Settings

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # <malloc.h>

THREADS = 8
"""A worker. People who wait for a password hash or for Moodle hold a thread; validations must still find one."""


@click.command()
@click.option("--bind", default="127.0.0.1:8000", show_default=True, help="Address and port to listen on.")
@click.option("--workers", type=click.IntRange(1, 64), default=None, help="Processes. Default: two a core.")
@click.option("--threads", type=click.IntRange(1, 256), default=THREADS, show_default=True, help="Threads a process.")
@click.option("--no-jobs", is_flag=True, help="Leave the background work to `lms-bridge worker`.")
@click.pass_context
def serve(context: click.Context, bind: str, workers: int | None, threads: int, no_jobs: bool) -> None:
    """Serve the bridge. Migrates the database first; background work runs in the same processes."""
    settings = cli_settings.read(context)
    count = workers or 2 * (os.cpu_count() or 1)
    _migrate(settings)
    _Server(settings, bind=bind, workers=count, threads=threads, jobs=not no_jobs).run()  # type: ignore[no-untyped-call]


def _migrate(settings: Settings) -> None:
    """Bring the tables up to date, in a process of its own: the workers need not carry Alembic in their memory."""
    child = multiprocessing.get_context("fork").Process(target=_upgrade, args=(settings.database_url,))
    child.start()
    child.join()
    if child.exitcode:
        sys.exit(child.exitcode)


def _upgrade(url: str) -> None:
    from lms_bridge import migrations  # noqa: PLC0415 (only this child process carries it)

    database = Database(url)
    migrations.upgrade(database)
    database.close()


class _Server(BaseApplication):
    """gunicorn, configured here and nowhere else."""

    def __init__(self, settings: Settings, *, bind: str, workers: int, threads: int, jobs: bool) -> None:
        self._threads = threads
        self._settings = settings
        self._bind = bind
        self._workers = workers
        self._jobs = jobs
        super().__init__()  # type: ignore[no-untyped-call]

    def load_config(self) -> None:
        values: dict[str, Any] = {
            "bind": self._bind,
            "workers": self._workers,
            "worker_class": "gthread",
            "threads": self._threads,
            "backlog": 1024,
            "keepalive": 15,
            "graceful_timeout": 10,
            "timeout": 60,
            "accesslog": None,
            "loglevel": "warning",
            # A worker's heartbeat file must not wait for a disk.
            "worker_tmp_dir": "/dev/shm" if Path("/dev/shm").is_dir() else None,  # noqa: S108 (gunicorn makes it safely)
            "limit_request_line": 8190,
            "worker_exit": _stop_worker,
        }
        config: Any = self.cfg
        for name, value in values.items():
            if value is not None:
                config.set(name, value)

    def load(self) -> Any:
        _tame_the_heap()
        logs.configure(self._settings.log_level, self._settings.log_format)
        runtime = build_runtime(self._settings, processes=self._workers)
        app = create_app(runtime)
        if self._jobs:
            runner = Runner(runtime)
            app.extensions["lms_bridge_runner"] = runner
            runner.start()
        return app


def _tame_the_heap() -> None:
    """Have glibc serve all threads from one heap, and keep what a hash worked in until it is told to give it back.

    Only from that heap can `PasswordHashing.give_memory_back` return 19 MiB a hash; left to itself, glibc would return
    and fetch them with every hash, which costs a tenth of the sign-ins. Python's own allocator stands in front of it,
    so nobody waits for the heap.
    """
    with suppress(OSError, AttributeError):
        glibc = ctypes.CDLL(None)
        glibc.mallopt(_M_ARENA_MAX, 1)
        glibc.mallopt(_M_MMAP_THRESHOLD, 32 * 1024 * 1024)
        glibc.mallopt(_M_TRIM_THRESHOLD, 512 * 1024 * 1024)


def _stop_worker(_server: Any, worker: Any) -> None:
    """End a worker's background work before its process ends."""
    app = getattr(worker, "wsgi", None)
    if app is not None:
        runner = app.extensions.get("lms_bridge_runner")
        if runner is not None:
            runner.stop()
        app.extensions["lms_bridge"].close()
