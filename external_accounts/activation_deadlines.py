"""How long an activation link can be used: named policies, in the clock of the university.

`next_day_2359`   until the next day at 23:59        (the first mail)
`same_day_2359`   until 23:59 of the same day        (a link that the person asked for)
`hours:N`         N hours

Never for less than six hours, whatever the clock says: who asks at ten in the evening has until four in the morning.
A 23:59 is a moment of the calendar, so a mail that is taken late does not move it; but it leaves its reader six hours
as well (`external_accounts.proof_deadlines`). N hours are counted from the moment the mail is taken, as everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from external_accounts.proof_deadlines import LEAST_GRACE

NEXT_DAY, SAME_DAY = "next_day_2359", "same_day_2359"
HOURS = "hours:"


@dataclass(frozen=True, slots=True)
class Life:
    """What a proof needs to know of its life, for `proofs.request_proof`."""

    lifetime: timedelta
    """From the moment its mail is taken."""
    calendar_end: datetime | None = None
    """The moment of the calendar that it lasts until, at least."""

    def ends(self, now: datetime) -> datetime:
        """When it is over if its mail is taken `now`."""
        now = now.astimezone(UTC)  # hours are counted on a watch, not on the wall
        return max(now + self.lifetime, self.calendar_end or now)


def life_of(policy: str, now: datetime, zone: ZoneInfo) -> Life:
    """The life of a link that is made `now` (aware) under `policy`.

    Raises:
        ValueError: no such policy.
    """
    today = now.astimezone(zone).date()
    if policy == NEXT_DAY:
        return Life(LEAST_GRACE, _last_minute(today + timedelta(days=1), zone))
    if policy == SAME_DAY:
        return Life(LEAST_GRACE, _last_minute(today, zone))
    if policy.startswith(HOURS):
        return Life(max(timedelta(hours=int(policy.removeprefix(HOURS))), LEAST_GRACE))
    raise ValueError(policy)


def _last_minute(day: date, zone: ZoneInfo) -> datetime:
    """23:59 of that day. Where the clock shows it twice or skips it, the later of the two moments it can mean."""
    readings = (datetime(day.year, day.month, day.day, 23, 59, tzinfo=zone, fold=fold) for fold in (0, 1))
    return max(reading.astimezone(UTC) for reading in readings)
