"""What commands that change something share: a runtime for as long as they run, who acts, how they end badly."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import NoReturn
from zoneinfo import ZoneInfo

import click

from external_accounts import audit
from external_accounts.spreadsheets import read_date
from lms_bridge.cli import settings as cli_settings
from lms_bridge.helpdesk.inviting import usual_end
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


def last_day(runtime: Runtime, until: str | None) -> date | None:
    """The last day of an account, as an option says it, or as `registration.rights_months` does. None: no end."""
    try:
        day = read_date(until or "")
    except ValueError:
        fail(f"`{until}` is no date: write it like 2027-06-30.")
    if day is not None and day < runtime.clock().astimezone(runtime.settings.zone).date():
        fail(f"{day} is over.")
    return day or usual_end(runtime)


def moment(text: str, zone: ZoneInfo) -> datetime:
    """A moment as an option says it (ISO 8601); without a zone it is the university's."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        fail(f"`{text}` is no moment: write it like 2026-09-01 or 2026-09-01T08:00.")
    return read if read.tzinfo is not None else read.replace(tzinfo=zone)


def operator() -> audit.Origin:
    return audit.Origin(actor=f"cli:{getpass.getuser()}")


def fail(text: str) -> NoReturn:
    click.echo(text, err=True)
    sys.exit(WRONG)
