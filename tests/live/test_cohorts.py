"""Cohorts: made, found, filled and emptied, where the token may."""

from __future__ import annotations

import pytest

from moodle_ws import BadRequest, Cohort, Membership, NewCohort, NotFound, UserUpdate
from tests.live.moodle_under_test import MoodleUnderTest

FUNCTIONS = (
    "core_cohort_create_cohorts",
    "core_cohort_get_cohorts",
    "core_cohort_search_cohorts",
    "core_cohort_get_cohort_members",
    "core_cohort_add_cohort_members",
    "core_cohort_delete_cohort_members",
)


@pytest.fixture
def cohorts(moodle: MoodleUnderTest) -> list[Cohort]:
    """Two cohorts of this test's own."""
    moodle.offers(*FUNCTIONS)
    if moodle.simulated is None:  # not a function of the bridge's, but without it cohorts would stay behind
        moodle.offers("core_cohort_delete_cohorts")
    rows = [NewCohort(name=f"Test {number}", idnumber=moodle.name(f"c{number}")) for number in (1, 2)]
    return moodle.client.create_cohorts(rows)


@pytest.fixture
def cohort(cohorts: list[Cohort]) -> Cohort:
    return cohorts[0]


def test_cohorts_are_found_by_id_and_by_a_part_of_their_key(moodle: MoodleUnderTest, cohorts: list[Cohort]) -> None:
    assert [cohort.idnumber for cohort in cohorts] == [moodle.name("c1"), moodle.name("c2")]
    assert [cohort.id for cohort in moodle.client.cohorts([cohorts[1].id])] == [cohorts[1].id]
    assert {cohort.id for cohort in moodle.client.search_cohorts(moodle.prefix)} == {cohort.id for cohort in cohorts}


def test_a_taken_cohort_key_creates_none_of_its_batch(moodle: MoodleUnderTest, cohort: Cohort) -> None:
    new = NewCohort(name="New", idnumber=moodle.name("new"))
    with pytest.raises(BadRequest):
        moodle.client.create_cohorts([new, NewCohort(name="Taken", idnumber=moodle.name("c1"))])
    assert moodle.client.search_cohorts(moodle.name("new")) == []


def test_members_come_and_go_and_both_may_be_repeated(moodle: MoodleUnderTest, cohort: Cohort) -> None:
    ids = [moodle.create(number) for number in (1, 2)]
    rows = [Membership(cohort.id, number) for number in ids]
    for _ in range(2):
        assert all(outcome.member for outcome in moodle.client.add_cohort_members(rows))
        assert moodle.client.cohort_members([cohort.id]) == {cohort.id: frozenset(ids)}
    for _ in range(2):
        moodle.client.remove_cohort_members(rows[:1])
        assert moodle.client.cohort_members([cohort.id]) == {cohort.id: frozenset(ids[1:])}


def test_one_unknown_person_does_not_keep_the_others_out(moodle: MoodleUnderTest, cohort: Cohort) -> None:
    ids = [created.id for created in moodle.client.create_users(moodle.people(7))]
    rows = [Membership(cohort.id, number) for number in ids]
    rows.insert(3, Membership(cohort.id, 2_000_000_000))
    outcomes = moodle.client.add_cohort_members(rows)
    assert [outcome.member for outcome in outcomes] == [row.userid != 2_000_000_000 for row in rows]
    assert outcomes[3].code == "2"
    assert moodle.client.cohort_members([cohort.id]) == {cohort.id: frozenset(ids)}


def test_what_does_not_exist_is_named_so(moodle: MoodleUnderTest, cohort: Cohort) -> None:
    with pytest.raises(NotFound):
        moodle.client.cohort_members([cohort.id, 2_000_000_000])
    with pytest.raises(NotFound):
        moodle.client.remove_cohort_members([Membership(cohort.id, 2_000_000_000)])


def test_suspension_keeps_the_membership(moodle: MoodleUnderTest, cohort: Cohort) -> None:
    number = moodle.create()
    moodle.client.add_cohort_members([Membership(cohort.id, number)])
    moodle.client.update_users([UserUpdate(id=number, suspended=True)])
    assert moodle.client.cohort_members([cohort.id]) == {cohort.id: frozenset({number})}
