"""Reading the settings for a command: a wrong one ends it with exit code 5 and says what to write."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lms_bridge import settings
from lms_bridge.settings import Settings, SettingsError

CONFIGURATION = 5
"""Exit code: the settings cannot be used."""


def read(context: click.Context) -> Settings:
    path: Path | None = context.find_root().obj
    try:
        return settings.load(path)
    except SettingsError as error:
        click.echo(str(error), err=True)
        sys.exit(CONFIGURATION)
