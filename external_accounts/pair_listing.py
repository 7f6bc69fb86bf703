"""Lists of likely pairs, the likeliest first: a page at a time, by index, however many there are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, or_, select, tuple_
from sqlalchemy.orm import Session, aliased

from external_accounts.accounts import Person
from external_accounts.duplicates import Fact
from external_accounts.likely_pairs import WAITING
from external_accounts.linking_schema import LikelyPair
from external_accounts.schema import Account, AccountId


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two accounts, as a list names it."""

    account_id: AccountId
    username: str
    name: str
    profile: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A pair as a list shows it."""

    pair_id: int
    state: str
    points: int
    facts: tuple[Fact, ...]
    new_facts: tuple[Fact, ...]
    found_at: datetime
    first: Side
    second: Side


def page(session: Session, *, state: str, points: int, after: int | None, limit: int) -> Sequence[Listed]:
    """Pairs in `state` with at least so many `points`; from the one behind the pair `after`, or from the first."""
    beyond = session.get(LikelyPair, after) if after is not None else None
    if after is not None and beyond is None:
        return []
    one, other = aliased(Account), aliased(Account)
    query = (
        select(LikelyPair, one, other)
        .join(one, one.id == LikelyPair.first_id)
        .join(other, other.id == LikelyPair.second_id)
        .where(_wanted(state, points))
        .order_by(LikelyPair.points.desc(), LikelyPair.id.desc())
        .limit(limit)
    )
    if beyond is not None:
        query = query.where(tuple_(LikelyPair.points, LikelyPair.id) < tuple_(beyond.points, beyond.id))
    return [
        Listed(
            pair.id,
            pair.state,
            pair.points,
            tuple(pair.facts),  # type: ignore[arg-type]
            tuple(pair.new_facts),  # type: ignore[arg-type]
            pair.found_at,
            _side(first),
            _side(second),
        )
        for pair, first, second in session.execute(query)
    ]


def _side(account: Account) -> Side:
    name = Person(account.given_name, account.family_name).display_name
    return Side(account.id, account.username, name or account.username, account.profile)


def count(session: Session, *, state: str, points: int) -> int:
    return session.scalar(select(func.count()).select_from(LikelyPair).where(_wanted(state, points))) or 0


def _wanted(state: str, points: int) -> ColumnElement[bool]:
    return and_(LikelyPair.state == state, LikelyPair.points >= points)


def waiting_of(session: Session, account_ids: Collection[AccountId]) -> Sequence[LikelyPair]:
    """The pairs of these accounts of which nobody has said yet whether it is one person, the likeliest first."""
    theirs = or_(LikelyPair.first_id.in_(account_ids), LikelyPair.second_id.in_(account_ids))
    query = select(LikelyPair).where(theirs, LikelyPair.state.in_(WAITING))
    return session.scalars(query.order_by(LikelyPair.points.desc(), LikelyPair.id)).all()
