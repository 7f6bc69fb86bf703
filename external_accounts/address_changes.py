"""Changing the addresses of an account, and taking a change back (D36, TOK-18).

Every change tells the addresses that were confirmed before it, each by a link of its own that takes the change back
for seven days. Such a link holds how the addresses stood before the change, and brings that back, whatever was changed
since: of two links the older one goes further back, so whoever took an account over cannot outrun its owner with
changes of their own. What a link brings back is confirmed only by the link itself, for the mailbox it was sent to (I4).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from external_accounts import audit, confirmation, mailbox, outbox, proofs, throttle
from external_accounts.accounts import lock_account
from external_accounts.addresses import EmailAddress, mask_address, primary_address, set_primary_address
from external_accounts.keys import Keys
from external_accounts.proofs import UNDO_ADDRESS_CHANGE, Subject, cancel_pending
from external_accounts.schema import Account, AccountId, Address, Proof

UNDO_FOR = timedelta(days=7)
MOST_ADDRESSES = 6
CONTACT, RECOVERY, INSTITUTIONAL = "contact", "recovery", "institutional"


class Change(StrEnum):
    """What was done to an address."""

    ADDED = "added"
    PRIMARY = "primary"
    RECOVERY = "recovery"
    REMOVED = "removed"
    CORRECTED = "corrected"


class ChangeRefused(Exception):
    """The rules do not allow it: see `choices`."""


class TooManyAddresses(ChangeRefused):
    """The account has as many as it may have."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What may be done with one address of an account."""

    make_primary: bool
    make_recovery: bool
    remove: bool


def choices(address: Address, addresses: Sequence[Address]) -> Choices:
    """What may be done with `address`, one of its account's `addresses`.

    Only a confirmed one becomes the main one, which is never removed, nor is the last confirmed one. Addresses a CAS
    asserts are the university's to change; while one is the main one, it stays so: the next sign-in says it again.
    """
    institutional = address.role == INSTITUTIONAL
    governed = any(other.is_primary and other.role == INSTITUTIONAL for other in addresses)
    confirmed = address.confirmed_at is not None
    others = any(other.confirmed_at is not None for other in addresses if other is not address)
    return Choices(
        make_primary=confirmed and not address.is_primary and not governed,
        make_recovery=confirmed and not address.is_primary and not institutional and address.role != RECOVERY,
        remove=not address.is_primary and not institutional and (not confirmed or others),
    )


@dataclass(frozen=True, slots=True)
class Notices:
    """How the addresses that are told are written to."""

    keys: Keys
    locale: str
    mail_domain: str


def add_address(
    session: Session,
    account_id: AccountId,
    email: EmailAddress,
    *,
    role: str,
    notices: Notices,
    now: datetime,
    origin: audit.Origin,
) -> Address:
    """Add an address, not confirmed. One that is there already comes back as it is.

    Raises:
        TooManyAddresses: `MOST_ADDRESSES` are there.
        Throttled: too many changes lately; this and the other changes below.
    """
    account = lock_account(session, account_id)
    known = next((address for address in account.addresses if address.email_key == email.key), None)
    if known is not None:
        return known
    if len(account.addresses) >= MOST_ADDRESSES:
        raise TooManyAddresses
    before = _Before.of(account)
    if primary_address(account) is None:
        address = set_primary_address(session, account, email, role=CONTACT, now=now)
    else:
        address = _new(account, email.email, email.key, role, now)
    address.self_added = True
    session.flush()
    _changed(session, account, before, Change.ADDED, address, notices, now, origin)
    return address


def make_primary(
    session: Session, account_id: AccountId, address_id: int, *, notices: Notices, now: datetime, origin: audit.Origin
) -> None:
    """Make a confirmed address the main one.

    Raises:
        ChangeRefused: not confirmed, no such address, or the university's CAS says which one it is.
    """
    account, address = _allowed(session, account_id, address_id, "make_primary")
    before = _Before.of(account)
    if address.role == RECOVERY:
        address.role = CONTACT
    set_primary_address(session, account, EmailAddress(address.email, address.email_key), role=address.role, now=now)
    _changed(session, account, before, Change.PRIMARY, address, notices, now, origin)


def make_recovery(
    session: Session, account_id: AccountId, address_id: int, *, notices: Notices, now: datetime, origin: audit.Origin
) -> None:
    """Make a confirmed address a recovery address.

    Raises:
        ChangeRefused: it cannot be one.
    """
    account, address = _allowed(session, account_id, address_id, "make_recovery")
    before = _Before.of(account)
    address.role = RECOVERY
    _changed(session, account, before, Change.RECOVERY, address, notices, now, origin)


def remove_address(
    session: Session, account_id: AccountId, address_id: int, *, notices: Notices, now: datetime, origin: audit.Origin
) -> None:
    """Take an address off the account.

    Raises:
        ChangeRefused: it is the main one, the last confirmed one, the university's, or not there.
    """
    account, address = _allowed(session, account_id, address_id, "remove")
    before = _Before.of(account)
    drop_address(session, account, address, now)
    _changed(session, account, before, Change.REMOVED, address, notices, now, origin)


def correct_address(
    session: Session,
    account: Account,
    address: Address,
    email: EmailAddress,
    *,
    notices: Notices,
    now: datetime,
    origin: audit.Origin,
) -> Address:
    """Put another mailbox in the place of `address`, with its role: a new row, which nothing has confirmed yet (I4).

    What was under way to the former one is over (LNK-04). The account is held; who may ask for this is the caller's
    rule (`external_accounts.corrections`).
    """
    before = _Before.of(account)
    role, was_primary = address.role, address.is_primary
    drop_address(session, account, address, now)
    corrected = _new(account, email.email, email.key, role, now)
    corrected.is_primary = was_primary
    session.flush()
    _changed(session, account, before, Change.CORRECTED, corrected, notices, now, origin)
    return corrected


@dataclass(frozen=True, slots=True)
class Undone:
    """What came of taking a change back."""

    account_id: AccountId
    primary: str | None
    """The main address as it is now."""
    confirmed: tuple[str, ...]
    """Addresses that open the account again when its password is lost."""
    to_confirm: tuple[str, ...]
    """Addresses that came back and are to be confirmed anew."""


def undo(session: Session, proof_id: int, *, notices: Notices, now: datetime, origin: audit.Origin) -> Undone:
    """Bring the addresses back to how they stood before the change this proof was made for.

    What was added since goes, what was removed since comes back; the links that would take this or a later change back
    are over. The caller ends the account's sessions in the same transaction.

    Raises:
        ProofExpired, ProofUsed, ProofCancelled: exactly one of N parallel uses does not raise (I2).
    """
    account = lock_account(session, session.get_one(Proof, proof_id).account_id or 0)
    proof = proofs.claim_by_link(session, proof_id, now=now, origin=origin)
    told = {address.email for address in account.addresses if address.confirmed_at is not None}
    stood: list[dict[str, Any]] = proof.details["before"]
    _take_away(session, account, {entry["key"] for entry in stood}, now)
    _bring_back(account, stood, now)
    session.flush()
    mine = _by_key(account, proof.email_key)
    if mine is not None and mine.confirmed_at is None:
        confirmation.confirm_by_proof(session, mine, proof, now=now, origin=origin)
    _restore_primary(session, account, stood, mine)
    _end_later_links(session, proof, now)
    cancel_pending(session, account.id, now)
    account.note_change()
    session.flush()
    audit.record(
        session,
        "address.undone",
        outcome="ok",
        now=now,
        origin=origin,
        account_id=account.id,
        proof_id=proof.id,
        change=proof.details["change"],
    )
    told |= {address.email for address in account.addresses if address.confirmed_at is not None}
    for email in sorted(told):
        outbox.enqueue(
            session,
            "address_undone",
            email,
            locale=notices.locale,
            now=now,
            mail_domain=notices.mail_domain,
            account_id=account.id,
        )
    primary = primary_address(account)
    return Undone(
        account.id,
        primary.email if primary is not None else None,
        tuple(address.email for address in account.addresses if address.confirmed_at is not None),
        tuple(address.email for address in account.addresses if address.confirmed_at is None),
    )


@dataclass(frozen=True, slots=True)
class _Before:
    """How the addresses of an account stood, and which of them could be written to."""

    stood: list[dict[str, Any]]
    confirmed: list[tuple[str, str]]

    @classmethod
    def of(cls, account: Account) -> _Before:
        return cls(
            [
                {"email": one.email, "key": one.email_key, "role": one.role, "primary": one.is_primary}
                for one in account.addresses
            ],
            [(one.email, one.email_key) for one in account.addresses if one.confirmed_at is not None],
        )


def _allowed(session: Session, account_id: AccountId, address_id: int, what: str) -> tuple[Account, Address]:
    account = lock_account(session, account_id)
    address = next((one for one in account.addresses if one.id == address_id), None)
    if address is None or not getattr(choices(address, account.addresses), what):
        raise ChangeRefused(what)
    return account, address


def _changed(
    session: Session,
    account: Account,
    before: _Before,
    change: Change,
    address: Address,
    notices: Notices,
    now: datetime,
    origin: audit.Origin,
) -> None:
    """Count the change, record it, and tell the addresses that were confirmed before it."""
    throttle.reserve(session, [throttle.Use(throttle.ADDRESS_CHANGES, str(account.id))], now)
    account.note_change()
    audit.record(
        session,
        f"address.{change}",
        outcome="ok",
        now=now,
        origin=origin,
        account_id=account.id,
        address=mask_address(address.email),
    )
    details = {"change": change.value, "change_id": secrets.token_hex(8), "before": before.stood}
    for email, key in before.confirmed:
        proof = proofs.make_proof(
            session,
            notices.keys,
            Subject(account_id=account.id, email_key=key),
            purpose=UNDO_ADDRESS_CHANGE,
            lifetime=UNDO_FOR,
            service=None,
            locale=notices.locale,
            now=now,
            details=details,
        )
        outbox.enqueue(
            session,
            "address_changed",
            email,
            locale=notices.locale,
            now=now,
            mail_domain=notices.mail_domain,
            account_id=account.id,
            proof_id=proof.id,
            context={"change": change.value, "address": mask_address(address.email)},
        )


def _new(account: Account, email: str, key: str, role: str, now: datetime) -> Address:
    address = Address(email=email, email_key=key, role=role, created_at=now, confirmed_by="")
    account.addresses.append(address)
    return address


def drop_address(session: Session, account: Account, address: Address, now: datetime) -> None:
    """Take the row away, and what was under way to it. No rule is asked, nobody told: see `remove_address`."""
    cancel_pending(session, account.id, now, address_id=address.id)
    session.execute(update(Proof).where(Proof.address_id == address.id).values(address_id=None))
    mailbox.drop_address(session, address, now)
    session.delete(address)
    session.flush()
    session.expire(account, ["addresses"])


def _take_away(session: Session, account: Account, stood: set[str], now: datetime) -> None:
    for address in list(account.addresses):
        if address.email_key not in stood and address.role != INSTITUTIONAL:
            drop_address(session, account, address, now)


def _bring_back(account: Account, stood: list[dict[str, Any]], now: datetime) -> None:
    for entry in stood:
        address = _by_key(account, entry["key"])
        if address is None:
            _new(account, entry["email"], entry["key"], entry["role"], now)
        elif address.role != INSTITUTIONAL:
            address.role = entry["role"]


def _restore_primary(session: Session, account: Account, stood: list[dict[str, Any]], mine: Address | None) -> None:
    """The former main address; where its confirmation is gone, the mailbox that has just been shown to be read."""
    current = primary_address(account)
    if current is not None and current.role == INSTITUTIONAL:
        return
    former = next((entry["key"] for entry in stood if entry["primary"]), None)
    wanted = _by_key(account, former) if former is not None else None
    confirmed = [address for address in account.addresses if address.confirmed_at is not None]
    if wanted is None or (wanted.confirmed_at is None and confirmed):
        wanted = mine if mine in confirmed else next(iter(confirmed), wanted)
    if wanted is None or wanted is current:
        return
    if current is not None:
        current.is_primary = False
        session.flush()
    wanted.is_primary = True


def _end_later_links(session: Session, used: Proof, now: datetime) -> None:
    """The links of the same change and of later ones. Those of earlier changes stay: they go further back."""
    pending = session.scalars(
        select(Proof).where(
            Proof.account_id == used.account_id,
            Proof.purpose == UNDO_ADDRESS_CHANGE,
            Proof.claimed_at.is_(None),
            Proof.cancelled_at.is_(None),
        )
    )
    for proof in pending:
        if proof.id > used.id or proof.details["change_id"] == used.details["change_id"]:
            proof.cancelled_at = now


def _by_key(account: Account, key: str) -> Address | None:
    return next((address for address in account.addresses if address.email_key == key), None)
