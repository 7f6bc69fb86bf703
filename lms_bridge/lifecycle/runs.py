"""A run over all accounts: read what is due, ask the guard, take the steps; and the record of it.

A dry run writes nothing. A run that is meant to write reads everything first, then goes over the accounts again and
decides anew for each while it holds it; it never takes more steps of a kind than it has counted and the guard has let
pass. Killed anywhere, it is begun again: what was done is not due any more.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from external_accounts import audit, lifecycle_candidates
from external_accounts.lifecycle import Due, Step, held, steps_due
from external_accounts.lifecycle_candidates import Candidate, candidates
from external_accounts.lifecycle_mails import Terms
from external_accounts.lifecycle_steps import take_due
from external_accounts.schema import Account, AccountId
from lms_bridge.lifecycle import guard
from lms_bridge.lifecycle.terms import terms
from lms_bridge.runtime import Runtime
from lms_bridge.signin import sessions
from lms_bridge.sync.guard import Stop

log = structlog.get_logger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with the work at hand (`read`, `write`), how much is done, and of how much."""
Listed = Callable[[Candidate, Due], None]
"""Called with each step of the plan."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is due: numbers only, since the list has no bound."""

    living: int
    """Accounts that are not erased."""
    read: int
    counts: Mapping[tuple[str, Step], int]
    """By profile and step."""
    held: Mapping[str, int]
    """Accounts that are not erased although their retention may be over, by why."""
    checksum: str
    """Of every account and step, in order: the same plan has the same."""

    @property
    def steps(self) -> Mapping[Step, int]:
        found: Counter[Step] = Counter()
        for (_profile, step), count in self.counts.items():
            found[step] += count
        return found

    @property
    def size(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Report:
    """How a run ended."""

    plan: Plan
    stops: tuple[Stop, ...] = ()
    outcome: str = "planned"
    """`planned`, `nothing`, `done`, `partial` or `stopped`."""
    done: Mapping[Step, int] = field(default_factory=dict)
    failed: int = 0
    """Accounts on which the database refused; a run again tries them again."""


def make_plan(
    runtime: Runtime,
    now: datetime,
    *,
    progress: Progress = lambda *_: None,
    listed: Listed = lambda *_: None,
) -> Plan:
    """What is due at `now`. Writes nothing."""
    rules = terms(runtime)
    with runtime.database.read() as session:
        total = lifecycle_candidates.count(session, rules.policies, now, rules.zone)
        living = session.scalar(select(func.count()).select_from(Account).where(Account.erased_at.is_(None))) or 0
    counts: Counter[tuple[str, Step]] = Counter()
    waiting: Counter[str] = Counter()
    checksum = hashlib.sha256()
    read = 0
    for page in candidates(runtime.database, rules.policies, now, rules.zone):
        for candidate in page:
            for due in steps_due(candidate.life, rules.policy(candidate.profile), now, rules.zone):
                counts[candidate.profile, due.step] += 1
                checksum.update(f"{candidate.account_id} {due.step}\n".encode())
                listed(candidate, due)
            if (why := _held_back(candidate, rules, now)) is not None:
                waiting[why] += 1
        read += len(page)
        progress("read", read, max(total, read))
    return Plan(living, read, counts, waiting, checksum.hexdigest()[:16])


def _held_back(candidate: Candidate, rules: Terms, now: datetime) -> str | None:
    """Why nothing happens to an account whose rights are over and which would be warned or erased otherwise."""
    end, months = candidate.life.rights_end_at, rules.policy(candidate.profile).retention_months
    return held(candidate.life, now) if months is not None and end is not None and end <= now else None


def run(
    runtime: Runtime,
    *,
    actor: str,
    checksum: str = "",
    progress: Progress = lambda *_: None,
    listed: Listed = lambda *_: None,
) -> Report:
    """Do what is due now. `checksum`: of the plan an operator has seen; it lifts the thresholds for the same plan."""
    now = runtime.clock()
    origin = audit.Origin(actor=actor)
    plan = make_plan(runtime, now, progress=progress, listed=listed)
    stops = guard.check(plan.steps, plan.living, runtime.settings.lifecycle)
    if checksum and checksum == plan.checksum:
        stops = []
    if stops or not plan.size:
        report = Report(plan, tuple(stops), "stopped" if stops else "nothing")
    else:
        report = _apply(runtime, plan, now, origin, progress)
    if report.outcome != "nothing":
        _record(runtime, report, origin)
    return report


def _apply(runtime: Runtime, plan: Plan, now: datetime, origin: audit.Origin, progress: Progress) -> Report:
    rules = terms(runtime)
    left = Counter(plan.steps)
    done: Counter[Step] = Counter()
    failed = 0
    for page in candidates(runtime.database, rules.policies, now, rules.zone):
        for candidate in page:
            if next(steps_due(candidate.life, rules.policy(candidate.profile), now, rules.zone), None) is None:
                continue
            try:
                steps = _take(runtime, candidate.account_id, rules, left, now, origin)
            except SQLAlchemyError:
                log.exception("lifecycle.account", account_id=candidate.account_id)
                failed += 1
                continue
            done.update(steps)
            left.subtract(steps)
            progress("write", done.total(), plan.size)
    return Report(plan, (), "partial" if failed else "done", done, failed)


def _take(
    runtime: Runtime, account_id: AccountId, rules: Terms, left: Counter[Step], now: datetime, origin: audit.Origin
) -> list[Step]:
    budget = Counter(left)

    def may(step: Step) -> bool:
        budget[step] -= 1
        return budget[step] >= 0

    with runtime.database.begin() as session:
        steps = take_due(session, account_id, rules, may=may, now=now, origin=origin)
        for step, reason in ((Step.CLOSE, "rights ended"), (Step.ERASE, "account erased")):
            if step in steps:
                sessions.end_all_of(session, account_id, reason=reason, now=now, origin=origin)
    return steps


def _record(runtime: Runtime, report: Report, origin: audit.Origin) -> None:
    with runtime.database.begin() as session:
        audit.record(
            session,
            "lifecycle.run",
            outcome=report.outcome,
            now=runtime.clock(),
            origin=origin,
            planned={step.value: count for step, count in report.plan.steps.items()},
            done={step.value: count for step, count in report.done.items()},
            failed=report.failed,
            stops=[stop.text for stop in report.stops],
        )
