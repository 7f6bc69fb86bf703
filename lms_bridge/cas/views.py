"""The CAS server's pages: `/cas/login` and `/cas/logout`. What applications call is in `backchannel`."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Blueprint, Response, current_app, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest

from lms_bridge.cas.services import ServiceRefused, header_safe
from lms_bridge.i18n import current_locale
from lms_bridge.settings.sections import Service, text_in
from lms_bridge.signin import sessions, upstream
from lms_bridge.signin.doors import activation_url, doors, lost_url, register_url
from lms_bridge.signin.passage import Destination, pass_on, try_gateway
from lms_bridge.web import cookies
from lms_bridge.web.errors import error_page
from lms_bridge.web.redirects import redirect_to_application
from lms_bridge.web.request import current, origin, parameter, query, runtime
from lms_bridge.web.shells import shell

pages = Blueprint("cas", __name__, url_prefix="/cas")


@pages.get("/login")
def login() -> ResponseReturnValue:
    """CAS 2.1: the ticket for people who are signed in and admitted, the doors for the others."""
    if request.method == "HEAD":
        return ""  # a ticket is a change: only GET asks for one (I11)
    try:
        destination = read_destination()
    except ServiceRefused:
        return error_page(403)
    # renew wins over gateway (CAS-03); a gateway without a service asks for credentials (CAS-04)
    if is_set("gateway") and not destination.renew and destination.service is not None:
        return try_gateway(current(), destination)
    person = current()
    if person is not None and not destination.renew:
        return pass_on(person, destination, from_new_login=False)
    return show_doors(destination)


@pages.get("/logout")
def logout() -> ResponseReturnValue:
    """CAS 2.3: end the SSO session, tell its services, go on to a registered address or say that it is done.

    CAS makes this a GET. A person who came through an upstream CAS passes by its logout too, when settings say so:
    on a shared computer its session would let the next person in.
    """
    if request.method == "HEAD":
        return ""
    bridge = runtime()
    back = logout_target()
    person = current()
    told: list[str] = []
    if person is not None:
        with bridge.database.begin() as session:
            told = sessions.end(session, [person.id], reason="signed out", now=bridge.clock(), origin=origin())
        came_through = bridge.settings.upstream(person.issuer)
        if came_through is not None and came_through.logout:
            # It brings the browser back here, now without a session, and the way goes on.
            again = f"{bridge.settings.public_url}/cas/logout{f'?{urlencode(query())}' if back else ''}"
            leave = upstream.logout_url(came_through, again)
            if upstream_answers(came_through.issuer):
                return _forget(redirect(leave, 302))
            # Sent there, the person would end on a dead server's page; and its session may outlive its outage.
            title = text_in(came_through.title, current_locale())
            return _forget(_signed_out(told, upstream_logout_url=leave, upstream_logout_label=title))
    if back is not None:
        return _forget(redirect_to_application(back))
    return _forget(_signed_out(told))


def _signed_out(told: list[str], **upstream_logout: str) -> str:
    registry = runtime().registry
    labels = [text_in(service.label, current_locale()) for name in told if (service := registry.by_name(name))]
    return render_template("signed_out.html", services=labels, sign_in_url="/", **upstream_logout)


def upstream_answers(issuer: str) -> bool:
    """Whether the upstream CAS of this issuer is there at all, so that a browser can be sent to it."""
    client: upstream.UpstreamCas = current_app.extensions["lms_bridge_upstreams"][issuer]
    return client.answers(runtime().clock())


def _forget(answer: ResponseReturnValue) -> Response:
    response = make_response(answer)
    cookies.drop(response, runtime().settings, "session")
    return response


def logout_target() -> str | None:
    """The address to go on to after signing out, when it is registered (CAS-10); everything else is ignored."""
    registry = runtime().registry
    try:
        given = query()
    except BadRequest:
        return None  # whatever the query holds, whoever signs out is signed out
    for name in ("service", "url"):
        values = {value for key, value in given if key == name}
        if len(values) == 1:
            value = values.pop()
            if registry.find_logout(value, name) is not None:
                return value
    return None


def is_set(name: str) -> bool:
    value = parameter(name)
    return value is not None and value.lower() not in ("", "false")


def read_destination() -> Destination:
    """Where the person wants to go, from the query (CAS-02).

    Raises:
        ServiceRefused: the service is not registered.
    """
    url = parameter("service")
    service: Service | None = runtime().registry.find(url) if url else None
    return Destination(
        url=url or None,
        service=service,
        renew=is_set("renew"),
        post=(parameter("method") or "").upper() == "POST",
    )


def show_doors(destination: Destination, notice: str | None = None) -> ResponseReturnValue:
    """The sign-in page. Writes nothing: neither a row nor a session."""
    bridge = runtime()
    locale = current_locale()
    choices = tuple(
        doors(
            bridge.settings,
            destination.service,
            destination.url,
            renew=destination.renew,
            post=destination.post,
            locale=locale,
            last_used=request.cookies.get(cookies.name(bridge.settings, "door"), ""),
        )
    )
    if len(choices) == 1 and notice is None:
        return redirect(header_safe(choices[0].url), 303)

    def page() -> str:
        return render_template(
            "signin/doors.html",
            service_label=text_in(destination.service.label, locale) if destination.service else None,
            doors=choices,
            notice=notice,
            register_url=register_url(bridge.settings, destination.service, destination.url),
            activation_url=activation_url(bridge.settings, destination.url),
            lost_url=lost_url(bridge.settings, destination.url),
        )

    return shell(("doors", request.full_path, locale, notice, choices), page)
