"""The current request: its runtime, its parameters, its person, its origin."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import cast

from flask import abort, current_app, g, request

from external_accounts.audit import Origin
from lms_bridge.cas.backchannel import MalformedQuery, parse_query
from lms_bridge.runtime import Runtime
from lms_bridge.signin import sessions
from lms_bridge.signin.sessions import CurrentSession
from lms_bridge.web import cookies


def runtime() -> Runtime:
    return cast(Runtime, current_app.extensions["lms_bridge"])


def origin() -> Origin:
    """Where the request comes from. A proxy may hand on whatever it was told: what is no address is left out."""
    try:
        # Without an IPv6 zone (`%eth0`): it is any text, and says nothing outside the machine it was written on.
        return Origin(network=str(ip_address((request.remote_addr or "").partition("%")[0])))
    except ValueError:
        return Origin()


def query() -> Sequence[tuple[str, str]]:
    """The query's parameters in order. What cannot be read in one way only is refused with a page (400)."""
    if "query" not in g:
        try:
            g.query = parse_query(request.environ.get("QUERY_STRING", ""))
        except MalformedQuery:
            abort(400)
    return cast(Sequence[tuple[str, str]], g.query)


def parameter(name: str) -> str | None:
    """One query parameter, or None. Given twice with different values it means two things: refused (SES-06)."""
    values = {value for key, value in query() if key == name}
    if len(values) > 1:
        abort(400)
    return values.pop() if values else None


def current() -> CurrentSession | None:
    """The living session of this browser, looked up once a request."""
    if "current" not in g:
        bridge = runtime()
        secret = request.cookies.get(cookies.session_name(bridge.settings), "")
        g.current = sessions.find(bridge.database, secret, limits=bridge.settings.sessions, now=bridge.clock())
    return cast("CurrentSession | None", g.current)
