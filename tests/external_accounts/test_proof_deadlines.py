"""TOK-06, D08: a proof's life is counted from the moment a mail server takes its mail, and capped."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from external_accounts import proofs
from external_accounts.database import Database
from external_accounts.keys import Keys
from external_accounts.proof_deadlines import (
    CODE_LIFETIME,
    begin_life,
    deadline_if_taken,
    hard_cap,
    is_waiting_for_its_mail,
    note_accepted,
)
from external_accounts.proof_keys import proof_keys
from external_accounts.proofs import CodeSpent, change_code_for_link, reserve_code_attempt, state_of
from external_accounts.schema import Proof
from tests.external_accounts.conftest import NOW
from tests.external_accounts.test_proofs import ask

AddPerson = Callable[..., int]
HOUR, DAY = timedelta(hours=1), timedelta(hours=24)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("lifetime", "cap"),
    [
        (timedelta(minutes=30), timedelta(hours=6, minutes=30)),
        (6 * HOUR, 12 * HOUR),
        (12 * HOUR, 24 * HOUR),
        (DAY, 2 * DAY),
        (3 * DAY, 4 * DAY),
    ],
)
def test_the_hard_cap_is_as_long_again_but_at_least_6_and_at_most_24_hours(lifetime: timedelta, cap: timedelta) -> None:
    assert hard_cap(NOW, lifetime) == NOW + cap


@given(
    minutes=st.integers(10, 4 * 24 * 60),
    late=st.timedeltas(timedelta(0), timedelta(days=5)),
    start=st.datetimes(NOW.replace(tzinfo=None), timezones=st.just(UTC)),
)
def test_tok_06_however_late_the_mail_is_taken_the_life_is_whole_or_ends_at_the_cap(
    minutes: int, late: timedelta, start: datetime
) -> None:
    lifetime = timedelta(minutes=minutes)
    ends = deadline_if_taken(start, lifetime, start + late)
    assert ends <= hard_cap(start, lifetime)
    assert ends - (start + late) == lifetime or ends == hard_cap(start, lifetime)


def offer(database: Database, proof: Proof, now: datetime) -> Proof:
    with database.begin() as session:
        row = session.get_one(Proof, proof.id)
        begin_life(session, row, now)
        return row


def accept(database: Database, proof: Proof, now: datetime) -> None:
    with database.begin() as session:
        note_accepted(session, proof.id, now)


def test_each_offer_begins_the_life_anew_until_one_is_taken(
    database: Database, keys: Keys, add_person: AddPerson
) -> None:
    proof = ask(database, keys, add_person(database))
    assert offer(database, proof, NOW + HOUR).expires_at == NOW + HOUR + DAY
    late = NOW + 3 * HOUR
    taken = offer(database, proof, late)
    assert (taken.expires_at, taken.code_expires_at) == (late + DAY, late + CODE_LIFETIME)
    accept(database, proof, late)
    again = offer(database, proof, late + HOUR)
    assert (again.expires_at, again.code_expires_at) == (late + DAY, late + CODE_LIFETIME)
    assert again.accepted_at == late


def test_an_offer_by_a_clock_that_is_behind_shortens_nothing(
    database: Database, keys: Keys, add_person: AddPerson
) -> None:
    proof = ask(database, keys, add_person(database))
    offer(database, proof, NOW + HOUR)
    assert offer(database, proof, NOW).expires_at == NOW + HOUR + DAY


@pytest.mark.parametrize(("seconds", "state"), [(-1, "pending"), (0, "expired"), (1, "expired")])
def test_d08_at_the_hard_cap_it_is_over_whatever_the_mail_server_does(
    database: Database, keys: Keys, add_person: AddPerson, seconds: int, state: str
) -> None:
    proof = ask(database, keys, add_person(database))
    now = NOW + 2 * DAY + seconds * SECOND
    assert state_of(offer(database, proof, now), now) == state


def test_an_overdue_proof_whose_mail_nobody_took_is_asked_for_again_and_is_the_same(
    database: Database, keys: Keys, add_person: AddPerson
) -> None:
    account_id = add_person(database)
    proof = ask(database, keys, account_id)
    again = ask(database, keys, account_id, NOW + DAY)
    assert (again.id, again.expires_at) == (proof.id, NOW + 2 * DAY)


def test_d16_a_proof_that_was_replaced_does_not_come_back_to_life_with_its_late_mail(
    database: Database, keys: Keys, add_person: AddPerson
) -> None:
    account_id = add_person(database)
    proof = ask(database, keys, account_id)
    later = NOW + DAY + HOUR  # too late to have its whole life
    assert not is_waiting_for_its_mail(proof, later)
    newer = ask(database, keys, account_id, later)
    assert newer.id != proof.id
    assert state_of(offer(database, proof, later), later) == "expired"
    assert state_of(offer(database, newer, later), later) == "pending"


def test_tok_04_a_code_that_was_spent_does_not_work_again_when_the_mail_is_offered_again(
    database: Database, keys: Keys, add_person: AddPerson
) -> None:
    proof = ask(database, keys, add_person(database))
    code = proof_keys(keys, proof).code
    with database.begin() as session:
        change_code_for_link(session, keys, reserve_code_attempt(session, proof.id, now=NOW), code, now=NOW)
    later = NOW + timedelta(minutes=1)
    offer(database, proof, later)
    with database.begin() as session, pytest.raises(CodeSpent):
        reserve_code_attempt(session, proof.id, now=later)


def test_what_was_claimed_or_cancelled_is_not_lengthened(database: Database, keys: Keys, add_person: AddPerson) -> None:
    account_id = add_person(database)
    proof = ask(database, keys, account_id)
    with database.begin() as session:
        proofs.cancel_pending(session, account_id, NOW)
    assert offer(database, proof, NOW + HOUR).expires_at == NOW + DAY
