"""Lost identifiers: what are you, and which address; then a page that says the same whatever was typed (I3).

Nothing here looks an account up, nor depends on what was found: see `lms_bridge.selfservice.forgot`.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from flask import Blueprint, abort, redirect, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from external_accounts import lost_identifiers, recovery
from external_accounts.addresses import InvalidAddress, parse_address
from external_accounts.proof_keys import ProofKeys
from external_accounts.proofs import ProofUnknown, ProofUnusable
from external_accounts.schema import Proof
from lms_bridge.i18n import current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.selfservice import lost_password, password_link
from lms_bridge.selfservice.lost_searches import choice_named
from lms_bridge.selfservice.proof_pages import registered_service, try_code
from lms_bridge.selfservice.seeking import seek, waiting_page
from lms_bridge.settings.sections import text_in
from lms_bridge.signin.doors import onward_query
from lms_bridge.web.request import parameter, runtime

pages = Blueprint("lost", __name__, url_prefix=lost_password.PATH)

PATH = lost_password.PATH
LONGEST = 254


@pages.before_request
def choices_exist() -> None:
    if not runtime().settings.lost_choices:
        abort(404)


@pages.get("")
def ask() -> ResponseReturnValue:
    return _form(registered_service(parameter("service")))


@pages.post("")
def search() -> ResponseReturnValue:
    service = registered_service(request.form.get("service"))
    profile, email = (request.form.get(name, "").strip() for name in ("profile", "email"))
    errors = {}
    choice = choice_named(runtime(), profile)
    if choice is None:
        errors["profile"] = _("Say which of these you are.")
    try:
        parse_address(email)
    except InvalidAddress:
        errors["email"] = _("This is not an e-mail address we can write to. It looks like name@example.org.")
    if choice is None or errors:
        return _form(service, profile=profile, email=email[:LONGEST], errors=errors), 422
    return _seek(lost_identifiers.sought_text(choice.name, email), service, current_locale())


def _form(service: str | None, *, profile: str = "", email: str = "", errors: dict[str, str] | None = None) -> str:
    settings = runtime().settings
    locale = current_locale()
    onward = onward_query(service)
    return render_template(
        "lost/form.html",
        action=PATH,
        service=service,
        choices=[{"name": one.name, "label": text_in(one.label, locale)} for one in settings.lost_choices],
        profile=profile,
        email=email,
        errors=errors or {},
        forgot_url=f"/account/forgot{onward}" if settings.local.enabled else None,
        local_title=text_in(settings.local.title, locale),
        back_url=f"/cas/login{onward}" if service else "/",
    )


def _seek(sought: str, service: str | None, locale: str) -> ResponseReturnValue:
    handle = seek(
        sought,
        purpose=lost_identifiers.SEEK_IDENTIFIER,
        event="lost_identifier.asked",
        service=service,
        locale=locale,
    )
    return redirect(f"{PATH}/{handle}{onward_query(service)}", 303)


@pages.errorhandler(ProofUnknown)
def unknown(_error: ProofUnknown) -> ResponseReturnValue:
    return lost_password.invalid(404)


@pages.get("/<token>")
def look(token: str) -> ResponseReturnValue:
    found = lost_password.find(token)
    if found.by == "link":
        return password_link.show(lost_password.LINK, token, found.proof)
    return _waiting(token, found.proof)


@pages.post("/<token>")
def go_on(token: str) -> ResponseReturnValue:
    """With the link: set the password. On the waiting page: the code, which leads where the link leads."""
    found = lost_password.find(token)
    if found.by == "link":
        return password_link.choose(lost_password.LINK, token, found.proof)
    now = runtime().clock()
    if recovery.page_is_over(proof := found.proof, now):
        return _waiting(token, found.proof)
    try:
        keys = try_code(proof.id, now, partial(_change_code, request.form.get("code", "")))
    except ProofUnusable:
        error = _("This code does not work. Use the link, or ask for a new message.")
        return _waiting(token, proof, error=error)
    return redirect(f"{PATH}/{keys.link_token}", 303)


@pages.post("/<token>/resend")
def resend(token: str) -> ResponseReturnValue:
    """The same search once more, from the waiting page or from a link that is too old (D07)."""
    search = lost_password.find(token).proof
    return _seek(search.sought, registered_service(parameter("service")), search.locale)


def _change_code(typed: str, session: Session, search: Proof) -> ProofKeys:
    bridge = runtime()
    return lost_identifiers.change_code_for_link(session, bridge.keys, search, typed, now=bridge.clock())


def _waiting(token: str, search: Proof, *, error: str | None = None) -> tuple[str, int]:
    service = registered_service(parameter("service"))
    return waiting_page(
        PATH,
        token,
        search,
        template="forgot/waiting.html",
        service=service,
        assistance_url=lost_password.ASSISTANCE,
        error=error,
        minutes=recovery.LIFETIME // timedelta(minutes=1),
        continue_url=f"/cas/login{onward_query(service)}" if service else "/",
        private_only=True,
    )
