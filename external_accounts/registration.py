"""Registration: from somebody who asks for an account, or is invited to one, to the account.

    asked:    unproved → (the address is proved) → waiting → (somebody decides) → accepted → done, or refused
    invited:                                                                      accepted → done, or withdrawn

Asking looks nothing up (I3): it writes the same rows for everybody, and the background work finds out whether the
address has an account (`answer_due`). No account exists before its address is proved and somebody has agreed (TOK-18,
LNK-10). One address leads to one account however many registrations there are for it: whoever finishes one holds all
of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import audit, outbox, proofs
from external_accounts.accounts import Person
from external_accounts.addresses import EmailAddress
from external_accounts.database import note_waiting
from external_accounts.keys import Keys
from external_accounts.proofs import Subject
from external_accounts.registration_steps import (
    ACCEPTED,
    ASKED,
    DONE,
    PROVE_ADDRESS,
    PROVE_WITHIN,
    UNPROVED,
    WAITING,
    WITHDRAWN,
    Terms,
    accounts_of,
    door_of,
    end,
    find_sponsor,
    hold_all,
    send_link,
    write_mail,
)
from external_accounts.schema import Proof, Registration


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks for on the form."""

    email: EmailAddress
    person: Person
    profile: str
    language: str
    service: str | None
    charter_version: str
    reason: str
    sponsor: EmailAddress | None


def ask(session: Session, keys: Keys, wish: Wish, *, mail: bool, now: datetime, origin: audit.Origin) -> Proof:
    """Write the wish down; the same for every address. With `mail`, the background work answers it by mail."""
    registration = Registration(
        mode=ASKED,
        state=UNPROVED,
        email=wish.email.email,
        email_key=wish.email.key,
        given_name=wish.person.given_name,
        family_name=wish.person.family_name,
        profile=wish.profile,
        language=wish.language,
        service=wish.service,
        charter_version=wish.charter_version,
        charter_accepted_at=now if wish.charter_version else None,
        reason=wish.reason,
        created_at=now,
        created_by="",
        expires_at=now + PROVE_WITHIN,
        decided_by="",
        decision_reason="",
    )
    session.add(registration)
    session.flush()
    proof, _due = _prove(session, keys, registration, now)
    proof.details = {"sponsor": wish.sponsor.email if wish.sponsor else ""}
    if mail:
        _answer_by_mail(session, registration, now)
    audit.record(session, "registration.asked", outcome="ok", now=now, origin=origin, registration_id=registration.id)
    return proof


def ask_again(session: Session, keys: Keys, proof: Proof, *, mail: bool, now: datetime) -> Proof:
    """The same proof once more while it lives, a new one when it is over; and the answer by mail again."""
    registration = session.get_one(Registration, proof.registration_id, with_for_update=True)
    again, due = _prove(session, keys, registration, now)
    again.details = proof.details
    if mail and due:
        _answer_by_mail(session, registration, now)
    return again


def _prove(session: Session, keys: Keys, registration: Registration, now: datetime) -> tuple[Proof, bool]:
    proof, due = proofs.request_proof(
        session,
        keys,
        Subject(registration_id=registration.id, email_key=registration.email_key),
        purpose=PROVE_ADDRESS,
        lifetime=PROVE_WITHIN,
        service=registration.service,
        locale=registration.language,
        now=now,
    )
    registration.expires_at = proof.expires_at
    return proof, due


def _answer_by_mail(session: Session, registration: Registration, now: datetime) -> None:
    registration.mail_due_at = now
    note_waiting(session, Registration)


def answer_due(session: Session, terms: Terms, *, limit: int, now: datetime) -> int:
    """Write the mails that requests wait for: this is where an address is looked up. Returns how many were answered.

    Who has an account is told so, by mail alone; a member is shown to the university's door.
    """
    due = session.scalars(
        select(Registration)
        .where(Registration.mail_due_at <= now)
        .order_by(Registration.mail_due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    for registration in due:
        registration.mail_due_at = None
        if registration.state == UNPROVED:
            _answer(session, registration, terms, now)
    return len(due)


def _answer(session: Session, registration: Registration, terms: Terms, now: datetime) -> None:
    known = accounts_of(session, registration.email_key)
    issuer = terms.member_issuer(registration.email_key)
    if known:
        doors = [{"username": account.username, "issuer": door_of(account)} for account in known]
        stored = next(address for address in known[0].addresses if address.email_key == registration.email_key)
        registration.email = stored.email  # never to what was typed, where there is more (D34)
        write_mail(session, registration, "register_known", terms, now, context={"accounts": doors})
    elif issuer is not None:
        write_mail(session, registration, "register_member", terms, now, context={"issuer": issuer})
    else:
        proof = session.scalar(
            select(Proof)
            .where(Proof.registration_id == registration.id, Proof.purpose == PROVE_ADDRESS)
            .order_by(Proof.id.desc())
            .limit(1)
        )
        write_mail(session, registration, "register_confirm", terms, now, proof=proof)


def prove(
    session: Session,
    keys: Keys,
    proof: Proof,
    claim: Callable[[], object],
    terms: Terms,
    *,
    now: datetime,
    origin: audit.Origin,
) -> Registration:
    """Claim the `proof` of a request, by `claim`, and do what it says: the request waits for a decision now.

    A second request for an address whose first one is under way is withdrawn; the first one counts.
    """
    every = hold_all(session, proof.email_key)  # before the proof, as everywhere: no two wait for each other
    claim()
    registration = next(row for row in every if row.id == proof.registration_id)
    if registration.state != UNPROVED:
        return registration
    registration.proved_at, registration.proof_id = now, proof.id
    known = accounts_of(session, registration.email_key)
    under_way = [row for row in every if row.state in (WAITING, ACCEPTED) and row.expires_at > now]
    if known:
        registration.account_id = known[0].id
        end(registration, DONE, now)
    elif under_way:
        end(registration, WITHDRAWN, now)
        if under_way[0].state == ACCEPTED:
            send_link(session, keys, under_way[0], terms, now=now)
    else:
        registration.state, registration.expires_at = WAITING, now + terms.waiting
        _tell_deciders(session, registration, proof, terms, now)
    audit.record(
        session,
        "registration.proved",
        outcome=registration.state,
        now=now,
        origin=origin,
        registration_id=registration.id,
        proof_id=proof.id,
    )
    return registration


def the_one_that_counts(session: Session, registration: Registration) -> Registration:
    """The registration itself, or the one that a second request for the same address gave way to."""
    if registration.state != WITHDRAWN or registration.proved_at is None:
        return registration
    other = session.scalar(
        select(Registration)
        .where(Registration.email_key == registration.email_key, Registration.state.in_((WAITING, ACCEPTED, DONE)))
        .order_by(Registration.id)
        .limit(1)
    )
    return other or registration


def _tell_deciders(session: Session, registration: Registration, proof: Proof, terms: Terms, now: datetime) -> None:
    """Tell the sponsor they named, if that is somebody who may sponsor; else those whom settings name."""
    sponsor, address = find_sponsor(session, str(proof.details.get("sponsor", "")), terms)
    registration.sponsor_id = sponsor.id if sponsor else None
    recipients = [address.email] if address else list(terms.deciders)
    for recipient in recipients:
        outbox.enqueue(
            session,
            "register_decide",
            recipient,
            locale=(sponsor.language if sponsor else "") or terms.decider_locale,
            now=now,
            mail_domain=terms.mail_domain,
            context={
                "registration_id": registration.id,
                "applicant": Person(registration.given_name, registration.family_name).display_name,
                "reason": registration.reason,
                "is_sponsor": sponsor is not None,
            },
        )
