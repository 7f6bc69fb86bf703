"""Cohorts: made, found, filled and emptied, where the token may."""

from __future__ import annotations

import pytest

from moodle_ws import BadRow, Cohort, Membership, NewCohort, RowStatus, UserUpdate
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


def test_a_taken_cohort_key_is_found_among_its_batch(moodle: MoodleUnderTest, cohort: Cohort) -> None:
    keys = [moodle.name("new"), moodle.name("c1"), moodle.name("newer")]
    outcomes = moodle.client.create_cohorts_each([NewCohort(name="Test", idnumber=key) for key in keys])
    assert [isinstance(outcome, BadRow) for outcome in outcomes] == [False, True, False]
    assert [found.idnumber for found in moodle.client.search_cohorts(moodle.name("new"))] == [keys[0], keys[2]]


def test_members_come_and_go_and_both_may_be_repeated(moodle: MoodleUnderTest, cohort: Cohort) -> None:
    ids = [moodle.create(number) for number in (1, 2)]
    rows = [Membership(cohort.id, number) for number in ids]
    for _ in range(2):
        assert all(outcome.applied for outcome in moodle.client.add_cohort_members(rows))
        assert moodle.client.cohort_members([cohort.id]) == {cohort.id: frozenset(ids)}
    for _ in range(2):
        moodle.client.remove_cohort_members(rows[:1])
        assert moodle.client.cohort_members([cohort.id]) == {cohort.id: frozenset(ids[1:])}


def test_one_unknown_person_does_not_keep_the_others_out(moodle: MoodleUnderTest, cohort: Cohort) -> None:
    ids = [created.id for created in moodle.client.create_users(moodle.people(7))]
    rows = [Membership(cohort.id, number) for number in ids]
    rows.insert(3, Membership(cohort.id, 2_000_000_000))
    outcomes = moodle.client.add_cohort_members(rows)
    assert [outcome.applied for outcome in outcomes] == [row.userid != 2_000_000_000 for row in rows]
    assert outcomes[3].code == "2"
    assert moodle.client.cohort_members([cohort.id]) == {cohort.id: frozenset(ids)}


def test_what_does_not_exist_is_absent_or_refused(moodle: MoodleUnderTest, cohort: Cohort) -> None:
    unknown = 2_000_000_000
    assert moodle.client.cohort_members([cohort.id, unknown]) == {cohort.id: frozenset()}
    [outcome] = moodle.client.remove_cohort_members([Membership(cohort.id, unknown)])
    assert (outcome.status, outcome.code) == (RowStatus.REFUSED, "invaliduser")


def test_suspension_keeps_the_membership(moodle: MoodleUnderTest, cohort: Cohort) -> None:
    number = moodle.create()
    moodle.client.add_cohort_members([Membership(cohort.id, number)])
    moodle.client.update_users([UserUpdate(id=number, suspended=True)])
    assert moodle.client.cohort_members([cohort.id]) == {cohort.id: frozenset({number})}
