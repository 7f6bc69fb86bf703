"""What the pages of every proof share: sending within the budgets, trying a code, waiting, too late, going on.

A purpose has a `Family`: where its pages stand, which mail it sends. What claiming it does is the purpose's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from flask import Response, jsonify, render_template
from sqlalchemy.orm import Session

from external_accounts import audit, outbox, proofs, throttle
from external_accounts.addresses import mask_address
from external_accounts.proofs import CodeSpent, CodeWrong, FoundProof, ProofUnknown
from external_accounts.schema import Address, Proof
from external_accounts.throttle import Throttled, Use
from lms_bridge.cas.services import ServiceRefused
from lms_bridge.i18n import N_, current_locale, format_deadline, ngettext
from lms_bridge.i18n import gettext as _
from lms_bridge.settings.sections import Service, text_in
from lms_bridge.signin.doors import onward_query
from lms_bridge.web.budgets import of_network
from lms_bridge.web.request import current, origin, runtime

T = TypeVar("T")

ADDRESSES, FORWARDING = "/account/addresses", "/account/forwarding"
BACK = {ADDRESSES: N_("Back to my addresses"), FORWARDING: N_("Back to the forwarding")}
"""Pages whose proofs lead back to them."""


@dataclass(frozen=True, slots=True)
class Family:
    """The pages of one purpose."""

    purpose: str
    path: str
    """Where they stand: `<path>/<token>`, `<path>/<token>/resend`, `<path>/<token>/state`."""
    mail: str
    """Template of the message."""
    folder: str
    """Templates of the pages."""


def find(session: Session, family: Family, token: str) -> FoundProof:
    """The proof of this family that a token names, changing nothing (I11).

    Raises:
        ProofUnknown: not a token of ours, or one that was made for something else.
    """
    found = proofs.look_at(session, runtime().keys, token)
    if found.proof.purpose != family.purpose:
        raise ProofUnknown
    return found


def send(
    session: Session,
    family: Family,
    address: Address,
    *,
    lifetime: timedelta,
    service: str | None,
    locale: str,
    now: datetime,
) -> Proof:
    """Make or find the proof that somebody reads this address, and queue its mail, within the budgets (D12).

    Over budget, the page looks the same.
    """
    bridge = runtime()
    proof, due = proofs.request_proof(
        session,
        bridge.keys,
        proofs.about(address),
        purpose=family.purpose,
        lifetime=lifetime,
        service=service,
        locale=locale,
        now=now,
    )
    if due and within_budget(session, address.email_key, now):
        outbox.enqueue(
            session,
            family.mail,
            address.email,
            locale=locale,
            now=now,
            mail_domain=bridge.settings.public_host,
            account_id=address.account_id,
            proof_id=proof.id,
        )
        audit.record(
            session,
            "proof.sent",
            outcome="ok",
            now=now,
            origin=origin(),
            account_id=address.account_id,
            proof_id=proof.id,
        )
    return proof


def within_budget(session: Session, recipient: str, now: datetime) -> bool:
    """Take one mail from the budgets of `recipient` (an address's key, or what a stranger typed) and of the network."""
    uses = [
        Use(throttle.PROOF_MAIL_ADDRESS, recipient),
        of_network(throttle.PROOF_MAIL_NETWORK, campus=throttle.PROOF_MAIL_CAMPUS),
    ]
    try:
        with session.begin_nested():
            throttle.reserve(session, uses, now)
    except Throttled:
        return False
    return True


def try_code(proof_id: int, now: datetime, use: Callable[[Session, Proof], T]) -> T:
    """Reserve a try, keep it whatever happens, then let `use` compare (I2).

    Raises:
        CodeWrong, CodeSpent, ProofExpired, ProofUsed, ProofCancelled: see `external_accounts.proofs`.
    """
    bridge = runtime()
    with bridge.database.begin() as session:
        proof = proofs.reserve_code_attempt(session, proof_id, now=now)
    try:
        with bridge.database.begin() as session:
            return use(session, proof)
    except CodeWrong:
        with bridge.database.begin() as session:
            audit.record(session, "proof.code", outcome="wrong", now=now, origin=origin(), account_id=proof.account_id)
        raise


def code_error(error: CodeWrong | CodeSpent) -> str:
    """What the waiting page says of a code that was not accepted."""
    if isinstance(error, CodeSpent):
        return _("This code can no longer be used. Use the link in the message, or ask for a new message.")
    left = error.attempts_left
    if not left:
        return _("This is not the code, and it cannot be tried again. Use the link, or ask for a new message.")
    return ngettext("This is not the code. %(num)d try left.", "This is not the code. %(num)d tries left.", left)


def waiting(
    family: Family,
    token: str,
    proof: Proof,
    now: datetime,
    *,
    error: str | None = None,
    continue_url: str | None = None,
) -> str:
    """The page that waits for the mail: takes the code, sends again, moves on when the link is used elsewhere.

    `continue_url` is where it moves on to, when that is not the service asked for first.
    """
    person = current()
    mine = person is not None and proof.account_id is not None and person.facts.account_id == proof.account_id
    with runtime().database.read() as session:
        slow = outbox.is_slow(session, now)
    here = f"{family.path}/{token}"
    return render_template(
        f"{family.folder}/waiting.html",
        email=mask_address(proof.email_key) if mine else None,
        deadline=deadline(proof.expires_at),
        code_deadline=deadline(proof.code_expires_at) if proof.code_expires_at > now else None,
        action=here,
        error=error,
        resend_action=f"{here}/resend",
        resend_wait_seconds=resend_wait_seconds(proof, now),
        state_url=f"{here}/state",
        mail_is_slow=slow,
        continue_url=continue_url or onward(proof)["continue_url"],
    )


def resend_wait_seconds(proof: Proof, now: datetime) -> int | None:
    """How long the message cannot be sent again, rounded up; None when it can."""
    wait = proof.sent_at + proofs.RESEND_PAUSE - now
    return max(0, -(-wait // timedelta(seconds=1))) or None


def state_answer(session: Session, *, done: bool, now: datetime) -> Response:
    """What the waiting page's script asks: whether to move on, and whether mail leaves late for everybody."""
    return jsonify(confirmed=done, slow=not done and outbox.is_slow(session, now))


def expired(family: Family, token: str) -> str:
    return render_template(f"{family.folder}/expired.html", resend_action=f"{family.path}/{token}/resend")


def onward(proof: Proof | None) -> dict[str, str | None]:
    """Where to go on to: the service asked for first, if it is still registered, or the page that asked."""
    if proof is not None and (back := proof.details.get("back")) in BACK:
        return {"continue_url": back, "continue_label": _(BACK[back]), "service_label": None}
    url = registered_service(proof.service) if proof else None
    service: Service | None = runtime().registry.find(url) if url else None
    label = text_in(service.label, current_locale()) if service else None
    return {
        "continue_url": f"/cas/login{onward_query(url)}" if url else "/",
        "continue_label": _("Continue to %(service)s", service=label) if label else None,
        "service_label": label,
    }


def registered_service(url: str | None) -> str | None:
    """The address, when it is a registered service's; nothing else is kept or followed."""
    if not url:
        return None
    try:
        runtime().registry.find(url)
    except ServiceRefused:
        return None
    return url


def deadline(moment: datetime) -> str:
    return format_deadline(moment, runtime().settings.zone, current_locale())
