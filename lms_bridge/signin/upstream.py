"""The CAS door: signing in through the university's CAS with python-cas.

python-cas validates; we give it our own HTTP session (time-outs, no redirects, no proxies from the environment) and
read the answer's error code ourselves, because python-cas only says "no user" (conformance §5.3).

What comes back is bound to the browser it left from: the return address carries a signed state that names a secret in
a cookie, and the CAS binds the ticket to that very address. Somebody else's ticket, slipped to this browser, fails
(login CSRF, SES-04).
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import requests
from cas import CASClientV2, CASClientV3
from lxml import etree
from urllib3.exceptions import HTTPError as TransportError

from external_accounts.accounts import Person
from external_accounts.identities import Assertion
from external_accounts.keys import Keys
from lms_bridge.settings.sections import Upstream

STATE_LIFETIME = timedelta(minutes=30)
MAX_ANSWER = 256 * 1024
UP_BELIEVED = timedelta(seconds=30)
DOWN_BELIEVED = timedelta(seconds=5)
_PURPOSE = "upstream state"


class UpstreamUnreachable(Exception):
    """The CAS did not answer, or not with anything a CAS says."""


class UpstreamRefused(Exception):
    """The CAS answered no. `code` is its own error code, for the audit trail."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class State:
    """What a person wanted when they left for the upstream CAS."""

    issuer: str
    service: str | None
    renew: bool
    post: bool
    again: bool = False
    """They are signed in, and left to show once more who they are."""
    ceremony: str = ""
    """They are signed in, and left to show that they have this CAS account too: `external_accounts.link_ceremonies`."""


class StateInvalid(Exception):
    """The state is not ours, too old, or was given to another browser."""


def new_browser_secret() -> str:
    return secrets.token_urlsafe(24)


def pack_state(keys: Keys, state: State, browser_secret: str, now: datetime) -> str:
    """The state as it travels: signed, dated, tied to the browser's secret."""
    content = json.dumps(
        [
            *(state.issuer, state.service, state.renew, state.post, int(now.timestamp())),
            *(_fingerprint(browser_secret), state.again, state.ceremony),
        ],
        separators=(",", ":"),
    )
    return keys.sign(_PURPOSE, content.encode().hex())


def unpack_state(keys: Keys, text: str, browser_secret: str, issuer: str, now: datetime) -> State:
    """Read a state that came back.

    Raises:
        StateInvalid: see there. The person starts again, nothing is lost.
    """
    packed = keys.unsign(_PURPOSE, text) if len(text) < 12_000 else None
    if packed is None:
        raise StateInvalid("signature")
    made_for, service, renew, post, moment, fingerprint, *more = json.loads(bytes.fromhex(packed))
    if made_for != issuer or fingerprint != _fingerprint(browser_secret):
        raise StateInvalid("another browser")
    if not 0 <= now.timestamp() - moment + 1 <= STATE_LIFETIME.total_seconds():
        raise StateInvalid("too old")
    # A process of the version before packs less.
    again, ceremony = (more[0], "") if len(more) == 1 else (*more, False, "")[:2]
    return State(issuer=made_for, service=service, renew=renew, post=post, again=bool(again), ceremony=ceremony)


def _fingerprint(browser_secret: str) -> str:
    return hashlib.sha256(browser_secret.encode()).hexdigest()[:32]


def callback_url(public_url: str, issuer: str, packed_state: str) -> str:
    """The service address we present to the upstream CAS."""
    return f"{public_url}/signin/{issuer}/callback?{urlencode({'state': packed_state})}"


def login_url(upstream: Upstream, callback: str, *, renew: bool) -> str:
    """Where the browser goes to sign in."""
    query = {"service": callback, **({"renew": "true"} if renew else {})}
    return f"{upstream.cas_url.rstrip('/')}/login?{urlencode(query)}"


def logout_url(upstream: Upstream, back: str) -> str:
    """Where the browser goes to end the upstream session too."""
    return f"{upstream.cas_url.rstrip('/')}/logout?{urlencode({'service': back})}"


class UpstreamCas:
    """One upstream CAS as a client sees it. Safe to share between threads."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self._http = _TimedSession(upstream)
        self._asking = threading.Lock()
        self._up = True
        self._ask_again: datetime | None = None

    def answers(self, now: datetime) -> bool:
        """Whether the CAS answers at all. Asked before a browser is sent there: a dead server's page is not ours.

        Its answer is believed for UP_BELIEVED, its silence for DOWN_BELIEVED. While one request asks, the others go by
        what was known before: a CAS that hangs holds up one of them.
        """
        if self._ask_again is not None and now < self._ask_again:
            return self._up
        if self._asking.acquire(blocking=False):
            try:
                self._up = self._ask()
                self._ask_again = now + (UP_BELIEVED if self._up else DOWN_BELIEVED)
            finally:
                self._asking.release()
        return self._up

    def _ask(self) -> bool:
        # The address that every sign-in needs. Without a ticket it refuses, and costs the CAS nothing.
        client = CASClientV3 if self.upstream.version == "3" else CASClientV2
        try:
            self._http.get(f"{self.upstream.cas_url.rstrip('/')}/{client.url_suffix}")
        except requests.HTTPError as error:
            return error.response is not None and error.response.status_code < 500
        except requests.RequestException:
            return False
        return True

    def validate(self, ticket: str, callback: str, *, renew: bool = False) -> tuple[str, Mapping[str, Any]]:
        """The user and the raw attributes behind a ticket. With `renew`, only of a password that was typed for it.

        Asking for `renew` at the login page is not enough: the person can take it out of the address.

        Raises:
            UpstreamUnreachable: no answer, or not a CAS answer.
            UpstreamRefused: with the CAS's own code.
        """
        client_class: Any = CASClientV3 if self.upstream.version == "3" else CASClientV2
        client: Any = client_class(
            service_url=callback,
            server_url=self.upstream.cas_url.rstrip("/") + "/",
            session=_Renewing(self._http) if renew else self._http,
        )
        try:
            answer = client.get_verification_response(ticket)
        except requests.RequestException as error:
            raise UpstreamUnreachable(type(error).__name__) from None
        code = failure_code(answer)
        if code is not None:
            raise UpstreamRefused(code)
        try:
            user, attributes, _ = client.verify_response(answer)
        except (AttributeError, LookupError, TypeError, ValueError, SyntaxError):
            # python-cas takes the shape of a success for granted.
            raise UpstreamUnreachable("not a CAS answer") from None
        if not user:
            raise UpstreamUnreachable("the answer names nobody")
        return str(user), dict(attributes or {})

    def close(self) -> None:
        self._http.close()


class _TimedSession(requests.Session):
    """python-cas calls `get` without a time-out and with a `verify` of its own; here the settings count.

    `read_timeout` bounds the silence before each piece of an answer, and the answer as a whole.
    """

    def __init__(self, upstream: Upstream) -> None:
        super().__init__()
        self.trust_env = False
        self.headers["User-Agent"] = "LMS-Bridge"
        self._timeout = (upstream.connect_timeout, upstream.read_timeout)
        self._authorities: str | bool = str(upstream.ca_file) if upstream.ca_file is not None else True

    def request(self, method: str | bytes, url: str | bytes, **options: Any) -> requests.Response:  # type: ignore[override]
        """As `requests` does, read whole.

        Raises:
            requests.RequestException: nothing usable came; `requests.HTTPError` for another status than 200.
        """
        options.update(timeout=self._timeout, allow_redirects=False, stream=True, verify=self._authorities)
        answer = super().request(method, url, **options)
        if answer.status_code != 200:
            answer.close()
            raise requests.HTTPError(f"status {answer.status_code}", response=answer)
        try:
            answer._content = self._read(answer)
        except (TransportError, OSError) as error:
            raise requests.ConnectionError(type(error).__name__) from None
        finally:
            answer.close()
        return answer

    def _read(self, answer: requests.Response) -> bytes:
        deadline = time.monotonic() + self._timeout[1]
        body = b""
        while piece := answer.raw.read1(65_536, decode_content=True):
            body += piece
            if len(body) > MAX_ANSWER:
                raise requests.ConnectionError("too long an answer")
            if time.monotonic() > deadline:
                raise requests.ReadTimeout("too slow an answer")
        return body


class _Renewing:
    """What python-cas sees of a session, with the parameter that it never sends."""

    def __init__(self, http: requests.Session) -> None:
        self._http = http

    def get(self, url: str, params: Mapping[str, str], **options: Any) -> requests.Response:
        return self._http.get(url, params={**params, "renew": "true"}, **options)


def failure_code(answer: bytes | str) -> str | None:
    """The code of an `authenticationFailure`, or None for a success.

    Raises:
        UpstreamUnreachable: neither of the two, or both: not a CAS answer.
    """
    data = answer.encode() if isinstance(answer, str) else answer
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(data.strip(), parser)
    except (etree.XMLSyntaxError, ValueError):
        raise UpstreamUnreachable("not a CAS answer") from None
    failures: Any = root.xpath("//*[local-name()='authenticationFailure']")
    successes: Any = root.xpath("//*[local-name()='authenticationSuccess']")
    if root.getroottree().docinfo.internalDTD is not None or len(failures) + len(successes) != 1:
        raise UpstreamUnreachable("not a CAS answer")
    return str(failures[0].get("code") or "UNKNOWN")[:60] if failures else None


def read_assertion(
    upstream: Upstream, subject: str, raw: Mapping[str, Any], *, canonical: Callable[[str], str]
) -> Assertion:
    """What we keep of an upstream answer: the allow-list of settings and nothing else (conformance §5.3.9).

    Raises:
        SubjectRefused: from `canonical`, when the name can be nobody's here.
    """

    def first(ours: str) -> str:
        value = raw.get(upstream.attributes.get(ours, ""), "")  # type: ignore[call-overload]
        value = value[0] if isinstance(value, list) and value else value
        return value.strip()[:254] if isinstance(value, str) else ""

    profile, certain = _profile(upstream, raw)
    kept = {name: raw[name] for name in upstream.keep if name in raw}
    return Assertion(
        issuer=upstream.issuer,
        subject=canonical(subject),
        person=Person(given_name=first("given_name")[:100], family_name=first("family_name")[:100]),
        email=first("email"),
        profile=profile,
        profile_is_certain=certain,
        attributes=kept,
    )


def _profile(upstream: Upstream, raw: Mapping[str, Any]) -> tuple[str, bool]:
    """The profile, and whether a rule named it."""
    for rule in upstream.profile_rules:
        value = raw.get(rule.attribute)
        if rule.value in (value if isinstance(value, list) else [value]):
            return rule.profile, True
    return upstream.profile, False


def read_logout_request(text: str) -> str | None:
    """The ticket named by an upstream logout message, or None when it is not one."""
    if len(text) > 16_384:
        return None
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(text.strip().encode(), parser)
    except (etree.XMLSyntaxError, ValueError):
        return None
    found: Any = root.xpath("/*[local-name()='LogoutRequest']/*[local-name()='SessionIndex']/text()")
    return found[0].strip() if len(found) == 1 else None
