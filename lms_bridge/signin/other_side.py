"""Showing at a CAS that one has an account there too, while signed in here by another way in.

The way there and back is that of a sign-in with `renew`: the ticket is of a password typed just now, the state is bound
to the browser and names the ceremony. It opens no session and makes no account; whose the ticket is, is written into
the ceremony, which belongs to this very session (I5, LNK-07).
"""

from __future__ import annotations

from datetime import datetime

from flask import Response, redirect, request
from flask.typing import ResponseReturnValue

from external_accounts import link_ceremonies
from external_accounts.identities import canonical_subject
from external_accounts.link_ceremonies import Bound, CeremonyOver
from lms_bridge.settings.sections import Upstream
from lms_bridge.signin import upstream
from lms_bridge.signin.sessions import CurrentSession
from lms_bridge.signin.upstream import State, UpstreamCas
from lms_bridge.web import cookies
from lms_bridge.web.request import current, origin, runtime

PAGE = "/account/links"
CEREMONY = f"{PAGE}/ceremony"
"""Where the pages of one stand: `<CEREMONY>/<handle>`."""


def bound(person: CurrentSession) -> Bound:
    """What a ceremony of this person's session is bound to."""
    return Bound(person.facts.account_id, person.id, person.issuer, person.identity_id)


def leave(door: Upstream, handle: str, now: datetime) -> Response:
    """Send the browser to the CAS, to type a password there."""
    bridge = runtime()
    browser = request.cookies.get(cookies.name(bridge.settings, "browser"), "") or upstream.new_browser_secret()
    packed = upstream.pack_state(bridge.keys, State(door.issuer, None, True, False, ceremony=handle), browser, now)
    callback = upstream.callback_url(bridge.settings.public_url, door.issuer, packed)
    response = redirect(upstream.login_url(door, callback, renew=True), 303)
    cookies.put(response, bridge.settings, "browser", browser)
    return response  # type: ignore[return-value]


def came_back(
    door: Upstream, client: UpstreamCas, ticket: str, callback: str, handle: str, now: datetime
) -> ResponseReturnValue:
    """Write down whose the ticket is, and go on with the ceremony.

    Raises:
        UpstreamUnreachable, UpstreamRefused, SubjectRefused: as for a sign-in.
    """
    bridge = runtime()
    subject, attributes = client.validate(ticket, callback, renew=True)
    assertion = upstream.read_assertion(
        door, subject, attributes, canonical=lambda text: canonical_subject(text, local_names=bridge.local_names)
    )
    person = current()
    if person is None:
        return redirect("/", 303)
    try:
        with bridge.database.begin() as session:
            ceremony = link_ceremonies.find(session, handle, bound(person), now=now)
            link_ceremonies.prove_by_cas(session, ceremony, assertion, now=now, origin=origin())
    except CeremonyOver:
        return redirect(f"{PAGE}?done=over", 303)
    return redirect(f"{CEREMONY}/{handle}", 303)
