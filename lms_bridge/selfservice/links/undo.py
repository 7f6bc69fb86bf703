"""Taking back: two joined accounts, or a way in that was removed. By the link of each notice, or on my page.

Opening the link changes nothing (I11) and signs nobody in; the page has one button. A link lasts longer than a new
password: whoever took an account over cannot outrun its owner.
"""

from __future__ import annotations

from datetime import datetime

from flask import Blueprint, redirect, render_template
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from external_accounts import link_notices, proofs, unlinking
from external_accounts.accounts import lock_account
from external_accounts.addresses import mask_address
from external_accounts.linking_schema import AccountLink, UnlinkedIdentity
from external_accounts.parting import LinkOver
from external_accounts.proofs import UNDO_LINK, ProofUnknown, ProofUnusable, state_of
from external_accounts.schema import Account, AccountId, Proof
from external_accounts.unlinking import CannotComeBack
from lms_bridge.i18n import current_locale
from lms_bridge.mail.notices import notices
from lms_bridge.selfservice.account.identity import ask_first, signed_in
from lms_bridge.selfservice.links import effects
from lms_bridge.selfservice.links.overview import door_of
from lms_bridge.selfservice.proof_pages import deadline
from lms_bridge.signin import sessions
from lms_bridge.signin.other_side import PAGE
from lms_bridge.sync.mirrors import ask_for_sign_out
from lms_bridge.web.request import origin, runtime

pages = Blueprint("link_undo", __name__, url_prefix=PAGE)

UNDO = f"{PAGE}/undo"


@pages.get("/undo/<token>")
def look(token: str) -> ResponseReturnValue:
    bridge = runtime()
    with bridge.database.read() as session:
        try:
            proof = _proof(session, token)
        except ProofUnknown:
            return _over(404)
        if state_of(proof, bridge.clock()) != "pending":
            return _over(410)
        removed = "unlinked" in proof.details
        record = session.get_one(UnlinkedIdentity, proof.details["unlinked"]) if removed else None
        return render_template(
            "links/undo.html",
            action=f"{UNDO}/{token}",
            door=door_of(bridge, record.issuer) if record is not None else None,
            mailbox=mask_address(proof.email_key),
            asked_at=deadline(proof.created_at),
            deadline=deadline(proof.expires_at),
        )


@pages.post("/undo/<token>")
def undo(token: str) -> ResponseReturnValue:
    """Take it back, and end every session: whoever made the change may still be signed in."""
    bridge = runtime()
    now = bridge.clock()
    try:
        with bridge.database.begin() as session:
            proof = _proof(session, token)
            removed = proof.details.get("unlinked")
            for account_id in _held(session, proof):
                lock_account(session, account_id)
            claimed = proofs.claim_by_link(session, proof.id, now=now, origin=origin())
            if removed is not None:
                _bring_back(session, removed, None, now)
            else:
                effects.part(
                    session,
                    claimed.details["link"],
                    notices(bridge, current_locale()),
                    by=claimed,
                    now=now,
                    origin=origin(),
                )
    except ProofUnknown:
        return _over(404)
    except (ProofUnusable, LinkOver, CannotComeBack):
        return _over(410)
    return render_template("links/undone.html", way_in=removed is not None)


def _held(session: Session, proof: Proof) -> list[AccountId]:
    """The accounts that are held before the proof, as everywhere, in the order of their ids."""
    if "unlinked" in proof.details:
        return [session.get_one(UnlinkedIdentity, proof.details["unlinked"]).account_id]
    link = session.get_one(AccountLink, proof.details["link"])
    return sorted({link.kept_id, link.other_id})


def _bring_back(session: Session, record_id: int, keep: int | None, now: datetime) -> None:
    bridge = runtime()
    record = unlinking.bring_back(session, record_id, now=now, origin=origin())
    reason = "way in restored"
    sessions.end_all_of(session, record.account_id, reason=reason, now=now, origin=origin(), keep=keep)
    ask_for_sign_out(session, record.account_id)
    link_notices.end_undo_links(session, [record.account_id], [{"unlinked": record.id}], now)
    written = notices(bridge, current_locale())
    link_notices.tell_way_in(session, record.account_id, "restored", record.issuer, written, now=now)


@pages.post("/<int:link_id>/undo")
def undo_mine(link_id: int) -> ResponseReturnValue:
    """Part what I joined. The other account is for whoever signs in by its ways in again."""
    person = signed_in()
    if (question := ask_first(person)) is not None:
        return question
    bridge = runtime()
    now = bridge.clock()
    try:
        with bridge.database.begin() as session:
            link = session.get(AccountLink, link_id)
            if link is None or link.kept_id != person.facts.account_id:
                raise LinkOver
            effects.part(session, link_id, notices(bridge, current_locale()), keep=person.id, now=now, origin=origin())
            _end_if_moved(session, person.id, person.identity_id, person.facts.account_id, now)
    except LinkOver:
        return redirect(f"{PAGE}?done=over", 303)
    return redirect(f"{PAGE}?done=parted", 303)


def _end_if_moved(session: Session, session_id: int, identity_id: int, account_id: AccountId, now: datetime) -> None:
    """This session goes on only if its way in still leads to its account."""
    account = session.get_one(Account, account_id)
    if all(identity.id != identity_id for identity in account.identities):
        sessions.end(session, [session_id], reason=effects.PARTED, now=now, origin=origin())


@pages.post("/removed/<int:record_id>/restore")
def restore_mine(record_id: int) -> ResponseReturnValue:
    """Bring back a way in that I removed."""
    person = signed_in()
    if (question := ask_first(person)) is not None:
        return question
    bridge = runtime()
    try:
        with bridge.database.begin() as session:
            record = session.get(UnlinkedIdentity, record_id)
            if record is None or record.account_id != person.facts.account_id:
                raise CannotComeBack
            _bring_back(session, record_id, person.id, bridge.clock())
    except CannotComeBack:
        return redirect(f"{PAGE}?done=elsewhere", 303)
    return redirect(f"{PAGE}?done=restored", 303)


def _proof(session: Session, token: str) -> Proof:
    found = proofs.look_at(session, runtime().keys, token)
    if found.by != "link" or found.proof.purpose != UNDO_LINK:
        raise ProofUnknown
    return found.proof


def _over(status: int) -> ResponseReturnValue:
    return render_template("account/link_over.html"), status
