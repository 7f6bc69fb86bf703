"""“Is it really you?”: a sensitive change asks for the password again when the last proof of identity is old (SES-03).

The form that was sent waits on the page (local accounts) or in the browser (CAS), so that nothing typed is lost; when
the person has shown who they are, it goes on to where it was sent.
"""

from __future__ import annotations

from typing import cast

from flask import Blueprint, Response, abort, current_app, redirect, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from external_accounts.identities import LOCAL
from external_accounts.throttle import Throttled
from lms_bridge.cas.views import upstream_answers
from lms_bridge.i18n import N_, current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.settings.sections import text_in
from lms_bridge.signin import again, local, sessions
from lms_bridge.signin.again import Held, TooMuchTyped
from lms_bridge.signin.sessions import CurrentSession
from lms_bridge.web import cookies, headers, wanted
from lms_bridge.web.errors import error_page
from lms_bridge.web.request import current, origin, runtime

pages = Blueprint("identity", __name__, url_prefix=again.PAGE)

SENSITIVE = {
    "addresses.add": N_("Add an address"),
    "addresses.make_primary": N_("Make an address the main one"),
    "addresses.make_recovery": N_("Make an address the recovery address"),
    "addresses.remove": N_("Remove an address"),
    "mailbox.change_forwarding": N_("Change where my mail is forwarded"),
    "data.download": N_("Download my data"),
    "deletion.ask": N_("Ask for the deletion of my account"),
    "acts.suspend": N_("Suspend an account"),
    "acts.readmit": N_("Lift a suspension"),
    "acts.sessions": N_("End sessions"),
    "acts.extend": N_("Extend the rights"),
    "acts.reset": N_("Start a password reset"),
    "acts.resend": N_("Send a message again"),
    "acts.correct": N_("Ask for the correction of an address"),
    "acts.link": N_("Propose that two accounts be joined"),
    "bulk.start": N_("Act on many accounts"),
    "conflicts.look_again": N_("Look at a user in Moodle again"),
    "corrections.decide": N_("Decide on the correction of an address"),
}
"""What the question stands before, and what it is called there. Nothing else is gone on to."""

OURS = frozenset({"csrf_token", "to", "username", "password"})
"""Fields of the question itself, the name being there for password managers. No form it stands before has these."""


def signed_in() -> CurrentSession:
    """The person of this request; whoever is not signed in is shown the doors, and comes back here."""
    person = current()
    if person is None:
        abort(cast(Response, wanted.to_sign_in()))
    return person


def ask_first(person: CurrentSession) -> ResponseReturnValue | None:
    """The question, with the form of this request kept; None when the person has shown a moment ago who they are."""
    if again.is_fresh(person.proved_at, runtime().clock()):
        return None
    return _question(person, Held(request.path, _typed(frozenset({"csrf_token"}))))


@pages.post("")
def answer() -> ResponseReturnValue:
    """The password, or the way to the CAS that asks for it."""
    person = signed_in()
    bridge = runtime()
    now = bridge.clock()
    held = _held_in_the_form()
    door = bridge.settings.upstream(person.issuer)
    if door is not None:
        if not upstream_answers(door.issuer):
            return _unreachable()
        try:
            return again.leave(door, held, person, now)
        except TooMuchTyped:
            return error_page(413)
    try:
        local.check_password(
            bridge, person.facts.account_id, request.form.get("password", ""), origin=origin(), now=now
        )
        with bridge.database.begin() as session:
            secret = sessions.renew(session, person, now=now, origin=origin())
    except Throttled as throttled:
        page = _question(person, held, throttled=throttled.retry_after)
        return page, 429, [("Retry-After", str(throttled.retry_after))]
    except local.BadCredentials:
        return _question(person, held, error=_("This is not your password.")), 401
    except sessions.SessionOver:
        return redirect("/", 303)
    # 307: the browser sends the same form on, with what was typed.
    response = redirect(held.to, 307)
    cookies.put(response, bridge.settings, "session", secret)
    return response


@pages.get("")
def go_on() -> ResponseReturnValue:
    """Back from the CAS: what was wanted, and the button that does it."""
    person = signed_in()
    held = again.held_form(person, runtime().clock())
    if held is None or not again.is_fresh(person.proved_at, runtime().clock()):
        return redirect("/account", 303)
    return render_template("account/identity_shown.html", doing=_name_of(held.to), held=held)


def _question(person: CurrentSession, held: Held, *, error: str | None = None, throttled: int | None = None) -> str:
    door = runtime().settings.upstream(person.issuer)
    if door is not None:
        headers.form_leads_on()  # to the university's CAS
    return render_template(
        "account/identity.html",
        doing=_name_of(held.to),
        held=held,
        local=person.issuer == LOCAL,
        door_label=text_in(door.title, current_locale()) if door is not None else None,
        username=person.facts.username,
        error=error,
        throttled=throttled,
    )


def _held_in_the_form() -> Held:
    to = request.form.get("to", "")
    _name_of(to)
    return Held(to, _typed(OURS))


def _typed(without: frozenset[str]) -> dict[str, str]:
    return {name: text for name, text in request.form.items() if name not in without}


def _name_of(to: str) -> str:
    """What sending a form to this path does, in words. Anything else than the sensitive changes is refused."""
    routes = current_app.create_url_adapter(request)
    try:
        endpoint, _values = routes.match(to, "POST") if routes is not None else ("", {})
    except HTTPException:
        endpoint = ""
    if endpoint not in SENSITIVE:
        abort(400)
    return _(SENSITIVE[endpoint])


def _unreachable() -> ResponseReturnValue:
    return error_page(
        503,
        title=_("The university's sign-in does not answer"),
        what=_("Nothing was changed. Try again in a few minutes."),
        next=[{"label": _("My account"), "url": "/account"}],
    )
