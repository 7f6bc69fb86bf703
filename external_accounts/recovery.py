"""Forgotten user names and passwords.

Asking looks nothing up (I3): it writes down what was typed, the same row for known and unknown, and background work
looks later. The row's `handle` names the page that waits; it lasts as long as that page, whatever becomes of the proof,
because a page that changed when the account's owner uses the link would tell a stranger that there is an owner.

What the link is good for is bound to the state it was mailed in: an account whose password was set since, or one of
whose mailboxes is no longer the one the mail went to, is not offered any more (I10).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from external_accounts import audit, proofs
from external_accounts.accounts import account_by_username, lock_account
from external_accounts.database import note_waiting
from external_accounts.identities import IDENTIFIER_PATTERN, canonical_identifier
from external_accounts.institution_schema import DirectoryPassword
from external_accounts.keys import Keys
from external_accounts.proofs import RESEND_PAUSE, ProofCancelled, ProofUsed, Subject, renew, request_proof, state_of
from external_accounts.schema import Account, AccountId, Address, LocalPassword, Proof

RESET_PASSWORD = "reset password"  # noqa: S105 (the name of a purpose)
LIFETIME = timedelta(minutes=30)
"""TOK-06."""


HeldIn = Callable[[Account], str]
"""The directory that holds an account's password, by name; empty: none that the bridge reaches."""


def sought_text(kind: Literal["username", "email"], typed: str) -> str:
    """What a person typed, in the one form that is written down, counted and looked up."""
    text = canonical_identifier(typed)
    if not IDENTIFIER_PATTERN.fullmatch(text):
        # Nobody's. It takes the same way as every other; a database need not be able to hold it.
        text = f"#{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return f"{kind}:{text}"


def ask(
    session: Session,
    keys: Keys,
    sought: str,
    *,
    may_mail: bool,
    service: str | None,
    locale: str,
    now: datetime,
    purpose: str = RESET_PASSWORD,
) -> Proof:
    """Write down that somebody seeks an account. The caller has taken the budgets; `may_mail` says that one is left.

    `purpose` says what for, and so who looks it up.
    """
    this_search = (Proof.purpose == purpose, Proof.sought == sought, Proof.sought != "")
    known = session.scalar(
        select(Proof)
        .where(*this_search, Proof.sent_at > now - LIFETIME)
        .order_by(Proof.id.desc())
        .limit(1)
        .with_for_update()
    )
    if known is not None and state_of(known, now) != "pending":
        proof, due = known, now - known.sent_at >= RESEND_PAUSE
        proof.service = service or proof.service
        if due:
            renew(keys, proof, now=now)
            proof.sent_at = now
    else:
        # A link that outlives its page (the mail was taken late) must not give the next page the same name.
        over = update(Proof).where(*this_search, Proof.sent_at <= now - LIFETIME, Proof.claimed_at.is_(None))
        session.execute(over.where(Proof.cancelled_at.is_(None)).values(cancelled_at=now))
        proof, due = request_proof(
            session,
            keys,
            Subject(sought=sought),
            purpose=purpose,
            lifetime=LIFETIME,
            service=service,
            locale=locale,
            now=now,
        )
    if due and may_mail:
        proof.search_due_at = now
        note_waiting(session, Proof)
    return proof


def page_is_over(proof: Proof, now: datetime) -> bool:
    """Whether the waiting page of a search is too old. Counted from the request alone: see the module's text."""
    return now >= proof.sent_at + LIFETIME


def next_search(session: Session, now: datetime) -> Proof | None:
    """A search nobody has looked up yet, held until the transaction ends."""
    return session.scalar(
        select(Proof)
        .where(Proof.search_due_at <= now)
        .order_by(Proof.search_due_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )


@dataclass(frozen=True, slots=True)
class Found:
    """An account that a search may tell about, and to which mailboxes."""

    account: Account
    mailboxes: tuple[Address, ...]
    password: str
    """Which password it has, by a fingerprint; empty when it cannot be set from here."""


def look_up(session: Session, sought: str, held_in: HeldIn) -> list[Found]:
    """The accounts that a search means and that can be written to."""
    kind, _, text = sought.partition(":")
    account = account_by_username(session, text) if kind == "username" else None
    if account is not None:
        found = [_found(session, account, mailboxes(account), held_in)]
    elif "@" in text:  # a user name may hold one; and whoever types an address into that field means the address
        accounts = session.scalars(
            select(Account)
            .where(Account.id.in_(select(Address.account_id).where(Address.email_key == text)))
            .where(Account.erased_at.is_(None))
            .order_by(Account.username)
        )
        found = [
            _found(session, account, tuple(box for box in mailboxes(account) if box.email_key == text), held_in)
            for account in accounts
        ]
    else:
        found = []
    return [one for one in found if one.mailboxes]


def _found(session: Session, account: Account, boxes: tuple[Address, ...], held_in: HeldIn) -> Found:
    return Found(account, boxes, password_of(session, account, held_in))


def password_of(session: Session, account: Account, held_in: HeldIn) -> str:
    """A fingerprint of the password that could be set from here: another one as soon as one was set."""
    kept_here = session.get(LocalPassword, account.id)
    if kept_here is not None:
        return _fingerprint(kept_here.hash)
    directory = held_in(account)
    if not directory or account.activated_at is None:  # nothing is usable before the activation, whose last step it is
        return ""
    held = session.get(DirectoryPassword, account.id)
    return _fingerprint(f"{directory} {held.set_at.isoformat() if held is not None and held.set_at else ''}")


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def mailboxes(account: Account) -> tuple[Address, ...]:
    """Where mail about an account's credentials goes (D34): every confirmed address; only where there is none, the
    primary one as it was written down. Never to where an account is forwarded."""
    confirmed = tuple(address for address in account.addresses if address.confirmed_at and address.role != "forwarding")
    return confirmed or tuple(address for address in account.addresses if address.is_primary)


def remember(keys: Keys, proof: Proof, found: Sequence[Found], now: datetime) -> None:
    """Bind the proof to the accounts as they are now. If they changed since it was mailed before, that mail is dead."""
    state = {
        str(one.account.id): {
            "password": one.password,
            "mailboxes": sorted(address.email_key for address in one.mailboxes),
        }
        for one in found
        if one.password
    }
    before = proof.details.get("accounts")
    if before is not None and before != state:
        renew(keys, proof, now=now)
    proof.details = {"accounts": state}


def offered(session: Session, proof: Proof, held_in: HeldIn) -> list[Account]:
    """The accounts whose password this proof may still set."""
    found = []
    for account_id, mailed in proof.details.get("accounts", {}).items():
        account = session.get(Account, int(account_id))
        if account is None or account.erased_at is not None:
            continue
        boxes = {address.email_key for address in mailboxes(account)}
        if password_of(session, account, held_in) == mailed["password"] and boxes.issuperset(mailed["mailboxes"]):
            found.append(account)
    return sorted(found, key=lambda account: account.username)


def claim_for(
    session: Session,
    looked_at: Proof,
    account_id: AccountId,
    still_offered: Callable[[Session, Proof], Sequence[Account]],
    *,
    now: datetime,
    origin: audit.Origin,
) -> Account:
    """Use the proof up for one of the accounts it offers, which is held until the transaction ends.

    Raises:
        ProofExpired, ProofUsed, ProofCancelled: as `proofs.claim_by_link`; also when the account changed since.
    """
    link_hash = looked_at.link_hash
    proof = proofs.claim_by_link(session, looked_at.id, now=now, origin=origin)
    account = lock_account(session, account_id)
    session.expire_all()
    stands = account in still_offered(session, proof)
    same_link = proof.link_hash == link_hash
    if not stands or not same_link:
        session.expunge(proof)
        raise ProofCancelled(proof) if same_link else ProofUsed(proof)
    return account
