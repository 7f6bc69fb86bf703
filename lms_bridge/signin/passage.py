"""The passage from a session to an application: the ticket's redirect, or what stands in the way.

Every door ends here, and `/cas/login` for people who are signed in already.
"""

from __future__ import annotations

from dataclasses import dataclass

from flask import Response, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue

from lms_bridge.cas.admission import admit
from lms_bridge.cas.services import header_safe, with_ticket
from lms_bridge.gate import Decision
from lms_bridge.i18n import current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.settings.sections import Service, text_in
from lms_bridge.signin.doors import onward_query
from lms_bridge.signin.sessions import CurrentSession
from lms_bridge.web import cookies, headers
from lms_bridge.web.errors import error_page
from lms_bridge.web.loops import count_ticket
from lms_bridge.web.obstacles import explain, title_of
from lms_bridge.web.redirects import redirect_to_application
from lms_bridge.web.request import runtime


@dataclass(frozen=True, slots=True)
class Destination:
    """Where somebody wants to go. `service` is set exactly when `url` is, and is its registered service."""

    url: str | None = None
    service: Service | None = None
    renew: bool = False
    post: bool = False

    @property
    def onward(self) -> str:
        """The query that carries it to the next page."""
        return onward_query(self.url, renew=self.renew, post=self.post)


def pass_on(person: CurrentSession, destination: Destination, *, from_new_login: bool) -> ResponseReturnValue:
    """Bring a signed-in person to where they want to go, or show what stands in the way."""
    if destination.service is None or destination.url is None:
        return redirect("/", 303)
    admission = admit(runtime(), person, destination.service, destination.url, from_new_login=from_new_login)
    if admission.ticket is None:
        if request.method == "POST":
            onward = onward_query(destination.url, post=destination.post)
            return redirect(header_safe(f"/cas/login{onward}"), 303)
        return show_obstacles(person, destination, admission.decision)
    return _go(destination.url, destination.service, admission.ticket, post=destination.post)


def try_gateway(person: CurrentSession | None, destination: Destination) -> ResponseReturnValue:
    """CAS-04: a ticket if that is possible without asking anything, else back without one.

    Moodle always asks this way first; whoever stands before an obstacle comes again without `gateway` and is told.
    """
    assert destination.service is not None  # noqa: S101 (the caller looked)
    assert destination.url is not None  # noqa: S101
    if person is not None:
        admission = admit(runtime(), person, destination.service, destination.url, from_new_login=False)
        if admission.ticket is not None:
            return _go(destination.url, destination.service, admission.ticket, post=destination.post)
    return redirect_to_application(destination.url)


def _go(url: str, service: Service, ticket: str, *, post: bool) -> ResponseReturnValue:
    response: Response
    if post:
        headers.form_leads_on()
        response = make_response(
            render_template(
                "cas/post_ticket.html",
                service_url=url,
                service_label=text_in(service.label, current_locale()),
                fields={"ticket": ticket},
            )
        )
    else:
        # 303 after a POST, so that the browser forgets the password's form (CAS-06)
        response = redirect_to_application(with_ticket(url, ticket), 303 if request.method == "POST" else 302)
    if request.headers.get("Sec-Fetch-Mode") == "navigate":
        bridge = runtime()
        value, loop = count_ticket(
            request.cookies.get(cookies.name(bridge.settings, "loop"), ""), service.name, bridge.clock()
        )
        if loop:
            return _explain_loop(service)
        cookies.put(response, bridge.settings, "loop", value)
    return response


def _explain_loop(service: Service) -> ResponseReturnValue:
    label = text_in(service.label, current_locale())
    return error_page(
        508,
        title=_("%(service)s keeps sending you back here", service=label),
        what=_("You are signed in, and %(service)s was told so, but it does not keep your session.", service=label),
        why=_("Its cookies may be blocked, or its address set wrongly. Allow cookies, or try a private window."),
        next=[
            {"label": _("Try again"), "url": service.home_url or service.url},
            {"label": _("Go to the home page"), "url": "/"},
        ],
    )


def show_obstacles(person: CurrentSession, destination: Destination, decision: Decision) -> ResponseReturnValue:
    """What stands between this person and the service, and the one next step."""
    headers.form_leads_on()  # what stood in the way may be gone by the time the button is pressed
    bridge = runtime()
    locale = current_locale()
    explanation = explain(
        decision.first,
        person.facts,
        bridge.settings,
        service_url=destination.url,
        now=bridge.clock(),
        locale=locale,
    )
    page = render_template(
        "gate/obstacle.html",
        service_label=text_in(destination.service.label, locale) if destination.service else None,
        obstacle=explanation,
        action=explanation.action,
        others=[title_of(obstacle) for obstacle in decision.obstacles[1:]],
        refresh_seconds=explanation.refresh_seconds,
        sign_out_url="/cas/logout",
    )
    return page, 403 if explanation.refresh_seconds is None else 200
