"""“Is it really you?”: a sensitive change asks for the password again when the last proof of identity is old (SES-03).

The form that was sent waits on the page (local accounts) or in the browser (CAS), so that nothing typed is lost; when
the person has shown who they are, it goes on to where it was sent.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import ParamSpec, cast

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
from lms_bridge.web.errors import error_page, page_above
from lms_bridge.web.request import current, origin, runtime

pages = Blueprint("identity", __name__, url_prefix=again.PAGE)

P = ParamSpec("P")

SENSITIVE = {
    "addresses.add": N_("Add an address"),
    "addresses.make_primary": N_("Make an address the main one"),
    "addresses.make_recovery": N_("Make an address the recovery address"),
    "addresses.remove": N_("Remove an address"),
    "mailbox.change_forwarding": N_("Change where my mail is forwarded"),
    "data.download": N_("Download my data"),
    "deletion.ask": N_("Ask for the deletion of my account"),
    "link_undo.restore_mine": N_("Bring back a way in"),
    "link_undo.undo_mine": N_("Part two accounts again"),
    "links.begin": N_("Join another account to this one"),
    "ways_in.begin_password": N_("Add a password for the time after"),
    "ways_in.remove": N_("Remove a way in"),
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
"""What the question stands before, and what it is called there, with what `proved_first` adds. Nothing else is gone on
to."""

OURS = frozenset({"csrf_token", "to", "username", "password"})
"""Fields of the question itself, the name being there for password managers. No form it stands before has these."""


def signed_in() -> CurrentSession:
    """The person of this request; whoever is not signed in is shown the doors, and comes back here."""
    person = current()
    if person is None:
        abort(cast(Response, wanted.to_sign_in()))
    return person


def ask_first(person: CurrentSession, within: timedelta = again.FRESH) -> ResponseReturnValue | None:
    """The question, with the form of this request kept; None when the person has shown a moment ago who they are."""
    if again.is_fresh(person.proved_at, runtime().clock(), within):
        return None
    return _question(person, Held(request.path, _typed(frozenset({"csrf_token"}))))


def proved_first(
    pages: Blueprint, doing: str, *, within: timedelta = again.FRESH
) -> Callable[[Callable[P, ResponseReturnValue]], Callable[P, ResponseReturnValue]]:
    """For a view that takes a form by POST: it runs once the person has shown within that time who they are.

    `doing` says in words (marked for translation) what sending the form does. The form may be sent on by a page of
    ours: it has no field of `OURS`, and what it does must not depend on a file.
    """

    def decorate(view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
        SENSITIVE[f"{pages.name}.{view.__name__}"] = doing

        @wraps(view)
        def asked(*arguments: P.args, **named: P.kwargs) -> ResponseReturnValue:
            question = ask_first(signed_in(), within)
            return view(*arguments, **named) if question is None else question

        return asked

    return decorate


@pages.post("")
def answer() -> ResponseReturnValue:
    """The password, or the way to the CAS that asks for it."""
    person = signed_in()
    bridge = runtime()
    now = bridge.clock()
    held = _held_in_the_form()
    if again.is_fresh(person.proved_at, now):  # shown meanwhile, in another window
        return redirect(held.to, 307)
    door = bridge.settings.upstream(person.issuer)
    if door is not None:
        if not upstream_answers(door.issuer):
            return _unreachable()
        try:
            return again.leave(door, held, person, now)
        except TooMuchTyped:
            return _question(person, held, too_long=True)
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


@pages.post("/window")
def in_another_window() -> ResponseReturnValue:
    """The way to the CAS for a form that is too long to wait in a cookie: it stays on its page, in the other window."""
    person = signed_in()
    door = runtime().settings.upstream(person.issuer)
    if door is None:
        abort(400)
    if not upstream_answers(door.issuer):
        return _unreachable()
    return again.leave(door, Held(again.PAGE), person, runtime().clock())


@pages.get("")
def go_on() -> ResponseReturnValue:
    """Back from the CAS: what was wanted, and the button that does it."""
    person = signed_in()
    held = again.held_form(person, runtime().clock())
    if held is None or not again.is_fresh(person.proved_at, runtime().clock()):
        return redirect("/account", 303)
    if held.to == again.PAGE:
        return render_template("account/identity_shown_here.html")
    return render_template(
        "account/identity_shown.html", doing=_name_of(held.to), held=held, back_url=_page_of(held.to)
    )


def _question(
    person: CurrentSession,
    held: Held,
    *,
    error: str | None = None,
    throttled: int | None = None,
    too_long: bool = False,
) -> str:
    door = runtime().settings.upstream(person.issuer)
    if door is not None:
        headers.form_leads_on()  # to the university's CAS
    return render_template(
        "account/identity.html",
        doing=_name_of(held.to),
        held=held,
        back_url=_page_of(held.to),
        local=person.issuer == LOCAL,
        door_label=text_in(door.title, current_locale()) if door is not None else None,
        username=person.facts.username,
        error=error,
        throttled=throttled,
        too_long=too_long,
    )


def _held_in_the_form() -> Held:
    to = request.form.get("to", "")
    _name_of(to)
    return Held(to, _typed(OURS))


def _typed(without: frozenset[str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, text) for name, text in request.form.items(multi=True) if name not in without)


def _page_of(to: str) -> str:
    """Where somebody goes who thinks better of it: the page of the form, at the help desk, or their own account."""
    return page_above(to) if to.startswith("/helpdesk/") else "/account"


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
