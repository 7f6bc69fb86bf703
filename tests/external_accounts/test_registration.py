"""Registrations met by many at once, on every database: one decision, one account, no proof used twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from external_accounts import audit, registration
from external_accounts.accounts import Person, UsernameTaken
from external_accounts.addresses import parse_address
from external_accounts.database import Database
from external_accounts.invitations import AlreadyUnderWay, Invitation, invite
from external_accounts.keys import Keys
from external_accounts.proofs import ProofCancelled, ProofUsed, claim_by_link
from external_accounts.registration import Wish
from external_accounts.registration_outcome import (
    AddressHasAccount,
    AlreadyDecided,
    Choice,
    RegistrationOver,
    complete,
    decide,
)
from external_accounts.registration_steps import ACCEPTED, DONE, WAITING, WITHDRAWN, Terms
from external_accounts.registration_upkeep import purge, refuse_undecided
from external_accounts.schema import Account, Address, AuditEvent, Engagement, OutboxMail, Proof, Registration
from tests.external_accounts.conftest import NOW

SPACE = re.compile(r"ext\.[a-z0-9._-]{1,90}")
TERMS = Terms(
    mail_domain="bridge.example",
    waiting=timedelta(days=30),
    link=timedelta(days=14),
    sponsor_profiles=("staff",),
    deciders=("desk@univ.example",),
    member_domains={"univ.example": "sel"},
)
ORIGIN = audit.Origin(network="192.0.2.1")
MANY = 64


def a_wish(email: str = "ada@mail.example", sponsor: str = "") -> Wish:
    return Wish(
        email=parse_address(email),
        person=Person("Ada", "Lovelace"),
        profile="learner",
        language="fr",
        service=None,
        charter_version="2026-09",
        reason="",
        sponsor=parse_address(sponsor) if sponsor else None,
    )


def a_choice(username: str = "ext.ada") -> Choice:
    return Choice(Person("Ada", "Lovelace"), username, "$argon2id$none", "", "fr")


def asked(database: Database, keys: Keys, email: str = "ada@mail.example", now: datetime = NOW) -> int:
    """Somebody asks: the number of the proof."""
    with database.begin() as session:
        return registration.ask(session, keys, a_wish(email), mail=True, now=now, origin=ORIGIN).id


def proved(database: Database, keys: Keys, proof_id: int, now: datetime = NOW) -> int:
    """They read their mail: the number of the registration."""
    with database.begin() as session:
        proof = session.get_one(Proof, proof_id)
        claim = partial(claim_by_link, session, proof_id, now=now, origin=ORIGIN)
        return registration.prove(session, keys, proof, claim, TERMS, now=now, origin=ORIGIN).id


def decided(database: Database, keys: Keys, number: int, *, accept: bool = True, by: str = "agent") -> None:
    with database.begin() as session:
        decide(
            session,
            keys,
            number,
            accept=accept,
            reason="",
            rights_end_at=None,
            terms=TERMS,
            by=by,
            now=NOW,
            origin=audit.Origin(actor=by),
        )


def last_proof(database: Database, number: int) -> int:
    with database.read() as session:
        found = session.scalar(select(func.max(Proof.id)).where(Proof.registration_id == number))
        assert found is not None
        return found


def invited(database: Database, keys: Keys, email: str = "ada@mail.example") -> int:
    """The number of the proof of an invitation."""
    with database.begin() as session:
        row = invite(
            session,
            keys,
            Invitation(parse_address(email), Person("Ada", "L"), "learner", "fr", None, None),
            TERMS,
            by="agent",
            now=NOW,
            origin=ORIGIN,
        )
        number = row.id
    return last_proof(database, number)


def at_once(act: Callable[[int], str], many: int = MANY) -> Counter[str]:
    with ThreadPoolExecutor(16) as pool:
        return Counter(pool.map(act, range(many)))


def count(database: Database, kind: type) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(kind)) or 0


def test_of_64_decisions_at_once_one_counts_and_the_others_are_told(database: Database, keys: Keys) -> None:
    number = proved(database, keys, asked(database, keys))
    mails = count(database, OutboxMail)

    def act(which: int) -> str:
        try:
            decided(database, keys, number, accept=bool(which % 2), by=f"agent{which}")
        except AlreadyDecided as error:
            return f"told of {error.registration.decided_by}"
        return "decided"

    outcomes = at_once(act)
    assert outcomes["decided"] == 1
    with database.read() as session:
        row = session.get_one(Registration, number)
        assert outcomes == {"decided": 1, f"told of {row.decided_by}": MANY - 1}
        actors = session.scalars(select(AuditEvent.actor).where(AuditEvent.event == "registration.decided")).all()
        assert actors == [row.decided_by]
    assert count(database, OutboxMail) == mails + 1


def test_i2_of_64_uses_of_the_last_link_one_makes_an_account(database: Database, keys: Keys) -> None:
    proof_id = invited(database, keys)

    def act(which: int) -> str:
        try:
            with database.begin() as session:
                complete(session, proof_id, a_choice(f"ext.ada{which}"), space=SPACE, now=NOW, origin=ORIGIN)
        except ProofUsed:
            return "used"
        return "made"

    assert at_once(act) == {"made": 1, "used": MANY - 1}
    assert (count(database, Account), count(database, Address)) == (1, 1)


def test_two_registrations_for_one_address_finished_at_once_make_one_account(database: Database, keys: Keys) -> None:
    """Invited and asked for at the same time, by several desks: each has a link of its own."""
    links = []
    for number in range(MANY):
        with database.begin() as session:
            row = Registration(
                mode="invited",
                state=ACCEPTED,
                email="ada@mail.example",
                email_key="ada@mail.example",
                profile="learner",
                language="fr",
                created_at=NOW,
                created_by=f"agent{number}",
                expires_at=NOW + TERMS.link,
                decided_by="",
                decision_reason="",
            )
            session.add(row)
            session.flush()
            links.append(registration.send_link(session, keys, row, TERMS, now=NOW).id)

    def act(which: int) -> str:
        try:
            with database.begin() as session:
                complete(session, links[which], a_choice(f"ext.ada{which}"), space=SPACE, now=NOW, origin=ORIGIN)
        except (AddressHasAccount, RegistrationOver, ProofCancelled) as error:
            return type(error).__name__
        return "made"

    outcomes = at_once(act)
    assert outcomes["made"] == 1
    assert count(database, Account) == 1
    with database.read() as session:
        states = Counter(session.scalars(select(Registration.state)))
    assert states == {DONE: 1, WITHDRAWN: MANY - 1}


def test_64_proofs_for_one_address_at_once_leave_one_request_waiting(database: Database, keys: Keys) -> None:
    asked_for = [asked(database, keys) for _ in range(MANY)]
    at_once(lambda which: str(proved(database, keys, asked_for[which])))
    with database.read() as session:
        assert Counter(session.scalars(select(Registration.state))) == {WAITING: 1, WITHDRAWN: MANY - 1}
        mails = session.scalars(select(OutboxMail.template).where(OutboxMail.template == "register_decide")).all()
    assert len(mails) == 1


def test_one_name_chosen_by_many_at_once_is_given_once(database: Database, keys: Keys) -> None:
    links = [invited(database, keys, f"ada{which}@mail.example") for which in range(16)]

    def act(which: int) -> str:
        try:
            with database.begin() as session:
                complete(session, links[which], a_choice(), space=SPACE, now=NOW, origin=ORIGIN)
        except (UsernameTaken, IntegrityError):
            return "taken"
        return "made"

    assert at_once(act, 16) == {"made": 1, "taken": 15}
    # Whoever did not get it has lost nothing: the link is still good.
    with database.read() as session:
        unused = session.scalars(select(Proof.id).where(Proof.claimed_at.is_(None))).all()
    assert len(unused) == 15


def test_i8_an_account_comes_whole_with_address_charter_and_audit(database: Database, keys: Keys) -> None:
    number = proved(database, keys, asked(database, keys))
    decided(database, keys, number)
    later = NOW + timedelta(days=1)
    with database.begin() as session:
        complete(session, last_proof(database, number), a_choice(), space=SPACE, now=later, origin=ORIGIN)
    with database.read() as session:
        account = session.scalars(select(Account)).one()
        assert [address.confirmed_at for address in account.addresses] == [later]
        engagement = session.scalars(select(Engagement)).one()
        assert (engagement.version, engagement.accepted_at) == ("2026-09", NOW)
        events = session.scalars(select(AuditEvent.event).order_by(AuditEvent.id)).all()
    assert events == [
        "registration.asked",
        "registration.proved",
        "registration.decided",
        "account.created",
        "address.confirmed",
        "engagement.accepted",
        "registration.completed",
    ]


def test_a_name_that_was_somebodys_is_never_given_again(embedded: Database, keys: Keys) -> None:
    link = invited(embedded, keys)
    with embedded.begin() as session:
        complete(session, link, a_choice(), space=SPACE, now=NOW, origin=ORIGIN)
        session.scalars(select(Account)).one().erased_at = NOW
    again = invited(embedded, keys)
    with pytest.raises(UsernameTaken), embedded.begin() as session:
        complete(session, again, a_choice(), space=SPACE, now=NOW, origin=ORIGIN)


def test_inviting_twice_changes_nothing(embedded: Database, keys: Keys) -> None:
    invited(embedded, keys)
    with pytest.raises(AlreadyUnderWay):
        invited(embedded, keys, "ADA@mail.example")
    assert (count(embedded, Registration), count(embedded, OutboxMail)) == (1, 1)


@pytest.mark.parametrize(("moment", "left"), [(timedelta(hours=24, seconds=-1), 1), (timedelta(hours=24), 0)])
def test_lnk_10_unfinished_requests_are_gone_after_24_hours(
    database: Database, keys: Keys, moment: timedelta, left: int
) -> None:
    asked(database, keys)
    with database.begin() as session:
        registration.answer_due(session, TERMS, limit=10, now=NOW)
        session.scalars(select(OutboxMail)).one().state = "sent"
    with database.begin() as session:
        purge(session, keep=timedelta(days=30), now=NOW + moment)
    assert (count(database, Registration), count(database, Proof)) == (left, left)


def test_a_request_whose_mail_is_still_being_sent_waits_for_it(embedded: Database, keys: Keys) -> None:
    asked(embedded, keys)
    with embedded.begin() as session:
        registration.answer_due(session, TERMS, limit=10, now=NOW)
    with embedded.begin() as session:
        assert purge(session, keep=timedelta(days=30), now=NOW + timedelta(days=2)) == 0


def test_names_of_refused_people_do_not_stay(database: Database, keys: Keys) -> None:
    number = proved(database, keys, asked(database, keys))
    decided(database, keys, number, accept=False)
    with database.begin() as session:
        for mail in session.scalars(select(OutboxMail)):
            mail.state = "sent"
    with database.begin() as session:
        assert purge(session, keep=timedelta(days=30), now=NOW + timedelta(days=30, seconds=-1)) == 0
        assert purge(session, keep=timedelta(days=30), now=NOW + timedelta(days=30)) == 1
    assert count(database, Proof) == 0


def test_a_request_nobody_decides_is_refused_and_the_person_told(database: Database, keys: Keys) -> None:
    number = proved(database, keys, asked(database, keys))
    due = NOW + TERMS.waiting
    with database.begin() as session:
        assert refuse_undecided(session, keys, TERMS, now=due - timedelta(seconds=1)) == 0
        assert refuse_undecided(session, keys, TERMS, now=due) == 1
    with database.read() as session:
        row = session.get_one(Registration, number)
        assert (row.state, row.decided_by) == ("refused", "system")
        newest = session.scalars(select(OutboxMail).order_by(OutboxMail.id.desc())).first()
        assert newest is not None
        assert (newest.template, newest.recipient) == ("register_refused", "ada@mail.example")


def test_pre_hijacking_a_mere_mention_of_an_address_keeps_its_owner_from_nothing(
    database: Database, keys: Keys
) -> None:
    """LNK-05: a CAS account mentions the address, unconfirmed; its owner registers all the same."""
    with database.begin() as session:
        account = Account(username="mallory", profile="student", created_at=NOW, version=1)
        account.addresses.append(
            Address(
                email="ada@mail.example",
                email_key="ada@mail.example",
                role="institutional",
                is_primary=True,
                created_at=NOW,
                confirmed_by="",
            )
        )
        session.add(account)
    link = invited(database, keys)
    with database.begin() as session:
        complete(session, link, a_choice(), space=SPACE, now=NOW, origin=ORIGIN)
    assert count(database, Account) == 2
