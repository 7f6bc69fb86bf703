"""Confirming, joining and undoing at once: exactly one of many, on every database (I2)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from external_accounts import link_ceremonies, parting
from external_accounts.database import Database
from external_accounts.keys import Keys
from external_accounts.link_ceremonies import CeremonyOver
from external_accounts.linking import LinkRefused
from external_accounts.linking_schema import AccountLink, LinkCeremony
from external_accounts.parting import LinkOver
from external_accounts.schema import Account, Proof
from tests.external_accounts.conftest import NOW
from tests.external_accounts.linking_people import ORIGIN, Ceremony, add_learner, add_member, begin, dump, show_other

MANY = 8


def ceremony(database: Database, keys: Keys, mine: int, theirs: int, session_id: int) -> Ceremony:
    with database.begin() as session:
        made = begin(session, mine, session_id, NOW)
        assert show_other(session, keys, made, theirs, NOW)
    return made


def conclude(database: Database, made: Ceremony, *, keep_other: bool = False) -> bool:
    try:
        with database.begin() as session:
            row = link_ceremonies.find(session, made.handle, made.who, now=NOW)
            link_ceremonies.conclude(session, row, keep_other=keep_other, now=NOW, origin=ORIGIN)
    except (CeremonyOver, LinkRefused):
        return False
    return True


def at_once(acts: list[Callable[[], bool]]) -> int:
    with ThreadPoolExecutor(len(acts)) as pool:
        return sum(pool.map(lambda act: act(), acts))


@pytest.fixture
def people(database: Database, keys: Keys) -> list[int]:
    with database.begin() as session:
        return [
            add_learner(session, keys, "ext.ada", NOW),
            add_member(session, "ada", NOW),
            add_learner(session, keys, "ext.bob", NOW),
        ]


def links(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(AccountLink)) or 0


def test_i2_of_many_confirmations_of_one_ceremony_one_joins(database: Database, keys: Keys, people: list[int]) -> None:
    made = ceremony(database, keys, people[0], people[1], 1)
    assert at_once([lambda: conclude(database, made)] * MANY) == 1
    assert links(database) == 1


def test_two_ceremonies_over_the_same_accounts_from_both_sides_join_once(
    database: Database, keys: Keys, people: list[int]
) -> None:
    one = ceremony(database, keys, people[0], people[1], 1)
    two = ceremony(database, keys, people[1], people[0], 2)
    acts = [lambda: conclude(database, one), lambda: conclude(database, two, keep_other=True)]
    assert at_once(acts * 2) == 1
    assert links(database) == 1
    with database.read() as session:
        outcomes = session.scalars(select(LinkCeremony.outcome)).all()
    assert outcomes.count("linked") == 1


def test_two_ceremonies_that_share_one_account_do_not_join_it_twice(
    database: Database, keys: Keys, people: list[int]
) -> None:
    """A closed account cannot be closed again: one of the two finds that what it proved leads elsewhere."""
    one = ceremony(database, keys, people[0], people[1], 1)
    two = ceremony(database, keys, people[2], people[1], 2)
    assert at_once([lambda: conclude(database, one), lambda: conclude(database, two)]) == 1
    with database.read() as session:
        closed = session.scalars(select(Account.id).where(Account.merged_into_id.is_not(None))).all()
    assert closed == [people[1]]


def test_i2_of_many_undos_one_parts_and_everything_is_as_before(
    database: Database, keys: Keys, people: list[int]
) -> None:
    made = ceremony(database, keys, people[0], people[1], 1)
    before = dump(database, people)
    assert conclude(database, made)
    with database.read() as session:
        link_id = session.scalars(select(AccountLink.id)).one()

    def undo() -> bool:
        try:
            with database.begin() as session:
                parting.part(session, link_id, now=NOW, origin=ORIGIN)
        except LinkOver:
            return False
        return True

    assert at_once([undo] * MANY) == 1
    assert dump(database, people) == before


def test_a_ceremony_and_its_undo_leave_no_proof_that_opens_anything_i10(
    database: Database, keys: Keys, people: list[int]
) -> None:
    made = ceremony(database, keys, people[1], people[0], 1)
    assert conclude(database, made)
    with database.read() as session:
        pending = select(Proof.purpose).where(Proof.claimed_at.is_(None), Proof.cancelled_at.is_(None))
        assert session.scalars(pending).all() == []
