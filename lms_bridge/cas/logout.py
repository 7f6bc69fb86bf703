"""Back-channel single logout: every service of an ended session is told, in bounded time, its errors ignored (CAS-11).

The messages are rows (see `lms_bridge.signin.sessions.end`); this is the delivery. A row is leased while it is on its
way, so a killed worker's message goes out again. A service that does not answer is tried three times and then left:
nobody's sign-out waits for it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

import requests
import structlog
from sqlalchemy import select, update

from external_accounts.database import Database
from external_accounts.schema import Account
from lms_bridge.cas import outbound
from lms_bridge.cas.responses import logout_request
from lms_bridge.cas.services import ServiceRefused, ServiceRegistry
from lms_bridge.schema import Ticket

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=60)
"""More than a batch takes: each of its waves waits for the time-outs below at most."""
RETRY = timedelta(seconds=20)
ATTEMPTS = 3
PARALLEL = 10
BATCH = 4 * PARALLEL
TIMEOUT = (2.0, 5.0)
"""Seconds to connect and to answer."""


@dataclass(frozen=True, slots=True)
class Message:
    """One service to tell."""

    ticket_hash: str
    ticket: str
    service: str
    service_name: str
    user: str
    attempts: int
    leased_until: datetime


def deliver_due(database: Database, registry: ServiceRegistry, http: requests.Session, *, now: datetime) -> int:
    """Send the logout messages that are due. Returns how many were tried."""
    messages = _lease(database, now)
    if not messages:
        return 0
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="logout") as pool:
        outcomes = list(pool.map(lambda message: _send(message, registry, http, now), messages))
    with database.begin() as session:
        for message, delivered in zip(messages, outcomes, strict=True):
            state = "sent" if delivered else "failed" if message.attempts >= ATTEMPTS else "pending"
            session.execute(
                update(Ticket)
                .where(Ticket.hash == message.ticket_hash, Ticket.logout_due_at == message.leased_until)
                .values(logout_state=state, logout_due_at=now + RETRY)
            )
    return len(messages)


def _lease(database: Database, now: datetime) -> list[Message]:
    with database.begin() as session:
        rows = session.execute(
            select(Ticket, Account.username)
            .join(Account, Account.id == Ticket.account_id)
            .where(Ticket.logout_state == "pending", Ticket.logout_due_at <= now)
            .order_by(Ticket.logout_attempts, Ticket.logout_due_at)
            .limit(BATCH)
            .with_for_update(of=Ticket, skip_locked=True)
        ).all()
        messages = []
        for ticket, username in rows:
            if ticket.logout_attempts >= ATTEMPTS:  # it ended every worker that tried it
                ticket.logout_state = "failed"
                continue
            ticket.logout_due_at = now + LEASE
            ticket.logout_attempts += 1
            messages.append(
                Message(
                    ticket_hash=ticket.hash,
                    ticket=ticket.spent_ticket or "",
                    service=ticket.service,
                    service_name=ticket.service_name,
                    user=username,
                    attempts=ticket.logout_attempts,
                    leased_until=ticket.logout_due_at,
                )
            )
    return messages


def _send(message: Message, registry: ServiceRegistry, http: requests.Session, now: datetime) -> bool:
    try:
        if not registry.find(message.service).single_logout:
            return True
    except ServiceRefused:
        return True  # no longer registered: never talk to it again (SES-05)
    try:
        # `logoutRequest` is the first and only field: mod_auth_cas looks at the beginning of the body.
        form = {"logoutRequest": logout_request(message.ticket, message.user, now)}
        status = outbound.call(http, "POST", message.service, data=form, timeout=TIMEOUT).status
    except (requests.RequestException, ValueError) as error:
        log.info("cas.logout", outcome="unreachable", service=message.service_name, error=type(error).__name__)
        return False
    except Exception:  # one message that cannot be written must not hold up the others
        log.exception("cas.logout", outcome="broken", service=message.service_name)
        return False
    # Moodle answers a redirect and ignores the message (ground truth §7): being told is all a service can be asked.
    log.info("cas.logout", outcome="told", service=message.service_name, status=status)
    return status < 500
