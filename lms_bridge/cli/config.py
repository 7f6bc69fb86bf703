"""`lms-bridge config …`"""

from __future__ import annotations

import json

import click

from lms_bridge.cli import settings


@click.group()
def config() -> None:
    """The settings."""


@config.command()
@click.pass_context
def check(context: click.Context) -> None:
    """Read the settings and say whether they can be used."""
    found = settings.read(context)
    click.echo(
        f"The settings can be used: {found.public_url}, {len(found.upstreams)} CAS, "
        f"{len(found.services)} services, {len(found.sites)} Moodle sites."
    )


@config.command()
@click.pass_context
def dump(context: click.Context) -> None:
    """Print the settings in force as JSON, secrets masked."""
    found = settings.read(context)
    values = found.model_dump(mode="json")
    click.echo(json.dumps(values, indent=2, ensure_ascii=False))
