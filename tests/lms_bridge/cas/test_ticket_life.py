"""The life of tickets as a state machine: whatever people, applications and the help desk do, in any order (I1, I2)."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, rule

from external_accounts import audit
from external_accounts.accounts import suspend
from external_accounts.addresses import primary_address
from external_accounts.confirmation import lose_confirmation
from external_accounts.schema import Account
from tests.bridge_under_test import APP, PASSWORD, SERVICES, BridgeUnderTest, Browser, running_bridge, ticket_in
from tests.lms_bridge.cas.answers import Told, read
from tests.lms_bridge.cas.listeners import Listener

OPEN = "https://open.example/x"
PORTAL = "https://portal.example/"
GATED = {APP: True, OPEN: False, PORTAL: True}
PEOPLE = ("ext.ada", "ext.bob")
TICKET_LIFE = timedelta(seconds=60)
GRANT_LIFE = timedelta(hours=2)
SESSION_LIFE = timedelta(hours=10)
NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass
class Person:
    """What the model knows of somebody."""

    account_id: int
    browser: Browser
    session: int | None = None
    began: datetime = NEVER
    confirmed: bool = True
    suspended: bool = False

    def admitted(self, service: str) -> bool:
        return not self.suspended and (self.confirmed or not GATED[service])


@dataclass
class Ticket:
    """What the model knows of a ticket or a grant."""

    text: str
    owner: str
    session: int
    service: str
    expires: datetime
    fresh: bool = False
    proxies: list[str] = field(default_factory=list)
    spent: bool = False


class TicketLife(RuleBasedStateMachine):
    """Every rule acts over HTTP and compares the answer with what the model says must be answered."""

    tickets = Bundle("tickets")
    grants = Bundle("grants")

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.numbers = itertools.count(1)
        self.known: list[Ticket] = []

    @initialize()
    def begin(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="lms-bridge-ticket-life-"))
        self.stack.callback(shutil.rmtree, folder, ignore_errors=True)
        self.callback = self.stack.enter_context(Listener())
        services: list[dict[str, Any]] = [
            *SERVICES,
            {
                "name": "portal",
                "label": {"fr": "Portail"},
                "url": PORTAL,
                "proxy": True,
                "proxy_callbacks": [self.callback.url],
            },
        ]
        self.bridge: BridgeUnderTest = self.stack.enter_context(running_bridge(folder, services=services))
        self.people = {name: Person(self.bridge.add_account(name), self.bridge.browser()) for name in PEOPLE}
        for name in PEOPLE:
            self.sign_in_or_out(name)

    def teardown(self) -> None:
        self.stack.close()

    # --- what people do ---

    @rule(name=st.sampled_from(PEOPLE))
    def sign_in_or_out(self, name: str) -> None:
        person = self.people[name]
        if person.session is None:
            person.browser.sign_in(name)
            self._new_session(person)
        else:
            person.browser.get("/cas/logout")
            person.session = None

    @rule(target=tickets, name=st.sampled_from(PEOPLE), service=st.sampled_from(sorted(GATED)), gateway=st.booleans())
    def ask_for_ticket(self, name: str, service: str, gateway: bool) -> Any:
        person = self.people[name]
        query = {"service": service, **({"gateway": "true"} if gateway else {})}
        answer = person.browser.get("/cas/login", params=query, follow=False)
        if person.session is None:
            location = answer.headers["Location"]
            assert location == service if gateway else location.startswith("/signin/local"), location
            return multiple()
        if not person.admitted(service):
            assert answer.headers.get("Location") == service if gateway else answer.status_code == 403
            return multiple()
        return self._ticket(ticket_in(answer), name, service)

    @rule(target=tickets, name=st.sampled_from(PEOPLE), service=st.sampled_from(sorted(GATED)))
    def renew(self, name: str, service: str) -> Any:
        person = self.people[name]
        person.browser.get("/cas/login", params={"service": service, "renew": "true"})
        answer = person.browser.submit(identifier=name, password=PASSWORD, follow=False)
        before = person.session
        self._new_session(person)
        for ticket in self.known:  # to the person it is the same session
            if ticket.owner == name and ticket.session == before and person.session is not None:
                ticket.session = person.session
        if not person.admitted(service):
            assert answer.headers["Location"].startswith("/cas/login?")
            return multiple()
        return self._ticket(ticket_in(answer), name, service, fresh=True)

    # --- what applications do ---

    @rule(
        ticket=tickets,
        path=st.sampled_from(["/cas/serviceValidate", "/cas/p3/serviceValidate", "/cas/p3/proxyValidate"]),
        renew=st.booleans(),
    )
    def validate(self, ticket: Ticket, path: str, renew: bool) -> None:
        told = self._validate(ticket, ticket.service, path, renew)
        assert (told.user, told.code) == self._expected(ticket, ticket.service, path, renew)
        ticket.spent = True

    @rule(ticket=tickets, service=st.sampled_from(sorted(GATED)))
    def validate_for(self, ticket: Ticket, service: str) -> None:
        path = "/cas/proxyValidate"
        told = self._validate(ticket, service, path, renew=False)
        assert (told.user, told.code) == self._expected(ticket, service, path, renew=False)
        ticket.spent = True

    @rule(target=grants, ticket=tickets)
    def validate_and_ask_for_grant(self, ticket: Ticket) -> Any:
        path = "/cas/p3/proxyValidate"
        expected = self._expected(ticket, ticket.service, path, renew=False)
        if ticket.service != PORTAL and expected[0]:
            expected = (None, "UNAUTHORIZED_SERVICE_PROXY")
        told = self._validate(ticket, ticket.service, path, renew=False, pgtUrl=self.callback.url)
        assert (told.user, told.code) == expected
        ticket.spent = True
        if not told.user:
            assert told.grant_iou is None
            return multiple()
        (text,) = self.callback.received[-1].query["pgtId"]
        expires = self.bridge.clock() + GRANT_LIFE
        proxies = [self.callback.url, *ticket.proxies]
        grant = Ticket(text, ticket.owner, ticket.session, "", expires, proxies=proxies)
        self._remember(grant)
        return grant

    @rule(target=tickets, grant=grants, service=st.sampled_from(sorted(GATED)))
    def proxy(self, grant: Ticket, service: str) -> Any:
        answer = requests.get(
            f"{self.bridge.url}/cas/proxy", params={"pgt": grant.text, "targetService": service}, timeout=20
        )
        told = read(answer)
        person = self.people[grant.owner]
        lives = grant.expires > self.bridge.clock() and self._session_lives(grant)
        if not lives or not person.admitted(service):
            assert told.code == "INVALID_TICKET"
            return multiple()
        assert told.proxy_ticket
        return self._ticket(told.proxy_ticket, grant.owner, service, proxies=grant.proxies, session=grant.session)

    # --- what happens meanwhile ---

    @rule(seconds=st.sampled_from([1, 59, 60, 3500]))
    def time_passes(self, seconds: int) -> None:
        # Sessions that run out are told in test_logout: here people leave before, and nobody is idle for an hour, the
        # minute included within which a further use is not noted.
        for name, person in self.people.items():
            later = self.bridge.clock() + timedelta(seconds=seconds)
            if person.session is not None and later - person.began >= SESSION_LIFE:
                self.sign_in_or_out(name)
        self.bridge.clock.forward(seconds=seconds)
        for person in self.people.values():
            person.browser.get("/")

    @rule()
    def background_work(self) -> None:
        self.bridge.runner.run_once()

    @rule(name=st.sampled_from(PEOPLE))
    def suspend_or_lift(self, name: str) -> None:
        person = self.people[name]
        with self.bridge.runtime.database.begin() as session:
            account = session.get_one(Account, person.account_id)
            if person.suspended:
                account.suspended_at = None
                account.version += 1
            else:
                suspend(session, account, reason="x", until=None, now=self.bridge.clock(), origin=audit.SYSTEM)
        person.suspended = not person.suspended

    @rule(name=st.sampled_from(PEOPLE))
    def lose_or_confirm_the_address(self, name: str) -> None:
        person = self.people[name]
        with self.bridge.runtime.database.begin() as session:
            account = session.get_one(Account, person.account_id)
            if person.confirmed:
                address = primary_address(account)
                assert address is not None
                lose_confirmation(session, address, reason="bounce", now=self.bridge.clock(), origin=audit.SYSTEM)
            else:
                self.bridge.confirm(session, account)
        person.confirmed = not person.confirmed

    # --- the model ---

    def _expected(self, ticket: Ticket, service: str, path: str, renew: bool) -> tuple[str | None, str | None]:
        """User and code that the bridge must answer."""
        if ticket.spent or not self._session_lives(ticket):
            return None, "INVALID_TICKET"
        if ticket.proxies and "proxyValidate" not in path:
            return None, "INVALID_TICKET_SPEC"
        if ticket.expires <= self.bridge.clock():
            return None, "INVALID_TICKET"
        if service != ticket.service:
            return None, "INVALID_SERVICE"
        if renew and not ticket.fresh:
            return None, "INVALID_TICKET"
        if not self.people[ticket.owner].admitted(service):
            return None, "INVALID_TICKET"
        return ticket.owner, None

    def _session_lives(self, ticket: Ticket) -> bool:
        return self.people[ticket.owner].session == ticket.session

    def _validate(self, ticket: Ticket, service: str, path: str, renew: bool, **more: str) -> Told:
        query = {**more, **({"renew": "true"} if renew else {})}
        return read(self.bridge.validate(ticket.text, service, path, **query))

    def _new_session(self, person: Person) -> None:
        person.session, person.began = next(self.numbers), self.bridge.clock()

    def _ticket(
        self,
        text: str,
        owner: str,
        service: str,
        *,
        fresh: bool = False,
        proxies: list[str] | None = None,
        session: int | None = None,
    ) -> Ticket:
        current = self.people[owner].session if session is None else session
        assert current is not None
        ticket = Ticket(text, owner, current, service, self.bridge.clock() + TICKET_LIFE, fresh, proxies or [])
        self._remember(ticket)
        return ticket

    def _remember(self, ticket: Ticket) -> None:
        assert all(ticket.text != other.text for other in self.known)
        self.known.append(ticket)


TestTicketLife = TicketLife.TestCase
TestTicketLife.settings = settings(
    max_examples=12, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
