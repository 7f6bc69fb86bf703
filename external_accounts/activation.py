"""Activating an account that the university announced: whom a link is mailed to, and what the last step does.

Two kinds of links, told apart by purpose: the one of the first mail, and the ones a person asks for. Any of them opens
the same steps, whose answers wait in a draft of the account, bound to the mailbox the link went to. Asking looks
nothing up (I3): it leaves a row of purpose `REQUEST`, which background work answers; no link is made from it.

The last step claims the link and does everything in one transaction (I2, I8). Before that, nothing is usable.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from external_accounts import audit, engagements, mailbox, proofs
from external_accounts.accounts import account_by_username, lock_account
from external_accounts.activation_deadlines import life_of
from external_accounts.activation_steps import Choices, Offer
from external_accounts.confirmation import confirm_by_proof
from external_accounts.handovers import ACTIVATED, hand_over
from external_accounts.institution_schema import ActivationDraft
from external_accounts.keys import Keys
from external_accounts.profiles import ProfilePolicy
from external_accounts.proofs import ProofCancelled
from external_accounts.schema import Account, AccountId, Address, Proof, SignInIdentity

ACTIVATE = "activate"
"""The link of the first mail, or of a letter."""
ACTIVATE_AGAIN = "activate again"
"""A link that the person asked for."""
LINKS = (ACTIVATE, ACTIVATE_AGAIN)
REQUEST = "activation request"
"""Somebody typed an identifier. Names the page that waits, opens nothing."""

UNIVERSITY = ("institutional", mailbox.FORWARDING)
"""Roles of addresses that nobody reads before the account is activated, or that lead elsewhere."""


class Standing(StrEnum):
    """Whether an account may be activated, and if not, why."""

    OPEN = "open"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    ENDED = "ended"
    ERASED = "erased"


class NotOpen(Exception):
    """The account cannot be activated (any more): `standing` says why."""

    def __init__(self, standing: Standing) -> None:
        super().__init__(standing.value)
        self.standing = standing


def standing(account: Account, now: datetime) -> Standing:
    """Where an account stands `now`; an end is over at that very moment."""
    if account.erased_at is not None:
        return Standing.ERASED
    if account.rights_end_at is not None and account.rights_end_at <= now:
        return Standing.ENDED
    if account.suspended_at is not None and (account.suspended_until is None or now < account.suspended_until):
        return Standing.SUSPENDED
    return Standing.OPEN if account.activated_at is None else Standing.ACTIVE


def private_mailbox(account: Account) -> Address | None:
    """The one mailbox that links go to: the recovery address as it was confirmed, or at least recorded.

    Never the university's own, which nobody reads yet. One that bounced comes last: it may work again.
    """
    private = [address for address in account.addresses if address.role not in UNIVERSITY]
    return min(
        private,
        key=lambda one: (one.lost_at is not None, one.role != "recovery", one.confirmed_at is None, one.id),
        default=None,
    )


def link_to(
    session: Session,
    keys: Keys,
    address: Address,
    *,
    again: bool,
    policy: ProfilePolicy,
    zone: ZoneInfo,
    service: str | None,
    locale: str,
    now: datetime,
) -> tuple[Proof, bool]:
    """The pending link of that mailbox, or a new one (D16); and whether a mail should go out now.

    Links that went to another mailbox are over: it was corrected.
    """
    elsewhere = update(Proof).where(Proof.account_id == address.account_id, Proof.purpose.in_(LINKS))
    session.execute(
        elsewhere.where(
            Proof.email_key.not_in((address.email_key, "")), Proof.claimed_at.is_(None), Proof.cancelled_at.is_(None)
        ).values(cancelled_at=now)
    )
    life = life_of(policy.link_again if again else policy.first_link, now, zone)
    return proofs.request_proof(
        session,
        keys,
        proofs.about(address),
        purpose=ACTIVATE_AGAIN if again else ACTIVATE,
        lifetime=life.lifetime,
        service=service,
        locale=locale,
        now=now,
        calendar_end=life.calendar_end,
    )


def sought_accounts(session: Session, sought: str) -> list[Account]:
    """The accounts that a request means: by user name, or by an address of theirs, the university's or private."""
    text = sought.partition(":")[2]
    account = account_by_username(session, text)
    if account is not None:
        return [account]
    if "@" not in text:
        return []
    holders = select(Address.account_id).where(Address.email_key == text, Address.role != mailbox.FORWARDING)
    query = select(Account).where(Account.id.in_(holders), Account.erased_at.is_(None)).order_by(Account.username)
    return list(session.scalars(query))


def next_announced(session: Session, now: datetime) -> Account | None:
    """An account whose first mail is waited for, held until the transaction ends."""
    return session.scalar(
        select(Account)
        .where(Account.activation_mail_due_at <= now)
        .order_by(Account.activation_mail_due_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )


# --- The draft ---


def draft_of(session: Session, proof: Proof) -> dict[str, Any]:
    """What was answered so far by links to the same mailbox. A link to another mailbox begins anew."""
    draft = session.get(ActivationDraft, proof.account_id)
    if draft is None or draft.answers.get("mailbox_key") != proof.email_key:
        return {}
    return {name: value for name, value in draft.answers.items() if name != "mailbox_key"}


def save_draft(session: Session, proof: Proof, answers: Mapping[str, Any], *, now: datetime) -> dict[str, Any]:
    """Add answers. Returns all there are. The account's row is where two that do this wait for each other."""
    account_id = proof.account_id or 0
    lock_account(session, account_id)
    merged = draft_of(session, proof) | dict(answers)
    draft = session.get(ActivationDraft, account_id)
    if draft is None:
        draft = ActivationDraft(account_id=account_id)
        session.add(draft)
    draft.answers, draft.updated_at = merged | {"mailbox_key": proof.email_key}, now
    return merged


def drop_draft(session: Session, account_id: AccountId) -> None:
    session.execute(delete(ActivationDraft).where(ActivationDraft.account_id == account_id))


# --- The last step ---


def claim(session: Session, looked_at: Proof, *, now: datetime, origin: audit.Origin) -> Account:
    """Use the link up. Returns the account, held.

    Raises:
        ProofExpired, ProofUsed, ProofCancelled: exactly one of N parallel uses does not raise (I2).
        NotOpen: the account was activated by another link, or its time here is over.
    """
    account = lock_account(session, looked_at.account_id or 0)
    if (stands := standing(account, now)) is not Standing.OPEN:
        raise NotOpen(stands)
    proof = proofs.claim_by_link(session, looked_at.id, now=now, origin=origin)
    if proof.email_key and _mailbox_of(account, proof) is None:
        session.expunge(proof)
        raise ProofCancelled(proof)  # made for a former address
    return account


def complete(
    session: Session,
    account: Account,
    looked_at: Proof,
    choices: Choices,
    offer: Offer,
    *,
    issuer: str,
    language: str,
    charter_accepted_at: datetime | None,
    now: datetime,
    origin: audit.Origin,
) -> Address | None:
    """What the claimed link does, once the password is set. The account is held.

    Confirms the mailbox that the link was mailed to (I4). `issuer` is the door its people come in by. Returns the
    address that mail shall be forwarded to, if somebody must still show that they read it.
    """
    proof = session.get_one(Proof, looked_at.id, populate_existing=True)
    address = _mailbox_of(account, proof)
    if address is not None:
        confirm_by_proof(session, address, proof, now=now, origin=origin)
    if not any(identity.issuer == issuer for identity in account.identities):
        account.identities.append(
            SignInIdentity(issuer=issuer, subject=account.username, attributes={}, created_at=now, refreshed_at=now)
        )
    if offer.charter:
        engagements.accept(
            session,
            account.id,
            engagements.CHARTER,
            offer.charter,
            now=now,
            origin=origin,
            accepted_at=charter_accepted_at,
        )
    if choices.listed:
        engagements.accept(
            session, account.id, engagements.LISTING, engagements.LISTING_VERSION, now=now, origin=origin
        )
    to = mailbox.forwarding_address(account, choices.forward_to, now) if choices.forward_to is not None else None
    if offer.mailbox != "none":
        mailbox.forward(session, account, to, keep_copy=choices.keep_copy, now=now, origin=origin)
    account.activated_at, account.activation_mail_due_at = now, None
    account.language = account.language or language
    account.note_change()
    proofs.cancel_pending(session, account.id, now)
    drop_draft(session, account.id)
    hand_over(session, ACTIVATED, account.id, now=now)
    audit.record(
        session,
        "account.activated",
        outcome="ok",
        now=now,
        origin=origin,
        account_id=account.id,
        proof_id=proof.id,
        listed=choices.listed,
        forwarded=to is not None,
    )
    return to if to is not None and to.confirmed_at is None else None


def _mailbox_of(account: Account, proof: Proof) -> Address | None:
    """The address the link was mailed to, if the account still has it; none was, where a letter carried it."""
    named = (proof.address_id, proof.email_key)
    return next((one for one in account.addresses if (one.id, one.email_key) == named), None)
