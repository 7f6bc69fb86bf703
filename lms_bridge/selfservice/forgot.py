"""Forgotten user name or password: two searches on one page, and a page that says the same whatever was typed (I3).

Nothing here looks an account up. What the waiting page shows depends on what was typed and when, never on what was
found or on what its owner did meanwhile: one text for every code that does not work, one life for every page.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from flask import Blueprint, abort, redirect, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from external_accounts import proofs, recovery
from external_accounts.addresses import InvalidAddress, parse_address
from external_accounts.identities import LOCAL
from external_accounts.proof_keys import ProofKeys
from external_accounts.proofs import FoundProof, ProofUnknown, ProofUnusable
from external_accounts.schema import Proof
from lms_bridge.i18n import current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.selfservice.proof_pages import registered_service, try_code
from lms_bridge.selfservice.seeking import seek, waiting_page
from lms_bridge.signin.doors import onward_query
from lms_bridge.web.request import current, parameter, runtime

pages = Blueprint("forgot", __name__, url_prefix="/account/forgot")

PATH = "/account/forgot"
ASSISTANCE = "/assistance?subject=sign_in"
LONGEST = 254


@pages.before_request
def passwords_are_set_here() -> None:
    if not is_offered():
        abort(404)


def is_offered() -> bool:
    """Whether there are passwords that could be set from here."""
    return runtime().settings.local.enabled or bool(runtime().directories)


@pages.get("")
def searches() -> ResponseReturnValue:
    return _form(registered_service(parameter("service")))


@pages.post("")
def search() -> ResponseReturnValue:
    service = registered_service(request.form.get("service"))
    username, email = (request.form.get(name, "").strip() for name in ("username", "email"))
    if email or "email" in request.form:
        try:
            parse_address(email)
        except InvalidAddress:
            error = _("This is not an e-mail address we can write to. It looks like name@example.org.")
            return _form(service, email=email[:LONGEST], email_error=error), 422
        sought = recovery.sought_text("email", email)
    elif username:
        sought = recovery.sought_text("username", username[:LONGEST])
    else:
        return _form(service, username_error=_("Enter your user name.")), 422
    return _ask(sought, service, current_locale())


def _form(service: str | None, **typed: str) -> str:
    back = f"/signin/local{onward_query(service)}" if runtime().settings.local.enabled else sign_in_url(service)
    return render_template("forgot/searches.html", action=PATH, service=service, back_url=back, **typed)


def _ask(sought: str, service: str | None, locale: str) -> ResponseReturnValue:
    handle = seek(sought, purpose=recovery.RESET_PASSWORD, event="recovery.asked", service=service, locale=locale)
    return redirect(f"{PATH}/{handle}{onward_query(service)}", 303)


@pages.errorhandler(ProofUnknown)
def unknown(_error: ProofUnknown) -> ResponseReturnValue:
    return render_template("forgot/invalid.html", search_url=PATH), 404


@pages.get("/<token>")
def waiting(token: str) -> ResponseReturnValue:
    found = _look_at(token)
    if found.by == "link":
        return redirect(f"/account/reset/{token}", 303)
    return _waiting(token, found.proof)


@pages.post("/<token>")
def try_the_code(token: str) -> ResponseReturnValue:
    """The right code leads where the link of the same mail leads; nothing is changed yet."""
    proof = _look_at(token).proof
    now = runtime().clock()
    if recovery.page_is_over(proof, now):
        return _waiting(token, proof)
    try:
        keys = try_code(proof.id, now, partial(_change_code, request.form.get("code", ""), now))
    except ProofUnusable:
        return _waiting(token, proof, error=_("This code does not work. Use the link, or ask for a new message."))
    return redirect(f"/account/reset/{keys.link_token}", 303)


@pages.post("/<token>/resend")
def resend(token: str) -> ResponseReturnValue:
    """The same search once more, from the waiting page or from a link that is too old (D07)."""
    proof = _look_at(token).proof
    service = registered_service(parameter("service"))
    return _ask(proof.sought, service, proof.locale)


def _look_at(token: str) -> FoundProof:
    bridge = runtime()
    with bridge.database.read() as session:
        found = proofs.look_at(session, bridge.keys, token)
    if found.proof.purpose != recovery.RESET_PASSWORD:
        raise ProofUnknown
    return found


def _change_code(typed: str, now: datetime, session: Session, proof: Proof) -> ProofKeys:
    return proofs.change_code_for_link(session, runtime().keys, proof, typed, now=now)


def _waiting(token: str, search: Proof, *, error: str | None = None) -> tuple[str, int]:
    service = registered_service(parameter("service"))
    return waiting_page(
        PATH,
        token,
        search,
        template="forgot/waiting.html",
        service=service,
        assistance_url=ASSISTANCE,
        error=error,
        minutes=recovery.LIFETIME // timedelta(minutes=1),
        continue_url=sign_in_url(service),
    )


def sign_in_url(service: str | None, issuer: str = LOCAL) -> str:
    """The form of the Extérieurs door, or the CAS of that issuer, also when somebody else is signed in on this
    browser."""
    if issuer == LOCAL and not runtime().settings.local.enabled:
        return f"/cas/login{onward_query(service)}"
    return f"/signin/{issuer}{onward_query(service, renew=current() is not None)}"
