"""Sending a message again: the same proof, so that whichever copy arrives first works (D06); nothing is invalidated.

What can be sent is a list, each with a key: the activation, the confirmation of an address that is not confirmed, and
the message of any other link of the account that is still good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import activation, audit, mailbox, outbox, proofs, throttle
from external_accounts.activation import Standing, private_mailbox, standing
from external_accounts.schema import Account, Address, OutboxMail, Proof
from external_accounts.throttle import Throttled, Use
from lms_bridge.helpdesk.acts.deeds import Doer, Wanted, still_there
from lms_bridge.helpdesk.refusals import Refusal, Refused
from lms_bridge.selfservice.activation import mails

ACTIVATE = "activate"
CONFIRM = "confirm"
LINK = "link"


@dataclass(frozen=True, slots=True)
class Sendable:
    """A message that can be sent (again)."""

    key: str
    kind: str
    """`activate`, `confirm`, or `link` for any other."""
    email: str
    purpose: str = ""
    """Of the link, where it is another one."""
    proof: Proof | None = None
    """The one that is good already; None: a new one is made."""


def sendable(session: Session, doer: Doer, account: Account) -> list[Sendable]:
    """What can be sent to the account now, the most needed first."""
    if account.erased_at is not None or account.merged_into_id is not None:
        return []
    found = []
    pending = _pending(session, doer, account)
    if standing(account, doer.now) is Standing.OPEN:
        box = private_mailbox(account)
        if box is not None and not mails.is_elsewhere(doer.bridge, account):
            living = next(
                (one for one in pending if one.purpose in activation.LINKS and one.address_id == box.id), None
            )
            found.append(Sendable(ACTIVATE, ACTIVATE, box.email, proof=living))
    elif account.activated_at is not None:
        for address in sorted(account.addresses, key=lambda one: (not one.is_primary, one.id)):
            if address.confirmed_at is None:
                found.append(Sendable(f"{CONFIRM}-{address.id}", CONFIRM, address.email, proof=_of(pending, address)))
    for proof in pending:
        mail = _mail_of(session, proof)
        if proof.purpose not in (proofs.CONFIRM_ADDRESS, *activation.LINKS) and mail is not None:
            found.append(Sendable(f"{LINK}-{proof.id}", LINK, mail.recipient, proof.purpose, proof))
    return found


def check_resend(session: Session, doer: Doer, account: Account, _wanted: Wanted) -> None:
    """Raises: Refused, where there is nothing at all to send."""
    still_there(account)
    if not sendable(session, doer, account):
        raise Refused(Refusal.NOTHING_TO_SEND)


def check_needed(session: Session, doer: Doer, account: Account, wanted: Wanted) -> None:
    """As `check_resend`, for what `resend` would send."""
    still_there(account)
    _chosen(session, doer, account, wanted)


def resend(session: Session, doer: Doer, account: Account, wanted: Wanted) -> None:
    """Send what was chosen; without a choice, what the account waits for: its activation, or its confirmation."""
    still_there(account)
    chosen = _chosen(session, doer, account, wanted)
    match chosen.kind:
        case "activate":
            proof = _activation(session, doer, account, chosen)
        case "confirm":
            address = next(one for one in account.addresses if chosen.key == f"{CONFIRM}-{one.id}")
            proof = send_confirmation(session, doer, address)
        case _:
            proof = _copy(session, doer, chosen)
    audit.record(
        session,
        "proof.sent",
        outcome="ok",
        now=doer.now,
        origin=doer.origin,
        account_id=account.id,
        proof_id=proof.id,
        reason=wanted.reason,
    )


def send_confirmation(session: Session, doer: Doer, address: Address) -> Proof:
    """The message by which somebody shows that they read `address`. Raises: Refused."""
    locale = address.account.language or doer.bridge.settings.default_language
    proof, due = proofs.request_proof(
        session,
        doer.bridge.keys,
        proofs.about(address),
        purpose=proofs.CONFIRM_ADDRESS,
        lifetime=timedelta(hours=doer.bridge.settings.confirmation_hours),
        service=None,
        locale=locale,
        now=doer.now,
    )
    if not due:
        raise Refused(Refusal.JUST_SENT)
    _within_budget(session, doer, address.email_key)
    outbox.enqueue(
        session,
        "confirm_forwarding" if address.role == mailbox.FORWARDING else "confirm_address",
        address.email,
        locale=locale,
        now=doer.now,
        mail_domain=doer.bridge.settings.public_host,
        account_id=address.account_id,
        proof_id=proof.id,
    )
    return proof


def send_first_needed(session: Session, doer: Doer, account: Account, address: Address) -> None:
    """What a new `address` of the account waits for: its activation, or being confirmed."""
    if standing(account, doer.now) is Standing.OPEN and private_mailbox(account) is address:
        if not mails.is_elsewhere(doer.bridge, account):
            _activation(session, doer, account, Sendable(ACTIVATE, ACTIVATE, address.email))
        return
    send_confirmation(session, doer, address)


def _activation(session: Session, doer: Doer, account: Account, chosen: Sendable) -> Proof:
    box = private_mailbox(account)
    if box is None:
        raise Refused(Refusal.NOTHING_TO_SEND)
    _within_budget(session, doer, box.email_key)
    proof = mails.mail_link(
        session,
        doer.bridge,
        account,
        box,
        again=chosen.proof is None or chosen.proof.purpose == activation.ACTIVATE_AGAIN,
        service=None,
        locale=account.language or doer.bridge.settings.default_language,
        now=doer.now,
    )
    if proof.sent_at != doer.now:
        raise Refused(Refusal.JUST_SENT)
    return proof


def _copy(session: Session, doer: Doer, chosen: Sendable) -> Proof:
    """The mail of a link once more, to where it went."""
    proof = chosen.proof
    mail = _mail_of(session, proof) if proof is not None else None
    if proof is None or mail is None:
        raise Refused(Refusal.NOTHING_TO_SEND)
    if doer.now - mail.created_at < proofs.RESEND_PAUSE:
        raise Refused(Refusal.JUST_SENT)
    _within_budget(session, doer, mail.recipient.lower())
    outbox.enqueue(
        session,
        mail.template,
        mail.recipient,
        locale=mail.locale,
        now=doer.now,
        mail_domain=doer.bridge.settings.public_host,
        account_id=mail.account_id,
        proof_id=proof.id,
        context=mail.context,
    )
    return proof


def _chosen(session: Session, doer: Doer, account: Account, wanted: Wanted) -> Sendable:
    there = sendable(session, doer, account)
    if wanted.which:
        chosen = next((one for one in there if one.key == wanted.which), None)
    else:
        chosen = next((one for one in there if one.kind != LINK), None)
    if chosen is None:
        raise Refused(Refusal.NOTHING_TO_SEND)
    return chosen


def _within_budget(session: Session, doer: Doer, email_key: str) -> None:
    """The mailbox's own budget (D12). That of the network is for strangers."""
    try:
        with session.begin_nested():
            throttle.reserve(session, [Use(throttle.PROOF_MAIL_ADDRESS, email_key)], doer.now)
    except Throttled:
        raise Refused(Refusal.ENOUGH_MAILS) from None


def _pending(session: Session, doer: Doer, account: Account) -> list[Proof]:
    query = select(Proof).where(
        Proof.account_id == account.id,
        Proof.claimed_at.is_(None),
        Proof.cancelled_at.is_(None),
        Proof.expires_at > doer.now,
    )
    return list(session.scalars(query.order_by(Proof.id.desc())))


def _of(pending: Sequence[Proof], address: Address) -> Proof | None:
    wanted = (proofs.CONFIRM_ADDRESS, address.id, address.email_key)
    return next((one for one in pending if (one.purpose, one.address_id, one.email_key) == wanted), None)


def _mail_of(session: Session, proof: Proof) -> OutboxMail | None:
    """The newest mail that carried the link; None for one that never went by mail (a letter's)."""
    query = select(OutboxMail).where(OutboxMail.proof_id == proof.id).order_by(OutboxMail.id.desc()).limit(1)
    return session.scalar(query)
