"""`lms-bridge db …`"""

from __future__ import annotations

import click

from external_accounts.database import Database
from lms_bridge import migrations
from lms_bridge.cli import settings


@click.group()
def db() -> None:
    """The database."""


@db.command()
@click.pass_context
def upgrade(context: click.Context) -> None:
    """Create the tables, or bring them to the newest form. Does nothing when they are."""
    database = Database(settings.read(context).database_url)
    migrations.upgrade(database)
    database.close()
    click.echo("The database is up to date.")
