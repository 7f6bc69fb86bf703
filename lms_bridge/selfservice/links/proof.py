"""The message to the other account's confirmed address: its link and its code are good in the session that asked.

Opened where somebody else is signed in, or nobody, the page names neither account (D26).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from flask import Blueprint, redirect, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import link_ceremonies, outbox, proofs
from external_accounts.link_ceremonies import LINK_ACCOUNTS, CeremonyOver
from external_accounts.linking_schema import LinkCeremony
from external_accounts.proofs import (
    CodeSpent,
    CodeWrong,
    FoundProof,
    ProofExpired,
    ProofUnknown,
    ProofUnusable,
    ProofUsed,
    state_of,
)
from external_accounts.schema import Account, Address, Proof
from lms_bridge.i18n import current_locale
from lms_bridge.selfservice.links.ceremony import PROOF
from lms_bridge.selfservice.proof_pages import (
    Family,
    code_error,
    deadline,
    find,
    state_answer,
    try_code,
    waiting,
    within_budget,
)
from lms_bridge.signin.other_side import CEREMONY, PAGE, bound
from lms_bridge.web.request import current, origin, runtime

pages = Blueprint("link_proof", __name__, url_prefix=PROOF)

FAMILY = Family(LINK_ACCOUNTS, path=PROOF, mail="link_accounts", folder="links")


class Elsewhere(Exception):
    """Not in the session that asked for the message."""


@pages.errorhandler(ProofUnknown)
def unknown(_error: ProofUnknown) -> ResponseReturnValue:
    return _invalid(404)


@pages.errorhandler(Elsewhere)
def elsewhere(_error: Elsewhere) -> ResponseReturnValue:
    return render_template("links/elsewhere.html", signed_in=current() is not None), 403


@pages.errorhandler(CeremonyOver)
def over(_error: CeremonyOver) -> ResponseReturnValue:
    return redirect(f"{PAGE}?done=over", 303)


def _ceremony(session: Session, proof: Proof, now: datetime) -> LinkCeremony:
    """The ceremony of the proof, in its own session.

    Raises:
        Elsewhere: this is another one.
        CeremonyOver: it ended, or asked for another message since.
    """
    person = current()
    handle = proof.details["ceremony"]
    session_id = session.scalar(select(LinkCeremony.session_id).where(LinkCeremony.handle == handle))
    if person is None or session_id != person.id:
        raise Elsewhere
    ceremony = link_ceremonies.find(session, handle, bound(person), now=now)
    if ceremony.proof_id != proof.id:
        raise CeremonyOver
    return ceremony


@pages.get("/<token>")
def look(token: str) -> ResponseReturnValue:
    bridge = runtime()
    now = bridge.clock()
    with bridge.database.read() as session:
        found = find(session, FAMILY, token)
        ceremony = _ceremony(session, found.proof, now)
        match state_of(found.proof, now):
            case "claimed":
                return redirect(f"{CEREMONY}/{ceremony.handle}", 303)
            case "expired" | "cancelled":
                return _invalid(410)
        if found.by == "handle":
            return _waiting(token, found.proof, ceremony, now)
        return render_template(
            "links/proof.html",
            action=f"{PROOF}/{token}",
            give_up=f"{CEREMONY}/{ceremony.handle}/give-up",
            deadline=deadline(found.proof.expires_at),
        )


@pages.post("/<token>")
def claim(token: str) -> ResponseReturnValue:
    """The other side reads its mailbox: by the button behind the link, or by the code."""
    bridge = runtime()
    now = bridge.clock()
    with bridge.database.read() as session:
        found = find(session, FAMILY, token)
        ceremony = _ceremony(session, found.proof, now)
    try:
        if found.by == "link":
            with bridge.database.begin() as session:
                _prove(session, found, now, lambda: _by_link(session, found, now))
        else:
            typed = request.form.get("code", "")
            try_code(found.proof.id, now, lambda session, proof: _by_code(session, found, proof, typed, now))
    except (CodeWrong, CodeSpent) as error:
        return _waiting(token, found.proof, ceremony, now, error=code_error(error)), 422
    except ProofUsed:
        pass  # a second click: the page says where it stands
    except (ProofExpired, ProofUnusable):
        return _invalid(410)
    return redirect(f"{CEREMONY}/{ceremony.handle}", 303)


def _by_link(session: Session, found: FoundProof, now: datetime) -> Proof:
    return proofs.claim_by_link(session, found.proof.id, now=now, origin=origin())


def _by_code(session: Session, found: FoundProof, proof: Proof, typed: str, now: datetime) -> None:
    _prove(
        session,
        found,
        now,
        lambda: proofs.claim_by_code(session, runtime().keys, proof, typed, now=now, origin=origin()),
    )


def _prove(session: Session, found: FoundProof, now: datetime, claimed: Callable[[], Proof]) -> None:
    # The account before the proof, as everywhere: no two wait for each other.
    session.get_one(Account, found.proof.account_id, with_for_update=True)
    ceremony = _ceremony(session, found.proof, now)
    link_ceremonies.prove_by_mail(session, ceremony, claimed(), now=now, origin=origin())


@pages.post("/<token>/resend")
def resend(token: str) -> ResponseReturnValue:
    """The same message again."""
    bridge = runtime()
    now = bridge.clock()
    with bridge.database.begin() as session:
        found = find(session, FAMILY, token)
        _ceremony(session, found.proof, now)
        if state_of(found.proof, now) != "pending":
            return _invalid(410)
        proof = session.get_one(Proof, found.proof.id, with_for_update=True, populate_existing=True)
        address = session.get(Address, proof.address_id)
        if address is None or address.email_key != proof.email_key:
            return _invalid(410)
        if now - proof.sent_at >= proofs.RESEND_PAUSE:
            proofs.send_again(session, proof, now=now)
            if within_budget(session, address.email_key, now):
                outbox.enqueue(
                    session,
                    FAMILY.mail,
                    address.email,
                    locale=current_locale(),
                    now=now,
                    mail_domain=bridge.settings.public_host,
                    account_id=proof.account_id,
                    proof_id=proof.id,
                )
    return redirect(f"{PROOF}/{token}", 303)


@pages.get("/<token>/state")
def state(token: str) -> ResponseReturnValue:
    """Whether the link was used by now: asked by the waiting page."""
    bridge = runtime()
    now = bridge.clock()
    with bridge.database.read() as session:
        found = find(session, FAMILY, token)
        _ceremony(session, found.proof, now)
        return state_answer(session, done=found.proof.claimed_at is not None, now=now)


def _waiting(token: str, proof: Proof, ceremony: LinkCeremony, now: datetime, *, error: str | None = None) -> str:
    return waiting(FAMILY, token, proof, now, error=error, continue_url=f"{CEREMONY}/{ceremony.handle}")


def _invalid(status: int) -> ResponseReturnValue:
    return render_template("links/over.html"), status
