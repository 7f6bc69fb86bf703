"""The triggers that mark mirrors: a changed account is due at every site in the transaction that changes it.

They stand in the database so that no way of changing an account can forget them. Alembic's batch mode makes a table
anew on SQLite and loses its triggers: a migration that does so to `accounts` must run these statements again.
"""

from __future__ import annotations

from collections.abc import Sequence

_MARK = "UPDATE mirrors SET due = {yes}, next_try_at = NULL, tries = 0 WHERE account_id = NEW.id"
_ADD = (
    "INSERT INTO mirrors (account_id, site, state, owned, suspended_by_us, written, account_version, "
    "sign_out_pending, problem, conflicts, absent_runs, due, tries) "
    "SELECT NEW.id, site, 'pending', {no}, {no}, '{{}}', 0, {no}, '', '[]', 0, {yes}, 0 "
    "FROM site_states WHERE active"
)


def statements(dialect: str) -> Sequence[str]:
    """The statements that put the triggers in place, for `sqlite` or `postgresql`."""
    if dialect == "sqlite":
        mark, add = _MARK.format(yes=1), _ADD.format(yes=1, no=0)
        return (
            "DROP TRIGGER IF EXISTS accounts_changed",
            f"CREATE TRIGGER accounts_changed AFTER UPDATE OF version ON accounts BEGIN {mark}; END",
            "DROP TRIGGER IF EXISTS accounts_added",
            f"CREATE TRIGGER accounts_added AFTER INSERT ON accounts BEGIN {add}; END",
        )
    mark, add = _MARK.format(yes="true"), _ADD.format(yes="true", no="false")
    changed = "AFTER UPDATE OF version ON accounts FOR EACH ROW EXECUTE FUNCTION accounts_changed()"
    added = "AFTER INSERT ON accounts FOR EACH ROW EXECUTE FUNCTION accounts_added()"
    return (
        _function("accounts_changed", mark),
        _function("accounts_added", add),
        f"CREATE OR REPLACE TRIGGER accounts_changed {changed}",
        f"CREATE OR REPLACE TRIGGER accounts_added {added}",
    )


def _function(name: str, body: str) -> str:
    return (
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NULL; END $$"
    )
