"""The duplicate radar: pairs of accounts that may be one person's, found and kept up to date. Joins nothing (I5).

    open → proposed (to the person), declined (by them), dismissed (by the help desk), linked, or gone

Accounts that are new, or of which something changed, wait in `pair_checks` (database triggers put them there). A look
takes some, compares each with whom the indexes name, and settles their pairs. What people decided stays decided, unless
something stronger comes to light; what no longer holds is gone. Two processes take different accounts; one that dies
loses nothing, because an account waits until its pairs are written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from external_accounts.database import Database
from external_accounts.duplicates import Fact, Likeness, likeness
from external_accounts.linking_schema import LikelyPair, PairCheck, PersonKey
from external_accounts.pair_candidates import Known, PersonKeys, candidates, load
from external_accounts.schema import Account, AccountId

OPEN, PROPOSED, DECLINED, DISMISSED, LINKED, GONE = "open", "proposed", "declined", "dismissed", "linked", "gone"
STATES = (OPEN, PROPOSED, DECLINED, DISMISSED, LINKED, GONE)
WAITING = frozenset({OPEN, PROPOSED})
"""Nobody has said yet whether it is one person."""

STRONG: frozenset[Fact] = frozenset(
    {"same_names", "swapped_names", "birth_name", "same_birth_name", "same_person_key", "same_confirmed_address"}
)
"""What is worth a second look at a pair that somebody has looked at."""
LEASE = timedelta(minutes=1)
"""After which somebody else looks. A change of the account ends it at once: what was read is old."""
AT_ONCE = 200
"""Accounts in one look: some tens of milliseconds of a transaction that writes."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What settings say."""

    threshold: int
    """Points from which on two accounts are shown as likely one person's."""
    keys: PersonKeys


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a pair stands, as far as a look at the accounts may change it."""

    state: str
    points: int
    facts: tuple[Fact, ...]
    new_facts: tuple[Fact, ...] = ()


def first_standing(found: Likeness, threshold: int) -> Standing | None:
    """Of two accounts that were no pair so far."""
    return Standing(OPEN, found.points, found.facts) if found.points >= threshold else None


def next_standing(before: Standing, found: Likeness, threshold: int) -> Standing:
    """Where a pair stands after a look that found `found`. What was decided is kept as it was when it was decided."""
    holds = found.points >= threshold
    if before.state in WAITING:
        if not holds:
            return Standing(GONE, before.points, before.facts)
        news = tuple(fact for fact in before.new_facts if fact in found.facts)
        return Standing(before.state, found.points, found.facts, news)
    if before.state in (GONE, LINKED):  # linked once, and not any more
        return Standing(OPEN, found.points, found.facts) if holds else Standing(GONE, before.points, before.facts)
    news = tuple(fact for fact in found.facts if fact in STRONG and fact not in before.facts)
    if holds and news and found.points > before.points:
        return Standing(OPEN, found.points, found.facts, news)
    return before


def merged_standing(before: Standing, *, into_each_other: bool) -> Standing:
    """Of a pair of which one account was joined to another one: no such account is in a pair that waits."""
    if into_each_other:
        return Standing(LINKED, before.points, before.facts)
    return Standing(GONE, before.points, before.facts) if before.state in WAITING else before


# --- Looking ---


@dataclass(frozen=True, slots=True)
class Found:
    """What a round of looks came to."""

    accounts: int = 0
    opened: int = 0
    gone: int = 0


def look(database: Database, terms: Terms, *, clock: Callable[[], datetime], limit: int = AT_ONCE) -> Found:
    """Look at up to `limit` accounts that wait. Of accounts another transaction holds just now the check stays."""
    now = clock()
    with database.read() as session:  # woken by every changed account: most of the time there is nothing to take
        if session.scalar(select(PairCheck.account_id).where(_free(now)).limit(1)) is None:
            return Found()
    with database.begin() as session:
        taken = _take(session, now, limit)
    if not taken:
        return Found()
    with database.read() as session:
        subjects = load(session, taken.keys(), terms.keys)
    with database.begin() as session:  # before the comparison: of two who look at the same moment one sees the other
        ready = _free_of_others(session, taken.keys())
        _write_keys(session, ready, subjects)
    with database.read() as session:
        seen = _compare(session, ready, subjects, terms.keys)
    seen_at = clock()
    with database.begin() as session:
        return _settle(session, taken, ready, seen, terms.threshold, seen_at)


def _free(now: datetime) -> ColumnElement[bool]:
    return or_(PairCheck.leased_until.is_(None), PairCheck.leased_until <= now)


def _take(session: Session, now: datetime, limit: int) -> dict[AccountId, int]:
    """Accounts that wait, with what was noted of them, leased."""
    free = select(PairCheck.account_id).where(_free(now)).order_by(PairCheck.account_id).limit(limit)
    ids = session.scalars(free.with_for_update(skip_locked=True)).all()
    leased = update(PairCheck).where(PairCheck.account_id.in_(ids)).values(leased_until=now + LEASE)
    return dict(session.execute(leased.returning(PairCheck.account_id, PairCheck.noted)).all()) if ids else {}


@dataclass(frozen=True, slots=True)
class _Seen:
    """Accounts as they were compared, and the others each may be."""

    known: Mapping[AccountId, Known]
    likenesses: Mapping[tuple[AccountId, AccountId], Likeness]


def _compare(
    session: Session, ids: Collection[AccountId], subjects: Mapping[AccountId, Known], keys: PersonKeys
) -> _Seen:
    whole = {
        number: subjects[number].traits for number in ids if number in subjects and not subjects[number].merged_into_id
    }
    found = candidates(session, whole)
    couples = {_in_order(one, other) for one, others in found.items() for other in others}
    partners = select(LikelyPair.first_id, LikelyPair.second_id)
    held = partners.where(LikelyPair.first_id.in_(ids)).union(partners.where(LikelyPair.second_id.in_(ids)))
    couples.update((first, second) for first, second in session.execute(held))
    others = {number for couple in couples for number in couple} - subjects.keys()
    known = {**subjects, **load(session, others, keys)}
    scores = {
        (first, second): likeness(known[first].traits, known[second].traits)
        for first, second in couples
        if first in known and second in known
    }
    return _Seen(known, scores)


def _in_order(one: AccountId, other: AccountId) -> tuple[AccountId, AccountId]:
    return (one, other) if one < other else (other, one)


def _settle(
    session: Session,
    taken: Mapping[AccountId, int],
    ready: Collection[AccountId],
    seen: _Seen,
    threshold: int,
    now: datetime,
) -> Found:
    """Write what was seen of the `ready` ones: their pairs, and that they were looked at."""
    held = _free_of_others(session, {*ready, *(number for couple in seen.likenesses for number in couple)})
    late = {number for couple in seen.likenesses if not held.issuperset(couple) for number in couple}
    looked_at = held.intersection(ready) - late  # the others: once more, when the lease is over
    forget(session, [number for number in looked_at if number not in seen.known])  # erased
    counts = _write_pairs(session, looked_at, seen, threshold, now)
    current = select(PairCheck.account_id, PairCheck.noted).where(PairCheck.account_id.in_(looked_at))
    rows = session.execute(current.with_for_update(skip_locked=True))
    done = [number for number, noted in rows if noted == taken[number]]
    session.execute(delete(PairCheck).where(PairCheck.account_id.in_(done)))
    return Found(len(done), *counts)


def _free_of_others(session: Session, ids: Collection[AccountId]) -> set[AccountId]:
    """Those of the accounts that nobody changes just now: rows that point at them can be written without waiting.

    Whoever waited while holding others could be waited for in turn, and one of the two would have to give way.
    """
    free = select(Account.id).where(Account.id.in_(ids)).order_by(Account.id)
    return set(session.scalars(free.with_for_update(read=True, key_share=True, skip_locked=True)))


def _write_keys(session: Session, ids: Collection[AccountId], known: Mapping[AccountId, Known]) -> None:
    wanted = {(key, number) for number in ids if number in known for key in known[number].traits.person_keys}
    there = set(session.execute(select(PersonKey.key, PersonKey.account_id).where(PersonKey.account_id.in_(ids))))
    for key, number in there - wanted:
        session.execute(delete(PersonKey).where(PersonKey.key == key, PersonKey.account_id == number))
    if fresh := wanted - there:
        session.execute(insert(PersonKey), [{"key": key, "account_id": number} for key, number in sorted(fresh)])


def _write_pairs(
    session: Session, ids: Collection[AccountId], seen: _Seen, threshold: int, now: datetime
) -> tuple[int, int]:
    """Returns how many pairs were opened, and how many are gone."""
    about = [couple for couple in seen.likenesses if couple[0] in ids or couple[1] in ids]
    query = select(LikelyPair).where(or_(LikelyPair.first_id.in_(ids), LikelyPair.second_id.in_(ids)))
    rows = {(row.first_id, row.second_id): row for row in session.scalars(query.with_for_update())}
    opened = gone = 0
    fresh = []
    for couple in about:
        row = rows.get(couple)
        after = _standing(row, couple, seen, threshold)
        if row is None and after is not None:
            fresh.append(_new_row(couple, after, now))
        elif row is not None and after is not None and after != _of(row):
            opened += after.state == OPEN and row.state != OPEN
            gone += after.state == GONE
            _put(row, after, now)
    if fresh:
        kind = sqlite_insert if session.get_bind().dialect.name == "sqlite" else postgresql_insert
        session.execute(kind(LikelyPair).on_conflict_do_nothing(), fresh)
    return opened + len(fresh), gone


def _standing(
    row: LikelyPair | None, couple: tuple[AccountId, AccountId], seen: _Seen, threshold: int
) -> Standing | None:
    found = seen.likenesses[couple]
    first, second = (seen.known[number].merged_into_id for number in couple)
    if row is None:
        return first_standing(found, threshold) if first is None and second is None else None
    if first is not None or second is not None:
        return merged_standing(_of(row), into_each_other=first == couple[1] or second == couple[0])
    return next_standing(_of(row), found, threshold)


def _of(row: LikelyPair) -> Standing:
    return Standing(row.state, row.points, tuple(row.facts), tuple(row.new_facts))  # type: ignore[arg-type]


def _put(row: LikelyPair, after: Standing, now: datetime) -> None:
    if after.state == OPEN and row.state != OPEN:
        row.found_at = now
        row.decided_at, row.decided_by = None, ""
    if after.state == LINKED:
        row.decided_at = now
    row.state, row.points = after.state, after.points
    row.facts, row.new_facts = list(after.facts), list(after.new_facts)


def _new_row(couple: tuple[AccountId, AccountId], standing: Standing, now: datetime) -> dict[str, object]:
    return {
        "first_id": couple[0],
        "second_id": couple[1],
        "points": standing.points,
        "facts": list(standing.facts),
        "new_facts": [],
        "state": standing.state,
        "found_at": now,
        "proposed_by": "",
        "decided_by": "",
        "note": "",
    }


def forget(session: Session, ids: Collection[AccountId]) -> None:
    """Drop everything of accounts that are erased: they are in no pair, and found by nothing."""
    if ids:
        session.execute(delete(LikelyPair).where(or_(LikelyPair.first_id.in_(ids), LikelyPair.second_id.in_(ids))))
        session.execute(delete(PersonKey).where(PersonKey.account_id.in_(ids)))


def check_all(session: Session) -> int:
    """Let every account wait for a look: the settings name other keys or another threshold. Returns how many wait."""
    kind = sqlite_insert if session.get_bind().dialect.name == "sqlite" else postgresql_insert
    living = select(Account.id).where(Account.erased_at.is_(None))
    session.execute(kind(PairCheck).from_select(["account_id"], living).on_conflict_do_nothing())
    return waiting(session)


def waiting(session: Session) -> int:
    """How many accounts wait for a look."""
    return session.scalar(select(func.count()).select_from(PairCheck)) or 0
