"""A plan: every difference between what a site should hold and what it shows, as actions in a file.

Planning reads the accounts page by page and Moodle in batches, and writes each action down as it is found: memory
stays flat however many people there are. The checksum is over the actions alone, so that the same differences give
the same checksum, now and in an hour.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from external_accounts.schema import AccountId
from lms_bridge import gate
from lms_bridge.gate import MirrorState, Policy
from lms_bridge.i18n import N_
from lms_bridge.settings.moodle_sites import Site
from lms_bridge.sync.actions import Action, Conflict, Kind
from lms_bridge.sync.compare import Comparison, Rules, compare, protected_names
from lms_bridge.sync.desired import desired_user, modes
from lms_bridge.sync.observed import Found, ask, look_up
from lms_bridge.sync.source import Entry
from lms_bridge.sync.ties import NONE, Ties
from moodle_ws.batches import MOST_ROWS
from moodle_ws.client import MoodleClient
from moodle_ws.users import MoodleUser

RUNS_BEFORE_ABSENCE = 1
"""One complete run must have missed a user before another one calls it gone: absent for a run is a doubt."""
UNREADABLE = N_("Moodle cannot show the user: its row breaks Moodle's own rules")
ADDRESS_TAKEN = N_("another Moodle user has the same address")

Progress = Callable[[int, int], None]
"""Called with how many accounts were read, and of how many."""
Recorder = Callable[[Sequence[tuple[Entry, Comparison]]], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """The differences of one site. Actions and conflicts are in `path`, one JSON line each, by account."""

    site: str
    path: Path
    checksum: str
    counts: Mapping[Kind, int]
    conflicts: int = 0
    read: int = 0
    """Accounts read."""
    in_step: int = 0
    """Accounts whose Moodle user is as it should be."""
    without: int = 0
    """Accounts without a Moodle user, who are not to have one."""
    suspended_elsewhere: int = 0
    absent: tuple[int, ...] = ()
    """Accounts whose user this run did not find for the first time."""
    new_cohorts: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return sum(self.counts.values()) + len(self.new_cohorts)

    def actions(self, kind: Kind | None = None) -> Iterator[Action]:
        """The actions, of one kind or all, read from the file as they are asked for."""
        if kind is not None and not self.counts.get(kind):
            return  # most plans hold one kind or two
        with self.path.open(encoding="utf-8") as file:
            for line in file:
                if line.startswith('{"account_id"'):
                    action = Action.from_line(line)
                    if kind is None or action.kind is kind:
                        yield action

    def found_conflicts(self) -> Iterator[Conflict]:
        with self.path.open(encoding="utf-8") as file:
            for line in file:
                if line.startswith('{"conflict"'):
                    yield Conflict.from_line(line)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class PlanFile:
    """Writes a plan's lines and counts them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: Counter[Kind] = Counter()
        self.conflicts = 0
        self._digest = hashlib.sha256()
        # Names and addresses of people: for the operator's eyes. Closed by __exit__.
        self._file = open(path, "w", encoding="utf-8", opener=_private)  # noqa: SIM115

    def __enter__(self) -> PlanFile:
        return self

    def __exit__(self, *_failure: object) -> None:
        self._file.close()

    def head(self, **facts: Any) -> None:
        """What the plan is of: not part of the checksum."""
        self._file.write(json.dumps({"plan": facts}, ensure_ascii=False, default=str) + "\n")

    def add(self, comparison: Comparison) -> None:
        for action in comparison.actions:
            line = action.line()
            self._file.write(line + "\n")
            self._digest.update(line.encode())
            self.counts[action.kind] += 1
        for conflict in comparison.conflicts:
            self._file.write(conflict.line() + "\n")
            self.conflicts += 1

    def new_cohort(self, idnumber: str) -> None:
        line = json.dumps({"new_cohort": idnumber}, ensure_ascii=False)
        self._file.write(line + "\n")
        self._digest.update(line.encode())

    @property
    def checksum(self) -> str:
        return self._digest.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Cohorts:
    """Our cohorts as Moodle has them."""

    ids: Mapping[str, int] = field(default_factory=dict)
    members: Mapping[str, frozenset[int]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    def of(self, moodle_id: int | None) -> frozenset[str] | None:
        if not self.ids and not self.missing:
            return None
        return frozenset(idnumber for idnumber, people in self.members.items() if moodle_id in people)


def read_cohorts(client: MoodleClient, site: Site) -> Cohorts:
    """Our cohorts and their members. Raises MoodleError."""
    ids: dict[str, int] = {}
    for wanted in site.cohorts:
        # The search is by substring; only the exact ID number is ours.
        same = [cohort.id for cohort in client.search_cohorts(wanted.idnumber) if cohort.idnumber == wanted.idnumber]
        if len(same) == 1:
            ids[wanted.idnumber] = same[0]
    people = client.cohort_members(list(ids.values())) if ids else {}
    members = {idnumber: people.get(number, frozenset()) for idnumber, number in ids.items()}
    return Cohorts(ids, members, tuple(cohort.idnumber for cohort in site.cohorts if cohort.idnumber not in ids))


def make_plan(
    pages: Iterator[list[Entry]],
    client: MoodleClient,
    site: Site,
    policy: Policy,
    file: PlanFile,
    *,
    cohorts: Cohorts,
    own_user: int,
    without_address: frozenset[AccountId],
    ties: Callable[[Sequence[Entry]], Mapping[AccountId, Ties]],
    clock: Callable[[], datetime],
    record: Recorder | None = None,
    progress: Callable[[int], None] = lambda _read: None,
) -> Plan:
    """Compare every account of `pages` with what Moodle shows.

    `record` is told of each page what was found, for runs that will write; a dry run leaves no trace.

    Raises:
        MoodleError: Moodle could not be read; there is no plan.
    """
    rules = Rules(
        modes(site),
        creates=site.creates == "admitted",
        runs_before_absence=RUNS_BEFORE_ABSENCE,
        protected=protected_names(site),
        own_user=own_user,
        adopts=frozenset(site.adopts),
    )
    read = in_step = without = suspended_elsewhere = 0
    absent: list[int] = []
    for idnumber in cohorts.missing:
        file.new_cohort(idnumber)
    with ThreadPoolExecutor(site.parallel_calls) as pool:
        for page in pages:
            decided = [(entry, gate.decide(entry.subject.facts, policy, clock())) for entry in page]
            asked = [entry for entry, decision in decided if _to_ask(entry, decision.admitted, rules)]
            found = look_up(client, asked, pool)
            compared = []
            tied = ties(asked)
            for entry, decision in decided:
                shared = entry.account_id in without_address
                tie = tied.get(entry.account_id, NONE)
                comparison = _compare(entry, decision, found, site, rules, cohorts, shared_address=shared, ties=tie)
                compared.append((entry, comparison))
            done = _without_taken_addresses(client, compared, pool)
            for entry, comparison in done:
                file.add(comparison)
                if entry.mirror.moodle_id is not None and _missed(entry, found, comparison):
                    absent.append(entry.account_id)
                read += 1
                in_step += comparison.state is MirrorState.IN_STEP and not comparison.actions
                without += comparison.state is MirrorState.PENDING
                suspended_elsewhere += comparison.state is MirrorState.SUSPENDED_ELSEWHERE
            if record is not None:
                record(done)
            progress(read)
    return Plan(
        site=site.name,
        path=file.path,
        checksum=file.checksum,
        counts=dict(file.counts),
        conflicts=file.conflicts,
        read=read,
        in_step=in_step,
        without=without,
        suspended_elsewhere=suspended_elsewhere,
        absent=tuple(absent),
        new_cohorts=cohorts.missing,
    )


def _to_ask(entry: Entry, admitted: bool, rules: Rules) -> bool:
    """Whether Moodle is to be asked about the account: it has a user there, or may get one."""
    return entry.mirror.moodle_id is not None or entry.mirror.owned or (admitted and rules.creates)


def _compare(
    entry: Entry,
    decision: gate.Decision,
    found: Found,
    site: Site,
    rules: Rules,
    cohorts: Cohorts,
    *,
    shared_address: bool,
    ties: Ties,
) -> Comparison:
    mirror = entry.mirror
    if entry.account_id in found.unreadable:
        facts = entry.subject.facts
        conflict = Conflict(facts.account_id, facts.username, mirror.moodle_id, UNREADABLE, field="user")
        return Comparison(MirrorState.CONFLICT, conflicts=(conflict,), problem=UNREADABLE, moodle_id=mirror.moodle_id)
    if not _to_ask(entry, decision.admitted, rules):
        return Comparison(MirrorState.PENDING)
    user = found.users.get(entry.account_id)
    return compare(
        entry.subject,
        desired_user(entry.subject, site, admitted=decision.admitted),
        user,
        mirror,
        rules,
        member_of=cohorts.of(user.id if user else None),
        decision="" if decision.admitted else decision.first.value,
        shared_address=shared_address,
        ties=ties,
    )


def _without_taken_addresses(
    client: MoodleClient, compared: Sequence[tuple[Entry, Comparison]], pool: Executor
) -> list[tuple[Entry, Comparison]]:
    """Of the people to be created, those whose address some Moodle user has already become conflicts: Moodle would
    refuse them each time, and who the two are is for a human (D33)."""
    wanted = {
        str(action.after["email"]): entry.account_id
        for entry, comparison in compared
        for action in comparison.actions
        if action.kind is Kind.CREATE
    }
    # PostgreSQL compares addresses with case: as written here, and as most systems write them.
    keys = {email.lower(): account_id for email, account_id in wanted.items()}
    asked = list(dict.fromkeys(form for email in wanted for form in (email, email.lower())))
    pieces = [asked[start : start + MOST_ROWS] for start in range(0, len(asked), MOST_ROWS)]
    holders: dict[AccountId, MoodleUser] = {}
    for users, _ in pool.map(lambda piece: ask(client, "email", piece), pieces):
        for user in users:
            owner = keys.get((user.email or "").lower())
            if owner is not None:
                holders[owner] = user
    return [
        (entry, _taken(entry, holders[entry.account_id]) if entry.account_id in holders else comparison)
        for entry, comparison in compared
    ]


def _taken(entry: Entry, holder: MoodleUser) -> Comparison:
    facts = entry.subject.facts
    conflict = Conflict(
        facts.account_id,
        facts.username,
        None,
        ADDRESS_TAKEN,
        field="user",
        ours=f"{facts.username} {facts.email}",
        theirs=f"{holder.id} {holder.username or '?'} ({holder.auth or '?'})",
    )
    return Comparison(MirrorState.CONFLICT, conflicts=(conflict,), problem=ADDRESS_TAKEN)


def _missed(entry: Entry, found: Found, comparison: Comparison) -> bool:
    nobody = entry.account_id not in found.users and entry.account_id not in found.unreadable
    return nobody and comparison.state is not MirrorState.CONFLICT
