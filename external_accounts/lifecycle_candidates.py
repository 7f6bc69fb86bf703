"""Reading the accounts whose life may have come to a step, a page at a time: a million of them fit into no memory.

The database narrows (a few conditions on the end of rights), the rule decides. What is narrowed is always more than
the rule would take.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, ScalarSelect, and_, bindparam, exists, func, or_, select, tuple_
from sqlalchemy.orm import Session

from external_accounts.database import Database
from external_accounts.institution_schema import Extension, LifecycleNotice
from external_accounts.lifecycle import FIRST_WARNING_DAYS, Life, Step
from external_accounts.local_calendar import add_months, local_day, start_of_day
from external_accounts.profiles import ProfilePolicy
from external_accounts.schema import Account, AccountId

PAGE = 1000
WAITING = "waiting"
NOTED = tuple(step for step in Step if step is not Step.ERASE)
"""Steps that leave a notice."""
LONGEST_CLAMP = timedelta(days=3)
"""How many days the months' different lengths can hide: 28 to 31 January and a month are all the 28th of February."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An account, and what the rule needs to know of it."""

    account_id: AccountId
    username: str
    profile: str
    life: Life


def candidates(
    database: Database, policies: Mapping[str, ProfilePolicy], now: datetime, zone: ZoneInfo
) -> Iterator[Sequence[Candidate]]:
    """Every account for which something may be due at `now`, the earliest end first, in pages."""
    query = (
        select(Account.id, Account.username, Account.profile, *_LIFE)
        .where(_may_be_due(policies, now, zone))
        .order_by(Account.rights_end_at, Account.id)
        .limit(PAGE)
    )
    behind = tuple_(Account.rights_end_at, Account.id) > tuple_(
        bindparam("end", type_=Account.rights_end_at.type), bindparam("id", type_=Account.id.type)
    )
    last: dict[str, datetime | int] | None = None
    while True:
        with database.read() as session:
            rows = session.execute(query.where(behind) if last else query, last or {}).all()
        if not rows:
            return
        yield [Candidate(row.id, row.username, row.profile, _life(row[3:])) for row in rows]
        last = {"end": rows[-1].rights_end_at, "id": rows[-1].id}


def count(session: Session, policies: Mapping[str, ProfilePolicy], now: datetime, zone: ZoneInfo) -> int:
    """How many accounts `candidates` reads."""
    return session.scalar(select(func.count()).where(_may_be_due(policies, now, zone))) or 0


def life_of(session: Session, account_id: AccountId) -> Life:
    """What the rule knows of one account, as it is in this transaction."""
    return _life(session.execute(select(*_LIFE).where(Account.id == account_id)).one())


def _noted(step: Step) -> ScalarSelect[datetime]:
    """The end that the step was taken for, the latest one."""
    return (
        select(func.max(LifecycleNotice.about))
        .where(LifecycleNotice.account_id == Account.id, LifecycleNotice.kind == step.value)
        .scalar_subquery()
    )


_LIFE = (
    Account.rights_end_at,
    Account.suspended_at,
    Account.suspended_until,
    exists().where(Extension.account_id == Account.id, Extension.state == WAITING),
    or_(Account.erased_at.is_not(None), Account.erasure_due_at.is_not(None)),
    *(_noted(step) for step in NOTED),
)
"""What `_life` makes a `Life` of. One statement a page: sending a page's ids back would cost more than the look-ups."""


def _life(row: Sequence[Any]) -> Life:
    end, suspended_at, suspended_until, waiting, gone, *abouts = row
    notices: dict[Step, datetime] = {
        step: about for step, about in zip(NOTED, abouts, strict=True) if about is not None
    }
    return Life(end, notices, suspended_at, suspended_until, extension_waiting=bool(waiting), gone=bool(gone))


def _may_be_due(policies: Mapping[str, ProfilePolicy], now: datetime, zone: ZoneInfo) -> ColumnElement[bool]:
    today = local_day(now, zone)
    soon = start_of_day(today + timedelta(days=FIRST_WARNING_DAYS + 1), zone)
    closed = exists().where(
        LifecycleNotice.account_id == Account.id,
        LifecycleNotice.kind == Step.CLOSE.value,
        LifecycleNotice.about == Account.rights_end_at,
    )
    months: dict[int, list[str]] = defaultdict(list)
    for policy in policies.values():
        if policy.retention_months is not None:
            months[policy.retention_months].append(policy.name)
    return and_(
        Account.rights_end_at < soon,
        Account.erased_at.is_(None),
        # Not `erasure_due_at IS NULL` as well: SQLite would take the index of that, in which nearly everybody is.
        or_(
            Account.rights_end_at > now,
            *(
                and_(
                    Account.rights_end_at < _latest_end(today + timedelta(days=FIRST_WARNING_DAYS), many, zone),
                    Account.profile.in_(profiles),
                )
                for many, profiles in months.items()
            ),
            ~closed,
        ),
    )


def _latest_end(over: date, months: int, zone: ZoneInfo) -> datetime:
    """Rights that end from here on are not over, retention included, by the day `over`."""
    return start_of_day(add_months(over, -months) + LONGEST_CLAMP + timedelta(days=1), zone)
