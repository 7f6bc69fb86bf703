"""Whole-site runs: account keys, due mirrors, site states, runs, journal, and the triggers that mark what changed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from lms_bridge.migrations import triggers

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    _account_keys()
    _mirrors()
    op.create_table(
        "site_states",
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("release", sa.String(length=20), server_default="", nullable=False),
        sa.Column("cohort_ids", sa.JSON(), nullable=False),
        sa.Column("run_lease", sa.String(length=40), server_default="", nullable=False),
        sa.Column("run_lease_until", TIME, nullable=True),
        sa.Column("complete_run_at", TIME, nullable=True),
        sa.Column("held_since", TIME, nullable=True),
        sa.Column("held_reason", sa.String(length=300), server_default="", nullable=False),
        sa.Column("failing_since", TIME, nullable=True),
        sa.Column("last_error", sa.String(length=300), server_default="", nullable=False),
        sa.Column("nightly_day", sa.String(length=10), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("site", name=op.f("pk_site_states")),
    )
    op.create_table(
        "sync_runs",
        sa.Column("id", INT, sa.Identity(always=False), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("actor", sa.String(length=120), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("checksum", sa.String(length=64), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("problem", sa.String(length=500), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sync_runs")),
    )
    op.create_index(op.f("ix_sync_runs_site"), "sync_runs", ["site"])
    op.create_table(
        "sync_journal",
        sa.Column("id", INT, sa.Identity(always=False), nullable=False),
        sa.Column("run_id", INT, nullable=True),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("account_id", INT, nullable=False),
        sa.Column("moodle_id", INT, nullable=True),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("after", sa.JSON(), nullable=False),
        sa.Column("reason", sa.String(length=60), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("code", sa.String(length=80), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("settled_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_sync_journal_account_id_accounts")),
        sa.ForeignKeyConstraint(["run_id"], ["sync_runs.id"], name=op.f("fk_sync_journal_run_id_sync_runs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sync_journal")),
    )
    op.create_index(op.f("ix_sync_journal_account_id"), "sync_journal", ["account_id"])
    op.create_index("ix_sync_journal_open", "sync_journal", ["site", "state"])
    op.create_index("ix_sync_journal_at", "sync_journal", ["site", "kind", "at"])
    for statement in triggers.statements(op.get_bind().dialect.name):
        op.execute(statement)


def _account_keys() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    op.add_column("accounts", sa.Column("key", sa.String(length=20), nullable=True))
    fresh = "lower(hex(randomblob(10)))" if sqlite else "substr(replace(gen_random_uuid()::text, '-', ''), 1, 20)"
    op.execute(f"UPDATE accounts SET key = {fresh}")  # noqa: S608 (no value from outside)
    with op.batch_alter_table("accounts") as batch:
        batch.alter_column("key", existing_type=sa.String(length=20), nullable=False)
        batch.create_unique_constraint(op.f("uq_accounts_key"), ["key"])


def _mirrors() -> None:
    for column in (
        sa.Column("conflicts", sa.JSON(), server_default="[]", nullable=False),
        sa.Column("absent_runs", sa.Integer(), server_default="0", nullable=False),
        sa.Column("due", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("next_try_at", TIME, nullable=True),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("recheck_at", TIME, nullable=True),
        sa.Column("leased_until", TIME, nullable=True),
    ):
        op.add_column("mirrors", column)
    if op.get_bind().dialect.name != "sqlite":  # the default was for the rows that are there
        op.alter_column("mirrors", "conflicts", server_default=None)
    op.create_index(
        "ix_mirrors_due", "mirrors", ["id"], sqlite_where=sa.text("due = 1"), postgresql_where=sa.text("due")
    )
    op.create_index("ix_mirrors_recheck_at", "mirrors", ["recheck_at"])
    # Whoever may change by the clock alone is looked at once after this migration, and says when next.
    op.execute(sa.text("UPDATE mirrors SET due = :yes").bindparams(yes=True))
