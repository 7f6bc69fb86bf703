"""`lms-bridge serve`"""

from __future__ import annotations

import multiprocessing
import os
import sys

import click

from external_accounts.database import Database
from lms_bridge.cli import settings as cli_settings
from lms_bridge.serving.server import Server, Serving
from lms_bridge.settings import Settings

THREADS = 16
"""A worker. People who wait for a password hash or for Moodle hold a thread; validations must still find one."""


@click.command()
@click.option("--bind", default="127.0.0.1:8000", show_default=True, help="Address and port to listen on.")
@click.option("--workers", type=click.IntRange(1, 64), default=None, help="Processes. Default: one a core.")
@click.option("--threads", type=click.IntRange(1, 256), default=THREADS, show_default=True, help="Threads a process.")
@click.option("--no-jobs", is_flag=True, help="Leave the background work to `lms-bridge worker`.")
@click.pass_context
def serve(context: click.Context, bind: str, workers: int | None, threads: int, no_jobs: bool) -> None:
    """Serve the bridge. Migrates the database first; without a broker the same processes do the background work."""
    settings = cli_settings.read(context)
    _migrate(settings)
    count = workers or os.cpu_count() or 1
    Server(Serving(settings, bind=bind, workers=count, threads=threads, jobs=not no_jobs)).run()


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
