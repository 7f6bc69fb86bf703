"""SEL, the simulated university CAS: a small CAS 2.0/3.0 server, written apart from the bridge's own.

It plays the peer, so it shares no code with `lms_bridge.cas`. It offers no proxy tickets: `pgtUrl` is ignored, as CAS
2.0 foresees for a server that issues none. Services are accepted on the local machine and on its own host only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from werkzeug import Request, Response
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.utils import redirect

from lms_bridge.demo import sel_answers, sel_logout
from lms_bridge.demo.pages import guard, page, refusal, style_sheet
from lms_bridge.demo.sel_directory import SelDirectory, SelUser
from lms_bridge.demo.sel_sessions import SelSessions, ServiceTicket, Session

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

__all__ = ["SelDirectory", "SelUser", "SimulatedSel"]

LONGEST_SERVICE = 4000
_SINGLE = ("service", "renew", "gateway", "ticket", "lt", "username", "password")


class RepeatedParameter(ValueError):
    """A parameter that may stand once came several times; two readers could each believe another one."""


class ServiceRefused(ValueError):
    """The service is no address this CAS sends people to."""


class _Request(Request):
    max_content_length = 64 * 1024
    max_form_memory_size = 64 * 1024
    max_form_parts = 50


def _parameters(request: _Request) -> dict[str, str]:
    """The query's parameters, and a form's; names are case-sensitive (CAS 3.0.3, 2.1.1).

    Raises: RepeatedParameter.
    """
    found: dict[str, str] = {}
    sources: list[MultiDict[str, str]] = [request.args, request.form]
    for name in _SINGLE:
        values = {value for source in sources for value in source.getlist(name)}
        if len(values) > 1 or any(len(source.getlist(name)) > 1 for source in sources):
            raise RepeatedParameter(name)
        if values:
            found[name] = values.pop()
    return found


def _is_set(parameters: dict[str, str], name: str) -> bool:
    # CAS 3.0.3, 2.1.1: the parameter counts as soon as it is there; "false" is what a careful client means by no.
    return parameters.get(name, "false").lower() != "false"


def _with_ticket(service: str, ticket: ServiceTicket) -> str:
    """The service's address with the ticket in its query, before a fragment (CAS 3.0.3, 2.2.4)."""
    address, hash_sign, fragment = service.partition("#")
    joint = "" if address.endswith(("?", "&")) else "&" if "?" in address else "?"
    return f"{address}{joint}ticket={ticket.name}{hash_sign}{fragment}"


def _utc_now() -> datetime:
    return datetime.now(UTC)


class SimulatedSel:
    """The CAS of `directory` at `base_url` (an origin such as http://127.0.0.1:8402).

    `down` = True answers 503 to everything, as an outage would. `now` returns an aware time.
    """

    def __init__(self, directory: SelDirectory, base_url: str, now: Callable[[], datetime] = _utc_now) -> None:
        self.directory = directory
        self.base_url = base_url.rstrip("/")
        self.down = False
        self._now = now
        self._sessions = SelSessions(now)
        origin = urlsplit(self.base_url)
        self._own_host = origin.hostname
        self._secure = origin.scheme == "https"
        # Cookies ignore ports: several demos on one host would overwrite each other's.
        self._cookie = f"TGC-SEL-{origin.port or (443 if self._secure else 80)}"
        self._routes: dict[str, tuple[tuple[str, ...], Callable[[_Request], Response]]] = {
            "/": (("GET", "HEAD"), self._home),
            "/cas": (("GET", "HEAD"), self._home),
            "/cas/": (("GET", "HEAD"), self._home),
            "/charte": (("GET", "HEAD"), lambda _: page("sel_charter.html")),
            "/sel.css": (("GET", "HEAD"), lambda _: style_sheet("sel.css")),
            "/cas/login": (("GET", "HEAD", "POST"), self._login),
            "/cas/logout": (("GET", "POST"), self._logout),
            "/cas/validate": (("GET",), self._validate),
            "/cas/serviceValidate": (("GET",), lambda request: self._service_validate(request, attributes=False)),
            "/cas/p3/serviceValidate": (("GET",), lambda request: self._service_validate(request, attributes=True)),
            "/demo/down": (("POST",), lambda request: self._switch(request, down=True)),
            "/demo/up": (("POST",), lambda request: self._switch(request, down=False)),
        }

    def wsgi_app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """The CAS as a WSGI application."""
        return self._answer(_Request(environ))(environ, start_response)

    def _answer(self, request: _Request) -> Response:
        if self.down and (request.method, request.path) != ("POST", "/demo/up"):
            response = page("sel_down.html", 503)
            response.headers["Retry-After"] = "5"
            return response
        try:
            methods, view = self._routes.get(request.path) or ((), None)
            if view is None:
                raise NotFound
            if request.method not in methods:
                raise MethodNotAllowed(methods)
            return view(request)
        except RepeatedParameter:
            return page("sel_refused.html", 400, service=None)
        except ServiceRefused as refused:
            return page("sel_refused.html", 403, service=str(refused)[:200])
        except HTTPException as error:
            return refusal(error)

    # Signing in and out (CAS 3.0.3, 2.1 to 2.3)

    def _home(self, request: _Request) -> Response:
        return guard(redirect("/cas/login", 302))

    def _login(self, request: _Request) -> Response:
        parameters = _parameters(request)
        service = self._accepted(parameters["service"]) if parameters.get("service") else None
        if request.method == "HEAD":  # asks about the page and must not use up anything
            return guard(Response(mimetype="text/html"))
        if request.method == "POST":
            return self._sign_in(request, parameters, service)
        session = self._sessions.find(request.cookies.get(self._cookie))
        renew = _is_set(parameters, "renew")
        if session and not renew:
            if service:
                return self._send_on(session, service, primary=False)
            return page("sel_signed_in.html", user=self.directory.get(session.username), username=session.username)
        if service and _is_set(parameters, "gateway") and not renew:
            return guard(redirect(service, 302))
        return self._form(request, service)

    def _sign_in(self, request: _Request, parameters: dict[str, str], service: str | None) -> Response:
        if not self._sessions.claim_form(request.form.get("lt", "")):
            return self._form(request, service, "stale", 400)
        user = self.directory.verify(request.form.get("username", ""), request.form.get("password", ""))
        if user is None:
            return self._form(request, service, "wrong", 401)
        session = self._sessions.find(request.cookies.get(self._cookie))
        if session and session.username == user.username:
            self._sessions.refresh(session)
        else:
            self._end(request)
            session = self._sessions.open(user.username)
        # 303: the browser goes on with a GET and carries no password along (CAS 3.0.3, Appendix B).
        onward = self._send_on(session, service, primary=True) if service else guard(redirect("/cas/login", 303))
        onward.set_cookie(self._cookie, session.name, path="/cas", httponly=True, samesite="Lax", secure=self._secure)
        return onward

    def _send_on(self, session: Session, service: str, *, primary: bool) -> Response:
        ticket = self._sessions.issue(session, service, primary=primary)
        return guard(redirect(_with_ticket(service, ticket), 303))

    def _form(self, request: _Request, service: str | None, trouble: str | None = None, status: int = 200) -> Response:
        renew = _is_set(_parameters(request), "renew")
        kept = ({"service": service} if service else {}) | ({"renew": "true"} if renew else {})
        return page(
            "sel_login.html",
            status,
            action="/cas/login" + (f"?{urlencode(kept)}" if kept else ""),
            lt=self._sessions.issue_form(),
            # People recognise a place; what an application carries along in its query means nothing to them.
            place=(service or "").partition("?")[0],
            renew=renew,
            trouble=trouble,
            username=request.form.get("username", "")[:100],
            directory=self.directory,
        )

    def _logout(self, request: _Request) -> Response:
        service = _parameters(request).get("service")
        self._end(request)
        try:
            response = guard(redirect(self._accepted(service or ""), 302))
        except ServiceRefused:  # CAS 3.0.3, 2.3.1: the session ends all the same, and the page says so
            response = page("sel_signed_out.html")
        response.delete_cookie(self._cookie, path="/cas", httponly=True, samesite="Lax", secure=self._secure)
        return response

    def _end(self, request: _Request) -> None:
        ended = self._sessions.close(request.cookies.get(self._cookie))
        if ended:
            sel_logout.notify(ended, self._now())

    def _accepted(self, service: str) -> str:
        """The service, if people may be sent there: http(s) on this machine or on the CAS's own host.

        Raises: ServiceRefused.
        """
        # Browsers drop tabs and line ends and read a backslash as a slash, so what is parsed would not be what is
        # visited; U+FFFD stands for bytes that were no UTF-8, which cannot be compared byte for byte later.
        if len(service) > LONGEST_SERVICE or any(sign <= " " or sign in "\\\x7f\ufffd" for sign in service):
            raise ServiceRefused(service)
        try:
            parts = urlsplit(service)
            host = parts.hostname
            local = host in ("localhost", self._own_host) or ipaddress.ip_address(host or "").is_loopback
            usable = local and parts.scheme in ("http", "https") and "@" not in parts.netloc and parts.port != 0
        except ValueError as malformed:
            raise ServiceRefused(service) from malformed
        if not usable:
            raise ServiceRefused(service)
        return service

    # Validation (CAS 3.0.3, 2.4 and 2.5)

    def _validate(self, request: _Request) -> Response:
        try:
            parameters = _parameters(request)
        except RepeatedParameter:
            parameters = {}
        result = self._claim(parameters)
        # CAS 1.0 clients read the user name on the second line.
        text = "no\n" if isinstance(result, str) else f"yes\n{result[0].username}\n"
        return guard(Response(text, mimetype="text/plain"))

    def _service_validate(self, request: _Request, *, attributes: bool) -> Response:
        try:
            result = self._claim(_parameters(request))
        except RepeatedParameter as repeated:
            result = f"INVALID_REQUEST the parameter {repeated} may stand once"
        if isinstance(result, str):
            code, _, sentence = result.partition(" ")
            answer = sel_answers.failure(code, sentence)
        else:
            user, ticket = result
            answer = sel_answers.success(user, ticket if attributes else None)
        return guard(Response(answer, mimetype="application/xml"))

    def _claim(self, parameters: dict[str, str]) -> tuple[SelUser, ServiceTicket] | str:
        """The person and the ticket, or a failure code of CAS 3.0.3, 2.5.3 followed by a sentence."""
        service, name = parameters.get("service"), parameters.get("ticket")
        if not service or not name:
            return "INVALID_REQUEST 'service' and 'ticket' are both required"
        ticket = self._sessions.claim(name)
        if ticket is None:
            return "INVALID_TICKET the ticket is unknown, used or expired"
        if ticket.service != service:
            return "INVALID_SERVICE the ticket was issued for another service and is dead now"
        if _is_set(parameters, "renew") and not ticket.primary:
            return "INVALID_TICKET the ticket does not come from a sign-in with the password"
        user = self.directory.get(ticket.username)
        if user is None:
            return "INVALID_TICKET the person is no longer in the directory"
        return user, ticket

    # The outage switch, for people who try the demo

    def _switch(self, request: _Request, *, down: bool) -> Response:
        # A page of another site must not cause an outage. Origin would not tell: browsers send "null" even from our
        # own pages, since these ask for no referrer.
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            return guard(Response("Refusé\n", 403, mimetype="text/plain"))
        self.down = down
        return guard(redirect("/cas/login", 303))
