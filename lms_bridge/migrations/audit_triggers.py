"""The triggers that make the audit trail append-only: rows are added, sealed once, and never deleted.

One further change is legal: what says who it was goes, together with the salt, and the commitment stays (see
`external_accounts.audit_chain`). Alembic's batch mode makes a table anew on SQLite and loses its triggers: a migration
that does so to these tables must run these statements again. Whoever may drop triggers is stopped by none: that is what
the chain and its checkpoints are for.
"""

from __future__ import annotations

from collections.abc import Sequence

FACTS = ("id", "at", "event", "outcome")
PERSONAL = ("account_id", "actor", "network", "details")
SEAL = ("position", "commitment", "hash")
REFUSED = "the audit trail is append-only"


def statements(dialect: str) -> Sequence[str]:
    """The statements that put the triggers in place, for `sqlite` or `postgresql`."""
    if dialect == "sqlite":
        refuse = f"BEGIN SELECT RAISE(ABORT, '{REFUSED}'); END"
        rules = [(when, f"WHEN {condition} " if condition else "") for when, condition in _rules("{}", "IS")]
        return [
            f"CREATE TRIGGER {table}_{verb.lower()} BEFORE {verb} ON {table} {condition}{refuse}"
            for table, verb, condition in _each(rules)
        ]
    raising = f"BEGIN RAISE EXCEPTION '{REFUSED}'; END"
    found = [f"CREATE FUNCTION audit_refused() RETURNS trigger LANGUAGE plpgsql AS $$ {raising} $$"]
    rules = [
        (when, f"WHEN ({condition}) " if condition else "")
        for when, condition in _rules("{}::text", "IS NOT DISTINCT FROM")
    ]
    call = "EXECUTE FUNCTION audit_refused()"
    for table, verb, condition in _each(rules):
        found.append(f"CREATE TRIGGER {table}_{verb.lower()} BEFORE {verb} ON {table} FOR EACH ROW {condition}{call}")
    for table in ("audit_events", "audit_checkpoints"):
        found.append(f"CREATE TRIGGER {table}_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {call}")
    return found


def _each(rules: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str, str]]:
    events = [("audit_events", verb, condition) for verb, condition in rules]
    return [*events, ("audit_checkpoints", "UPDATE", ""), ("audit_checkpoints", "DELETE", "")]


def _rules(text: str, same: str) -> Sequence[tuple[str, str]]:
    """What is refused: verb, and on which condition. `text` turns a JSON column into text, `same` compares NULLs."""

    def kept(names: Sequence[str]) -> str:
        values = [text.format(name) if name == "details" else name for name in names]
        return " AND ".join(f"NEW.{value} {same} OLD.{value}" for value in values)

    sealing = f"OLD.position IS NULL AND NEW.position IS NOT NULL AND {kept(FACTS + PERSONAL)}"
    gone = "NEW.salt IS NULL AND NEW.account_id IS NULL AND NEW.actor = '' AND NEW.network = ''"
    gone = f"{gone} AND NEW.{text.format('details')} = '{{}}' AND OLD.event <> 'audit.pseudonymised'"
    forgetting = f"OLD.position IS NOT NULL AND {kept(FACTS + SEAL)} AND {gone}"
    return (
        ("INSERT", "NEW.position IS NOT NULL"),
        ("UPDATE", f"NOT (({sealing}) OR ({forgetting}))"),
        ("DELETE", ""),
    )
