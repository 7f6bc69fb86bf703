"""What commands that change something share: a runtime for as long as they run, who acts, how they end badly."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import click

from external_accounts import audit
from lms_bridge.cli import settings as cli_settings
from lms_bridge.runtime import Runtime, build_runtime

WRONG = 2
"""Exit code: what was asked for cannot be done."""


@contextmanager
def running(context: click.Context) -> Iterator[Runtime]:
    runtime = build_runtime(cli_settings.read(context))
    try:
        yield runtime
    finally:
        runtime.close()


def operator() -> audit.Origin:
    return audit.Origin(actor=f"cli:{getpass.getuser()}")


def fail(text: str) -> NoReturn:
    click.echo(text, err=True)
    sys.exit(WRONG)
