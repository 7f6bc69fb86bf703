"""`lms-bridge worker`"""

from __future__ import annotations

import signal
import threading

import click

from lms_bridge.cli import settings
from lms_bridge.jobs.runner import Runner
from lms_bridge.ops import logs
from lms_bridge.runtime import build_runtime


@click.command()
@click.option("--once", is_flag=True, help="Do what is due now, then end.")
@click.pass_context
def worker(context: click.Context, once: bool) -> None:
    """Do the background work: mails, logout messages, Moodle, clean-up."""
    found = settings.read(context)
    logs.configure(found.log_level, found.log_format)
    runtime = build_runtime(found)
    runner = Runner(runtime)
    if once:
        runner.run_once()
    else:
        finished = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: finished.set())
        runner.start()
        finished.wait()
        runner.stop()
    runtime.close()
