"""Days and months as the university's calendar has them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from external_accounts.local_calendar import (
    add_months,
    days_before,
    end_of_day,
    end_of_retention,
    local_day,
    start_of_day,
)

PARIS = ZoneInfo("Europe/Paris")
ZONES = st.sampled_from(
    [PARIS, ZoneInfo("America/Martinique"), ZoneInfo("Pacific/Noumea"), ZoneInfo("America/Santiago")]
)
DAYS = st.dates(date(2000, 1, 1), date(2100, 1, 1))
MONTHS = st.integers(0, 120)
MOMENTS = st.integers(0, 100 * 366 * 24 * 60).map(
    lambda minutes: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)


@pytest.mark.parametrize(
    ("day", "months", "later"),
    [
        (date(2027, 1, 31), 1, date(2027, 2, 28)),
        (date(2028, 1, 31), 1, date(2028, 2, 29)),
        (date(2028, 2, 29), 12, date(2029, 2, 28)),
        (date(2027, 8, 31), 6, date(2028, 2, 29)),
        (date(2026, 12, 31), 6, date(2027, 6, 30)),
        (date(2028, 3, 31), -1, date(2028, 2, 29)),
        (date(2027, 5, 15), 0, date(2027, 5, 15)),
    ],
)
def test_a_month_later_is_the_same_day_or_the_months_last(day: date, months: int, later: date) -> None:
    assert add_months(day, months) == later


@given(DAYS, MONTHS)
def test_months_are_never_skipped_and_never_shortened_by_more_than_the_month_is(day: date, months: int) -> None:
    later = add_months(day, months)
    assert (later.year - day.year) * 12 + later.month - day.month == months
    assert later.day == day.day or (later.day < day.day and (later + timedelta(days=1)).month != later.month)


@given(DAYS, DAYS, MONTHS)
def test_who_ends_later_is_kept_at_least_as_long(one: date, other: date, months: int) -> None:
    assert add_months(min(one, other), months) <= add_months(max(one, other), months)


def test_months_beyond_the_calendar_are_refused() -> None:
    with pytest.raises(ValueError, match="12 months after 9999-06-30"):
        add_months(date(9999, 6, 30), 12)


@pytest.mark.parametrize(
    ("day", "ends"),
    [
        (date(2026, 3, 29), datetime(2026, 3, 29, 21, 59, tzinfo=UTC)),
        (date(2026, 10, 25), datetime(2026, 10, 25, 22, 59, tzinfo=UTC)),
        (date(2028, 2, 29), datetime(2028, 2, 29, 22, 59, tzinfo=UTC)),
    ],
)
def test_a_day_ends_at_2359_on_both_nights_on_which_the_clocks_change(day: date, ends: datetime) -> None:
    assert end_of_day(day, PARIS) == ends


@pytest.mark.parametrize(
    ("rights_end", "over"),
    [
        # Half a year from winter into summer time and back: 23:59 on the clocks both times.
        (end_of_day(date(2026, 12, 31), PARIS), datetime(2027, 6, 30, 21, 59, tzinfo=UTC)),
        (end_of_day(date(2027, 6, 30), PARIS), datetime(2027, 12, 30, 22, 59, tzinfo=UTC)),
        # An hour that comes twice, an hour that never was.
        (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), datetime(2027, 4, 25, 21, 59, tzinfo=UTC)),
        (datetime(2026, 3, 29, 1, 0, tzinfo=UTC), datetime(2026, 9, 29, 21, 59, tzinfo=UTC)),
        # The day is the university's, not Greenwich's.
        (datetime(2026, 6, 30, 22, 30, tzinfo=UTC), datetime(2027, 1, 1, 22, 59, tzinfo=UTC)),
    ],
)
def test_retention_ends_with_the_day_six_months_later(rights_end: datetime, over: datetime) -> None:
    assert end_of_retention(rights_end, 6, PARIS) == over


@given(MOMENTS, MONTHS, ZONES)
def test_retention_is_never_shorter_than_the_months_say(rights_end: datetime, months: int, zone: ZoneInfo) -> None:
    over = end_of_retention(rights_end, months, zone)
    assert local_day(over, zone) == add_months(local_day(rights_end, zone), months)
    assert local_day(over, zone) >= local_day(rights_end, zone)


@given(MOMENTS, st.integers(0, 60), ZONES)
def test_days_before_an_end_begin_with_the_day(end: datetime, days: int, zone: ZoneInfo) -> None:
    opens = days_before(end, days, zone)
    assert opens.astimezone(UTC) <= end
    assert (local_day(end, zone) - opens.date()).days == days
    assert opens == start_of_day(opens.date(), zone)
