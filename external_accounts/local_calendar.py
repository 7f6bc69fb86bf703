"""Days and months as the university's calendar has them: the one place where contracts and retention are computed.

A day ends at 23:59 on the university's clocks, whatever those do that night; a month later is the same day of the
month, or the month's last where it has no such day.
"""

from __future__ import annotations

import calendar
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

MONTHS_A_YEAR = 12


def end_of_day(day: date, zone: ZoneInfo) -> datetime:
    """The last minute of a day as the university's clocks show it: rights "until 30 June" include that day."""
    return datetime.combine(day, time(23, 59), zone)


def start_of_day(day: date, zone: ZoneInfo) -> datetime:
    """Its first moment."""
    return datetime.combine(day, time(0), zone)


def local_day(moment: datetime, zone: ZoneInfo) -> date:
    """The calendar day on which a moment falls."""
    return moment.astimezone(zone).date()


def add_months(day: date, months: int) -> date:
    """The same day of the month, `months` later (or earlier): 31 January and one month are the last of February.

    Raises:
        ValueError: the calendar does not reach so far.
    """
    years, month = divmod(day.month - 1 + months, MONTHS_A_YEAR)
    year = day.year + years
    if not date.min.year <= year <= date.max.year:
        raise ValueError(f"{months} months after {day}")
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def end_of_retention(rights_end: datetime, months: int, zone: ZoneInfo) -> datetime:
    """When an account may be erased whose rights ended then: at the end of the day `months` later."""
    return end_of_day(add_months(local_day(rights_end, zone), months), zone)


def days_before(end: datetime, days: int, zone: ZoneInfo) -> datetime:
    """The start of the day that lies `days` before the day of `end`."""
    return start_of_day(local_day(end, zone) - timedelta(days=days), zone)
