"""Invitations: somebody who answers for a person has an account prepared for them; the person makes it by a link."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.accounts import Person
from external_accounts.addresses import EmailAddress
from external_accounts.keys import Keys
from external_accounts.registration_outcome import AddressHasAccount
from external_accounts.registration_steps import (
    ACCEPTED,
    INVITED,
    WAITING,
    Terms,
    accounts_of,
    send_link,
    withdraw,
)
from external_accounts.schema import AccountId, Registration


class AlreadyUnderWay(Exception):
    """The address is invited, or its request waits for a decision. Inviting twice changes nothing."""

    def __init__(self, registration: Registration) -> None:
        super().__init__(registration.state)
        self.registration = registration


class AddressOfMember(Exception):
    """The university's CAS vouches for the address: its owner has an account there."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """Whom to invite, and on what terms."""

    email: EmailAddress
    person: Person
    profile: str
    language: str
    rights_end_at: datetime | None
    sponsor_id: AccountId | None
    service: str | None = None


def check(session: Session, invitation: Invitation, terms: Terms, *, now: datetime) -> None:
    """Whether the person can be invited.

    Raises:
        AddressHasAccount, AlreadyUnderWay, AddressOfMember: said to an operator, never to a stranger.
    """
    if known := accounts_of(session, invitation.email.key):
        raise AddressHasAccount(known[0])
    if terms.member_issuer(invitation.email.key) is not None:
        raise AddressOfMember(invitation.email.email)
    under_way = session.scalar(
        select(Registration)
        .where(
            Registration.email_key == invitation.email.key,
            Registration.state.in_((WAITING, ACCEPTED)),
            Registration.expires_at > now,
        )
        .limit(1)
    )
    if under_way is not None:
        raise AlreadyUnderWay(under_way)


def invite(
    session: Session, keys: Keys, invitation: Invitation, terms: Terms, *, by: str, now: datetime, origin: audit.Origin
) -> Registration:
    """Write the invitation and its mail.

    Raises:
        AddressHasAccount, AlreadyUnderWay, AddressOfMember: see `check`; nothing was written.
    """
    check(session, invitation, terms, now=now)
    registration = Registration(
        mode=INVITED,
        state=ACCEPTED,
        email=invitation.email.email,
        email_key=invitation.email.key,
        given_name=invitation.person.given_name,
        family_name=invitation.person.family_name,
        profile=invitation.profile,
        language=invitation.language,
        service=invitation.service,
        charter_version="",
        reason="",
        sponsor_id=invitation.sponsor_id,
        rights_end_at=invitation.rights_end_at,
        created_at=now,
        created_by=by,
        expires_at=now + terms.link,
        decided_at=now,
        decided_by=by,
        decision_reason="",
    )
    session.add(registration)
    session.flush()
    send_link(session, keys, registration, terms, now=now)
    _record(session, registration, "sent", now=now, origin=origin)
    return registration


def open_invitation(session: Session, registration_id: int) -> Registration | None:
    """The invitation of this number, held, if it may still be used, sent again or withdrawn."""
    registration = session.get(Registration, registration_id, with_for_update=True, populate_existing=True)
    found = registration is not None and registration.mode == INVITED and registration.state == ACCEPTED
    return registration if found else None


def invitation_to(session: Session, email: EmailAddress) -> Registration | None:
    """The open invitation that was sent to this address last."""
    newest = session.scalar(
        select(Registration.id)
        .where(Registration.email_key == email.key, Registration.mode == INVITED, Registration.state == ACCEPTED)
        .order_by(Registration.id.desc())
        .limit(1)
    )
    return open_invitation(session, newest) if newest is not None else None


def send_again(
    session: Session, keys: Keys, registration: Registration, terms: Terms, *, now: datetime, origin: audit.Origin
) -> None:
    """The same link again, or a new one when it is over."""
    send_link(session, keys, registration, terms, now=now)
    _record(session, registration, "sent again", now=now, origin=origin)


def take_back(session: Session, registration: Registration, *, now: datetime, origin: audit.Origin) -> None:
    """Withdraw the invitation: its link opens nothing any more."""
    withdraw(session, registration, now=now)
    _record(session, registration, "withdrawn", now=now, origin=origin)


def _record(session: Session, registration: Registration, outcome: str, *, now: datetime, origin: audit.Origin) -> None:
    audit.record(session, "invitation", outcome=outcome, now=now, origin=origin, registration_id=registration.id)
