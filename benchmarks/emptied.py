"""A PostgreSQL database that an earlier measurement filled, as if it were new."""

from __future__ import annotations

from sqlalchemy import text

from external_accounts.database import Database


def forget_everything(database: Database) -> None:
    """Drop all there is, tables too: the audit trail lets nobody delete rows. SQLite's is a new file each time."""
    if not database.is_sqlite:
        with database.begin() as session:
            session.execute(text("DROP SCHEMA public CASCADE"))
            session.execute(text("CREATE SCHEMA public"))
