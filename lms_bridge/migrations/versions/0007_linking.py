"""People who have two accounts: proving it, joining and parting them; what the help desk searches and corrects."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from lms_bridge.migrations import triggers

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    _accounts()
    _ceremonies()
    _links()
    _pairs()
    _corrections()
    _queues()
    _bulk()
    op.create_table(
        "search_words",
        sa.Column("word", sa.String(64), primary_key=True),
        sa.Column("account_id", INT, sa.ForeignKey("accounts.id"), primary_key=True, autoincrement=False),
    )
    op.create_index("ix_search_words_account_id", "search_words", ["account_id"])


def _queues() -> None:
    """What the help desk's lists are restricted to, so that they page however much else there is."""
    for name, table, column, where in (
        ("ix_addresses_bounced", "addresses", "id", "lost_reason = 'bounce'"),
        ("ix_mirrors_problem", "mirrors", "id", "problem <> ''"),
        ("ix_outbox_mails_proof_id", "outbox_mails", "proof_id", "proof_id IS NOT NULL"),
        ("ix_outbox_mails_undelivered", "outbox_mails", "id", "state IN ('bounced', 'failed')"),
    ):
        op.create_index(name, table, [column], sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _bulk() -> None:
    op.create_table(
        "bulk_runs",
        _id(),
        sa.Column("act", sa.String(20), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("until", sa.String(10), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("made_by", sa.String(120), nullable=False),
        _account("made_by_id"),
        sa.Column("network", sa.String(50), nullable=False),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("undoes_id", INT, sa.ForeignKey("bulk_runs.id"), nullable=True),
    )
    op.create_index("ix_bulk_runs_state", "bulk_runs", ["state", "id"])
    op.create_table(
        "bulk_lines",
        _id(),
        sa.Column("run_id", INT, sa.ForeignKey("bulk_runs.id"), nullable=False),
        sa.Column("typed", sa.String(254), nullable=False),
        _account("account_id", nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("refusal", sa.String(40), nullable=False),
        sa.Column("at", MOMENT, nullable=True),
    )
    op.create_index("ix_bulk_lines_run_id", "bulk_lines", ["run_id", "state", "id"])


def _id() -> sa.Column[int]:
    return sa.Column("id", INT, sa.Identity(always=False), primary_key=True)


def _account(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, INT, sa.ForeignKey("accounts.id"), nullable=nullable)


def _accounts() -> None:
    with op.batch_alter_table("accounts") as table:
        table.add_column(sa.Column("merged_into_id", INT, nullable=True))
        table.create_foreign_key("fk_accounts_merged_into_id_accounts", "accounts", ["merged_into_id"], ["id"])
    there = sa.text("merged_into_id IS NOT NULL")
    op.create_index(
        "ix_accounts_merged_into_id", "accounts", ["merged_into_id"], sqlite_where=there, postgresql_where=there
    )
    # SQLite made the table anew, without its triggers.
    for statement in triggers.statements(op.get_bind().dialect.name):
        op.execute(statement)


def _ceremonies() -> None:
    op.create_table(
        "link_ceremonies",
        _id(),
        sa.Column("handle", sa.String(32), nullable=False),
        _account("account_id"),
        sa.Column("session_id", INT, nullable=False),
        sa.Column("issuer", sa.String(40), nullable=False),
        sa.Column("subject", sa.String(100), nullable=False),
        sa.Column("this_proved_at", MOMENT, nullable=True),
        sa.Column("other_issuer", sa.String(40), nullable=False),
        sa.Column("other_subject", sa.String(100), nullable=False),
        _account("other_account_id", nullable=True),
        sa.Column("other_proved_at", MOMENT, nullable=True),
        sa.Column("proof_id", INT, sa.ForeignKey("proofs.id"), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.UniqueConstraint("handle", name="uq_link_ceremonies_handle"),
    )
    op.create_index("ix_link_ceremonies_account_id", "link_ceremonies", ["account_id"])


def _links() -> None:
    op.create_table(
        "account_links",
        _id(),
        _account("kept_id"),
        _account("other_id"),
        sa.Column("linked_at", MOMENT, nullable=False),
        sa.Column("undo_until", MOMENT, nullable=False),
        sa.Column("undone_at", MOMENT, nullable=True),
        sa.Column("undone_by", sa.String(120), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
    )
    for name in ("kept_id", "other_id", "undo_until"):
        op.create_index(f"ix_account_links_{name}", "account_links", [name])
    op.create_table(
        "moodle_merges",
        _id(),
        sa.Column("link_id", INT, sa.ForeignKey("account_links.id"), nullable=False),
        sa.Column("site", sa.String(40), nullable=False),
        sa.Column("kept_moodle_id", sa.Integer(), nullable=False),
        sa.Column("other_moodle_id", sa.Integer(), nullable=False),
        sa.Column("kept_username", sa.String(100), nullable=False),
        sa.Column("other_username", sa.String(100), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.Column("done_at", MOMENT, nullable=True),
        sa.Column("done_by", sa.String(120), nullable=False),
        sa.UniqueConstraint("link_id", "site", name="uq_moodle_merges_link_id_site"),
    )
    op.create_index("ix_moodle_merges_state", "moodle_merges", ["site", "state"])


def _pairs() -> None:
    op.create_table(
        "likely_pairs",
        _id(),
        _account("first_id"),
        _account("second_id"),
        sa.Column("points", sa.Integer(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("found_at", MOMENT, nullable=False),
        sa.Column("proposed_at", MOMENT, nullable=True),
        sa.Column("proposed_by", sa.String(120), nullable=False),
        sa.Column("decided_at", MOMENT, nullable=True),
        sa.Column("decided_by", sa.String(120), nullable=False),
        sa.Column("note", sa.String(500), nullable=False),
        sa.UniqueConstraint("first_id", "second_id", name="uq_likely_pairs_first_id_second_id"),
        sa.CheckConstraint("first_id < second_id", name="ck_likely_pairs_in_order"),
    )
    op.create_index("ix_likely_pairs_state", "likely_pairs", ["state", "points", "id"])
    op.create_index("ix_likely_pairs_second_id", "likely_pairs", ["second_id"])


def _corrections() -> None:
    op.create_table(
        "address_corrections",
        _id(),
        _account("account_id"),
        sa.Column("address_id", INT, sa.ForeignKey("addresses.id", ondelete="SET NULL"), nullable=True),
        sa.Column("old_email", sa.String(254), nullable=False),
        sa.Column("new_email", sa.String(254), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.Column("asked_by", sa.String(120), nullable=False),
        _account("asked_by_id"),
        sa.Column("decided_at", MOMENT, nullable=True),
        sa.Column("decided_by", sa.String(120), nullable=False),
        sa.Column("decision_reason", sa.String(500), nullable=False),
    )
    op.create_index("ix_address_corrections_state", "address_corrections", ["state", "id"])
    op.create_index("ix_address_corrections_account_id", "address_corrections", ["account_id"])
    waiting = sa.text("state = 'waiting'")
    op.create_index(
        "uq_address_corrections_waiting",
        "address_corrections",
        ["address_id"],
        unique=True,
        sqlite_where=waiting,
        postgresql_where=waiting,
    )
