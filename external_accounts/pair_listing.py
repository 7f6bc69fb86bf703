"""Lists of likely pairs, the likeliest first: a page at a time, by index, however many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, select, tuple_
from sqlalchemy.orm import Session, aliased

from external_accounts.accounts import Person
from external_accounts.duplicates import Fact
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


def some(session: Session, pair_ids: Sequence[int]) -> Sequence[Listed]:
    """These pairs, the likeliest first; those there are."""
    return _listed(session, LikelyPair.id.in_(pair_ids))


def page(session: Session, *, state: str, points: int, after: int | None, limit: int) -> Sequence[Listed]:
    """Pairs in `state` with at least so many `points`; from the one behind the pair `after`, or from the first."""
    beyond = session.get(LikelyPair, after) if after is not None else None
    if after is not None and beyond is None:
        return []
    wanted = [_wanted(state, points)]
    if beyond is not None:
        wanted.append(tuple_(LikelyPair.points, LikelyPair.id) < tuple_(beyond.points, beyond.id))
    return _listed(session, *wanted, limit=limit)


def _listed(session: Session, *conditions: ColumnElement[bool], limit: int | None = None) -> Sequence[Listed]:
    one, other = aliased(Account), aliased(Account)
    query = (
        select(LikelyPair, one, other)
        .join(one, one.id == LikelyPair.first_id)
        .join(other, other.id == LikelyPair.second_id)
        .where(*conditions)
        .order_by(LikelyPair.points.desc(), LikelyPair.id.desc())
        .limit(limit)
    )
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
