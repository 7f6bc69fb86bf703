"""`lms-bridge worker`"""

from __future__ import annotations

import sys

import click

from lms_bridge.cli import settings
from lms_bridge.jobs.embedded import Runner
from lms_bridge.ops import logs
from lms_bridge.ops.stop_signals import StopSignals
from lms_bridge.runtime import Runtime, build_runtime


@click.command()
@click.option("--once", is_flag=True, help="Do what is due now, then end.")
@click.option(
    "--beat/--no-beat",
    default=True,
    help="With a broker: whether this worker also asks for the periodic sweeps. One of all workers must; more do no "
    "harm.  [default: beat]",
)
@click.pass_context
def worker(context: click.Context, once: bool, beat: bool) -> None:
    """Do the background work: mails, logout messages, Moodle, clean-up.

    Without a broker in the settings it looks for work itself; with one it is a Celery worker.
    """
    found = settings.read(context)
    logs.configure(found.log_level, found.log_format)
    runtime = build_runtime(found)
    try:
        if once:
            Runner(runtime).run_once()
        elif found.jobs.broker_url:
            from lms_bridge.jobs.worker import run_worker  # noqa: PLC0415 (without a broker nobody carries Celery)

            sys.exit(run_worker(runtime, with_beat=beat))
        else:
            _look_for_work(runtime)
    finally:
        runtime.close()


def _look_for_work(runtime: Runtime) -> None:
    told = StopSignals()
    runner = Runner(runtime)
    runner.start()
    told.wait()
    runner.stop()
