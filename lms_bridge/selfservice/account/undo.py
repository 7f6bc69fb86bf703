"""The links of notices that take something back: a change of addresses, or the deletion of the account.

Opening one changes nothing (I11) and signs nobody in; the page has one button.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from external_accounts import address_changes, erasure, parting, proofs
from external_accounts.addresses import mask_address
from external_accounts.parting import LinkOver
from external_accounts.proofs import KEEP_ACCOUNT, UNDO_ADDRESS_CHANGE, ProofUnknown, ProofUnusable, state_of
from external_accounts.schema import Account, Proof
from lms_bridge.i18n import current_locale
from lms_bridge.mail.notices import notices
from lms_bridge.selfservice.links import effects
from lms_bridge.selfservice.proof_pages import deadline
from lms_bridge.signin import sessions
from lms_bridge.sync.mirrors import ask_for_sign_out
from lms_bridge.web.request import origin, runtime

pages = Blueprint("undo", __name__, url_prefix="/account")


@dataclass(frozen=True, slots=True)
class _Link:
    purpose: str
    path: str
    template: str


UNDO = _Link(UNDO_ADDRESS_CHANGE, "/account/undo", "account/undo")
KEEP = _Link(KEEP_ACCOUNT, "/account/keep", "account/keep")


@pages.get("/undo/<token>")
def undo_page(token: str) -> ResponseReturnValue:
    return _look(UNDO, token)


@pages.get("/keep/<token>")
def keep_page(token: str) -> ResponseReturnValue:
    return _look(KEEP, token)


@pages.post("/undo/<token>")
def undo(token: str) -> ResponseReturnValue:
    """Bring the addresses back, and end every session: whoever made the change may still be signed in."""

    def take_back(session: Session, proof: Proof) -> ResponseReturnValue:
        bridge = runtime()
        now = bridge.clock()
        written = notices(bridge, current_locale())
        for link_id in parting.links_since(session, proof.account_id or 0, proof.created_at):
            # Whoever changed the addresses may have joined the account to theirs: that goes first.
            with suppress(LinkOver), session.begin_nested():  # taken back with a later one
                effects.part(session, link_id, written, now=now, origin=origin())
        undone = address_changes.undo(session, proof.id, notices=written, now=now, origin=origin())
        sessions.end_all_of(session, undone.account_id, reason="address change undone", now=now, origin=origin())
        ask_for_sign_out(session, undone.account_id)
        return render_template(
            "account/undo_done.html",
            primary=mask_address(undone.primary) if undone.primary else None,
            confirmed=[mask_address(email) for email in undone.confirmed],
            to_confirm=[mask_address(email) for email in undone.to_confirm],
        )

    return _claim(UNDO, token, take_back)


@pages.post("/keep/<token>")
def keep(token: str) -> ResponseReturnValue:
    def take_back(session: Session, proof: Proof) -> ResponseReturnValue:
        bridge = runtime()
        erasure.take_back_by_link(
            session, proof.id, notices=notices(bridge, current_locale()), now=bridge.clock(), origin=origin()
        )
        return render_template("account/keep_done.html")

    return _claim(KEEP, token, take_back)


def _look(link: _Link, token: str) -> ResponseReturnValue:
    bridge = runtime()
    with bridge.database.read() as session:
        try:
            proof = _proof(session, link, token)
        except ProofUnknown:
            return _over(404)
        if state_of(proof, bridge.clock()) != "pending":
            return _over(410)
        account = session.get_one(Account, proof.account_id)
        return render_template(
            f"{link.template}.html",
            action=f"{link.path}/{token}",
            username=account.username,
            mailbox=mask_address(proof.email_key),
            change=proof.details.get("change"),
            asked_at=deadline(proof.created_at),
            deadline=deadline(proof.expires_at),
        )


def _claim(link: _Link, token: str, use: Callable[[Session, Proof], ResponseReturnValue]) -> ResponseReturnValue:
    try:
        with runtime().database.begin() as session:
            return use(session, _proof(session, link, token))
    except ProofUnknown:
        return _over(404)
    except ProofUnusable:
        return _over(410)


def _proof(session: Session, link: _Link, token: str) -> Proof:
    found = proofs.look_at(session, runtime().keys, token)
    if found.by != "link" or found.proof.purpose != link.purpose:
        raise ProofUnknown
    return found.proof


def _over(status: int) -> ResponseReturnValue:
    return render_template("account/link_over.html"), status
