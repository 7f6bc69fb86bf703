"""Sign-on sessions, service tickets and form tokens of the simulated university CAS, in memory."""

from __future__ import annotations

import secrets
import string
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

TICKET_LIFETIME = timedelta(seconds=60)  # CAS 3.0.3, 3.1.1
SESSION_LIFETIME = timedelta(hours=8)
FORM_LIFETIME = timedelta(minutes=30)
MOST_FORMS = 10_000
MOST_SERVICES = 64

_ALPHABET = string.ascii_letters + string.digits  # CAS 3.0.3, 3.7


def random_name(prefix: str) -> str:
    """`prefix` and 29 random characters: 172 bits, and 32 characters with `ST-` (CAS 3.0.3, 3.1.1)."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(29))


@dataclass
class Session:
    """One browser's sign-on session; `services` are (ticket, service) in the order of issue."""

    name: str
    username: str
    authenticated_at: datetime
    services: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class ServiceTicket:
    """A ticket for one attempt of one service. `primary`: its sign-in presented the password."""

    name: str
    service: str
    username: str
    authenticated_at: datetime
    primary: bool
    expires_at: datetime


class SelSessions:
    """What the CAS remembers. `now` returns an aware time. Safe to use from several threads."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._tickets: dict[str, ServiceTicket] = {}
        self._forms: OrderedDict[str, datetime] = OrderedDict()

    def open(self, username: str) -> Session:
        """Start a session for somebody who has just shown the password."""
        now = self._now()
        session = Session(random_name("TGT-"), username, now)
        with self._lock:
            self._sessions = {
                name: old for name, old in self._sessions.items() if now < old.authenticated_at + SESSION_LIFETIME
            }
            self._sessions[session.name] = session
        return session

    def find(self, name: str | None) -> Session | None:
        """The living session of that name, or None."""
        with self._lock:
            session = self._sessions.get(name or "")
        if session is None or self._now() >= session.authenticated_at + SESSION_LIFETIME:
            return None
        return session

    def refresh(self, session: Session) -> None:
        """Note that the person has shown the password again."""
        session.authenticated_at = self._now()

    def close(self, name: str | None) -> Session | None:
        """End the session and its unused tickets; the session that ended, or None (CAS 3.0.3, 3.8.1)."""
        with self._lock:
            session = self._sessions.pop(name or "", None)
            for ticket, _ in session.services if session else ():
                self._tickets.pop(ticket, None)
        return session

    def issue(self, session: Session, service: str, *, primary: bool) -> ServiceTicket:
        """A fresh ticket for `service`, remembered for single logout; a dead one when the session has just ended."""
        now = self._now()
        ticket = ServiceTicket(
            random_name("ST-"), service, session.username, session.authenticated_at, primary, now + TICKET_LIFETIME
        )
        with self._lock:
            self._tickets = {name: old for name, old in self._tickets.items() if now < old.expires_at}
            if session.name in self._sessions:  # a logout in another tab may have come first
                self._tickets[ticket.name] = ticket
                session.services.append((ticket.name, service))
                del session.services[:-MOST_SERVICES]
        return ticket

    def claim(self, name: str) -> ServiceTicket | None:
        """Take the ticket out: one attempt each, whatever its result (CAS 3.0.3, 3.1.1). None if dead or unknown."""
        with self._lock:
            ticket = self._tickets.pop(name, None)
        return ticket if ticket and self._now() < ticket.expires_at else None

    def issue_form(self) -> str:
        """A login ticket for one form (CAS 3.0.3, 3.5)."""
        name = random_name("LT-")
        with self._lock:
            self._forms[name] = self._now() + FORM_LIFETIME
            while len(self._forms) > MOST_FORMS:
                self._forms.popitem(last=False)
        return name

    def claim_form(self, name: str) -> bool:
        """Whether the form was ours, recent and not sent before."""
        with self._lock:
            expires_at = self._forms.pop(name, None)
        return expires_at is not None and self._now() < expires_at
