"""Accounts, proofs, outbox, audit, sessions, tickets, mirrors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", INT, sa.Identity(always=False), nullable=False),
        sa.Column("username", sa.String(length=100), nullable=False),
        sa.Column("profile", sa.String(length=40), nullable=False),
        sa.Column("given_name", sa.String(length=100), nullable=False),
        sa.Column("family_name", sa.String(length=100), nullable=False),
        sa.Column("language", sa.String(length=10), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("activated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("suspended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("suspended_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("suspension_reason", sa.String(length=500), nullable=False),
        sa.Column("rights_end_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_sign_in_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("username", name=op.f("uq_accounts_username")),
    )
    op.create_table(
        "audit_events",
        sa.Column("id", INT, sa.Identity(always=False), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event", sa.String(length=60), nullable=False),
        sa.Column("outcome", sa.String(length=40), nullable=False),
        sa.Column("account_id", INT, nullable=True),
        sa.Column("actor", sa.String(length=120), nullable=False),
        sa.Column("network", sa.String(length=50), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
    )
    with op.batch_alter_table("audit_events", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_audit_events_account_id"), ["account_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_audit_events_at"), ["at"], unique=False)

    op.create_table(
        "throttle_buckets",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("full_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_throttle_buckets")),
    )
    with op.batch_alter_table("throttle_buckets", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_throttle_buckets_full_at_ms"), ["full_at_ms"], unique=False)

    op.create_table(
        "addresses",
        sa.Column("id", INT, sa.Identity(always=False), nullable=False),
        sa.Column("account_id", INT, nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("email_key", sa.String(length=254), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("is_primary", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("confirmed_by", sa.String(length=40), nullable=False),
        sa.Column("lost_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lost_reason", sa.String(length=40), nullable=False),
        sa.CheckConstraint("confirmed_at IS NULL OR lost_at IS NULL", name=op.f("ck_addresses_confirmed_or_lost")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_addresses_account_id_accounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_addresses")),
        sa.UniqueConstraint("account_id", "email_key", name=op.f("uq_addresses_account_id_email_key")),
    )
    with op.batch_alter_table("addresses", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_addresses_account_id"), ["account_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_addresses_email_key"), ["email_key"], unique=False)
        batch_op.create_index(
            "uq_addresses_primary",
            ["account_id"],
            unique=True,
            sqlite_where=sa.text("is_primary = 1"),
            postgresql_where=sa.text("is_primary"),
        )

    op.create_table(
        "engagements",
        sa.Column("id", INT, sa.Identity(always=False), nullable=False),
        sa.Column("account_id", INT, nullable=False),
        sa.Column("document", sa.String(length=40), nullable=False),
        sa.Column("version", sa.String(length=40), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_engagements_account_id_accounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_engagements")),
        sa.UniqueConstraint(
            "account_id", "document", "version", name=op.f("uq_engagements_account_id_document_version")
        ),
    )
    op.create_table(
        "identities",
        sa.Column("id", INT, sa.Identity(always=False), nullable=False),
        sa.Column("account_id", INT, nullable=False),
        sa.Column("issuer", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=100), nullable=False),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("refreshed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_identities_account_id_accounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identities")),
        sa.UniqueConstraint("issuer", "subject", name=op.f("uq_identities_issuer_subject")),
    )
    with op.batch_alter_table("identities", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_identities_account_id"), ["account_id"], unique=False)

    op.create_table(
        "local_passwords",
        sa.Column("account_id", INT, nullable=False),
        sa.Column("hash", sa.String(length=255), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_local_passwords_account_id_accounts")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_local_passwords")),
    )
    op.create_table(
        "mirrors",
        sa.Column("id", INT, sa.Identity(always=False), nullable=False),
        sa.Column("account_id", INT, nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("moodle_id", INT, nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("owned", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("suspended_by_us", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("written", sa.JSON(), nullable=False),
        sa.Column("account_version", sa.Integer(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sign_out_pending", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("problem", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_mirrors_account_id_accounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mirrors")),
        sa.UniqueConstraint("account_id", "site", name=op.f("uq_mirrors_account_id_site")),
        sa.UniqueConstraint("site", "moodle_id", name=op.f("uq_mirrors_site_moodle_id")),
    )
    op.create_table(
        "proofs",
        sa.Column("id", INT, sa.Identity(always=False), nullable=False),
        sa.Column("handle", sa.String(length=32), nullable=False),
        sa.Column("account_id", INT, nullable=False),
        sa.Column("address_id", INT, nullable=False),
        sa.Column("purpose", sa.String(length=30), nullable=False),
        sa.Column("email_key", sa.String(length=254), nullable=False),
        sa.Column("nonce", sa.LargeBinary(length=16), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("link_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("code_expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("code_attempts", sa.Integer(), nullable=False),
        sa.Column("code_round", sa.Integer(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_with", sa.String(length=10), nullable=False),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("service", sa.Text(), nullable=True),
        sa.Column("locale", sa.String(length=10), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_proofs_account_id_accounts")),
        sa.ForeignKeyConstraint(["address_id"], ["addresses.id"], name=op.f("fk_proofs_address_id_addresses")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proofs")),
        sa.UniqueConstraint("handle", name=op.f("uq_proofs_handle")),
        sa.UniqueConstraint("link_hash", name=op.f("uq_proofs_link_hash")),
    )
    with op.batch_alter_table("proofs", schema=None) as batch_op:
        batch_op.create_index(
            "ix_proofs_pending", ["account_id", "purpose", "claimed_at", "cancelled_at"], unique=False
        )

    op.create_table(
        "sso_sessions",
        sa.Column("id", INT, sa.Identity(always=False), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("account_id", INT, nullable=False),
        sa.Column("identity_id", INT, nullable=False),
        sa.Column("issuer", sa.String(length=40), nullable=False),
        sa.Column("upstream_ticket_hash", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_reason", sa.String(length=40), nullable=False),
        sa.Column("network", sa.String(length=50), nullable=False),
        sa.Column("user_agent", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_sso_sessions_account_id_accounts")),
        sa.ForeignKeyConstraint(
            ["identity_id"], ["identities.id"], name=op.f("fk_sso_sessions_identity_id_identities")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sso_sessions")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_sso_sessions_secret_hash")),
    )
    with op.batch_alter_table("sso_sessions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_sso_sessions_account_id"), ["account_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_sso_sessions_upstream_ticket_hash"), ["upstream_ticket_hash"], unique=False
        )

    op.create_table(
        "outbox_mails",
        sa.Column("id", INT, sa.Identity(always=False), nullable=False),
        sa.Column("template", sa.String(length=40), nullable=False),
        sa.Column("recipient", sa.String(length=254), nullable=False),
        sa.Column("locale", sa.String(length=10), nullable=False),
        sa.Column("account_id", INT, nullable=True),
        sa.Column("proof_id", INT, nullable=True),
        sa.Column("context", sa.JSON(), nullable=False),
        sa.Column("message_id", sa.String(length=100), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.String(length=500), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_outbox_mails_account_id_accounts")),
        sa.ForeignKeyConstraint(["proof_id"], ["proofs.id"], name=op.f("fk_outbox_mails_proof_id_proofs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox_mails")),
        sa.UniqueConstraint("message_id", name=op.f("uq_outbox_mails_message_id")),
    )
    with op.batch_alter_table("outbox_mails", schema=None) as batch_op:
        batch_op.create_index("ix_outbox_mails_due", ["state", "due_at"], unique=False)

    op.create_table(
        "proxy_grants",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("session_id", INT, nullable=False),
        sa.Column("account_id", INT, nullable=False),
        sa.Column("service_name", sa.String(length=40), nullable=False),
        sa.Column("callbacks", sa.JSON(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_proxy_grants_account_id_accounts")),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sso_sessions.id"], name=op.f("fk_proxy_grants_session_id_sso_sessions")
        ),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_proxy_grants")),
    )
    with op.batch_alter_table("proxy_grants", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_proxy_grants_session_id"), ["session_id"], unique=False)

    op.create_table(
        "tickets",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("session_id", INT, nullable=False),
        sa.Column("account_id", INT, nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("service_name", sa.String(length=40), nullable=False),
        sa.Column("from_new_login", sa.Boolean(), nullable=False),
        sa.Column("proxies", sa.JSON(), nullable=True),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("validated", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("spent_ticket", sa.String(length=64), nullable=True),
        sa.Column("logout_state", sa.String(length=10), nullable=True),
        sa.Column("logout_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("logout_attempts", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_tickets_account_id_accounts")),
        sa.ForeignKeyConstraint(["session_id"], ["sso_sessions.id"], name=op.f("fk_tickets_session_id_sso_sessions")),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_tickets")),
    )
    with op.batch_alter_table("tickets", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_tickets_expires_at"), ["expires_at"], unique=False)
        batch_op.create_index("ix_tickets_logout", ["logout_state", "logout_due_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_tickets_session_id"), ["session_id"], unique=False)
