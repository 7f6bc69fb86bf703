"""How a registration ends: somebody decides, and the person chooses a user name and a password."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import update
from sqlalchemy.orm import Session

from external_accounts import audit, engagements, proofs
from external_accounts.accounts import Person, UsernameTaken
from external_accounts.addresses import EmailAddress, primary_address
from external_accounts.confirmation import confirm_by_proof
from external_accounts.identities import create_local_account
from external_accounts.keys import Keys
from external_accounts.registration_steps import (
    ACCEPTED,
    ALIVE,
    DONE,
    REFUSED,
    WAITING,
    Terms,
    accounts_of,
    end,
    hold_all,
    send_link,
    withdraw,
    write_mail,
)
from external_accounts.schema import Account, Proof, Registration
from external_accounts.usernames import read_local_username


class AlreadyDecided(Exception):
    """Somebody else decided before; `registration` says what and who."""

    def __init__(self, registration: Registration) -> None:
        super().__init__(registration.state)
        self.registration = registration


class RegistrationOver(Exception):
    """It can no longer lead to an account: withdrawn, or its rights would have ended already."""


class AddressHasAccount(Exception):
    """The address belongs to an account already. Told only to whoever proved the address, or to an operator."""

    def __init__(self, account: Account) -> None:
        super().__init__(account.username)
        self.account = account
        self.username = account.username


def decide(
    session: Session,
    keys: Keys,
    registration_id: int,
    *,
    accept: bool,
    reason: str,
    rights_end_at: datetime | None,
    terms: Terms,
    by: str,
    now: datetime,
    origin: audit.Origin,
) -> Registration:
    """Accept or refuse a request that waits; the person is told by mail.

    Raises:
        AlreadyDecided: of N at once exactly one decides; the others are told who did.
    """
    decided = session.scalar(
        update(Registration)
        .where(Registration.id == registration_id, Registration.state == WAITING)
        .values(
            state=ACCEPTED if accept else REFUSED,
            decided_at=now,
            decided_by=by,
            decision_reason=reason,
            rights_end_at=rights_end_at,
            expires_at=now + terms.link if accept else now,
        )
        .returning(Registration.id)
    )
    registration = session.get_one(Registration, registration_id, populate_existing=True)
    if decided is None:
        session.expunge(registration)
        raise AlreadyDecided(registration)
    if accept:
        send_link(session, keys, registration, terms, now=now)
    else:
        write_mail(session, registration, "register_refused", terms, now, context={"reason": reason})
    audit.record(
        session,
        "registration.decided",
        outcome=registration.state,
        now=now,
        origin=origin,
        registration_id=registration.id,
        by=by,
    )
    return registration


@dataclass(frozen=True, slots=True)
class Choice:
    """What the person chose in the last step."""

    person: Person
    username: str
    password_hash: str
    charter_version: str
    """The version they accepted now; empty: none was asked for, or it was accepted with the request."""
    language: str


def complete(
    session: Session,
    proof_id: int,
    choice: Choice,
    *,
    space: re.Pattern[str],
    reserved: Collection[str] = (),
    now: datetime,
    origin: audit.Origin,
) -> Account:
    """Use the link up and make the account, its address confirmed by this very proof (I4), in one transaction (I8).

    `reserved` are names that settings give rights to: nobody takes them for themselves.

    Raises:
        ProofExpired, ProofUsed, ProofCancelled: the link is over; exactly one of N parallel uses succeeds.
        RegistrationOver, AddressHasAccount, UsernameRefused, UsernameTaken: nothing has changed, the link stays good.
    """
    proof = session.get_one(Proof, proof_id)
    every = hold_all(session, proof.email_key)  # before the proof, as everywhere: no two wait for each other
    proof = proofs.claim_by_link(session, proof_id, now=now, origin=origin)
    registration = next(row for row in every if row.id == proof.registration_id)
    check_open(registration, now)
    if known := accounts_of(session, registration.email_key):
        raise AddressHasAccount(known[0])
    username = read_local_username(choice.username, space=space)
    if username in reserved:
        raise UsernameTaken(username)
    account = create_local_account(
        session,
        username=username,
        profile=registration.profile,
        person=choice.person,
        email=EmailAddress(registration.email, registration.email_key),
        password_hash=choice.password_hash,
        now=now,
        origin=origin,
    )
    account.language, account.rights_end_at = choice.language, registration.rights_end_at
    address = primary_address(account)
    assert address is not None  # noqa: S101 (just added)
    confirm_by_proof(session, address, proof, now=now, origin=origin)
    version = choice.charter_version or registration.charter_version
    if version:
        accepted_at = now if choice.charter_version else registration.charter_accepted_at
        engagements.accept(session, account.id, "charter", version, now=now, origin=origin, accepted_at=accepted_at)
    registration.account_id = account.id
    registration.given_name, registration.family_name = choice.person.given_name, choice.person.family_name
    end(registration, DONE, now)
    for other in every:
        if other.state in ALIVE:
            withdraw(session, other, now=now)
    audit.record(
        session,
        "registration.completed",
        outcome="ok",
        now=now,
        origin=origin,
        account_id=account.id,
        registration_id=registration.id,
        mode=registration.mode,
    )
    return account


def check_open(registration: Registration, now: datetime) -> None:
    """Whether the last step may still be taken.

    Raises:
        RegistrationOver: withdrawn, or the account's rights would be over.
    """
    ended = registration.rights_end_at is not None and registration.rights_end_at <= now
    if registration.state != ACCEPTED or ended:
        raise RegistrationOver
