"""A whole file: planned before its first write, then written in short transactions, in the order of the keys.

Killed anywhere, it is run again: what was written is found by its key, and the rest follows. User names are given in
the order of the keys as well, so they do not depend on the order of the lines, nor on where a run was interrupted.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.accounts import Person
from external_accounts.database import Database
from external_accounts.directory import Directory
from external_accounts.duplicates import Traits
from external_accounts.import_facts import absent, facts_for, living_from_files, traits_of
from external_accounts.import_rows import Problem, Sheet, Wish
from external_accounts.import_writing import EndSessions, Pen, change, create
from external_accounts.imports import (
    CHANGING,
    Decision,
    Facts,
    Kind,
    Limit,
    Rules,
    Stop,
    checksum,
    decide,
    end_now,
    stops,
)
from external_accounts.name_index import alike_among
from external_accounts.schema import Account
from external_accounts.usernames import series

BATCH = 100
"""Lines in one transaction: it holds SQLite's only write lock."""
TRIES = 5
"""How often a batch is begun again because another process took a name or a key in between."""
_NAMES_AT_ONCE = 4
_MOST_NAMESAKES = 8000

Some = TypeVar("Some")
Progress = Callable[[int, int], None]
"""Told how many lines of how many are done."""


def _silent(_done: int, _total: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Limits:
    """What stops a run: how many accounts it may end, and give another name, unasked."""

    ended: Limit
    renamed: Limit


@dataclass(frozen=True, slots=True)
class Plan:
    """What a file would change."""

    decisions: tuple[Decision, ...]
    """In the order of their keys."""
    wishes: Mapping[str, Wish]
    """By key: what the decisions were made from. Not of people who are absent."""
    alike_lines: Mapping[str, tuple[str, ...]]
    stops: tuple[Stop, ...] = ()
    known: int = 0

    @property
    def counts(self) -> Counter[Kind]:
        return Counter(decision.kind for decision in self.decisions)

    @property
    def pending(self) -> int:
        return sum(self.counts[kind] for kind in CHANGING)

    @property
    def checksum(self) -> str:
        return checksum(self.decisions)


def plan(
    database: Database,
    sheet: Sheet,
    rules: Rules,
    limits: Limits,
    *,
    complete: bool = False,
    progress: Progress = _silent,
) -> Plan:
    """Decide about every line. Writes nothing.

    `complete`: the file has everybody of `rules.default_profile`; whoever is not in it is to be ended.
    """
    wishes = {line.external_key: line.wish for line in sheet.lines if line.wish is not None}
    alike_lines = _alike_lines(wishes, rules)
    decisions: list[Decision] = []
    keys = sorted(wishes)
    for batch in _batches(keys):
        with database.read() as session:
            facts = facts_for(session, [wishes[key] for key in batch], alike_lines=alike_lines)
        decisions += [decide(wishes[key], facts[key], rules) for key in batch]
        progress(len(decisions), len(keys))
    decisions = _one_for_each_name(decisions)
    with database.read() as session:
        known = living_from_files(session, rules.default_profile if complete else None)
        if complete and rules.default_profile is not None:
            present = {line.external_key for line in sheet.lines}
            gone = absent(session, rules.default_profile, present, rules.now)
            decisions += [end_now(account_id, key, rules.now) for account_id, key in gone]
    decisions.sort(key=lambda decision: decision.external_key)
    found = stops(
        decisions,
        known=known,
        ended=limits.ended,
        renamed=limits.renamed,
        lines=len(sheet.lines),
        unread=sum(not line.external_key for line in sheet.lines),
        complete=complete,
    )
    return Plan(tuple(decisions), wishes, alike_lines, tuple(found), known)


def _alike_lines(wishes: Mapping[str, Wish], rules: Rules) -> dict[str, tuple[str, ...]]:
    people: dict[str, Traits] = {key: traits_of(wish) for key, wish in wishes.items()}
    return {
        key: others
        for key, alike in alike_among(people).items()
        if (others := tuple(other for other, score in alike if score.points >= rules.homonym_threshold))
    }


def _one_for_each_name(decisions: Sequence[Decision]) -> list[Decision]:
    """Two lines that bring the same user name: which is right, their order must not say."""
    named = Counter(decision.changes.get("username") for decision in decisions if decision.kind == "create")
    return [
        replace(decision, kind="refuse", changes={}, problems=(Problem("twice", "username", name),))
        if decision.kind == "create" and (name := decision.changes.get("username")) and named[name] > 1
        else decision
        for decision in decisions
    ]


@dataclass
class Outcome:
    """What a run did."""

    done: Counter[Kind] = field(default_factory=Counter)
    set_aside: list[Decision] = field(default_factory=list)
    """Refused at the last moment: what they rest on changed since the plan."""
    usernames: dict[str, str] = field(default_factory=dict)
    """Of the accounts made, by key."""


@dataclass(frozen=True, slots=True)
class Run:
    """What writing needs."""

    database: Database
    directories: Mapping[str, Directory]
    rules: Rules
    origin: audit.Origin
    end_sessions: EndSessions
    name: str = field(default_factory=lambda: secrets.token_hex(6))

    @property
    def pen(self) -> Pen:
        rules = self.rules
        return Pen(rules.profiles, rules.now, self.origin, self.name, rules.language, self.end_sessions)


def apply(run: Run, plan: Plan, *, progress: Progress = _silent) -> Outcome:
    """Write a plan. The caller has looked at its `stops`.

    Raises:
        DirectoryUnavailable: a directory could not say which user names it has. What was written stays; run again.
    """
    wanted = [decision for decision in plan.decisions if decision.kind in CHANGING]
    outcome = Outcome()
    try:
        for number, batch in enumerate(_batches(wanted)):
            _apply_batch(run, plan, batch, outcome)
            progress(min((number + 1) * BATCH, len(wanted)), len(wanted))
    finally:
        if wanted:
            _record(run, plan, outcome, len(wanted))
    return outcome


def _record(run: Run, plan: Plan, outcome: Outcome, wanted: int) -> None:
    """One event for the run as a whole, also when it did not come to its end."""
    with run.database.begin() as session:
        audit.record(
            session,
            "accounts.imported",
            outcome="ok" if sum(outcome.done.values()) == wanted else "partial",
            now=run.rules.now,
            origin=run.origin,
            run=run.name,
            checksum=plan.checksum,
            wanted=wanted,
            done=dict(outcome.done),
            refused=plan.counts["refuse"] + len(outcome.set_aside),
        )


def _apply_batch(run: Run, plan: Plan, batch: Sequence[Decision], outcome: Outcome) -> None:
    for turn in range(TRIES):
        usernames = usernames_for(run, [decision for decision in batch if decision.kind == "create"])
        try:
            with run.database.begin() as session:
                taken = write(run, session, batch, plan.wishes, plan.alike_lines, usernames)
        except (IntegrityError, OperationalError):  # the latter where two runs wait for each other's names
            if turn == TRIES - 1:
                raise
        else:
            for decision in taken:
                if decision.kind == "refuse":
                    outcome.set_aside.append(decision)
                else:
                    outcome.done[decision.kind] += 1
                    if decision.kind == "create":
                        outcome.usernames[decision.external_key] = usernames[decision.external_key]
            return


def write(
    run: Run,
    session: Session,
    batch: Sequence[Decision],
    wishes: Mapping[str, Wish],
    alike_lines: Mapping[str, tuple[str, ...]],
    usernames: Mapping[str, str],
) -> list[Decision]:
    """Take the decisions of a batch again, with their accounts held, and write those that still come out the same.

    Returns them; one that does not is a refusal.

    Raises:
        IntegrityError: a user name or a key was taken meanwhile.
    """
    asked = [wishes[decision.external_key] for decision in batch if decision.external_key in wishes]
    facts = facts_for(session, asked, alike_lines=alike_lines, lock=True)
    taken = [_again(run, session, decision, wishes, facts) for decision in batch]
    create(session, [decision for decision in taken if decision.kind == "create"], usernames, run.pen)
    for decision in taken:
        if decision.kind in ("update", "end", "revive"):
            change(session, decision, run.pen)
    return taken


def _again(
    run: Run, session: Session, decision: Decision, wishes: Mapping[str, Wish], facts: Mapping[str, Facts]
) -> Decision:
    key = decision.external_key
    if key not in wishes:
        account = session.get_one(Account, decision.account_id, with_for_update=True, populate_existing=True)
        end = account.rights_end_at
        same = account.external_key == key and account.erased_at is None and (end is None or end > run.rules.now)
        return decision if same else _moved(decision)
    now = decide(wishes[key], facts[key], run.rules)
    if now.essence == decision.essence:
        return now
    return now if now.kind in ("refuse", "leave") else _moved(decision)


def _moved(decision: Decision) -> Decision:
    return Decision("refuse", decision.external_key, problems=(Problem("changed_meanwhile"),))


def usernames_for(run: Run, decisions: Sequence[Decision]) -> dict[str, str]:
    """A user name for each account to be made: the line's own, or the first free one made of the person's name.

    Free is one that no account holds or held, and that the directory of the profile has not. Directories are asked
    here, outside any transaction: they may take their time.
    """
    names = {one.external_key: one.changes["username"] for one in decisions if "username" in one.changes}
    made = [_Series(run, one) for one in decisions if one.external_key not in names]
    reserved = set(names.values())
    with run.database.read() as session:
        # Most find a free one among the first few: one question for all.
        taken = _taken(session, [name for one in made for name in one.proposed])
    for one in made:
        name = one.first_free(taken | reserved)
        reserved.add(name)
        names[one.external_key] = name
    return names


class _Series:
    """The user names that somebody could have, a few at a time."""

    def __init__(self, run: Run, decision: Decision) -> None:
        said = decision.changes
        self.external_key = decision.external_key
        self._run, self._policy = run, run.rules.profiles[said["profile"]]
        self._directory = run.directories.get(self._policy.directory)
        person = Person(said["given_name"], said["family_name"])
        self._names = islice(series(run.rules.form(self._policy), person), _MOST_NAMESAKES)
        self.proposed = self._next()

    def _next(self) -> list[str]:
        return [name for name in islice(self._names, _NAMES_AT_ONCE) if self._run.rules.fits(name, self._policy)]

    def first_free(self, taken: set[str]) -> str:
        """The first one that is not among `taken`, which knows of the first few, and that the directory has not."""
        while self.proposed:
            for name in self.proposed:
                if name not in taken and (self._directory is None or self._directory.find(name) is None):
                    return name
            self.proposed = self._next()
            with self._run.database.read() as session:
                taken = taken | _taken(session, self.proposed)
        raise LookupError(f"no user name is free for {self.external_key}")


def _taken(session: Session, names: Sequence[str]) -> set[str]:
    return set(session.scalars(select(Account.username).where(Account.username.in_(names))))


def _batches(values: Sequence[Some]) -> Iterator[Sequence[Some]]:
    for start in range(0, len(values), BATCH):
        yield values[start : start + BATCH]
