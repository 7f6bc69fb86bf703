"""Run by Alembic: migrations in one transaction each, against the database that `upgrade` handed over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import context
from sqlalchemy import Connection, text

import external_accounts.audit_schema
import external_accounts.institution_schema
import external_accounts.linking_schema  # noqa: F401
import lms_bridge.schema  # noqa: F401
from external_accounts.database import Base, Database

LOCK = 0x6C6D_7362  # any constant number: names this product's migration lock in PostgreSQL


PATIENCE_MILLISECONDS = 120_000
"""How long another process waits until a migration of an SQLite file has ended."""


@contextmanager
def _set_apart(connection: Connection) -> Iterator[None]:
    """An SQLite connection for migrations alone, which waits for others, and minds no foreign keys.

    SQLite changes a table by making it anew, and would take the old one's end for that of all rows it is named by.
    That is switched off before the transaction begins, in which it could not be; whether all keys still lead somewhere
    is asked at its end. The pool does not get the connection back: it would go on so.
    """
    driver = connection.connection.dbapi_connection
    if connection.dialect.name != "sqlite" or driver is None:
        yield
        return
    driver.execute("PRAGMA foreign_keys = OFF")
    driver.execute(f"PRAGMA busy_timeout = {PATIENCE_MILLISECONDS}")
    try:
        yield
    finally:
        connection.invalidate()


def _all_keys_lead_somewhere(connection: Connection) -> None:
    if connection.dialect.name == "sqlite" and (lost := connection.exec_driver_sql("PRAGMA foreign_key_check").first()):
        raise RuntimeError(f"a migration left a row of {lost[0]} that names one of {lost[2]} which is not there")


database: Database = context.config.attributes["database"]
with database.engine.connect() as connection, _set_apart(connection):
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=database.is_sqlite,
        compare_type=True,
    )
    with context.begin_transaction():
        if not database.is_sqlite:  # SQLite's BEGIN IMMEDIATE is the lock already
            # A migration may take its time, and another one may be under way.
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        context.run_migrations()
        _all_keys_lead_somewhere(connection)
