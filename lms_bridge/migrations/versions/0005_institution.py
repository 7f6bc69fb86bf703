"""People whose accounts come from the university: activation, mailbox, life cycle, hand-over, API."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from external_accounts import name_index
from lms_bridge.migrations import triggers

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    _accounts()
    op.create_table(
        "activation_drafts",
        sa.Column("account_id", INT, sa.ForeignKey("accounts.id"), primary_key=True, autoincrement=False),
        sa.Column("answers", sa.JSON(), nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
    )
    op.create_table(
        "activation_letters",
        sa.Column("account_id", INT, sa.ForeignKey("accounts.id"), primary_key=True, autoincrement=False),
        sa.Column("code_hash", sa.String(64), nullable=False),
        sa.Column("printed_at", MOMENT, nullable=False),
        sa.Column("printed_by", sa.String(120), nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.UniqueConstraint("code_hash", name="uq_activation_letters_code_hash"),
    )
    op.create_table(
        "mailbox_choices",
        sa.Column("account_id", INT, sa.ForeignKey("accounts.id"), primary_key=True, autoincrement=False),
        sa.Column("forward_address_id", INT, sa.ForeignKey("addresses.id"), nullable=True),
        sa.Column("keep_copy", sa.Boolean(), nullable=False),
        sa.Column("antispam", sa.String(20), nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
    )
    op.create_table(
        "directory_entries",
        _id(),
        sa.Column("directory", sa.String(40), nullable=False),
        sa.Column("username", sa.String(100), nullable=False),
        sa.Column("given_name", sa.String(100), nullable=False),
        sa.Column("family_name", sa.String(100), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("password_hash", sa.String(255), nullable=False),
        sa.Column("choices", sa.JSON(), nullable=False),
        sa.UniqueConstraint("directory", "username", name="uq_directory_entries_directory_username"),
    )
    op.create_table(
        "directory_passwords",
        sa.Column("account_id", INT, sa.ForeignKey("accounts.id"), primary_key=True, autoincrement=False),
        sa.Column("set_at", MOMENT, nullable=True),
        sa.Column("busy_until", MOMENT, nullable=True),
        sa.Column("unfinished_at", MOMENT, nullable=True),
    )
    under_way = sa.text("unfinished_at IS NOT NULL")
    op.create_index(
        "ix_directory_passwords_unfinished_at",
        "directory_passwords",
        ["unfinished_at"],
        sqlite_where=under_way,
        postgresql_where=under_way,
    )
    op.create_table(
        "nightly_work",
        sa.Column("job", sa.String(40), primary_key=True),
        sa.Column("day", sa.String(10), nullable=False),
    )
    op.create_table(
        "directory_writes",
        sa.Column("account_id", INT, sa.ForeignKey("accounts.id"), primary_key=True, autoincrement=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("due_at", MOMENT, nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.String(200), nullable=False),
    )
    held = sa.text("directory <> ''")
    op.create_index("ix_accounts_directory", "accounts", ["id"], sqlite_where=held, postgresql_where=held)
    _handovers()
    _extensions()
    _assistance_requests()
    _api()
    _name_keys()


def _id() -> sa.Column[int]:
    return sa.Column("id", INT, sa.Identity(always=False), primary_key=True)


def _accounts() -> None:
    with op.batch_alter_table("accounts") as table:
        table.add_column(sa.Column("external_key", sa.String(100), nullable=True))
        table.add_column(sa.Column("birth_name", sa.String(100), nullable=False, server_default=""))
        table.add_column(sa.Column("unit", sa.String(100), nullable=False, server_default=""))
        table.add_column(sa.Column("directory", sa.String(40), nullable=False, server_default=""))
        table.add_column(sa.Column("sponsor_id", INT, nullable=True))
        table.add_column(sa.Column("activation_mail_due_at", MOMENT, nullable=True))
        table.create_unique_constraint("uq_accounts_external_key", ["external_key"])
        table.create_foreign_key("fk_accounts_sponsor_id_accounts", "accounts", ["sponsor_id"], ["id"])
    # The defaults were for the rows there are: what comes says it.
    with op.batch_alter_table("accounts") as table:
        for name, length in (("birth_name", 100), ("unit", 100), ("directory", 40)):
            table.alter_column(name, existing_type=sa.String(length), existing_nullable=False, server_default=None)
    for name in ("activation_mail_due_at", "rights_end_at"):
        there = sa.text(f"{name} IS NOT NULL")
        op.create_index(f"ix_accounts_{name}", "accounts", [name], sqlite_where=there, postgresql_where=there)
    op.add_column("proofs", sa.Column("calendar_end", MOMENT, nullable=True))
    # SQLite made the table anew, without its triggers.
    for statement in triggers.statements(op.get_bind().dialect.name):
        op.execute(statement)


def _handovers() -> None:
    op.create_table(
        "handovers",
        _id(),
        sa.Column("event", sa.String(40), nullable=False),
        sa.Column("account_id", INT, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("key", sa.String(40), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("spread_at", MOMENT, nullable=True),
        sa.UniqueConstraint("key", name="uq_handovers_key"),
    )
    waiting = sa.text("spread_at IS NULL")
    op.create_index("ix_handovers_waiting", "handovers", ["id"], sqlite_where=waiting, postgresql_where=waiting)
    op.create_index("ix_handovers_account_id", "handovers", ["account_id"])
    op.create_table(
        "handover_deliveries",
        sa.Column("handover_id", INT, sa.ForeignKey("handovers.id"), primary_key=True, autoincrement=False),
        sa.Column("target", sa.String(60), primary_key=True),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("leased_until", MOMENT, nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("delivered_at", MOMENT, nullable=True),
        sa.Column("last_error", sa.String(500), nullable=False),
    )
    op.create_index("ix_handover_deliveries_due", "handover_deliveries", ["state", "target", "due_at"])


def _extensions() -> None:
    op.create_table(
        "extensions",
        _id(),
        sa.Column("account_id", INT, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("sponsor_id", INT, sa.ForeignKey("accounts.id"), nullable=True),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.Column("asked_until", MOMENT, nullable=False),
        sa.Column("granted_until", MOMENT, nullable=True),
        sa.Column("decided_at", MOMENT, nullable=True),
        sa.Column("decided_by", sa.String(120), nullable=False),
        sa.Column("decision_reason", sa.String(500), nullable=False),
    )
    op.create_index("ix_extensions_state", "extensions", ["state", "asked_at"])
    op.create_index("ix_extensions_account_id", "extensions", ["account_id"])
    waiting = sa.text("state = 'waiting'")
    op.create_index(
        "uq_extensions_waiting",
        "extensions",
        ["account_id"],
        unique=True,
        sqlite_where=waiting,
        postgresql_where=waiting,
    )
    op.create_table(
        "lifecycle_notices",
        _id(),
        sa.Column("account_id", INT, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("kind", sa.String(30), nullable=False),
        sa.Column("about", MOMENT, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.UniqueConstraint("account_id", "kind", "about", name="uq_lifecycle_notices_account_id_kind_about"),
    )


def _assistance_requests() -> None:
    op.create_table(
        "assistance_requests",
        _id(),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("reference", sa.String(12), nullable=False),
        sa.Column("subject", sa.String(30), nullable=False),
        sa.Column("given_name", sa.String(100), nullable=False),
        sa.Column("family_name", sa.String(100), nullable=False),
        sa.Column("identifier", sa.String(254), nullable=False),
        sa.Column("contact", sa.String(254), nullable=False),
        sa.Column("profile", sa.String(40), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("locale", sa.String(10), nullable=False),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.Column("closed_by", sa.String(120), nullable=False),
        sa.Column("closing_note", sa.String(500), nullable=False),
        sa.UniqueConstraint("reference", name="uq_assistance_requests_reference"),
    )
    op.create_index("ix_assistance_requests_state", "assistance_requests", ["state", "asked_at"])


def _api() -> None:
    op.create_table(
        "api_keys",
        _id(),
        sa.Column("name", sa.String(60), nullable=False),
        sa.Column("prefix", sa.String(16), nullable=False),
        sa.Column("secret_hash", sa.String(64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=True),
        sa.Column("revoked_at", MOMENT, nullable=True),
        sa.Column("last_used_at", MOMENT, nullable=True),
        sa.UniqueConstraint("name", name="uq_api_keys_name"),
        sa.UniqueConstraint("prefix", name="uq_api_keys_prefix"),
    )
    op.create_table(
        "api_answers",
        sa.Column("key_id", INT, sa.ForeignKey("api_keys.id"), primary_key=True, autoincrement=False),
        sa.Column("idempotency_key", sa.String(100), primary_key=True),
        sa.Column("request_hash", sa.String(64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
    )
    op.create_index("ix_api_answers_created_at", "api_answers", ["created_at"])


def _name_keys() -> None:
    """The index of names, filled for the accounts there are: some 20 seconds for each 100,000."""
    keys = op.create_table(
        "name_keys",
        sa.Column("key", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("account_id", INT, sa.ForeignKey("accounts.id"), primary_key=True, autoincrement=False),
    )
    op.create_index("ix_name_keys_account_id", "name_keys", ["account_id"])
    connection, last = op.get_bind(), 0
    page = sa.text("SELECT id, given_name, family_name FROM accounts WHERE id > :last ORDER BY id LIMIT 1000")
    while found := connection.execute(page, {"last": last}).all():
        last = found[-1].id
        if rows := [row for account in found for row in name_index.rows(*account)]:
            connection.execute(sa.insert(keys), rows)
