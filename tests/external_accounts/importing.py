"""Files of the staff office, and what a database holds after them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.database import Database
from external_accounts.directory import Directory
from external_accounts.import_rows import Sheet, read_sheet
from external_accounts.import_runs import Limits, Outcome, Plan, Run, apply, plan
from external_accounts.imports import Limit, Rules
from external_accounts.profiles import ProfilePolicy
from external_accounts.schema import Account, Address
from external_accounts.spreadsheets import read_table
from tests.external_accounts.conftest import NOW

HEADER = ("matricule", "nom", "prénom")
PLENTY = Limits(ended=Limit(100, 10_000), renamed=Limit(100, 10_000))
PROFILES = {
    "vacataire": ProfilePolicy("vacataire", issuer="sel", directory="sel"),
    "staff": ProfilePolicy("staff", issuer="sel", directory="sel"),
    "guest": ProfilePolicy("guest", issuer="sel"),
    "learner": ProfilePolicy("learner"),
}


def rules(now: datetime = NOW, **changes: Any) -> Rules:
    values: dict[str, Any] = {
        "now": now,
        "profiles": PROFILES,
        "last_moment": lambda day: datetime.combine(day, time(23, 59), UTC),
        "local_names": re.compile(r"ext\.[a-z0-9._-]{1,90}"),
        "username_form": "{given}.{family}",
        "local_username_form": "ext.{given}.{family}",
        "homonym_threshold": 60,
        "language": "fr",
        "default_profile": "vacataire",
    }
    return Rules(**values | changes)


def csv_of(lines: Iterable[Sequence[str]], header: Sequence[str] = HEADER) -> bytes:
    return "\n".join(";".join(cells) for cells in [header, *lines]).encode()


def sheet(lines: Iterable[Sequence[str]], header: Sequence[str] = HEADER) -> Sheet:
    return read_sheet(read_table(csv_of(lines, header)))


def planned(database: Database, file: Sheet, chosen: Rules | None = None, **options: Any) -> Plan:
    return plan(database, file, chosen or rules(), options.pop("limits", PLENTY), **options)


def imported(
    database: Database,
    file: Sheet,
    chosen: Rules | None = None,
    *,
    directories: Mapping[str, Directory] | None = None,
    ended: list[int] | None = None,
    **options: Any,
) -> Outcome:
    """Plan and apply. `ended` gets the accounts whose sessions were to end."""
    chosen = chosen or rules()

    def end_sessions(_session: Session, account_id: int) -> None:
        if ended is not None:
            ended.append(account_id)

    run = Run(database, directories or {}, chosen, audit.Origin(actor="cli:test"), end_sessions)
    return apply(run, planned(database, file, chosen, **options))


def accounts(database: Database) -> dict[str, dict[str, Any]]:
    """What there is of people from files, by key: all that an import writes and nothing that is drawn."""
    with database.read() as session:
        held: dict[int, list[tuple[str, str, bool]]] = {}
        for one in session.scalars(select(Address).order_by(Address.email)):
            held.setdefault(one.account_id, []).append((one.email, one.role, one.is_primary))
            assert one.confirmed_at is None or one.confirmed_by == "proof"
        names = {account.id: account.username for account in session.scalars(select(Account))}
        return {
            account.external_key: {
                "username": account.username,
                "profile": account.profile,
                "name": (account.given_name, account.family_name, account.birth_name),
                "unit": account.unit,
                "end": account.rights_end_at,
                "sponsor": names.get(account.sponsor_id or 0),
                "addresses": held.get(account.id, []),
                "mail": account.activation_mail_due_at is not None,
                "directory": account.directory,
            }
            for account in session.scalars(select(Account).where(Account.external_key.is_not(None)))
            if account.external_key is not None
        }


def account(session: Session, key: str) -> Account:
    return session.scalars(select(Account).where(Account.external_key == key)).one()


def end_of(day: str) -> datetime:
    return datetime.combine(date.fromisoformat(day), time(23, 59), UTC)
