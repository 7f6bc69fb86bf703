"""How far long work has come, on standard error."""

from __future__ import annotations

import sys
import time

import click

SAY_EVERY_SECONDS = 10.0
"""Between two lines of progress where there is no terminal."""


class Progress:
    """A bar on a terminal, a line now and then elsewhere."""

    def __init__(self, name: str) -> None:
        """`name` of what the work is done on."""
        self._name = name
        self._terminal = sys.stderr.isatty()
        self._said = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_failure: object) -> None:
        if self._terminal:
            click.echo("\r\033[K", nl=False, err=True)

    def update(self, work: str, done: int, total: int) -> None:
        """Called as often as one likes."""
        if self._terminal:
            filled = 30 * done // max(total, 1)
            bar = "#" * filled + "-" * (30 - filled)
            click.echo(f"\r\033[K{self._name}: {work} [{bar}] {done}/{total}", nl=False, err=True)
        elif time.monotonic() - self._said >= SAY_EVERY_SECONDS:
            self._said = time.monotonic()
            click.echo(f"{self._name}: {work} {done}/{total}", err=True)
