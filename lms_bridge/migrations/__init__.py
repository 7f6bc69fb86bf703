"""The database's history (Alembic). `upgrade` brings any database to the newest form."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

from external_accounts.database import Database


def upgrade(database: Database) -> None:
    """Create or migrate all tables. Several processes may call it at once: one does the work."""
    command.upgrade(_config(database), "head")


def _config(database: Database) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["database"] = database
    return config
