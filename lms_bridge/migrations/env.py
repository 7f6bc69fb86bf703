"""Run by Alembic: migrations in one transaction each, against the database that `upgrade` handed over."""

from __future__ import annotations

from alembic import context
from sqlalchemy import text

import external_accounts.audit_schema
import external_accounts.institution_schema
import external_accounts.linking_schema  # noqa: F401
import lms_bridge.schema  # noqa: F401
from external_accounts.database import Base, Database

LOCK = 0x6C6D_7362  # any constant number: names this product's migration lock in PostgreSQL

database: Database = context.config.attributes["database"]
with database.engine.connect() as connection:
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
