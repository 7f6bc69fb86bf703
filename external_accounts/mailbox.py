"""What people choose about their university mailbox: forwarding, a copy that stays, the level of the spam filter.

The university runs the mailbox; every change is handed on (`handovers`). A forwarding is in force only while somebody
has shown that they read the mailbox it leads to (`confirmation` tells when that begins and ends).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.addresses import EmailAddress, mask_address
from external_accounts.engagements import LISTING
from external_accounts.handovers import MAILBOX_CHANGED, hand_over
from external_accounts.institution_schema import MailboxChoice
from external_accounts.schema import Account, AccountId, Address, Engagement

FORWARDING = "forwarding"
"""The role of an address that is there for nothing else."""


@dataclass(frozen=True, slots=True)
class Forwarding:
    """Where the mail of a university mailbox goes."""

    address: Address
    keep_copy: bool

    @property
    def in_force(self) -> bool:
        return self.address.confirmed_at is not None


def choice_of(session: Session, account_id: AccountId) -> MailboxChoice | None:
    return session.get(MailboxChoice, account_id)


def forwarding_of(session: Session, account_id: AccountId) -> Forwarding | None:
    """The forwarding somebody chose, in force or not; None: their mail stays where it is."""
    choice = choice_of(session, account_id)
    if choice is None or choice.forward_address_id is None:
        return None
    return Forwarding(session.get_one(Address, choice.forward_address_id), choice.keep_copy)


def is_listed(session: Session, account_id: AccountId) -> bool:
    """Whether somebody agreed to stand in the public directory, and has not taken it back."""
    agreed = select(Engagement.id).where(
        Engagement.account_id == account_id, Engagement.document == LISTING, Engagement.withdrawn_at.is_(None)
    )
    return session.scalar(agreed.limit(1)) is not None


def handed_on(session: Session, account_id: AccountId) -> Mapping[str, str]:
    """What the university's systems are told of somebody's choices, as they are now."""
    forwarding = forwarding_of(session, account_id)
    choice = choice_of(session, account_id)
    in_force = forwarding is not None and forwarding.in_force
    return {
        "listed": "yes" if is_listed(session, account_id) else "no",
        "forward_to": forwarding.address.email if forwarding is not None and in_force else "",
        "keep_copy": "no" if forwarding is not None and in_force and not forwarding.keep_copy else "yes",
        "antispam": choice.antispam if choice is not None else "",
    }


def forwarding_address(account: Account, email: EmailAddress, now: datetime) -> Address:
    """The row of an address that mail is to be forwarded to: one that is there, or a new one, not confirmed."""
    known = next((address for address in account.addresses if address.email_key == email.key), None)
    if known is not None:
        return known
    address = Address(email=email.email, email_key=email.key, role=FORWARDING, created_at=now, confirmed_by="")
    account.addresses.append(address)
    return address


def forward(
    session: Session, account: Account, to: Address | None, *, keep_copy: bool, now: datetime, origin: audit.Origin
) -> None:
    """Forward to that address of the account as soon as it is confirmed, or, with None, to nowhere.

    The account is held. Without a forwarding, every mail stays.
    """
    session.flush()
    choice = _changed(session, account, now)
    choice.forward_address_id = to.id if to is not None else None
    choice.keep_copy = keep_copy or to is None
    audit.record(
        session,
        "mailbox.forwarding",
        outcome="on" if to is not None else "off",
        now=now,
        origin=origin,
        account_id=account.id,
        **({"address": mask_address(to.email), "keep_copy": keep_copy} if to is not None else {}),
    )


def set_antispam(session: Session, account: Account, level: str, *, now: datetime, origin: audit.Origin) -> None:
    """Choose a level of the spam filter by its name; empty: the university's usual one. The account is held."""
    _changed(session, account, now).antispam = level
    audit.record(session, "mailbox.antispam", outcome=level or "usual", now=now, origin=origin, account_id=account.id)


def drop_address(session: Session, address: Address, now: datetime) -> None:
    """The address goes: whatever is forwarded to it stays from now on."""
    choice = session.get(MailboxChoice, address.account_id)
    if choice is not None and choice.forward_address_id == address.id:
        choice.forward_address_id, choice.keep_copy, choice.updated_at = None, True, now
        session.flush()
        hand_over(session, MAILBOX_CHANGED, address.account_id, now=now)


def _changed(session: Session, account: Account, now: datetime) -> MailboxChoice:
    choice = session.get(MailboxChoice, account.id)
    if choice is None:
        choice = MailboxChoice(account_id=account.id, keep_copy=True, antispam="")
        session.add(choice)
    choice.updated_at = now
    hand_over(session, MAILBOX_CHANGED, account.id, now=now)
    return choice
