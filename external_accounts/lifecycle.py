"""The end of an account's life, as a rule over values: what happens next to it, and from when on.

    rights:     30 days before, 10 days before: a warning → the end: closed
    retention:  30 days before, 10 days before: a warning → the end: erased

Every step is one of `Step`; a step that was taken leaves a notice (`LifecycleNotice`) that says which end it was about,
so that another end begins anew. What is due is whatever `next_step` says for a moment that has come; a simulation asks
the same function about moments to come. Unknown is never over (D55): an account without an end of rights has no next
step, whenever its owner was last seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from external_accounts.local_calendar import days_before, end_of_day, end_of_retention, local_day
from external_accounts.profiles import ProfilePolicy

FIRST_WARNING_DAYS = 30
LAST_WARNING_DAYS = 10
"""Also the least time between the warning that an account will be erased and its erasure, however late it came."""


class Step(StrEnum):
    """What happens to an account. The values are the kinds of notices."""

    WARN_RIGHTS_FIRST = "rights_30_days"
    WARN_RIGHTS_LAST = "rights_10_days"
    CLOSE = "closed"
    WARN_ERASURE_FIRST = "erasure_30_days"
    WARN_ERASURE_LAST = "erasure_10_days"
    ERASE = "erased"


ERASURE_WARNINGS = (Step.WARN_ERASURE_FIRST, Step.WARN_ERASURE_LAST)
WARNINGS = (Step.WARN_RIGHTS_FIRST, Step.WARN_RIGHTS_LAST, *ERASURE_WARNINGS)


@dataclass(frozen=True, slots=True)
class Life:
    """What the rule knows of one account."""

    rights_end_at: datetime | None
    notices: Mapping[Step, datetime] = field(default_factory=dict)
    """By step that was taken: the end it was about."""
    suspended_at: datetime | None = None
    suspended_until: datetime | None = None
    extension_waiting: bool = False
    gone: bool = False
    """Erased, or about to be because its owner asked for it: nothing here concerns it any more."""


@dataclass(frozen=True, slots=True)
class Due:
    """A step, the moment from which it is due, and the end it is about."""

    step: Step
    at: datetime
    about: datetime


def next_step(life: Life, policy: ProfilePolicy, now: datetime, zone: ZoneInfo) -> Due | None:
    """The next thing that happens to the account, if nobody does anything; None: nothing, ever.

    `at` may lie before `now`: then the step is due. It is the only one: a warning that was missed and is followed by
    another is not made up for.
    """
    end = life.rights_end_at
    if end is None or life.gone:
        return None
    if now < end:
        return _before_the_end(life, end, now, zone)
    if life.notices.get(Step.CLOSE) != end:
        return Due(Step.CLOSE, end, end)
    if policy.retention_months is None:
        return None
    return _in_retention(life, end_of_retention(end, policy.retention_months, zone), now, zone)


def _before_the_end(life: Life, end: datetime, now: datetime, zone: ZoneInfo) -> Due:
    first, last = days_before(end, FIRST_WARNING_DAYS, zone), days_before(end, LAST_WARNING_DAYS, zone)
    if now < last and life.notices.get(Step.WARN_RIGHTS_FIRST) != end:
        return Due(Step.WARN_RIGHTS_FIRST, first, end)
    if life.notices.get(Step.WARN_RIGHTS_LAST) != end:
        return Due(Step.WARN_RIGHTS_LAST, last, end)
    return Due(Step.CLOSE, end, end)


def _in_retention(life: Life, over: datetime, now: datetime, zone: ZoneInfo) -> Due | None:
    """`over`: when the retention ends by the policy."""
    if held(life, now) is None:
        return _towards_erasure(life, over, now, zone)
    if life.extension_waiting or life.suspended_until is None:
        return None
    due = _towards_erasure(life, over, life.suspended_until, zone)
    return replace(due, at=max(due.at, life.suspended_until))


def _towards_erasure(life: Life, over: datetime, now: datetime, zone: ZoneInfo) -> Due:
    """What somebody was told counts, where it is later than the policy says: nobody is erased before that date."""
    told = max((life.notices[step] for step in ERASURE_WARNINGS if step in life.notices), default=None)
    if told is None or told < over:
        at = max(now, days_before(over, FIRST_WARNING_DAYS, zone))
        erased_at = max(over, end_of_day(local_day(at, zone) + timedelta(days=LAST_WARNING_DAYS), zone))
        if days_before(erased_at, LAST_WARNING_DAYS, zone) <= at:
            return Due(Step.WARN_ERASURE_LAST, days_before(over, LAST_WARNING_DAYS, zone), erased_at)
        return Due(Step.WARN_ERASURE_FIRST, days_before(over, FIRST_WARNING_DAYS, zone), erased_at)
    if now < told and life.notices.get(Step.WARN_ERASURE_LAST) != told:
        return Due(Step.WARN_ERASURE_LAST, days_before(told, LAST_WARNING_DAYS, zone), told)
    return Due(Step.ERASE, told, told)


def held(life: Life, now: datetime) -> str | None:
    """Why the account is not erased, nor warned of it, whatever its retention says: somebody has to decide first.

    `extension`: a request waits. `suspended`: perhaps there is something to be found out; whoever lifts the suspension
    has decided.
    """
    if life.extension_waiting:
        return "extension"
    suspended = life.suspended_at is not None and (life.suspended_until is None or now < life.suspended_until)
    return "suspended" if suspended else None


def taken(life: Life, due: Due) -> Life:
    """The account once the step is taken."""
    if due.step is Step.ERASE:
        return replace(life, gone=True)
    return replace(life, notices={**life.notices, due.step: due.about})


def steps_due(life: Life, policy: ProfilePolicy, now: datetime, zone: ZoneInfo) -> Iterator[Due]:
    """Every step that is due at `now`, in the order in which they are taken. Taken, there is none left."""
    while (due := next_step(life, policy, now, zone)) is not None and due.at <= now:
        yield due
        life = taken(life, due)


def steps_until(
    life: Life, policy: ProfilePolicy, now: datetime, until: datetime, zone: ZoneInfo
) -> Iterator[tuple[datetime, Due]]:
    """What will happen from `now` on and before `until`, and when, if every step is taken as soon as it is due."""
    while (due := next_step(life, policy, now, zone)) is not None:
        now = max(now, due.at)
        if now >= until:
            return
        yield now, due
        life = taken(life, due)
