"""Reading the accounts whose life may have come to a step, a page at a time: a million of them fit into no memory.

The database narrows (a few conditions on the end of rights), the rule decides. What is narrowed is always more than
the rule would take.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, and_, bindparam, exists, func, or_, select, tuple_
from sqlalchemy.orm import Session

from external_accounts.database import Database
from external_accounts.institution_schema import Extension, LifecycleNotice
from external_accounts.lifecycle import FIRST_WARNING_DAYS, Life, Step
from external_accounts.local_calendar import add_months, local_day, start_of_day
from external_accounts.profiles import ProfilePolicy
from external_accounts.schema import Account, AccountId

PAGE = 1000
WAITING = "waiting"
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
        select(
            Account.id,
            Account.username,
            Account.profile,
            Account.rights_end_at,
            Account.suspended_at,
            Account.suspended_until,
            Account.erasure_due_at,
        )
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
            notices, waiting = _beside(session, [row.id for row in rows])
        yield [
            Candidate(
                row.id,
                row.username,
                row.profile,
                Life(
                    row.rights_end_at,
                    notices[row.id],
                    row.suspended_at,
                    row.suspended_until,
                    extension_waiting=row.id in waiting,
                    gone=row.erasure_due_at is not None,
                ),
            )
            for row in rows
        ]
        last = {"end": rows[-1].rights_end_at, "id": rows[-1].id}


def count(session: Session, policies: Mapping[str, ProfilePolicy], now: datetime, zone: ZoneInfo) -> int:
    """How many accounts `candidates` reads."""
    return session.scalar(select(func.count()).where(_may_be_due(policies, now, zone))) or 0


def life_of(session: Session, account: Account) -> Life:
    """What the rule knows of one account, as it is in this transaction."""
    notices, waiting = _beside(session, [account.id])
    return Life(
        account.rights_end_at,
        notices[account.id],
        account.suspended_at,
        account.suspended_until,
        extension_waiting=account.id in waiting,
        gone=account.erased_at is not None or account.erasure_due_at is not None,
    )


def _beside(
    session: Session, ids: Sequence[AccountId]
) -> tuple[Mapping[AccountId, Mapping[Step, datetime]], set[AccountId]]:
    """The notices of these accounts, the latest of each kind, and those of them that wait for an extension."""
    notices: dict[AccountId, dict[Step, datetime]] = defaultdict(dict)
    told = select(LifecycleNotice.account_id, LifecycleNotice.kind, LifecycleNotice.about)
    for account_id, kind, about in session.execute(
        told.where(LifecycleNotice.account_id.in_(ids)).order_by(LifecycleNotice.about)
    ):
        notices[account_id][Step(kind)] = about
    waiting = select(Extension.account_id).where(Extension.account_id.in_(ids), Extension.state == WAITING)
    return notices, set(session.scalars(waiting))


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
