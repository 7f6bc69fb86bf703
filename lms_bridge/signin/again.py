"""Showing once more who one is, at the university's CAS: away with `renew`, back as the same person (SES-03).

What was typed on our page waits in this browser meanwhile, in a signed cookie: an address has no place in a URL.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import Response, redirect, request
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from external_accounts import audit
from external_accounts.identities import canonical_subject
from external_accounts.schema import SignInIdentity
from lms_bridge.runtime import Runtime
from lms_bridge.settings.sections import Upstream
from lms_bridge.signin import sessions, upstream
from lms_bridge.signin.sessions import CurrentSession
from lms_bridge.signin.upstream import State, UpstreamCas, UpstreamRefused
from lms_bridge.web import cookies
from lms_bridge.web.request import current, origin, runtime

FRESH = timedelta(minutes=5)
FRESH_AT_THE_DESK = timedelta(minutes=30)
"""Who works on one request after the other is not asked before each."""
HELD_FOR = timedelta(minutes=30)
LONGEST = 3500
"""Browsers keep about 4,000 bytes of a cookie."""
_PURPOSE = "held form"
PAGE = "/account/identity"
"""Where the browser goes on to."""


def is_fresh(proved_at: datetime | None, now: datetime, within: timedelta = FRESH) -> bool:
    """Whether the last proof of identity still stands for a sensitive change."""
    return proved_at is not None and now - proved_at < within


@dataclass(frozen=True, slots=True)
class Held:
    """A form that waits until the person has shown who they are."""

    to: str
    """The path it is sent to."""
    fields: tuple[tuple[str, str], ...] = ()
    """In the order of the form; a name may stand there several times."""


class TooMuchTyped(ValueError):
    """More than a cookie holds."""


def leave(door: Upstream, held: Held, person: CurrentSession, now: datetime) -> Response:
    """Send the browser to the CAS to ask for the password again.

    Raises:
        TooMuchTyped: see there.
    """
    bridge = runtime()
    browser = request.cookies.get(cookies.name(bridge.settings, "browser"), "") or upstream.new_browser_secret()
    packed = upstream.pack_state(bridge.keys, State(door.issuer, None, True, False, again=True), browser, now)
    callback = upstream.callback_url(bridge.settings.public_url, door.issuer, packed)
    response = redirect(upstream.login_url(door, callback, renew=True), 303)
    cookies.put(response, bridge.settings, "browser", browser)
    cookies.put(response, bridge.settings, "held", _pack(bridge, held, person, now), keep=HELD_FOR)
    return response  # type: ignore[return-value]


def came_back(door: Upstream, client: UpstreamCas, ticket: str, callback: str, now: datetime) -> ResponseReturnValue:
    """The same person, whose session gets a new secret; anybody else changes nothing.

    Raises:
        UpstreamUnreachable, UpstreamRefused: the CAS did not say who it is, or it is somebody else.
        SubjectRefused: nobody who could be here.
    """
    bridge = runtime()
    person = current()
    subject, _ = client.validate(ticket, callback, renew=True)
    subject = canonical_subject(subject, local_names=bridge.local_names)
    if person is None:
        return redirect("/", 303)
    with bridge.database.begin() as session:
        identity = session.scalar(
            select(SignInIdentity.id).where(
                SignInIdentity.issuer == door.issuer,
                SignInIdentity.subject == subject,
                SignInIdentity.account_id == person.facts.account_id,
            )
        )
        if identity is None:
            raise UpstreamRefused("another person")
        audit.record(
            session,
            "signin.again",
            outcome="ok",
            now=now,
            origin=origin(),
            account_id=person.facts.account_id,
            issuer=door.issuer,
        )
        try:
            secret = sessions.renew(session, person, now=now, origin=origin(), upstream_ticket=ticket)
        except sessions.SessionOver:
            return redirect("/", 303)
    response = redirect(PAGE, 303)
    cookies.put(response, bridge.settings, "session", secret)
    return response


def held_form(person: CurrentSession, now: datetime) -> Held | None:
    """The form that waits in this browser for this person, or None."""
    bridge = runtime()
    text = bridge.keys.unsign(_PURPOSE, request.cookies.get(cookies.name(bridge.settings, "held"), ""))
    if text is None:
        return None
    account_id, moment, to, fields = json.loads(bytes.fromhex(text))
    if account_id != person.facts.account_id or now.timestamp() - moment > HELD_FOR.total_seconds():
        return None
    return Held(to, tuple((name, text) for name, text in fields))


def _pack(bridge: Runtime, held: Held, person: CurrentSession, now: datetime) -> str:
    content: list[Any] = [person.facts.account_id, int(now.timestamp()), held.to, held.fields]
    packed = bridge.keys.sign(_PURPOSE, json.dumps(content, separators=(",", ":")).encode().hex())
    if len(packed) > LONGEST:
        raise TooMuchTyped
    return packed
