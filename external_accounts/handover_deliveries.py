"""Deliveries: one handover for one other system, tried until it is taken.

As with mails (`outbox`), a runner takes rows by lease and the lease's end says that a row is still its own, so that a
killed one's rows go out again. Each system has its own rows: one that is away holds up no other. Delivered at least
once, under the same key at every attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, case, delete, func, or_, select, update
from sqlalchemy.orm import Session

from external_accounts.database import note_waiting
from external_accounts.institution_schema import Handover, HandoverDelivery
from external_accounts.schema import Account

LEASE = timedelta(minutes=2)
"""More than one delivery takes: the longest time-out is 30 seconds, to connect and to answer."""
FIRST_RETRY = timedelta(seconds=15)
LONGEST_RETRY = timedelta(hours=1)
GIVE_UP_AFTER = timedelta(days=3)
"""A week-end, and the Monday on which somebody mends it."""
STUCK = timedelta(hours=1)
PENDING, DONE, FAILED = "pending", "done", "failed"


def spread(
    session: Session, targets_of: Callable[[Handover, Account], Collection[str]], *, now: datetime, limit: int
) -> int:
    """Work out whom to tell of what happened since. Returns how many handovers were looked at."""
    waiting = session.scalars(
        select(Handover)
        .where(Handover.spread_at.is_(None))
        .order_by(Handover.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    for handover in waiting:
        for target in targets_of(handover, session.get_one(Account, handover.account_id)):
            session.add(HandoverDelivery(handover_id=handover.id, target=target, state=PENDING, due_at=now))
        handover.spread_at = now
    return len(waiting)


def due_targets(session: Session, targets: Collection[str], now: datetime) -> list[str]:
    """Those of `targets` for whom something is due."""
    query = select(HandoverDelivery.target).where(*_due(now), HandoverDelivery.target.in_(targets)).distinct()
    return list(session.scalars(query))


def lease_due(session: Session, target: str, *, now: datetime, limit: int) -> list[int]:
    """Take up to `limit` deliveries of one target that nobody else holds, until `now + LEASE`: ids of handovers.

    The least tried come first: one that a system refuses again and again must not hold up the others.
    """
    rows = session.scalars(
        select(HandoverDelivery)
        .where(*_due(now), HandoverDelivery.target == target)
        .order_by(HandoverDelivery.attempts, HandoverDelivery.due_at, HandoverDelivery.handover_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    for row in rows:
        row.leased_until = now + LEASE
    return [row.handover_id for row in rows]


def _due(now: datetime) -> tuple[ColumnElement[bool], ...]:
    free = or_(HandoverDelivery.leased_until.is_(None), HandoverDelivery.leased_until <= now)
    return HandoverDelivery.state == PENDING, HandoverDelivery.due_at <= now, free


def begin_try(
    session: Session, handover_id: int, target: str, *, leased_until: datetime, now: datetime
) -> Handover | None:
    """Count a try and hold the row for `LEASE` from now. None when it is not ours any more."""
    mine = session.execute(
        update(HandoverDelivery)
        .where(
            HandoverDelivery.handover_id == handover_id,
            HandoverDelivery.target == target,
            HandoverDelivery.state == PENDING,
            HandoverDelivery.leased_until == leased_until,
        )
        .values(leased_until=now + LEASE, attempts=HandoverDelivery.attempts + 1)
        .returning(HandoverDelivery.handover_id)
    ).all()
    return session.get_one(Handover, handover_id) if mine else None


def end_try(
    session: Session,
    handover_id: int,
    target: str,
    *,
    error: str,
    permanent: bool,
    leased_until: datetime,
    now: datetime,
    pause: timedelta = timedelta(),
) -> None:
    """Note what came of a try; an empty `error` is success. Somebody else's row is left alone.

    It comes again after `pause` at the earliest.
    """
    row = session.get(HandoverDelivery, (handover_id, target), with_for_update=True, populate_existing=True)
    if row is None or row.state != PENDING or row.leased_until != leased_until:
        return
    row.leased_until, row.last_error = None, error[:500]
    if not error:
        row.state, row.delivered_at = DONE, now
    elif permanent or now - session.get_one(Handover, handover_id).created_at > GIVE_UP_AFTER:
        row.state = FAILED
    else:
        row.due_at = now + max(pause, min(LONGEST_RETRY, FIRST_RETRY * 2 ** min(row.attempts - 1, 12)))


def put_back(
    session: Session, handover_ids: Collection[int], target: str, *, leased_until: datetime, due: datetime
) -> None:
    """What was taken and not tried, because the system is away: it comes again at `due`."""
    session.execute(
        update(HandoverDelivery)
        .where(
            HandoverDelivery.handover_id.in_(handover_ids),
            HandoverDelivery.target == target,
            HandoverDelivery.leased_until == leased_until,
        )
        .values(leased_until=None, due_at=due)
    )


@dataclass(frozen=True, slots=True)
class Figures:
    """How things stand with one target. Waiting and failed count whatever their age."""

    target: str
    waiting: int
    deferred: int
    """Of those that wait: tried in vain."""
    oldest: datetime | None
    """Since when the oldest that waits does."""
    failed: int
    done: int
    last_error: str

    def is_stuck(self, now: datetime) -> bool:
        return self.deferred > 0 and self.oldest is not None and now - self.oldest > STUCK


def figures(session: Session) -> list[Figures]:
    """Every target that a delivery is known of, by name."""
    row = HandoverDelivery
    tried = (row.state == PENDING) & (row.last_error != "")
    query = (
        select(
            row.target,
            func.sum(case((row.state == PENDING, 1), else_=0)),
            func.sum(case((tried, 1), else_=0)),
            func.min(case((row.state == PENDING, Handover.created_at))),
            func.sum(case((row.state == FAILED, 1), else_=0)),
            func.sum(case((row.state == DONE, 1), else_=0)),
        )
        .join(Handover, Handover.id == row.handover_id)
        .group_by(row.target)
        .order_by(row.target)
    )
    return [
        Figures(target, waiting, deferred, oldest, failed, done, _last_error(session, target))
        for target, waiting, deferred, oldest, failed, done in session.execute(query)
    ]


def _last_error(session: Session, target: str) -> str:
    latest = (
        select(HandoverDelivery.last_error)
        .where(HandoverDelivery.target == target, HandoverDelivery.last_error != "")
        .order_by(HandoverDelivery.handover_id.desc())
        .limit(1)
    )
    return session.scalar(latest) or ""


def failed(session: Session, *, limit: int) -> Sequence[HandoverDelivery]:
    """The deliveries that were given up, the newest first."""
    query = select(HandoverDelivery).where(HandoverDelivery.state == FAILED)
    return session.scalars(query.order_by(HandoverDelivery.handover_id.desc()).limit(limit)).all()


def retry(session: Session, *, handover_id: int | None, target: str | None, now: datetime) -> int:
    """An operator wants them tried now: those of one handover, or of one target, or both. Returns how many."""
    chosen = update(HandoverDelivery).where(HandoverDelivery.state.in_((PENDING, FAILED)))
    if handover_id is not None:
        chosen = chosen.where(HandoverDelivery.handover_id == handover_id)
    if target is not None:
        chosen = chosen.where(HandoverDelivery.target == target)
    changed = session.execute(chosen.values(state=PENDING, due_at=now).returning(HandoverDelivery.handover_id)).all()
    note_waiting(session, Handover)
    return len(changed)


def purge(session: Session, *, keep: timedelta, now: datetime) -> None:
    """Drop what is old, delivered or not."""
    old = select(Handover.id).where(Handover.created_at < now - keep)
    session.execute(delete(HandoverDelivery).where(HandoverDelivery.handover_id.in_(old)))
    session.execute(delete(Handover).where(Handover.created_at < now - keep))
