"""The triggers that let the duplicate radar look: at an account that is new, or of which something changed that counts.

They stand in the database so that no way of changing an account can forget them. Alembic's batch mode makes a table
anew on SQLite and loses its triggers: a migration that does so to these tables must run these statements again.
"""

from __future__ import annotations

from collections.abc import Sequence

_NOTE = (
    "INSERT INTO pair_checks (account_id) VALUES ({}) "
    "ON CONFLICT (account_id) DO UPDATE SET noted = pair_checks.noted + 1, leased_until = NULL"
)
_COUNTS = (
    ("accounts", "id", "given_name, family_name, birth_name, unit, external_key, erased_at, merged_into_id"),
    ("addresses", "account_id", "account_id, email_key, confirmed_at"),
    ("identities", "account_id", "account_id, attributes"),
)
"""Table, column that names the account, columns whose change counts."""


def statements(dialect: str) -> Sequence[str]:
    """The statements that put the triggers in place, for `sqlite` or `postgresql`."""
    found: list[str] = []
    for table, owner, columns in _COUNTS:
        new, old = _NOTE.format(f"NEW.{owner}"), _NOTE.format(f"OLD.{owner}")
        moments = [("added", "INSERT", [new]), ("changed", f"UPDATE OF {columns}", [new])]
        if table != "accounts":  # those are never deleted; the others may be, and move from one account to another
            moments = [moments[0], ("changed", f"UPDATE OF {columns}", [old, new]), ("dropped", "DELETE", [old])]
        for name, moment, notes in moments:
            trigger = f"{table}_pairs_{name}"
            if dialect == "sqlite":
                found.append(f"DROP TRIGGER IF EXISTS {trigger}")
                found.append(f"CREATE TRIGGER {trigger} AFTER {moment} ON {table} BEGIN {'; '.join(notes)}; END")
            else:
                body = f"BEGIN {'; '.join(notes)}; RETURN NULL; END"
                found.append(f"CREATE OR REPLACE FUNCTION {trigger}() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
                found.append(
                    f"CREATE OR REPLACE TRIGGER {trigger} AFTER {moment} ON {table} "
                    f"FOR EACH ROW EXECUTE FUNCTION {trigger}()"
                )
    return found
