"""Asking for an extension and deciding on it, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta

import pytest
from sqlalchemy import func, select

from external_accounts import extensions
from external_accounts.accounts import suspend
from external_accounts.database import Database
from external_accounts.extensions import (
    DECIDE_EXTENSION,
    AlreadyDecided,
    AlreadyWaiting,
    DayRefused,
    NothingToExtend,
    days_open,
)
from external_accounts.institution_schema import Extension, Handover
from external_accounts.lifecycle_steps import take_due
from external_accounts.local_calendar import end_of_day
from external_accounts.proofs import ProofCancelled, ProofUnusable, ProofUsed
from external_accounts.schema import Account, AuditEvent, OutboxMail, Proof
from tests.external_accounts.people_with_ends import END, ORIGIN, PARIS, TERMS, add, noon

NOW = noon(2027, 6, 1)
LONGER = date(2027, 9, 30)


def two_people(database: Database) -> tuple[int, int]:
    """A vacataire and the teacher who answers for them."""
    with database.begin() as session:
        sponsor = add(session, "tmartin", end=None, profile="staff")
        return add(session, sponsor_id=sponsor.id).id, sponsor.id


def ask(database: Database, account_id: int, until: date = LONGER, now: datetime = NOW) -> int:
    with database.begin() as session:
        return extensions.ask(
            session, account_id, until=until, reason="L2 physics", terms=TERMS, now=now, origin=ORIGIN
        ).id


def decide(
    database: Database, extension_id: int, *, accept: bool = True, until: date | None = None, now: datetime = NOW
) -> Extension:
    with database.begin() as session:
        return extensions.decide(
            session,
            extension_id,
            accept=accept,
            until=until,
            reason="" if accept else "no course",
            terms=TERMS,
            by="hbernard",
            now=now,
            origin=ORIGIN,
        )


def by_link(database: Database, proof: Proof, *, accept: bool = True, now: datetime = NOW) -> Extension:
    with database.begin() as session:
        return extensions.decide_by_link(
            session,
            session.get_one(Proof, proof.id),
            accept=accept,
            until=None,
            reason="",
            terms=TERMS,
            now=now,
            origin=ORIGIN,
        )


def link(database: Database) -> Proof:
    with database.read() as session:
        found = session.scalars(select(Proof).where(Proof.purpose == DECIDE_EXTENSION).order_by(Proof.id.desc()))
        proof = found.first()
        assert proof is not None
        return proof


def end_of(database: Database, account_id: int) -> datetime | None:
    with database.read() as session:
        return session.get_one(Account, account_id).rights_end_at


def state(database: Database, extension_id: int) -> str:
    with database.read() as session:
        return session.get_one(Extension, extension_id).state


def mails(database: Database) -> list[tuple[str, str]]:
    with database.read() as session:
        rows = session.execute(select(OutboxMail.template, OutboxMail.recipient).order_by(OutboxMail.id)).all()
        return [(row.template, row.recipient) for row in rows]


def test_whoever_answers_for_the_account_is_asked_and_grants_by_the_link(database: Database) -> None:
    account_id, _sponsor = two_people(database)
    number = ask(database, account_id)
    assert mails(database) == [("extension_decide", "tmartin@univ.example")]
    by_link(database, link(database))
    assert end_of(database, account_id) == end_of_day(LONGER, PARIS)
    assert mails(database)[1:] == [
        ("extension_accepted", "vnguyen@univ.example"),
        ("extension_accepted", "vnguyen@mail.example"),
    ]
    with database.read() as session:
        extension = session.get_one(Extension, number)
        assert (extension.state, extension.decided_by) == ("accepted", "tmartin")
        events = session.execute(select(AuditEvent.event, AuditEvent.outcome, AuditEvent.actor)).all()
        assert ("extension", "asked", "test") in events
        assert ("extension", "accepted", "tmartin") in events
        assert ("rights.moved", "ok", "tmartin") in events


def test_without_a_sponsor_the_desk_is_written_to(embedded: Database) -> None:
    with embedded.begin() as session:
        account_id = add(session).id
    ask(embedded, account_id)
    assert mails(embedded) == [("extension_waiting", "desk@univ.example")]


def test_a_sponsor_who_left_or_is_suspended_is_not_asked_and_their_link_is_over(embedded: Database) -> None:
    account_id, sponsor_id = two_people(embedded)
    number = ask(embedded, account_id)
    with embedded.begin() as session:
        sponsor = session.get_one(Account, sponsor_id)
        suspend(session, sponsor, reason="left", until=None, now=NOW, origin=ORIGIN)
    with pytest.raises(ProofCancelled):
        by_link(embedded, link(embedded))
    assert state(embedded, number) == "waiting"
    with embedded.begin() as session:
        extensions.withdraw(session, account_id, now=NOW, origin=ORIGIN)
    ask(embedded, account_id)
    assert mails(embedded)[-1] == ("extension_waiting", "desk@univ.example")


def test_nobody_answers_for_themselves(embedded: Database) -> None:
    with embedded.begin() as session:
        account = add(session)
        account.sponsor_id = account.id
        account_id = account.id
    ask(embedded, account_id)
    assert mails(embedded) == [("extension_waiting", "desk@univ.example")]


def test_i2_a_link_decides_once(database: Database) -> None:
    account_id, _sponsor = two_people(database)
    ask(database, account_id)
    proof = link(database)
    by_link(database, proof, accept=False)
    with pytest.raises(ProofUsed):
        by_link(database, proof)
    assert end_of(database, account_id) == END


def test_of_many_who_decide_at_once_one_does(database: Database) -> None:
    account_id, _sponsor = two_people(database)
    number = ask(database, account_id)
    proof = link(database)

    def one(turn: int) -> str:
        try:
            if turn % 2:
                return by_link(database, proof, accept=turn % 4 == 1).state
            return decide(database, number, accept=turn % 4 == 0).state
        except (AlreadyDecided, ProofUnusable):
            return "late"

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(8)))
    assert answers.count("late") == 7
    (decided,) = set(answers) - {"late"}
    assert state(database, number) == decided
    assert end_of(database, account_id) == (end_of_day(LONGER, PARIS) if decided == "accepted" else END)
    with database.read() as session:
        told = select(func.count()).where(OutboxMail.template.in_(["extension_accepted", "extension_refused"]))
        assert session.scalar(told) == 2


def test_who_comes_second_is_told_who_decided(embedded: Database) -> None:
    account_id, _sponsor = two_people(embedded)
    number = ask(embedded, account_id)
    decide(embedded, number, accept=False)
    with pytest.raises(AlreadyDecided) as late:
        decide(embedded, number)
    assert (late.value.extension.state, late.value.extension.decided_by) == ("refused", "hbernard")
    with pytest.raises(ProofCancelled):
        by_link(embedded, link(embedded))


def test_a_request_waits_once_at_a_time(database: Database) -> None:
    account_id, _sponsor = two_people(database)

    def one(_turn: int) -> bool:
        try:
            ask(database, account_id)
        except AlreadyWaiting:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(one, range(4))) == [False, False, False, True]
    assert len(mails(database)) == 1


def test_a_withdrawn_request_is_decided_by_nobody(database: Database) -> None:
    account_id, _sponsor = two_people(database)
    number = ask(database, account_id)
    with database.begin() as session:
        assert extensions.withdraw(session, account_id, now=NOW, origin=ORIGIN)
        assert not extensions.withdraw(session, account_id, now=NOW, origin=ORIGIN)
    with pytest.raises(AlreadyDecided):
        decide(database, number)
    with pytest.raises(ProofCancelled):
        by_link(database, link(database))


def test_the_end_comes_while_a_request_waits_and_its_acceptance_revives(database: Database) -> None:
    account_id, _sponsor = two_people(database)
    number = ask(database, account_id)
    with database.begin() as session:
        steps = take_due(session, account_id, TERMS, now=END, origin=ORIGIN)
    assert [step.value for step in steps] == ["closed"]
    decide(database, number, now=noon(2027, 7, 5))
    with database.read() as session:
        assert session.scalars(select(Handover.event).order_by(Handover.id)).all() == [
            "account.ended",
            "account.revived",
        ]
    assert end_of(database, account_id) == end_of_day(LONGER, PARIS)


def test_a_request_that_waits_holds_the_erasure(embedded: Database) -> None:
    account_id, _sponsor = two_people(embedded)
    ask(embedded, account_id)
    late = noon(2030, 1, 1)
    with embedded.begin() as session:
        steps = take_due(session, account_id, TERMS, now=late, origin=ORIGIN)
    assert [step.value for step in steps] == ["closed"]
    with embedded.read() as session:
        assert session.get_one(Account, account_id).erased_at is None


@pytest.mark.parametrize("until", [date(2027, 6, 30), date(2027, 6, 15), date(2027, 12, 31)])
def test_only_days_after_the_end_and_within_the_policy_can_be_asked_for(embedded: Database, until: date) -> None:
    account_id, _sponsor = two_people(embedded)
    with pytest.raises(DayRefused):
        ask(embedded, account_id, until)
    assert mails(embedded) == []


def test_the_longest_extension_counts_from_today_once_the_end_is_past(embedded: Database) -> None:
    account_id, _sponsor = two_people(embedded)
    with embedded.read() as session:
        account = session.get_one(Account, account_id)
        assert days_open(account, TERMS, NOW) == (date(2027, 7, 1), date(2027, 12, 30))
        assert days_open(account, TERMS, noon(2027, 8, 31)) == (date(2027, 9, 1), date(2028, 2, 29))


def test_a_decider_may_grant_another_day_but_no_longer_one_than_the_policy(embedded: Database) -> None:
    account_id, _sponsor = two_people(embedded)
    number = ask(embedded, account_id)
    with pytest.raises(DayRefused):
        decide(embedded, number, until=date(2028, 6, 30))
    assert state(embedded, number) == "waiting"
    decide(embedded, number, until=date(2027, 7, 31))
    assert end_of(embedded, account_id) == end_of_day(date(2027, 7, 31), PARIS)


@pytest.mark.parametrize(("end", "profile"), [(None, "vacataire"), (END, "learner")])
def test_where_there_is_nothing_to_extend_nothing_is_asked(
    embedded: Database, end: datetime | None, profile: str
) -> None:
    with embedded.begin() as session:
        account_id = add(session, end=end, profile=profile).id
    with pytest.raises(NothingToExtend):
        ask(embedded, account_id)


def test_the_link_is_over_after_two_weeks(embedded: Database) -> None:
    account_id, _sponsor = two_people(embedded)
    number = ask(embedded, account_id)
    with pytest.raises(ProofUnusable):
        by_link(embedded, link(embedded), now=NOW + timedelta(days=14))
    assert state(embedded, number) == "waiting"
