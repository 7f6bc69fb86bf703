"""“First sign-in or trouble signing in?”: type an identifier, and the link goes to the private mailbox on file.

Nothing here looks an account up (I3): the page that waits says the same for everybody, also whom to see when the
university has no private address. What the mail says, and until when its link works, stands in the mail.
"""

from __future__ import annotations

from functools import partial

from flask import Blueprint, redirect, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from external_accounts import activation, proofs, recovery
from external_accounts.proof_keys import ProofKeys
from external_accounts.proofs import FoundProof, ProofUnknown, ProofUnusable
from external_accounts.schema import Account, Proof
from lms_bridge.i18n import current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.selfservice.activation import pages as step_pages
from lms_bridge.selfservice.activation.offer import whom_to_see
from lms_bridge.selfservice.proof_pages import registered_service, try_code
from lms_bridge.selfservice.seeking import seek, waiting_page
from lms_bridge.signin.doors import onward_query
from lms_bridge.web.request import parameter, runtime

pages = Blueprint("activation", __name__, url_prefix="/account/activate")

PATH = "/account/activate"
ASSISTANCE = "/assistance?subject=activation"
LONGEST = 254


@pages.get("")
def form() -> ResponseReturnValue:
    return _form(registered_service(parameter("service")))


@pages.post("")
def ask() -> ResponseReturnValue:
    service = registered_service(request.form.get("service"))
    typed = request.form.get("identifier", "").strip()[:LONGEST]
    if not typed:
        return _form(service, error=_("Enter your identifier.")), 422
    return _ask(recovery.sought_text("username", typed), service, current_locale())


def _form(service: str | None, *, error: str | None = None) -> str:
    return render_template(
        "activation/ask.html", action=PATH, service=service, error=error, whom_to_see=whom_to_see(runtime().settings)
    )


def _ask(sought: str, service: str | None, locale: str) -> ResponseReturnValue:
    handle = seek(sought, purpose=activation.REQUEST, event="activation.asked", service=service, locale=locale)
    return redirect(f"{PATH}/{handle}{onward_query(service)}", 303)


@pages.errorhandler(ProofUnknown)
def unknown(_error: ProofUnknown) -> ResponseReturnValue:
    return render_template("forgot/invalid.html", search_url=PATH), 404


@pages.get("/<token>")
def look(token: str) -> ResponseReturnValue:
    """The page that waits; or, by the link of a mail, the steps."""
    found = _look_at(token)
    if found.by == "link":
        return step_pages.begin(token, found.proof)
    return _waiting(token, found.proof)


@pages.post("/<token>")
def try_the_code(token: str) -> ResponseReturnValue:
    """The right code leads where the link of the same mail leads; nothing is changed yet."""
    found = _look_at(token)
    now = runtime().clock()
    if found.by == "link" or recovery.page_is_over(found.proof, now):
        return redirect(f"{PATH}/{token}", 303)
    # Where nobody was found, the code is compared with one that was never mailed: the same work, the same answer.
    mailed = found.proof.details.get("links") or [found.proof.id]
    for proof_id in mailed:
        try:
            keys = try_code(proof_id, now, partial(_change_code, request.form.get("code", "")))
        except ProofUnusable:
            continue
        return redirect(f"{PATH}/{keys.link_token}", 303)
    return _waiting(token, found.proof, error=_("This code does not work. Use the link, or ask for a new message."))


@pages.post("/<token>/resend")
def resend(token: str) -> ResponseReturnValue:
    """Once more: from the page that waits, or from a link that is too old, whose account is known then (D07)."""
    found = _look_at(token)
    sought, locale = found.proof.sought, found.proof.locale
    service = registered_service(parameter("service") or found.proof.service)
    if found.by == "link":
        with runtime().database.read() as session:
            account = session.get_one(Account, found.proof.account_id)
            sought = recovery.sought_text("username", account.username)
    return _ask(sought, service, locale)


def _look_at(token: str) -> FoundProof:
    """A link of a mail by its own token, or a request by its handle; nothing else.

    Raises:
        ProofUnknown: not ours, or made for something else.
    """
    bridge = runtime()
    with bridge.database.read() as session:
        found = proofs.look_at(session, bridge.keys, token)
    is_link = found.by == "link" and found.proof.purpose in activation.LINKS
    if not is_link and (found.by, found.proof.purpose) != ("handle", activation.REQUEST):
        raise ProofUnknown
    return found


def _change_code(typed: str, session: Session, proof: Proof) -> ProofKeys:
    bridge = runtime()
    return proofs.change_code_for_link(session, bridge.keys, proof, typed, now=bridge.clock())


def _waiting(token: str, search: Proof, *, error: str | None = None) -> tuple[str, int]:
    return waiting_page(
        PATH,
        token,
        search,
        template="activation/waiting.html",
        service=registered_service(parameter("service")),
        assistance_url=ASSISTANCE,
        error=error,
        whom_to_see=whom_to_see(runtime().settings),
    )
