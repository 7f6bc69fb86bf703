"""Lost identifiers: somebody says what they are and gives an address, and their private mailbox says the rest.

Asking looks nothing up (I3): it writes the same row for known and unknown, whose `handle` names the page that waits,
and background work looks later. The mails go to private mailboxes that are confirmed, or to the person who answers for
an account, and never to the address that was typed, unless it is one of those.

One search can find several accounts with several mailboxes, so each mailbox gets a proof of its own: whoever reads one
must not set the passwords of accounts that another one belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from external_accounts import proofs, recovery
from external_accounts.keys import Keys
from external_accounts.proof_keys import ProofKeys
from external_accounts.proofs import Subject, renew, request_proof
from external_accounts.schema import Account, Address, Proof

SEEK_IDENTIFIER = "seek identifier"
"""The row of a search. Its own keys are mailed to nobody."""
RECOVER_IDENTIFIER = "recover identifier"
"""What is mailed to one mailbox."""
MOST_ACCOUNTS = 20
"""Accounts that one search tells about: an address that more of them share is nobody's own."""
_BETWEEN = "/email:"


def sought_text(choice: str, typed: str) -> str:
    """What a person chose and typed, in the one form that is written down, counted and looked up."""
    return f"{choice}/{recovery.sought_text('email', typed)}"


def read_sought(sought: str) -> tuple[str, str]:
    """The choice and the address of `sought_text`."""
    choice, _, text = sought.partition(_BETWEEN)
    return choice, text


@dataclass(frozen=True, slots=True)
class Population:
    """Whom a choice means, and to where their mail goes."""

    profiles: Collection[str]
    by_sponsor: bool
    """Their mail goes to whoever answers for them, by whose address they are found too."""
    university_domains: Collection[str]
    """Addresses there are not private, whatever they are called."""
    password_of: Callable[[Session, Account], str]
    """Fingerprint of the password that can be set from here; empty: none can."""

    def mailboxes(self, session: Session, account: Account) -> tuple[Address, ...]:
        """Confirmed addresses: the account's own private ones, or one of the person who answers for it."""
        if self.by_sponsor:
            return _mailboxes_of_sponsor(session, account)
        return tuple(
            address
            for address in account.addresses
            if address.confirmed_at
            and address.role not in ("institutional", "forwarding")
            and address.email_key.rpartition("@")[2] not in self.university_domains
        )


def _mailboxes_of_sponsor(session: Session, account: Account) -> tuple[Address, ...]:
    sponsor = session.get(Account, account.sponsor_id) if account.sponsor_id else None
    if sponsor is None or sponsor.erased_at is not None or sponsor.suspended_at is not None:
        return ()
    confirmed = [address for address in sponsor.addresses if address.confirmed_at and address.role != "forwarding"]
    return tuple(sorted(confirmed, key=lambda address: (not address.is_primary, address.id))[:1])


@dataclass(frozen=True, slots=True)
class Found:
    """An account that a search may tell about."""

    account: Account
    password: str
    """As `Population.password_of`."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One mailbox, and the accounts it is told about."""

    address: Address
    found: tuple[Found, ...]


def look_up(session: Session, email_key: str, population: Population) -> list[Mailbox]:
    """The accounts of the population that have the address, by the mailboxes they are told to."""
    if "@" not in email_key:
        return []
    owners = select(Address.account_id).where(Address.email_key == email_key, Address.role != "forwarding")
    known = [Account.id.in_(owners), *([Account.sponsor_id.in_(owners)] if population.by_sponsor else [])]
    accounts = session.scalars(
        select(Account)
        .where(or_(*known), Account.profile.in_(population.profiles), Account.erased_at.is_(None))
        .order_by(Account.username)
        .limit(MOST_ACCOUNTS)
    )
    boxes: dict[str, tuple[Address, list[Found]]] = {}
    for account in accounts:
        one = Found(account, population.password_of(session, account))
        for address in population.mailboxes(session, account):
            boxes.setdefault(address.email_key, (address, []))[1].append(one)
    return [Mailbox(address, tuple(found)) for address, found in boxes.values()]


def proof_for(session: Session, keys: Keys, search: Proof, mailbox: Mailbox, *, now: datetime) -> Proof | None:
    """The proof to mail there, bound to the accounts as they are now; None when no password can be set.

    The caller holds `search`. If the accounts changed since it was mailed before, that mail is dead.
    """
    state = _state(mailbox.found)
    if not state:
        return None
    proof, _ = request_proof(
        session,
        keys,
        Subject(sought=search.sought, email_key=mailbox.address.email_key),
        purpose=RECOVER_IDENTIFIER,
        lifetime=recovery.LIFETIME,
        service=search.service,
        locale=search.locale,
        now=now,
    )
    if proof.details.get("accounts", state) != state:
        renew(keys, proof, now=now)
    proof.details = {"accounts": state}
    return proof


def _state(found: Sequence[Found]) -> dict[str, str]:
    return {str(one.account.id): one.password for one in found if one.password}


def change_code_for_link(session: Session, keys: Keys, search: Proof, typed: str, *, now: datetime) -> ProofKeys:
    """The link of the mail whose code was typed on the page of `search`, after `proofs.reserve_code_attempt` on it.

    Raises:
        CodeWrong: it is none of them. CodeSpent and others: as `proofs.change_code_for_link`.
    """
    mailed = session.scalars(
        select(Proof).where(
            Proof.sought == search.sought,
            Proof.sought != "",
            Proof.purpose == RECOVER_IDENTIFIER,
            Proof.claimed_at.is_(None),
            Proof.cancelled_at.is_(None),
            Proof.expires_at > now,
        )
    ).all()
    for proof in mailed:
        try:
            return proofs.change_code_for_link(session, keys, proof, typed, now=now)
        except proofs.CodeWrong:
            continue
    raise proofs.CodeWrong(search, attempts_left=proofs.CODE_ATTEMPTS - search.code_attempts)


def offered(session: Session, proof: Proof, population: Population) -> list[Account]:
    """The accounts whose password this proof may still set: it is the one of then, and so is the mailbox (I10)."""
    found = []
    for account_id, password in proof.details.get("accounts", {}).items():
        account = session.get(Account, int(account_id))
        if account is None or account.erased_at is not None or population.password_of(session, account) != password:
            continue
        if any(address.email_key == proof.email_key for address in population.mailboxes(session, account)):
            found.append(account)
    return sorted(found, key=lambda account: account.username)
