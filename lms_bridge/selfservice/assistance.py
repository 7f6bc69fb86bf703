"""The form for whoever cannot help themselves: works without signing in, and looks nothing up (I3).

Against machines there is a network's budget and a field that people do not see. Neither ever loses what somebody wrote:
the page comes back with it.
"""

from __future__ import annotations

from flask import Blueprint, abort, redirect, render_template, request
from flask.typing import ResponseReturnValue

from external_accounts import assistance, outbox, throttle
from external_accounts.assistance import Words, one_line, paragraphs
from external_accounts.institution_schema import AssistanceRequest
from external_accounts.proof_keys import format_code
from external_accounts.throttle import Throttled, Use
from lms_bridge.i18n import current_locale, ngettext
from lms_bridge.i18n import gettext as _
from lms_bridge.settings.sections import text_in
from lms_bridge.web.budgets import of_network
from lms_bridge.web.request import origin, parameter, runtime

pages = Blueprint("assistance", __name__, url_prefix="/assistance")

PATH = "/assistance"
TRAP = "leave_empty"
_RECEIPT = "assistance receipt"


def subjects() -> dict[str, str]:
    """What a request can be about, in words."""
    return {
        "lost_identifier": _("I have lost my identifiers"),
        "activation": _("I cannot activate my account"),
        "sign_in": _("I cannot sign in"),
        "other": _("Something else"),
    }


@pages.get("")
def form() -> ResponseReturnValue:
    subject = parameter("subject") or ""
    return _page(Words(subject if subject in assistance.SUBJECTS else "", "", "", "", "", "", ""))


@pages.post("")
def send() -> ResponseReturnValue:
    words = _read()
    if errors := _errors(words):
        return _page(words, errors=errors), 422
    if request.form.get(TRAP):
        return _page(words, notice=_("Please read through what you wrote, and send it once more.")), 422
    try:
        reference = _write_down(words)
    except Throttled as throttled:
        return _page(words, throttled=throttled.retry_after), 429, {"Retry-After": str(throttled.retry_after)}
    return redirect(f"{PATH}/{runtime().keys.sign(_RECEIPT, reference)}", 303)


@pages.get("/<token>")
def receipt(token: str) -> ResponseReturnValue:
    """The reference, to name when asking again. Reads no row: it is in the address, signed."""
    reference = runtime().keys.unsign(_RECEIPT, token) if len(token) <= 200 else None
    if reference is None:
        abort(404)
    return render_template("assistance/receipt.html", reference=format_code(reference))


def _read() -> Words:
    typed = request.form
    subject, profile = typed.get("subject", ""), typed.get("profile", "")
    return Words(
        subject=subject if subject in assistance.SUBJECTS else "",
        given_name=one_line(typed.get("given_name", "")),
        family_name=one_line(typed.get("family_name", "")),
        identifier=one_line(typed.get("identifier", "")),
        contact=one_line(typed.get("contact", "")),
        profile=profile if profile in {one.name for one in runtime().settings.profiles} else "",
        message=paragraphs(typed.get("message", "")),
    )


def _errors(words: Words) -> dict[str, str]:
    """What is missing, or longer than can be kept: nothing is cut off behind somebody's back."""
    missing = {
        "subject": _("Say what it is about."),
        "given_name": _("Enter your first name."),
        "family_name": _("Enter your last name."),
        "contact": _("Say where we can reach you: an e-mail address or a telephone number."),
        "message": _("Say in a few words what happens."),
    }
    longest = {
        "given_name": assistance.LINE,
        "family_name": assistance.LINE,
        "identifier": assistance.CONTACT,
        "contact": assistance.CONTACT,
        "message": assistance.MESSAGE,
    }
    errors = {name: words_ for name, words_ in missing.items() if not getattr(words, name)}
    for name, most in longest.items():
        if len(getattr(words, name)) > most:
            errors[name] = ngettext("At most %(num)d character.", "At most %(num)d characters.", most)
    return errors


def _write_down(words: Words) -> str:
    """Take the budgets, write the request and its mail. Returns the reference.

    Raises:
        Throttled: too many came from this network.
    """
    bridge = runtime()
    now = bridge.clock()
    network = of_network(throttle.ASSISTANCE_NETWORK, campus=throttle.ASSISTANCE_CAMPUS)
    with bridge.database.begin() as session:
        throttle.reserve(session, [network], now)
        row = assistance.ask(session, words, locale=current_locale(), now=now, origin=origin())
        try:
            with session.begin_nested():
                throttle.reserve(session, [Use(throttle.ASSISTANCE_MAIL, "")], now)
        except Throttled:
            return row.reference  # it stands in the help desk's list all the same
        outbox.enqueue(
            session,
            "assistance_request",
            bridge.settings.institution.help_email,
            locale=bridge.settings.default_language,
            now=now,
            mail_domain=bridge.settings.public_host,
            context=_told(row),
        )
        return row.reference


def _told(row: AssistanceRequest) -> dict[str, str | int]:
    return {
        "request_id": row.id,
        "reference": format_code(row.reference),
        "applicant": f"{row.given_name} {row.family_name}",
        "contact": row.contact,
        "identifier": row.identifier,
        "message": row.message,
    }


def _page(words: Words, *, errors: dict[str, str] | None = None, notice: str = "", throttled: int | None = None) -> str:
    locale = current_locale()
    return render_template(
        "assistance/form.html",
        action=PATH,
        words=words,
        errors=errors or {},
        notice=notice,
        throttled=throttled,
        subjects=[{"value": value, "label": label} for value, label in subjects().items()],
        profiles=[{"value": one.name, "label": text_in(one.label, locale)} for one in runtime().settings.profiles],
        trap=TRAP,
        longest=assistance.MESSAGE,
    )
