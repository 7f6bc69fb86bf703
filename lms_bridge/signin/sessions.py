"""SSO sessions: started at a sign-in, looked up by the hash of a cookie, ended on the server.

A new secret is made at every sign-in (SES-01), so a fixed cookie is worth nothing. Ending a session also ends what it
could still give: unused tickets, proxy grants, and the sessions of the services it opened (by single logout).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.orm import Session

from external_accounts import audit, revocations
from external_accounts.accounts import FACT_COLUMNS, AccountFacts, facts_from_row
from external_accounts.database import Database, Prepared, note_waiting, read_time
from external_accounts.schema import Account, AccountId, Address
from lms_bridge.schema import ProxyGrant, SsoSession, Ticket
from lms_bridge.settings.sections import Sessions

SEEN_STEP = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class CurrentSession:
    """A living session and its account, as of this request."""

    id: int
    issuer: str
    identity_id: int
    created_at: datetime
    facts: AccountFacts
    proved_at: datetime | None
    """When the person last showed who they are. None: another server vouched for them without asking."""


class SessionOver(Exception):
    """The session was ended meanwhile."""


def start(
    session: Session,
    *,
    account_id: AccountId,
    identity_id: int,
    issuer: str,
    limits: Sessions,
    now: datetime,
    origin: audit.Origin,
    user_agent: str,
    upstream_ticket: str | None = None,
    proved: bool = True,
) -> str:
    """Open a session; returns the secret for the cookie, which is not stored.

    `proved` is false when an upstream CAS let the person in without asking for a password.
    """
    secret = secrets.token_hex(32)  # CAS-22: no character but letters, digits and `-`
    _START.within(
        session,
        {
            "secret_hash": _hash(secret),
            "account_id": account_id,
            "identity_id": identity_id,
            "issuer": issuer,
            "upstream_ticket_hash": _hash(upstream_ticket) if upstream_ticket else None,
            "created_at": now,
            "authenticated_at": now if proved else None,
            "seen_at": now,
            "expires_at": now + timedelta(hours=limits.absolute_hours),
            "network": origin.network,
            "user_agent": user_agent[:200],
        },
    )
    audit.record(session, "session.started", outcome="ok", now=now, origin=origin, account_id=account_id, issuer=issuer)
    if revocations.covers_session(session, created_at=now, account_id=account_id, issuer=issuer):
        # Everything of this moment was revoked while the person signed in: they sign in once more.
        mine = session.scalar(select(SsoSession.id).where(SsoSession.secret_hash == _hash(secret)))
        end(session, [mine or 0], reason="revoked", now=now, origin=origin)
    return secret


_START = Prepared(
    lambda: insert(SsoSession).values(
        end_reason="",
        **{
            name: bindparam(name)
            for name in (
                "secret_hash",
                "account_id",
                "identity_id",
                "issuer",
                "upstream_ticket_hash",
                "created_at",
                "authenticated_at",
                "seen_at",
                "expires_at",
                "network",
                "user_agent",
            )
        },
    )
)


_CURRENT = Prepared(
    lambda: (
        select(
            *FACT_COLUMNS,
            SsoSession.id,
            SsoSession.issuer,
            SsoSession.identity_id,
            SsoSession.created_at,
            SsoSession.authenticated_at,
            SsoSession.seen_at,
            SsoSession.expires_at,
        )
        .select_from(SsoSession)
        .join(Account, Account.id == SsoSession.account_id)
        .outerjoin(Address, (Address.account_id == Account.id) & Address.is_primary)
        .where(SsoSession.secret_hash == bindparam("secret_hash"), SsoSession.ended_at.is_(None))
    )
)
_SEEN = Prepared(lambda: update(SsoSession).where(SsoSession.id == bindparam("id")).values(seen_at=bindparam("now")))


def find(database: Database, secret: str, *, limits: Sessions, now: datetime) -> CurrentSession | None:
    """The living session of a cookie, or None. Notes at most once a minute that it is used."""
    if not secret or len(secret) > 100:
        return None
    with database.driver() as connection:
        rows = _CURRENT.run(connection, database, {"secret_hash": _hash(secret)})
        if not rows:
            return None
        row_id, issuer, identity_id, created_at, authenticated_at, seen_at, expires_at = rows[0][len(FACT_COLUMNS) :]
        created, seen, expires = _time(created_at), _time(seen_at), _time(expires_at)
        if expires <= now or seen + timedelta(minutes=limits.idle_minutes) <= now:
            return None  # the sweep ends it and tells its services
        if now - seen >= SEEN_STEP:
            _SEEN.run(connection, database, {"id": row_id, "now": now})
    return CurrentSession(
        row_id, issuer, identity_id, created, facts_from_row(rows[0]), proved_at=read_time(authenticated_at)
    )


def renew(
    session: Session,
    current: CurrentSession,
    *,
    now: datetime,
    origin: audit.Origin,
    upstream_ticket: str | None = None,
) -> str:
    """The person has shown again who they are: a new secret, as after a sign-in (SES-01). Returns it.

    What the session opened stays its own, and its end stays where it was. `upstream_ticket` is the one that came with
    the proof: the upstream CAS's single logout will name it from now on.

    Raises:
        SessionOver: it was ended meanwhile.
    """
    secret = secrets.token_hex(32)
    values: dict[str, Any] = {"secret_hash": _hash(secret), "authenticated_at": now, "seen_at": now}
    if upstream_ticket is not None:
        values["upstream_ticket_hash"] = _hash(upstream_ticket)
    renewed = session.scalar(
        update(SsoSession)
        .where(SsoSession.id == current.id, SsoSession.ended_at.is_(None))
        .values(**values)
        .returning(SsoSession.id)
    )
    if renewed is None:
        raise SessionOver
    audit.record(
        session,
        "session.renewed",
        outcome="ok",
        now=now,
        origin=origin,
        account_id=current.facts.account_id,
        session_id=current.id,
    )
    return secret


def end(session: Session, session_ids: Sequence[int], *, reason: str, now: datetime, origin: audit.Origin) -> list[str]:
    """End sessions and everything they could still give. Returns the names of the services that will be told.

    Unused tickets die, proxy grants are dropped, and every service that validated a ticket gets a logout message
    queued in this transaction (I8); a session already ended is left alone.
    """
    ended = session.execute(
        update(SsoSession)
        .where(SsoSession.id.in_(session_ids), SsoSession.ended_at.is_(None))
        .values(ended_at=now, end_reason=reason)
        .returning(SsoSession.id, SsoSession.account_id)
    ).all()
    if not ended:
        return []
    ids = [row.id for row in ended]
    session.execute(delete(Ticket).where(Ticket.session_id.in_(ids), Ticket.claimed_at.is_(None)))
    session.execute(delete(ProxyGrant).where(ProxyGrant.session_id.in_(ids)))
    services = session.scalars(
        update(Ticket)
        .where(Ticket.session_id.in_(ids), Ticket.validated, Ticket.logout_state.is_(None))
        .values(logout_state="pending", logout_due_at=now)
        .returning(Ticket.service_name)
    ).all()
    if services:
        note_waiting(session, Ticket)
    for row in ended:
        audit.record(
            session,
            "session.ended",
            outcome=reason,
            now=now,
            origin=origin,
            account_id=row.account_id,
            session_id=row.id,
        )
    return sorted(set(services))


def replace(
    session: Session, old: CurrentSession, new: CurrentSession, *, now: datetime, origin: audit.Origin
) -> list[str]:
    """The browser of `old` has just signed in again, as `new`. Returns the names of the services that will be told.

    The same person goes on: what the old session opened belongs to the new one, so that one sign-out ends it all
    (CAS-11). Somebody else's session ends here, with everything it opened.
    """
    if old.facts.account_id != new.facts.account_id:
        return end(session, [old.id], reason="somebody else signed in", now=now, origin=origin)
    for table in (Ticket, ProxyGrant):
        session.execute(update(table).where(table.session_id == old.id).values(session_id=new.id))
    return end(session, [old.id], reason="signed in again", now=now, origin=origin)


def end_all_of(
    session: Session,
    account_id: AccountId,
    *,
    reason: str,
    now: datetime,
    origin: audit.Origin,
    keep: int | None = None,
) -> list[str]:
    """End every session of an account (I10), but for `keep`."""
    ids = session.scalars(
        select(SsoSession.id).where(SsoSession.account_id == account_id, SsoSession.ended_at.is_(None))
    ).all()
    return end(session, [one for one in ids if one != keep], reason=reason, now=now, origin=origin)


def end_by_upstream_ticket(
    session: Session, issuer: str, ticket: str, *, now: datetime, origin: audit.Origin
) -> list[str]:
    """End the session that an upstream CAS's single logout names. Unknown tickets change nothing."""
    ids = session.scalars(
        select(SsoSession.id).where(SsoSession.issuer == issuer, SsoSession.upstream_ticket_hash == _hash(ticket))
    ).all()
    return end(session, ids, reason="upstream sign-out", now=now, origin=origin)


def end_overdue(session: Session, *, limits: Sessions, now: datetime, limit: int = 500) -> int:
    """End sessions that are idle or too old, so that their services are told too (CAS-11). Returns how many."""
    ids = session.scalars(
        select(SsoSession.id)
        .where(
            SsoSession.ended_at.is_(None),
            (SsoSession.expires_at <= now) | (SsoSession.seen_at <= now - timedelta(minutes=limits.idle_minutes)),
        )
        .limit(limit)
    ).all()
    end(session, ids, reason="time limit", now=now, origin=audit.SYSTEM)
    return len(ids)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _time(value: Any) -> datetime:
    moment = read_time(value)
    if moment is None:
        raise TypeError("a NOT NULL time column came back empty")
    return moment
