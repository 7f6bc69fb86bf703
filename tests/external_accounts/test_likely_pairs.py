"""The duplicate radar: which accounts become a pair, when it goes, and that nothing else is touched (D27, D29, I5)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text

from external_accounts import audit, erasure, likely_pairs
from external_accounts.accounts import Person, create_account
from external_accounts.address_changes import Notices
from external_accounts.addresses import parse_address
from external_accounts.confirmation import confirm_by_issuer
from external_accounts.database import Database
from external_accounts.duplicates import Fact, Likeness
from external_accounts.keys import Keys
from external_accounts.likely_pairs import Found, Standing, Terms, next_standing
from external_accounts.linking_schema import LikelyPair, PairCheck, PersonKey
from external_accounts.pair_candidates import MOST_NAMESAKES, MOST_SHARING, PersonKeys
from external_accounts.schema import Account, Address, SignInIdentity
from tests.external_accounts.conftest import NOW

TERMS = Terms(60, PersonKeys(("supannEmpId", "supannEtuId"), "supannEmpId"))


@dataclass
class People:
    """A database of people, and the radar over it."""

    database: Database
    made: int = field(default=0)

    def add(self, given: str, family: str, **more: Any) -> int:
        """`confirmed` and `typed`: addresses; `released`: what a CAS says; the rest are columns."""
        confirmed, typed, released = (more.pop(name, None) for name in ("confirmed", "typed", "released"))
        self.made += 1
        with self.database.begin() as session:
            account = create_account(
                session,
                username=f"person{self.made}",
                profile="staff",
                person=Person(given, family),
                activated=True,
                now=NOW,
            )
            for name, value in more.items():
                setattr(account, name, value)
            if released is not None:
                account.identities.append(
                    SignInIdentity(
                        issuer="sel",
                        subject=account.username,
                        attributes=released,
                        created_at=NOW,
                        refreshed_at=NOW,
                    )
                )
            for email in filter(None, (confirmed, typed)):
                known = parse_address(email)
                row = Address(email=known.email, email_key=known.key, role="contact", created_at=NOW, confirmed_by="")
                account.addresses.append(row)
                session.flush()
                if email is confirmed:
                    domain = known.key.rpartition("@")[2]
                    confirm_by_issuer(
                        session, row, issuer="sel", trusted_domains=[domain], now=NOW, origin=audit.SYSTEM
                    )
            session.flush()
            return account.id

    def change(self, account_id: int, **values: Any) -> None:
        with self.database.begin() as session:
            account = session.get_one(Account, account_id)
            for name, value in values.items():
                setattr(account, name, value)

    def look(self) -> Found:
        """Until nobody waits."""
        sums = Found()
        while (found := likely_pairs.look(self.database, TERMS, clock=lambda: NOW)).accounts:
            sums = Found(sums.accounts + found.accounts, sums.opened + found.opened, sums.gone + found.gone)
        return sums

    def pairs(self, *states: str) -> list[tuple[int, int, str, list[str]]]:
        with self.database.read() as session:
            rows = session.scalars(select(LikelyPair).order_by(LikelyPair.first_id, LikelyPair.second_id))
            return [
                (row.first_id, row.second_id, row.state, row.facts) for row in rows if not states or row.state in states
            ]


@pytest.fixture
def people(database: Database) -> People:
    return People(database)


def test_d27_names_that_are_alike_make_a_pair_with_the_facts(people: People) -> None:
    ada = people.add("Anne-Zoé", "D'Œuf")
    other = people.add("DOEUF", "Anne Zoe")
    married = people.add("Anne Zoé", "Martin", birth_name="D’Œuf")
    people.add("Grace", "Hopper")
    assert people.look() == Found(accounts=4, opened=2)
    assert people.pairs() == [
        (ada, other, "open", ["swapped_names"]),
        (ada, married, "open", ["birth_name"]),
    ]


def test_a_part_of_a_name_alone_stays_below_the_threshold(people: People) -> None:
    people.add("Anne", "Dubois-Roy")
    people.add("Anne", "Roy")
    people.look()
    assert people.pairs() == []


def test_d27_the_same_confirmed_address_makes_a_pair_whatever_the_names(people: People) -> None:
    one = people.add("Ada", "Lovelace", confirmed="ada@mail.example")
    other = people.add("Augusta", "King", confirmed="Ada@mail.example")
    people.look()
    assert people.pairs() == [(one, other, "open", ["same_confirmed_address"])]


def test_i5_an_address_that_is_only_typed_makes_no_pair_appear(people: People) -> None:
    """A stranger who writes somebody's address into their account is likened to nobody by it."""
    people.add("Ada", "Lovelace", confirmed="ada@mail.example")
    people.add("Eve", "Evil", typed="ada@mail.example")
    people.add("A.", "Lovelace", typed="ada@mail.example")  # an initial and the claim stay below the threshold too
    people.look()
    assert people.pairs() == []


def test_an_address_that_is_typed_is_said_beside_the_names_and_counts_nothing(people: People) -> None:
    one = people.add("Ada", "Lovelace", confirmed="ada@mail.example")
    other = people.add("Ada", "Lovelace", typed="ada@mail.example")
    people.look()
    assert people.pairs() == [(one, other, "open", ["same_names", "claimed_address"])]
    with people.database.read() as session:
        assert session.scalars(select(LikelyPair.points)).all() == [60]


def test_d29_an_identity_made_anew_upstream_is_recognised_by_the_number_the_cas_releases(people: People) -> None:
    one = people.add("Ada", "Lovelace", released={"supannEtuId": ["20261234"]})
    other = people.add("Augusta", "King", released={"supannEtuId": "20261234 "})
    people.add("Grace", "Hopper", released={"supannEmpId": "20261234"})  # another kind of number, another person
    people.look()
    assert people.pairs() == [(one, other, "open", ["same_person_key"])]


def test_the_staff_office_s_key_and_the_number_of_the_cas_name_one_person(people: People) -> None:
    one = people.add("Ada", "Lovelace", external_key="V2026-001")
    other = people.add("Augusta", "King", released={"supannEmpId": "v2026-001"})
    people.look()
    assert people.pairs() == [(one, other, "open", ["same_person_key"])]


def test_what_too_many_share_names_nobody(people: People) -> None:
    for index in range(MOST_SHARING + 1):
        people.add(f"Given{index}", f"Family{index}", confirmed="desk@univ.example", released={"supannEmpId": "0"})
    for _ in range(MOST_NAMESAKES + 1):
        people.add("Marie", "Martin")
    people.look()
    assert people.pairs() == []


def test_only_what_changed_is_looked_at_and_at_once(people: People) -> None:
    one = people.add("Ada", "Lovelace")
    other = people.add("Grace", "Hopper")
    assert people.look().accounts == 2
    assert people.look() == Found()
    people.change(other, given_name="Ada", family_name="Lovelace")
    assert people.look() == Found(accounts=1, opened=1)
    people.change(one, last_sign_in_at=NOW)
    assert people.look() == Found()
    people.change(one, family_name="King")
    assert people.look() == Found(accounts=1, gone=1)
    assert people.pairs() == [(one, other, "gone", ["same_names"])]
    people.change(one, family_name="Lovelace")
    people.look()
    assert people.pairs() == [(one, other, "open", ["same_names"])]


def test_an_address_that_is_confirmed_or_lost_is_looked_at(people: People) -> None:
    people.add("Ada", "Lovelace", confirmed="ada@mail.example")
    other = people.add("Augusta", "King", typed="ada@mail.example")
    people.look()
    with people.database.begin() as session:
        row = session.scalars(select(Address).where(Address.account_id == other)).one()
        confirm_by_issuer(session, row, issuer="sel", trusted_domains=["mail.example"], now=NOW, origin=audit.SYSTEM)
    assert people.look() == Found(accounts=1, opened=1)
    with people.database.begin() as session:
        session.execute(text("DELETE FROM addresses WHERE account_id = :id"), {"id": other})
    assert people.look() == Found(accounts=1, gone=1)


def test_an_account_that_changes_during_the_look_is_looked_at_once_more(people: People) -> None:
    one = people.add("Ada", "Lovelace")

    def clock() -> datetime:
        """Asked when the account is taken, and again when what was seen is about to be written: too late by then."""
        with people.database.read() as session:
            taken = session.scalar(select(PairCheck.leased_until)) is not None
        if taken and not people.pairs():
            people.change(one, family_name="King")
        return NOW

    assert likely_pairs.look(people.database, TERMS, clock=clock).accounts == 0
    assert people.look().accounts == 1


def test_processes_that_look_at_once_take_each_account_once(people: People) -> None:
    for index in range(40):
        people.add("Ada", f"Lovelace{index // 2}", released={"supannEmpId": f"N{index // 4}"})

    def work(_worker: int) -> int:
        done = 0
        while (found := likely_pairs.look(people.database, TERMS, clock=lambda: NOW, limit=3)).accounts:
            done += found.accounts
        return done

    with ThreadPoolExecutor(4) as pool:
        done = sum(pool.map(work, range(4)))
    # What one held just now another left to the next look, once the lease is over.
    later = NOW + likely_pairs.LEASE
    while found := likely_pairs.look(people.database, TERMS, clock=lambda: later).accounts:
        done += found
    assert done == 40
    assert {pair[2] for pair in people.pairs()} == {"open"}
    assert len(people.pairs()) == 60  # of each four with the same number, six
    with people.database.read() as session:
        assert session.scalars(select(PairCheck)).all() == []


def test_a_lease_ends_and_another_process_takes_over(people: People) -> None:
    people.add("Ada", "Lovelace")
    with people.database.begin() as session:
        assert likely_pairs._take(session, NOW, 10)
    assert likely_pairs.look(people.database, TERMS, clock=lambda: NOW) == Found()
    later = NOW + likely_pairs.LEASE
    assert likely_pairs.look(people.database, TERMS, clock=lambda: later).accounts == 1


def test_an_erased_account_is_in_no_pair_at_once(people: People, keys: Keys) -> None:
    one = people.add("Ada", "Lovelace", released={"supannEmpId": "7"})
    people.add("Ada", "Lovelace")
    people.look()
    with people.database.begin() as session:
        account = session.get_one(Account, one)
        account.erasure_asked_at, account.erasure_due_at = NOW - timedelta(days=7), NOW
    with people.database.begin() as session:
        erasure.erase(session, one, notices=Notices(keys, "fr", "univ.example"), now=NOW, origin=audit.SYSTEM)
    assert people.pairs() == []
    people.look()
    assert people.pairs() == []
    with people.database.read() as session:
        assert session.scalars(select(PersonKey)).all() == []
        assert session.scalars(select(PairCheck)).all() == []


def test_an_account_joined_to_the_other_links_the_pair_and_waits_in_none(people: People) -> None:
    one, other, third = (people.add("Ada", "Lovelace") for _ in range(3))
    people.look()
    people.change(other, merged_into_id=one)
    people.look()
    assert people.pairs("open", "proposed") == [(one, third, "open", ["same_names"])]
    assert people.pairs("linked") == [(one, other, "linked", ["same_names"])]
    people.change(other, merged_into_id=None)  # undone
    people.look()
    assert [pair[2] for pair in people.pairs()] == ["open", "open", "open"]


# --- What was decided stays, unless something stronger comes to light ---

NAMES = Likeness(60, ("same_names",))


@pytest.mark.parametrize("state", ["dismissed", "declined"])
@pytest.mark.parametrize(
    ("found", "after"),
    [
        (NAMES, None),
        (Likeness(0, ()), None),
        (Likeness(70, ("same_names", "same_unit")), None),
        (Likeness(120, ("same_names", "same_confirmed_address")), ("same_confirmed_address",)),
        (Likeness(160, ("same_names", "same_person_key")), ("same_person_key",)),
        (Likeness(60, ("swapped_names",)), None),
    ],
)
def test_a_decision_stands_until_something_stronger_is_found(
    state: str, found: Likeness, after: tuple[Fact, ...] | None
) -> None:
    before = Standing(state, 60, ("same_names",))
    expected = before if after is None else Standing("open", found.points, found.facts, after)
    assert next_standing(before, found, 60) == expected


def test_a_pair_that_was_dismissed_opens_again_with_the_reason(people: People) -> None:
    one = people.add("Ada", "Lovelace", confirmed="ada@mail.example")
    other = people.add("Ada", "Lovelace", typed="ada@mail.example")
    people.look()
    with people.database.begin() as session:
        session.execute(text("UPDATE likely_pairs SET state = 'dismissed', decided_by = 'agent'"))
        row = session.scalars(select(Address).where(Address.account_id == other)).one()
        confirm_by_issuer(session, row, issuer="sel", trusted_domains=["mail.example"], now=NOW, origin=audit.SYSTEM)
    people.look()
    with people.database.read() as session:
        pair = session.scalars(select(LikelyPair)).one()
        assert (pair.first_id, pair.state, pair.new_facts) == (one, "open", ["same_confirmed_address"])


# --- Nothing is linked by it ---

given_names, family_names = st.sampled_from(["Ada", "ADA", "A.", "Lovelace"]), st.sampled_from(["Lovelace", "Ada"])
persons = st.fixed_dictionaries(
    {
        "given": given_names,
        "family": family_names,
        "confirmed": st.sampled_from([None, "ada@mail.example"]),
        "typed": st.sampled_from([None, "other@mail.example"]),
        "released": st.sampled_from([None, {"supannEmpId": "1"}]),
    }
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(crowd=st.lists(persons, min_size=2, max_size=6))
def test_i5_no_scan_touches_an_account_an_identity_or_an_address(
    embedded: Database, crowd: list[dict[str, Any]]
) -> None:
    """D27: however alike two accounts are, looking at them joins nothing and confirms nothing (I4)."""
    with embedded.begin() as session:  # one file for all examples: earlier people stay, and are looked at too
        people = People(embedded, session.scalar(select(func.count()).select_from(Account)) or 0)
    for one in crowd:
        people.add(**one)
    before = _everything(embedded)
    people.look()
    with embedded.begin() as session:
        likely_pairs.check_all(session)
    people.look()
    assert _everything(embedded) == before


def _everything(database: Database) -> list[list[tuple[Any, ...]]]:
    with database.read() as session:
        return [
            [tuple(row) for row in session.execute(text(f"SELECT * FROM {table} ORDER BY 1"))]  # noqa: S608 (ours)
            for table in ("accounts", "identities", "addresses", "mirrors", "outbox_mails", "audit_events")
        ]
