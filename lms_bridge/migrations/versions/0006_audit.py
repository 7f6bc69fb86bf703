"""The audit trail as a chain, what was revoked at one blow, since when a proxy grant stands, who asks why."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from lms_bridge.migrations import audit_triggers

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("audit_events", sa.Column("position", INT, nullable=True))
    op.add_column("audit_events", sa.Column("salt", sa.String(32), nullable=True))
    op.add_column("audit_events", sa.Column("commitment", sa.String(64), nullable=True))
    op.add_column("audit_events", sa.Column("hash", sa.String(64), nullable=True))
    op.create_index("uq_audit_events_position", "audit_events", ["position"], unique=True)
    for name, column, there in (("unsealed", "id", "position IS NULL"), ("personal", "at", "salt IS NOT NULL")):
        op.create_index(
            f"ix_audit_events_{name}",
            "audit_events",
            [column],
            sqlite_where=sa.text(there),
            postgresql_where=sa.text(there),
        )
    op.create_table(
        "audit_checkpoints",
        sa.Column("id", INT, sa.Identity(always=False), primary_key=True),
        sa.Column("position", INT, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("signature", sa.String(64), nullable=False),
    )
    op.create_index("ix_audit_checkpoints_position", "audit_checkpoints", ["position"])
    op.create_table(
        "revocations",
        sa.Column("id", INT, sa.Identity(always=False), primary_key=True),
        sa.Column("before", MOMENT, nullable=False),
        sa.Column("profile", sa.String(40), nullable=False),
        sa.Column("issuer", sa.String(40), nullable=False),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.Column("asked_by", sa.String(120), nullable=False),
        sa.Column("done_at", MOMENT, nullable=True),
        sa.Column("counts", sa.JSON(), nullable=False),
    )
    op.create_index("ix_revocations_before", "revocations", ["before"])
    op.create_table(
        "why_requests",
        sa.Column("id", INT, sa.Identity(always=False), primary_key=True),
        sa.Column("sought", sa.String(320), nullable=False),
        sa.Column("locale", sa.String(10), nullable=False),
        sa.Column("may_mail", sa.Boolean(), nullable=False),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
    )
    op.create_index("ix_why_requests_due_at", "why_requests", ["due_at"])
    op.add_column("proxy_grants", sa.Column("issued_at", MOMENT, nullable=True))
    for statement in audit_triggers.statements(op.get_bind().dialect.name):
        op.execute(statement)
