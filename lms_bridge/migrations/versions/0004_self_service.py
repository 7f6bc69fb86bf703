"""What people do alone: registrations, proofs about more than an address, bounces, reminders, deletion."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    for name in ("erasure_asked_at", "erasure_due_at", "checked_at", "reminded_at"):
        op.add_column("accounts", sa.Column(name, MOMENT, nullable=True))
    op.create_index("ix_accounts_erasure_due_at", "accounts", ["erasure_due_at"])
    op.add_column("sso_sessions", sa.Column("authenticated_at", MOMENT, nullable=True))
    op.add_column("outbox_mails", sa.Column("bounced_at", MOMENT, nullable=True))
    op.add_column("outbox_mails", sa.Column("bounce_status", sa.String(20), nullable=False, server_default=""))
    _registrations()
    with op.batch_alter_table("proofs") as table:
        table.alter_column("account_id", existing_type=INT, nullable=True)
        table.alter_column("address_id", existing_type=INT, nullable=True)
        table.add_column(sa.Column("registration_id", INT, nullable=True))
        table.add_column(sa.Column("sought", sa.String(320), nullable=False, server_default=""))
        table.add_column(sa.Column("lifetime_seconds", sa.Integer(), nullable=False, server_default="86400"))
        table.add_column(sa.Column("accepted_at", MOMENT, nullable=True))
        table.add_column(sa.Column("search_due_at", MOMENT, nullable=True))
        table.add_column(sa.Column("details", sa.JSON(), nullable=False, server_default="{}"))
        table.create_foreign_key(
            "fk_proofs_registration_id_registrations", "registrations", ["registration_id"], ["id"]
        )
        table.create_index("ix_proofs_registration_id", ["registration_id"])
    # The defaults were for the rows there are: what comes says it.
    with op.batch_alter_table("proofs") as table:
        for name, kind in (("sought", sa.String(320)), ("lifetime_seconds", sa.Integer()), ("details", sa.JSON())):
            table.alter_column(name, existing_type=kind, existing_nullable=False, server_default=None)
    with op.batch_alter_table("outbox_mails") as table:
        table.alter_column("bounce_status", existing_type=sa.String(20), existing_nullable=False, server_default=None)
    sought = sa.text("sought <> ''")
    op.create_index("ix_proofs_sought", "proofs", ["sought"], sqlite_where=sought, postgresql_where=sought)
    due = sa.text("search_due_at IS NOT NULL")
    op.create_index("ix_proofs_search_due", "proofs", ["search_due_at"], sqlite_where=due, postgresql_where=due)


def _registrations() -> None:
    op.create_table(
        "registrations",
        sa.Column("id", INT, sa.Identity(always=False), nullable=False),
        sa.Column("mode", sa.String(10), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("email_key", sa.String(254), nullable=False),
        sa.Column("given_name", sa.String(100), nullable=False),
        sa.Column("family_name", sa.String(100), nullable=False),
        sa.Column("profile", sa.String(40), nullable=False),
        sa.Column("language", sa.String(10), nullable=False),
        sa.Column("service", sa.Text(), nullable=True),
        sa.Column("charter_version", sa.String(40), nullable=False),
        sa.Column("charter_accepted_at", MOMENT, nullable=True),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("sponsor_id", INT, nullable=True),
        sa.Column("rights_end_at", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("created_by", sa.String(120), nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("proved_at", MOMENT, nullable=True),
        sa.Column("proof_id", INT, nullable=True),
        sa.Column("decided_at", MOMENT, nullable=True),
        sa.Column("decided_by", sa.String(120), nullable=False),
        sa.Column("decision_reason", sa.String(500), nullable=False),
        sa.Column("account_id", INT, nullable=True),
        sa.ForeignKeyConstraint(["sponsor_id"], ["accounts.id"], name="fk_registrations_sponsor_id_accounts"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_registrations_account_id_accounts"),
        sa.PrimaryKeyConstraint("id", name="pk_registrations"),
    )
    op.create_index("ix_registrations_state", "registrations", ["state", "expires_at"])
    op.create_index("ix_registrations_email_key", "registrations", ["email_key"])
    op.create_index("ix_registrations_sponsor_id", "registrations", ["sponsor_id"])
