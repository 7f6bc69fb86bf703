"""Deciding on an extension by the link of the mail: no sign-in, once, and nothing before a button is pressed (I11)."""

from __future__ import annotations

from contextlib import suppress

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from external_accounts import extensions, proofs
from external_accounts.extensions import DECIDE_EXTENSION, AlreadyDecided
from external_accounts.lifecycle_candidates import WAITING
from external_accounts.proofs import ProofUnknown, ProofUnusable, state_of
from external_accounts.schema import Proof
from lms_bridge.helpdesk import extension_page
from lms_bridge.helpdesk.extension_page import Decision
from lms_bridge.i18n import gettext as _
from lms_bridge.lifecycle.terms import terms
from lms_bridge.web.request import origin, runtime

pages = Blueprint("extension_link", __name__, url_prefix="/extension")

PATH = "/extension"


@pages.get("/<token>")
def look(token: str) -> ResponseReturnValue:
    with runtime().database.read() as session:
        return _page(session, token)


@pages.post("/<token>")
def decide(token: str) -> ResponseReturnValue:
    bridge = runtime()

    def carry_out(decision: Decision) -> None:
        with bridge.database.begin() as session:
            extensions.decide_by_link(
                session,
                _proof(session, token),
                accept=decision.accept,
                until=decision.until,
                reason=decision.reason,
                terms=terms(bridge),
                now=bridge.clock(),
                origin=origin(),
            )

    error = None
    with suppress(ProofUnusable, AlreadyDecided):  # the page says what became of the request
        error = extension_page.decided(carry_out)
    with bridge.database.read() as session:
        page = _page(session, token, error=error)
    return (page, 422) if error is not None and isinstance(page, str) else page


def _page(session: Session, token: str, *, error: str | None = None) -> ResponseReturnValue:
    """The facts and two buttons; what was decided, to whoever decided; else that the link is over."""
    try:
        proof = _proof(session, token)
    except ProofUnknown:
        return render_template("account/link_over.html"), 404
    state = state_of(proof, runtime().clock())
    extension = extensions.of_link(session, proof) if "extension_id" in proof.details else None
    if extension is None or state == "expired" or (extension.state == WAITING and state != "pending"):
        return render_template("account/link_over.html"), 410
    notice = _("Somebody decided before you, or the request was withdrawn.") if state == "cancelled" else None
    return extension_page.show(session, extension, action=f"{PATH}/{token}", back_url=None, error=error, notice=notice)


def _proof(session: Session, token: str) -> Proof:
    found = proofs.look_at(session, runtime().keys, token)
    if found.by != "link" or found.proof.purpose != DECIDE_EXTENSION:
        raise ProofUnknown
    return found.proof
