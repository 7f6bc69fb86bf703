"""Everything the bridge holds about one account, as plain values: for the person to take away.

Complete, but for what is nobody's to read: password hashes, and whatever opens something (proofs, session secrets).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts.database import Base
from external_accounts.institution_schema import ActivationDraft, Extension, LifecycleNotice, MailboxChoice
from external_accounts.linking_schema import AccountLink, UnlinkedIdentity
from external_accounts.schema import (
    Account,
    AccountId,
    Address,
    AuditEvent,
    Engagement,
    LocalPassword,
    OutboxMail,
    Registration,
    SignInIdentity,
)
from lms_bridge.schema import Mirror, SsoSession, Ticket

SECRET = frozenset({"secret_hash", "upstream_ticket_hash", "hash", "spent_ticket", "session_id", "leased_until"})


def everything_about(session: Session, account_id: AccountId, *, now: datetime) -> dict[str, Any]:
    """What is held, by what it is. Times are ISO 8601 in UTC, names those of the tables (`reference/database.md`)."""

    def rows(table: type[Base], order: Any, *, without: frozenset[str] = SECRET) -> list[dict[str, Any]]:
        account: Any = table
        return _rows(session.scalars(select(table).where(account.account_id == account_id).order_by(order)), without)

    account = session.get_one(Account, account_id)
    password = session.get(LocalPassword, account_id)
    return {
        "written_at": now.isoformat(),
        "account": _values(account, SECRET),
        "password_set_at": password.set_at.isoformat() if password else None,
        "identities": rows(SignInIdentity, SignInIdentity.id),
        "addresses": rows(Address, Address.id),
        "mailbox": rows(MailboxChoice, MailboxChoice.account_id),
        "activation": rows(ActivationDraft, ActivationDraft.account_id),
        "engagements": rows(Engagement, Engagement.id),
        "registrations": rows(Registration, Registration.id),
        "extensions": rows(Extension, Extension.id),
        "joined_accounts": _rows(
            session.scalars(select(AccountLink).where(AccountLink.kept_id == account_id).order_by(AccountLink.id)),
            SECRET | {"before"},
        ),
        "removed_ways_in": rows(UnlinkedIdentity, UnlinkedIdentity.id, without=SECRET | {"before"}),
        "warnings": rows(LifecycleNotice, LifecycleNotice.id),
        "sessions": rows(SsoSession, SsoSession.id),
        "applications_entered": [
            {"service": name, "at": issued_at.isoformat()}
            for name, issued_at in session.execute(
                select(Ticket.service_name, Ticket.issued_at)
                .where(Ticket.account_id == account_id, Ticket.validated)
                .order_by(Ticket.issued_at)
            )
        ],
        "moodle": [
            {"site": row.site, "moodle_id": row.moodle_id, "state": row.state, "written": row.written}
            for row in session.scalars(select(Mirror).where(Mirror.account_id == account_id).order_by(Mirror.site))
        ],
        "mails": rows(OutboxMail, OutboxMail.id, without=SECRET | {"proof_id"}),
        "history": rows(AuditEvent, AuditEvent.id, without=SECRET | {"salt", "commitment", "position"}),
    }


def _rows(found: Any, without: frozenset[str]) -> list[dict[str, Any]]:
    rows: Sequence[Base] = found.all()
    return [_values(row, without | {"account_id"}) for row in rows]


def _values(row: Base, without: frozenset[str]) -> dict[str, Any]:
    return {
        column.key: _plain(getattr(row, column.key)) for column in row.__table__.columns if column.key not in without
    }


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
