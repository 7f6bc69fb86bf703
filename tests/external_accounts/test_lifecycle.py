"""What happens to an account when its rights end, and when its retention does: the rule, over values."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from external_accounts.lifecycle import (
    ERASURE_WARNINGS,
    Due,
    Life,
    Step,
    held,
    next_step,
    steps_due,
    steps_until,
    taken,
)
from external_accounts.local_calendar import end_of_day, end_of_retention, local_day, start_of_day
from external_accounts.profiles import ProfilePolicy

PARIS = ZoneInfo("Europe/Paris")
VACATAIRE = ProfilePolicy("vacataire", retention_months=6)
LEARNER = ProfilePolicy("learner")
END = end_of_day(date(2027, 6, 30), PARIS)
OVER = end_of_day(date(2027, 12, 30), PARIS)

MOMENTS = st.integers(0, 8 * 366 * 24 * 60).map(
    lambda minutes: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)
NOTICES = st.dictionaries(st.sampled_from([step for step in Step if step is not Step.ERASE]), MOMENTS)
LIVES = st.builds(
    Life,
    rights_end_at=st.none() | MOMENTS,
    notices=NOTICES,
    suspended_at=st.none() | MOMENTS,
    suspended_until=st.none() | MOMENTS,
    extension_waiting=st.booleans(),
    gone=st.booleans(),
)
POLICIES = st.builds(ProfilePolicy, st.just("any"), retention_months=st.none() | st.integers(0, 24))


def at(day: date, hour: int = 12) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=PARIS)


def whole_life(
    life: Life, policy: ProfilePolicy = VACATAIRE, *, since: date = date(2027, 1, 1)
) -> list[tuple[str, date]]:
    found = steps_until(life, policy, at(since), at(date(2040, 1, 1)), PARIS)
    return [(due.step.value, local_day(moment, PARIS)) for moment, due in found]


def test_a_life_ends_step_by_step() -> None:
    assert whole_life(Life(END)) == [
        ("rights_30_days", date(2027, 5, 31)),
        ("rights_10_days", date(2027, 6, 20)),
        ("closed", date(2027, 6, 30)),
        ("erasure_30_days", date(2027, 11, 30)),
        ("erasure_10_days", date(2027, 12, 20)),
        ("erased", date(2027, 12, 30)),
    ]


def test_an_account_of_a_profile_without_retention_is_closed_and_kept() -> None:
    assert [step for step, _ in whole_life(Life(END), LEARNER)] == ["rights_30_days", "rights_10_days", "closed"]


def test_d55_unknown_is_never_over() -> None:
    assert whole_life(Life(None)) == []


@given(LIVES, POLICIES, MOMENTS)
def test_d55_without_an_end_of_rights_nothing_is_ever_due(life: Life, policy: ProfilePolicy, now: datetime) -> None:
    assert next_step(replace(life, rights_end_at=None), policy, now, PARIS) is None


@given(LIVES, POLICIES, MOMENTS)
def test_retention_never_erases_an_account_whose_rights_have_not_ended(
    life: Life, policy: ProfilePolicy, now: datetime
) -> None:
    steps = [due.step for due in steps_due(life, policy, now, PARIS)]
    if Step.ERASE in steps or Step.CLOSE in steps or set(steps) & set(ERASURE_WARNINGS):
        assert life.rights_end_at is not None
        assert life.rights_end_at <= now
    if Step.ERASE in steps:
        assert policy.retention_months is not None
        assert end_of_retention(life.rights_end_at or now, policy.retention_months, PARIS) <= now


@given(LIVES, POLICIES, MOMENTS)
def test_nobody_is_erased_who_waits_for_an_answer_or_is_suspended(
    life: Life, policy: ProfilePolicy, now: datetime
) -> None:
    steps = {due.step for due in steps_due(life, policy, now, PARIS)}
    suspended = life.suspended_at is not None and (life.suspended_until is None or now < life.suspended_until)
    if life.extension_waiting or suspended:
        assert not steps & {Step.ERASE, *ERASURE_WARNINGS}


@pytest.mark.parametrize(
    ("life", "why"),
    [
        (Life(END), None),
        (Life(END, extension_waiting=True), "extension"),
        (Life(END, suspended_at=END), "suspended"),
        (Life(END, suspended_at=END, suspended_until=OVER), None),
    ],
)
def test_what_holds_an_erasure_is_said(life: Life, why: str | None) -> None:
    assert held(life, OVER) == why


@given(LIVES, POLICIES, MOMENTS)
def test_taken_steps_leave_none_that_is_due(life: Life, policy: ProfilePolicy, now: datetime) -> None:
    for due in steps_due(life, policy, now, PARIS):
        life = taken(life, due)
    assert list(steps_due(life, policy, now, PARIS)) == []


@given(LIVES, POLICIES, MOMENTS)
def test_a_crash_after_any_step_changes_nothing_of_what_comes(life: Life, policy: ProfilePolicy, now: datetime) -> None:
    whole = list(steps_due(life, policy, now, PARIS))
    for done in range(len(whole) + 1):
        interrupted = life
        for due in whole[:done]:
            interrupted = taken(interrupted, due)
        assert [due.step for due in steps_due(interrupted, policy, now, PARIS)] == [due.step for due in whole[done:]]


@given(MOMENTS, st.integers(0, 24), MOMENTS)
def test_whoever_is_erased_was_told_ten_days_before_however_late_the_first_run(
    end: datetime, months: int, first_run: datetime
) -> None:
    told: datetime | None = None
    policy = ProfilePolicy("any", retention_months=months)
    horizon = max(first_run, end) + timedelta(days=1200)
    for moment, due in steps_until(Life(end), policy, first_run, horizon, PARIS):
        if due.step in ERASURE_WARNINGS:
            told = told or moment
            assert due.about >= end_of_retention(end, months, PARIS)
        if due.step is Step.ERASE:
            assert told is not None
            assert (local_day(moment, PARIS) - local_day(told, PARIS)).days >= 10
            return
    pytest.fail("never erased")


@given(MOMENTS, st.integers(0, 24), st.integers(0, 24), MOMENTS)
def test_another_policy_never_breaks_the_date_that_somebody_was_told(
    end: datetime, months: int, other: int, now: datetime
) -> None:
    life = Life(end)
    for due in steps_due(life, ProfilePolicy("any", retention_months=months), now, PARIS):
        if due.step is Step.ERASE:
            return
        life = taken(life, due)
    promised = max((life.notices[step] for step in ERASURE_WARNINGS if step in life.notices), default=None)
    erased = [
        moment
        for moment, due in steps_until(
            life, ProfilePolicy("any", retention_months=other), now, now + timedelta(days=5000), PARIS
        )
        if due.step is Step.ERASE
    ]
    if promised is not None and erased:
        assert erased[0] >= promised


@given(MOMENTS, st.integers(0, 24), MOMENTS, st.integers(1, 400))
def test_running_every_day_does_what_the_simulation_says(
    end: datetime, months: int, start: datetime, days: int
) -> None:
    policy = ProfilePolicy("any", retention_months=months)
    start = start.replace(hour=3, minute=0)
    until = start + timedelta(days=days)
    foretold = [due.step for _, due in steps_until(Life(end), policy, start, until, PARIS)]
    life, done = Life(end), []
    for day in range(days + 1):
        for due in steps_due(life, policy, start + timedelta(days=day), PARIS):
            life = taken(life, due)
            done.append(due.step)
    # The last run falls on the horizon itself, which the simulation leaves out.
    assert done[: len(foretold)] == foretold


def test_a_warning_that_was_missed_is_not_made_up_for() -> None:
    assert [due.step for due in steps_due(Life(END), VACATAIRE, at(date(2027, 6, 25)), PARIS)] == [
        Step.WARN_RIGHTS_LAST
    ]


def test_a_first_run_years_late_warns_and_erases_ten_days_later() -> None:
    assert whole_life(Life(END), since=date(2030, 1, 1)) == [
        ("closed", date(2030, 1, 1)),
        ("erasure_10_days", date(2030, 1, 1)),
        ("erased", date(2030, 1, 11)),
    ]


def test_a_suspension_with_an_end_holds_until_then() -> None:
    suspended = Life(END, suspended_at=END, suspended_until=at(date(2028, 3, 1)))
    assert whole_life(suspended)[-2:] == [("erasure_10_days", date(2028, 3, 1)), ("erased", date(2028, 3, 11))]


def test_a_new_end_begins_anew() -> None:
    notices = {due.step: due.about for _, due in steps_until(Life(END), VACATAIRE, at(date(2027, 1, 1)), OVER, PARIS)}
    moved = Life(end_of_day(date(2028, 6, 30), PARIS), notices)
    assert [step for step, _ in whole_life(moved, since=date(2027, 12, 1))] == [step.value for step in Step]


@pytest.mark.parametrize("leap", [date(2028, 2, 29)])
def test_rights_that_end_on_a_leap_day_are_kept_for_a_whole_year(leap: date) -> None:
    staff = ProfilePolicy("staff", retention_months=12)
    assert whole_life(Life(end_of_day(leap, PARIS)), staff)[-1] == ("erased", date(2029, 2, 28))


@pytest.mark.parametrize("night", [date(2027, 3, 28), date(2027, 10, 31)])
def test_on_both_nights_on_which_the_clocks_change_an_end_is_at_2359(night: date) -> None:
    end = end_of_day(night, PARIS)
    warned = next_step(Life(end), VACATAIRE, at(night), PARIS)
    assert warned == Due(Step.WARN_RIGHTS_LAST, start_of_day(night - timedelta(days=10), PARIS), end)
    told = taken(Life(end), warned)
    assert list(steps_due(told, VACATAIRE, end - timedelta(seconds=1), PARIS)) == []
    assert list(steps_due(told, VACATAIRE, end, PARIS)) == [Due(Step.CLOSE, end, end)]
