"""Tickets: issued, claimed once, dead.

A ticket is claimed by one `UPDATE … WHERE claimed_at IS NULL … RETURNING`: of any number of parallel validations, on
any number of processes, exactly one gets the row (I2, CAS-19). The claim stands even when what follows refuses, so a
wrong service kills the ticket too (CAS-18). These two statements are the hot path and run prepared on the driver.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import string
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, insert, select, true, update

from external_accounts.accounts import FACT_COLUMNS, AccountFacts, facts_from_row
from external_accounts.database import Database, DriverConnection, Prepared, read_time
from external_accounts.schema import Account, AccountId, Address, SignInIdentity
from lms_bridge.gate import MirrorState
from lms_bridge.schema import Mirror, ProxyGrant, SsoSession, Ticket

ALPHABET = string.ascii_letters + string.digits
RANDOM_LENGTH = 29
"""`ST-` and 29 of 62 characters: 32 in all, which every client must accept, and 172 bits (CAS-21)."""

SERVICE_TICKET, PROXY_TICKET, PROXY_GRANT, PROXY_GRANT_IOU = "ST-", "PT-", "PGT-", "PGTIOU-"


def new_ticket(prefix: str) -> str:
    """A fresh ticket: `prefix` and 172 bits from the system's generator, `A-Z a-z 0-9 -` only (CAS-22)."""
    number, digits = secrets.randbelow(len(ALPHABET) ** RANDOM_LENGTH), []
    for _ in range(RANDOM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return prefix + "".join(digits)


def ticket_hash(ticket: str) -> str:
    return hashlib.sha256(ticket.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Issued:
    """For what, to whom and in which session a ticket is issued."""

    session_id: int
    account_id: AccountId
    service: str
    service_name: str
    from_new_login: bool
    """Whether the person typed a password (or came fresh from upstream) for this very ticket: `renew` asks for it."""
    proxies: Sequence[str] | None = None


_INSERT = Prepared(
    lambda: insert(Ticket).values(
        {
            name: bindparam(name)
            for name in (
                "hash",
                "session_id",
                "account_id",
                "service",
                "service_name",
                "from_new_login",
                "issued_at",
                "expires_at",
                "proxies",
            )
        }
    )
)


def issue(database: Database, issued: Issued, *, now: datetime, lifetime: timedelta) -> str:
    """Store a new ticket and return its text: the only time it exists here in clear before it is spent."""
    ticket = new_ticket(SERVICE_TICKET if issued.proxies is None else PROXY_TICKET)
    with database.driver_for_writing() as connection:
        _INSERT.run(
            connection,
            database,
            {
                "hash": ticket_hash(ticket),
                "session_id": issued.session_id,
                "account_id": issued.account_id,
                "service": issued.service,
                "service_name": issued.service_name,
                "from_new_login": issued.from_new_login,
                "issued_at": now,
                "expires_at": now + lifetime,
                "proxies": None if issued.proxies is None else json.dumps(list(issued.proxies)),
            },
        )
    return ticket


def _claiming() -> Any:
    return (
        update(Ticket)
        .where(Ticket.hash == bindparam("ticket_hash"), Ticket.claimed_at.is_(None))
        # The text is kept from now on: the ticket is dead, and single logout must name it (CAS-12). One write, not two.
        .values(claimed_at=bindparam("now"), validated=true(), spent_ticket=bindparam("ticket"))
        .returning(
            Ticket.session_id,
            Ticket.account_id,
            Ticket.service,
            Ticket.service_name,
            Ticket.from_new_login,
            Ticket.proxies,
            Ticket.issued_at,
            Ticket.expires_at,
        )
    )


_CLAIM = Prepared(_claiming)
_CLAIMED_WIDTH = 8

_CONTEXT_COLUMNS = (
    *FACT_COLUMNS,
    SsoSession.ended_at,
    SsoSession.expires_at,
    SsoSession.created_at,
    SsoSession.issuer,
    SignInIdentity.attributes,
    Mirror.state,
)


def _with_account(statement: Any) -> Any:
    """Join what a validation decides on to a statement that has the session."""
    return (
        statement.join(Account, Account.id == SsoSession.account_id)
        .join(SignInIdentity, SignInIdentity.id == SsoSession.identity_id)
        .outerjoin(Address, (Address.account_id == Account.id) & Address.is_primary)
        .outerjoin(Mirror, (Mirror.account_id == Account.id) & (Mirror.site == bindparam("site")))
    )


_CONTEXT = Prepared(
    lambda: _with_account(select(*_CONTEXT_COLUMNS).select_from(SsoSession)).where(
        SsoSession.id == bindparam("session_id")
    )
)


def _claim_in_context() -> Any:
    claimed = _claiming().cte("claimed")
    both = select(*claimed.c, *_CONTEXT_COLUMNS).select_from(claimed)
    return _with_account(both.join(SsoSession, SsoSession.id == claimed.c.session_id))


_CLAIM_IN_CONTEXT = Prepared(_claim_in_context)
"""Both in one statement, for PostgreSQL: SQLite writes in no WITH. What it reads is as of the statement's begin."""


@dataclass(frozen=True, slots=True)
class ClaimedTicket:
    """A ticket that is now spent, with everything its validation decides on, as of this moment."""

    session_id: int
    account_id: AccountId
    service: str
    service_name: str
    from_new_login: bool
    proxies: list[str] | None
    issued_at: datetime
    expires_at: datetime

    @property
    def is_proxy(self) -> bool:
        return self.proxies is not None


@dataclass(frozen=True, slots=True)
class SessionContext:
    """The session behind a ticket and its account, as they are now."""

    facts: AccountFacts
    ended: bool
    authenticated_at: datetime
    issuer: str
    attributes: dict[str, Any]
    mirror: MirrorState


def claim(
    database: Database, ticket: str, *, site: str | None, now: datetime
) -> tuple[ClaimedTicket, SessionContext | None] | None:
    """Spend the ticket, and look at the session behind it and its account, as they are now.

    `site` is the Moodle behind the service that asks. None when there is no such ticket or it was claimed before: the
    two are not told apart. A session is not purged before its tickets are.
    """
    values = {"ticket_hash": ticket_hash(ticket), "ticket": ticket, "now": now}
    if database.is_sqlite:
        with ExitStack() as turn:
            turn.enter_context(database.turn())
            with database.driver() as connection:
                rows = _CLAIM.run(connection, database, values)
                turn.close()  # what follows only reads
                if not rows:
                    return None
                claimed = _claimed(rows[0])
                return claimed, _read_context(connection, database, claimed.session_id, site=site, now=now)
    with database.driver() as connection:
        rows = _CLAIM_IN_CONTEXT.run(connection, database, values | {"site": site or ""})
    if not rows:
        return None
    return _claimed(rows[0][:_CLAIMED_WIDTH]), _context(rows[0][_CLAIMED_WIDTH:], now)


def _claimed(row: tuple[Any, ...]) -> ClaimedTicket:
    session_id, account_id, service, name, new_login, proxies, issued_at, expires_at = row
    issued, expires = read_time(issued_at), read_time(expires_at)
    assert issued is not None  # noqa: S101 (both columns are NOT NULL)
    assert expires is not None  # noqa: S101
    return ClaimedTicket(session_id, account_id, service, name, bool(new_login), read_json(proxies), issued, expires)


def session_context(database: Database, session_id: int, *, site: str | None, now: datetime) -> SessionContext | None:
    """The session and its account, read in one statement. None when the session was purged."""
    with database.driver() as connection:
        return _read_context(connection, database, session_id, site=site, now=now)


def _read_context(
    connection: DriverConnection, database: Database, session_id: int, *, site: str | None, now: datetime
) -> SessionContext | None:
    rows = _CONTEXT.run(connection, database, {"session_id": session_id, "site": site or ""})
    return _context(rows[0], now) if rows else None


def _context(row: tuple[Any, ...], now: datetime) -> SessionContext:
    ended_at, expires_at, created_at, issuer, attributes, mirror = row[len(FACT_COLUMNS) :]
    expires, created = read_time(expires_at), read_time(created_at)
    assert expires is not None  # noqa: S101 (both columns are NOT NULL)
    assert created is not None  # noqa: S101
    return SessionContext(
        facts=facts_from_row(row),
        ended=ended_at is not None or expires <= now,
        authenticated_at=created,
        issuer=issuer,
        attributes=read_json(attributes) or {},
        mirror=MirrorState(mirror) if mirror else MirrorState.PENDING,
    )


_NOT_VALIDATED = Prepared(
    # The session may have ended between the claim and here, and have queued a message already.
    lambda: (
        update(Ticket)
        .where(Ticket.hash == bindparam("ticket_hash"))
        .values(validated=False, spent_ticket=None, logout_state=None)
    )
)


def forget_for_logout(database: Database, ticket: str) -> None:
    """The claimed ticket was refused after all: its service has no session to be told about."""
    with database.driver_for_writing() as connection:
        _NOT_VALIDATED.run(connection, database, {"ticket_hash": ticket_hash(ticket)})


_INSERT_GRANT = Prepared(
    lambda: insert(ProxyGrant).values(
        {
            name: bindparam(name)
            for name in ("hash", "session_id", "account_id", "service_name", "callbacks", "issued_at", "expires_at")
        }
    )
)
_FIND_GRANT = Prepared(
    lambda: select(ProxyGrant.session_id, ProxyGrant.account_id, ProxyGrant.callbacks, ProxyGrant.expires_at).where(
        ProxyGrant.hash == bindparam("grant_hash")
    )
)


def store_grant(
    database: Database,
    grant: str,
    claimed: ClaimedTicket,
    *,
    callbacks: Sequence[str],
    now: datetime,
    expires_at: datetime,
) -> None:
    """Store a proxy-granting ticket that its service has already received."""
    with database.driver_for_writing() as connection:
        _INSERT_GRANT.run(
            connection,
            database,
            {
                "hash": ticket_hash(grant),
                "session_id": claimed.session_id,
                "account_id": claimed.account_id,
                "service_name": claimed.service_name,
                "callbacks": json.dumps(list(callbacks)),
                "issued_at": now,
                "expires_at": expires_at,
            },
        )


@dataclass(frozen=True, slots=True)
class Grant:
    """A living proxy-granting ticket."""

    session_id: int
    account_id: AccountId
    callbacks: list[str]


def find_grant(database: Database, grant: str, *, now: datetime) -> Grant | None:
    """The proxy-granting ticket, unless it is unknown or over. Whether its session lives is asked separately."""
    with database.driver() as connection:
        rows = _FIND_GRANT.run(connection, database, {"grant_hash": ticket_hash(grant)})
    if not rows:
        return None
    session_id, account_id, callbacks, expires_at = rows[0]
    expires = read_time(expires_at)
    return None if expires is None or expires <= now else Grant(session_id, account_id, read_json(callbacks) or [])


def read_json(value: Any) -> Any:
    """A JSON column as the driver gives it: text on SQLite, a value on PostgreSQL."""
    return json.loads(value) if isinstance(value, str) else value
