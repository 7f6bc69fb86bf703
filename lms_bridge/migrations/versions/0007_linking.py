"""People who have two accounts: proving it, joining and parting them; what the help desk searches and corrects."""

from __future__ import annotations

from collections import defaultdict

import sqlalchemy as sa
from alembic import op

from external_accounts import search_index
from lms_bridge.migrations import pair_triggers, triggers

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
    _search_words()
    # The lists of what waits page by number.
    for table in ("registrations", "extensions", "assistance_requests"):
        op.create_index(f"ix_{table}_state_id", table, ["state", "id"])
    # One account's page shows its last mails.
    op.create_index("ix_outbox_mails_account_id", "outbox_mails", ["account_id"])
    # Addresses there are already count as named by an operator: nothing of them is ever dropped by itself.
    op.add_column("addresses", sa.Column("self_added", sa.Boolean(), nullable=False, server_default=sa.false()))
    _queues()
    _bulk()


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
        sa.Column("details", sa.JSON(), nullable=False),
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
        sa.Column("settled_at", MOMENT, nullable=True),
    )
    for name in ("kept_id", "other_id", "undo_until"):
        op.create_index(f"ix_account_links_{name}", "account_links", [name])
    op.create_table(
        "unlinked_identities",
        _id(),
        _account("account_id"),
        sa.Column("issuer", sa.String(40), nullable=False),
        sa.Column("unlinked_at", MOMENT, nullable=False),
        sa.Column("undo_until", MOMENT, nullable=False),
        sa.Column("undone_at", MOMENT, nullable=True),
        sa.Column("undone_by", sa.String(120), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("settled_at", MOMENT, nullable=True),
    )
    for name in ("account_id", "undo_until"):
        op.create_index(f"ix_unlinked_identities_{name}", "unlinked_identities", [name])
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
        sa.Column("new_facts", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("found_at", MOMENT, nullable=False),
        sa.Column("proposed_at", MOMENT, nullable=True),
        sa.Column("proposed_by", sa.String(120), nullable=False),
        sa.Column("decided_at", MOMENT, nullable=True),
        sa.Column("decided_by", sa.String(120), nullable=False),
        sa.Column("note", sa.String(500), nullable=False),
        sa.Column("declined_at", MOMENT, nullable=True),
        sa.UniqueConstraint("first_id", "second_id", name="uq_likely_pairs_first_id_second_id"),
        sa.CheckConstraint("first_id < second_id", name="ck_likely_pairs_in_order"),
    )
    op.create_index("ix_likely_pairs_state", "likely_pairs", ["state", "points", "id"])
    op.create_index("ix_likely_pairs_second_id", "likely_pairs", ["second_id"])
    op.create_table(
        "pair_checks",
        sa.Column(
            "account_id", INT, sa.ForeignKey("accounts.id"), primary_key=True, autoincrement=False, nullable=False
        ),
        sa.Column("noted", sa.Integer(), server_default="1", nullable=False),
        sa.Column("leased_until", MOMENT, nullable=True),
    )
    op.create_table(
        "person_keys",
        sa.Column("key", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("account_id", INT, sa.ForeignKey("accounts.id"), primary_key=True, autoincrement=False),
    )
    op.create_index("ix_person_keys_account_id", "person_keys", ["account_id"])
    op.create_table(
        "stray_users",
        _id(),
        _account("account_id"),
        sa.Column("site", sa.String(40), nullable=False),
        sa.Column("moodle_id", sa.Integer(), nullable=False),
        sa.Column("username", sa.String(100), nullable=False),
        sa.Column("fullname", sa.String(200), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("found_at", MOMENT, nullable=False),
        sa.Column("decided_at", MOMENT, nullable=True),
        sa.Column("decided_by", sa.String(120), nullable=False),
        sa.UniqueConstraint("account_id", "site", "moodle_id", name="uq_stray_users_account_id_site_moodle_id"),
    )
    op.create_index("ix_stray_users_state", "stray_users", ["state", "id"])
    op.execute("INSERT INTO pair_checks (account_id) SELECT id FROM accounts WHERE erased_at IS NULL")
    for statement in pair_triggers.statements(op.get_bind().dialect.name):
        op.execute(statement)


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


def _search_words() -> None:
    """The words that the help desk searches, for the accounts there are (how long: `docs/explanation/search.md`)."""
    word = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
    table = op.create_table(
        "search_words",
        sa.Column("word", word, primary_key=True),
        sa.Column("account_id", INT, sa.ForeignKey("accounts.id"), primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_search_words_account_id", "search_words", ["account_id", "word"])
    connection, last = op.get_bind(), 0
    page = sa.text(
        "SELECT id, username, given_name, family_name, birth_name, unit FROM accounts "
        "WHERE id > :last AND erased_at IS NULL ORDER BY id LIMIT 1000"
    )
    while found := connection.execute(page, {"last": last}).all():
        between = {"first": last, "last": found[-1].id}
        emails, subjects = (
            _of(connection, "addresses", "email_key", between),
            _of(connection, "identities", "subject", between),
        )
        last = found[-1].id
        rows = []
        for number, *said in found:
            names = dict(zip(("username", "given_name", "family_name", "birth_name", "unit"), said, strict=True))
            rows += search_index.rows(number, **names, emails=emails[number], subjects=subjects[number])
        connection.execute(sa.insert(table), rows)


def _of(connection: sa.Connection, table: str, column: str, between: dict[str, int]) -> dict[int, list[str]]:
    """The column's values by account, of the accounts behind `first` up to `last`."""
    query = f"SELECT account_id, {column} FROM {table} WHERE account_id > :first AND account_id <= :last"  # noqa: S608
    found: dict[int, list[str]] = defaultdict(list)
    for number, value in connection.execute(sa.text(query), between):
        found[number].append(value)
    return found
