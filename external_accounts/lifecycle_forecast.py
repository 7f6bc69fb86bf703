"""What the next months will bring, if nobody comes, leaves early, or asks for anything.

Accounts whose lives are alike (same profile, same end, same warnings behind them) have the same future: the database
groups them, the rule is asked once a group.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import and_, case, func, or_, select
from sqlalchemy.orm import Session

from external_accounts.institution_schema import Extension, LifecycleNotice
from external_accounts.lifecycle import Life, Step, steps_until
from external_accounts.lifecycle_candidates import NOTED, WAITING
from external_accounts.local_calendar import add_months, local_day, start_of_day
from external_accounts.profiles import ProfilePolicy
from external_accounts.schema import Account

ROWS_AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class Cohort:
    """Accounts with the same future, and how many they are."""

    profile: str
    life: Life
    count: int


Forecast = Mapping[tuple[date, str, Step], int]
"""By the first day of the month, profile and step: how many accounts."""


def cohorts(session: Session, now: datetime, until: datetime) -> Iterator[Cohort]:
    """Every account to which something may happen before `until`, in groups, as they come from the database."""
    noted = (
        select(
            LifecycleNotice.account_id,
            *(
                func.max(case((LifecycleNotice.kind == step.value, LifecycleNotice.about))).label(step.value)
                for step in NOTED
            ),
        )
        .group_by(LifecycleNotice.account_id)
        .subquery()
    )
    in_force = and_(
        Account.suspended_at.is_not(None), or_(Account.suspended_until.is_(None), Account.suspended_until > now)
    )
    asked = select(Extension.id).where(Extension.account_id == Account.id, Extension.state == WAITING).exists()
    keys = (
        Account.profile,
        Account.rights_end_at,
        *(noted.c[step.value] for step in NOTED),
        in_force.label("suspended"),
        case((in_force, Account.suspended_until)).label("suspended_until"),
        asked.label("asked"),
    )
    query = (
        select(*keys, func.count().label("accounts"))
        .outerjoin(noted, noted.c.account_id == Account.id)
        .where(Account.rights_end_at < until, Account.erased_at.is_(None), Account.erasure_due_at.is_(None))
        .group_by(*keys)
    )
    for row in session.execute(query.execution_options(yield_per=ROWS_AT_ONCE)):
        notices: dict[Step, datetime] = {
            step: about for step in NOTED if (about := getattr(row, step.value)) is not None
        }
        suspended_at = now if row.suspended else None
        life = Life(row.rights_end_at, notices, suspended_at, row.suspended_until, extension_waiting=bool(row.asked))
        yield Cohort(row.profile, life, row.accounts)


def first_days(now: datetime, months: int, zone: ZoneInfo) -> list[date]:
    """The first day of this month and of those that follow."""
    first = local_day(now, zone).replace(day=1)
    return [add_months(first, number) for number in range(months)]


def forecast(
    found: Iterator[Cohort],
    variants: Mapping[str, Mapping[str, ProfilePolicy]],
    now: datetime,
    until: datetime,
    zone: ZoneInfo,
) -> dict[str, Forecast]:
    """What happens from `now` on and before `until`, for each of the `variants` of the policies by profile."""
    totals: dict[str, Counter[tuple[date, str, Step]]] = {name: Counter() for name in variants}
    for cohort in found:
        for name, policies in variants.items():
            policy = policies.get(cohort.profile) or ProfilePolicy(cohort.profile)
            for moment, due in steps_until(cohort.life, policy, now, until, zone):
                month = local_day(moment, zone).replace(day=1)
                totals[name][month, cohort.profile, due.step] += cohort.count
    return dict(totals)


def horizon(now: datetime, months: int, zone: ZoneInfo) -> datetime:
    """The end of the last of so many months, this one being the first."""
    return start_of_day(add_months(local_day(now, zone).replace(day=1), months), zone)
