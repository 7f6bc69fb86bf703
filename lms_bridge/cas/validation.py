"""Ticket validation: a pure path from query parameters to a protocol answer, without Flask.

It answers or fails fast: Moodle's client waits for ever (ground truth §7), so nothing here calls another system except
the proxy callback of services that were allowed one, and that is bounded.

The gate is asked once more here (I1): between issue and validation somebody may have been suspended.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

import requests
import structlog
from sqlalchemy.exc import SQLAlchemyError

from external_accounts.accounts import USERNAME_PATTERN, release
from external_accounts.database import Database
from lms_bridge import gate
from lms_bridge.cas import outbound, responses, tickets
from lms_bridge.cas.responses import Answer, FailureCode, Success, ValidationFailure
from lms_bridge.cas.services import ServiceRefused, ServiceRegistry
from lms_bridge.cas.tickets import ClaimedTicket, SessionContext
from lms_bridge.settings import Settings
from lms_bridge.settings.sections import Service

log = structlog.get_logger(__name__)

Parameters = Sequence[tuple[str, str]]
CALLBACK_TIMEOUT = (0.8, 0.8)
"""Seconds to connect and to answer: validation as a whole answers within 2 s."""
CLOCK_TOLERANCE = timedelta(seconds=5)
_TICKET = re.compile(r"(ST|PT)-[A-Za-z0-9-]{1,250}")


@dataclass(frozen=True, slots=True)
class Request:
    """A validation request, its parameters checked for being there once."""

    service: str
    ticket: str
    renew: bool
    proxy_callback: str | None


@dataclass(frozen=True, slots=True)
class Validator:
    """What validation needs: one per process."""

    settings: Settings
    registry: ServiceRegistry
    database: Database
    clock: Callable[[], datetime]
    http: requests.Session

    def service_validate(self, parameters: Parameters, *, version: Literal[2, 3], proxies: bool) -> Answer:
        """`/serviceValidate`, `/proxyValidate` and their `/p3/` forms. Never raises."""
        as_json = False
        try:
            as_json = read_format(parameters)
            success = self._validate(read_request(parameters), accept_proxy=proxies)
        except ValidationFailure as failure:
            return responses.failure_json(failure) if as_json else responses.failure_xml(failure)
        render = responses.success_json if as_json else responses.success_xml
        return render(success, with_attributes=version == 3)

    def validate(self, parameters: Parameters) -> Answer:
        """`/validate` of CAS 1.0: refuses proxy tickets (CAS-13), and knows no proxy callback."""
        try:
            asked = replace(read_request(parameters), proxy_callback=None)
            success = self._validate(asked, accept_proxy=False)
        except ValidationFailure:
            return responses.plain_no()
        return responses.plain_yes(success.user)

    def saml_validate(self, parameters: Parameters, ticket: str, request_id: str) -> Answer:
        """`/samlValidate` (SAML 1.1), after its envelope was read. `TARGET` is the service; phpCAS may add `renew`."""
        now = self.clock()
        target = ""
        try:
            target = _once(parameters, "TARGET")
            if not ticket:
                raise ValidationFailure(FailureCode.INVALID_REQUEST, "an AssertionArtifact is required, once")
            asked = Request(target, ticket, renew=is_set(parameters, "renew"), proxy_callback=None)
            success = self._validate(asked, accept_proxy=False)
        except ValidationFailure as failure:
            return responses.saml_failure(failure, service=target, request_id=request_id, now=now)
        return responses.saml_success(
            success, service=target, issuer=self.settings.public_url, request_id=request_id, now=now
        )

    def proxy(self, parameters: Parameters) -> Answer:
        """`/proxy`: a proxy ticket for a proxy-granting ticket."""
        as_json = False
        try:
            as_json = read_format(parameters)
            grant, target = _once(parameters, "pgt"), _once(parameters, "targetService")
            with _database_trouble():
                ticket = self._proxy_ticket(grant, target)
        except ValidationFailure as failure:
            return responses.proxy_failure_json(failure) if as_json else responses.proxy_failure(failure)
        return responses.proxy_success_json(ticket) if as_json else responses.proxy_success(ticket)

    def _validate(self, request: Request, *, accept_proxy: bool) -> Success:
        now = self.clock()
        if not _TICKET.fullmatch(request.ticket):
            raise ValidationFailure(FailureCode.INVALID_TICKET, "this is not a ticket of this server")
        with _database_trouble():
            found = tickets.claim(self.database, request.ticket, site=self._site(request.service), now=now)
            if found is None:
                raise ValidationFailure(FailureCode.INVALID_TICKET, "the ticket is unknown or was used before")
            try:
                return self._accept(request, *found, now, accept_proxy=accept_proxy)
            except ValidationFailure:
                tickets.forget_for_logout(self.database, request.ticket)
                raise

    def _site(self, url: str) -> str | None:
        """The Moodle behind the service that asks, if it is one's: the claim stands even for a service unknown here."""
        try:
            return self.registry.find(url).site
        except ServiceRefused:
            return None

    def _accept(
        self,
        request: Request,
        claimed: ClaimedTicket,
        found: SessionContext | None,
        now: datetime,
        *,
        accept_proxy: bool,
    ) -> Success:
        if claimed.is_proxy and not accept_proxy:
            raise ValidationFailure(FailureCode.INVALID_TICKET_SPEC, "a proxy ticket is not accepted here")  # CAS-26
        if claimed.issued_at > now + CLOCK_TOLERANCE:
            # Two nodes whose clocks differ lose tickets before anybody notices (D46).
            ahead = round((claimed.issued_at - now).total_seconds())
            log.warning("cas.validate", outcome="clocks differ", issued_seconds_ahead=ahead)
        if claimed.expires_at <= now:
            raise ValidationFailure(FailureCode.INVALID_TICKET, "the ticket has expired")
        if claimed.service != request.service:
            raise ValidationFailure(FailureCode.INVALID_SERVICE, "the ticket was issued for another service")  # CAS-18
        try:
            service = self.registry.find(request.service)
        except ServiceRefused:
            raise ValidationFailure(FailureCode.INVALID_SERVICE, "the service is not registered") from None
        if request.renew and not claimed.from_new_login:
            raise ValidationFailure(FailureCode.INVALID_TICKET, "the person did not sign in for this ticket")  # CAS-15
        context = self._living(found, service, now)
        grant_iou = None
        if request.proxy_callback is not None:
            grant_iou = self._grant(request.proxy_callback, service, claimed, now)
        return Success(
            user=context.facts.username,
            authenticated_at=context.authenticated_at,
            from_new_login=claimed.from_new_login,
            attributes=released(service, context),
            proxies=claimed.proxies or (),
            grant_iou=grant_iou,
        )

    def _living(self, context: SessionContext | None, service: Service, now: datetime) -> SessionContext:
        """The session behind a ticket, if it lives and the gate admits its account now (I1)."""
        if context is None or context.ended:
            raise ValidationFailure(FailureCode.INVALID_TICKET, "the session has ended")
        charter = self.settings.charter.version if self.settings.charter else None
        policy = gate.policy_of(service, charter_version=charter)
        decision = gate.decide(context.facts, policy, now, mirror=context.mirror)
        if not decision.admitted:
            log.info("cas.validate", outcome="gate", obstacle=decision.first, account=context.facts.account_id)
            raise ValidationFailure(FailureCode.INVALID_TICKET, "the account may not enter this service at the moment")
        if not USERNAME_PATTERN.fullmatch(context.facts.username):  # I12: the last door before Moodle reads the name
            raise ValidationFailure(FailureCode.INTERNAL_ERROR, "the account has no name that can be asserted")
        return context

    def _grant(self, callback: str, service: Service, claimed: ClaimedTicket, now: datetime) -> str:
        """Deliver a proxy-granting ticket to `callback` and return its IOU (CAS-26)."""
        if not self.registry.allows_callback(service, callback):
            raise ValidationFailure(FailureCode.UNAUTHORIZED_SERVICE_PROXY, "the service may not act as a proxy")
        grant, iou = tickets.new_ticket(tickets.PROXY_GRANT), tickets.new_ticket(tickets.PROXY_GRANT_IOU)
        try:
            answer = outbound.call(
                self.http, "GET", callback, params={"pgtId": grant, "pgtIou": iou}, timeout=CALLBACK_TIMEOUT
            )
        except requests.RequestException as error:
            log.info("cas.proxy_callback", outcome="unreachable", service=service.name, error=type(error).__name__)
            raise ValidationFailure(FailureCode.INVALID_PROXY_CALLBACK, "the proxy callback did not answer") from None
        if answer.status != 200:
            raise ValidationFailure(FailureCode.INVALID_PROXY_CALLBACK, "the proxy callback did not accept the ticket")
        tickets.store_grant(
            self.database,
            grant,
            claimed,
            callbacks=[callback, *(claimed.proxies or ())],
            now=now,
            expires_at=now + timedelta(hours=self.settings.proxy_hours),
        )
        return iou

    def _proxy_ticket(self, grant_ticket: str, target: str) -> str:
        now = self.clock()
        try:
            service = self.registry.find(target)
        except ServiceRefused:
            raise ValidationFailure(FailureCode.UNAUTHORIZED_SERVICE, "the target service is not registered") from None
        grant = tickets.find_grant(self.database, grant_ticket, now=now)
        if grant is None:
            raise ValidationFailure(FailureCode.INVALID_TICKET, "the proxy-granting ticket is unknown or over")
        context = tickets.session_context(self.database, grant.session_id, site=service.site, now=now)
        self._living(context, service, now)
        return tickets.issue(
            self.database,
            tickets.Issued(
                session_id=grant.session_id,
                account_id=grant.account_id,
                service=target,
                service_name=service.name,
                from_new_login=False,
                proxies=grant.callbacks,
            ),
            now=now,
            lifetime=timedelta(seconds=self.settings.ticket_seconds),
        )


@contextmanager
def _database_trouble() -> Iterator[None]:
    """A database in trouble is INTERNAL_ERROR to an application, never a page (CAS-17)."""
    try:
        yield
    except SQLAlchemyError as error:
        log.error("cas.validate", outcome="database", error=type(error).__name__)
        raise ValidationFailure(FailureCode.INTERNAL_ERROR, "tickets cannot be checked at the moment") from None


def released(service: Service, context: SessionContext) -> Mapping[str, object]:
    """What this service may learn, by the names it expects."""
    if not service.attributes:
        return {}
    known = release(context.facts, context.attributes)
    return {theirs: known[ours] for ours, theirs in service.attributes.items() if ours in known}


def read_format(parameters: Parameters) -> bool:
    """Whether JSON is wanted.

    Raises:
        ValidationFailure: another format than XML or JSON (CAS-16).
    """
    values = [value for name, value in parameters if name == "format"]
    if len(values) > 1 or (values and values[0].upper() not in ("XML", "JSON", "")):
        raise ValidationFailure(FailureCode.INVALID_REQUEST, "format is XML or JSON, given once")
    return bool(values) and values[0].upper() == "JSON"


def read_request(parameters: Parameters) -> Request:
    """The parameters of a validation, names case-sensitive (CAS-02), each at most once (SES-06).

    Raises:
        ValidationFailure: INVALID_REQUEST (CAS-14).
    """
    service, ticket = _once(parameters, "service"), _once(parameters, "ticket")
    callbacks = [value for name, value in parameters if name == "pgtUrl"]
    if len(callbacks) > 1:
        raise ValidationFailure(FailureCode.INVALID_REQUEST, "pgtUrl was given twice")
    return Request(
        service=service,
        ticket=ticket,
        renew=is_set(parameters, "renew"),
        proxy_callback=callbacks[0] if callbacks and callbacks[0] else None,
    )


def is_set(parameters: Parameters, name: str) -> bool:
    """Whether a flag like `renew` is set: CAS recommends `true`, any value but `false` and nothing counts."""
    return any(value.lower() not in ("", "false") for key, value in parameters if key == name)


def _once(parameters: Parameters, name: str) -> str:
    values = [value for key, value in parameters if key == name]
    if len(values) != 1 or not values[0]:
        raise ValidationFailure(FailureCode.INVALID_REQUEST, f"{name} is required, once")
    return values[0]
