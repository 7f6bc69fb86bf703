"""The database's history (Alembic). `upgrade` brings any database to the newest form."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from external_accounts.database import Database


def upgrade(database: Database) -> None:
    """Create or migrate all tables. Several processes may call it at once: one does the work."""
    command.upgrade(_config(database), "head")


def is_current(database: Database) -> bool:
    """Whether the tables are in the newest form."""
    newest = ScriptDirectory.from_config(_config(database)).get_current_head()
    with database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() == newest


def _config(database: Database) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["database"] = database
    return config
