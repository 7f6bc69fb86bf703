"""Where a site stands, from our own rows: what is in step, what waits, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from external_accounts.database import Database
from external_accounts.schema import Account
from lms_bridge.schema import JournalEntry, Mirror, MoodleMerge, SiteState, SyncRun
from lms_bridge.sync import journal
from lms_bridge.sync.merges import OPEN

LISTED = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """An account that a human must look at."""

    username: str
    problem: str
    conflicts: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class SiteStatus:
    """What is known of a site. Times are UTC."""

    site: str
    states: Mapping[str, int]
    """Accounts by state of their mirror."""
    owned: int
    waiting: int
    """Accounts that changed and are not in step yet."""
    oldest_failure: str
    unsettled: int
    """Writes whose outcome is not known yet."""
    release: str
    complete_run_at: datetime | None
    held_since: datetime | None
    held_reason: str
    failing_since: datetime | None
    last_error: str
    running_until: datetime | None
    runs: Sequence[Mapping[str, Any]]
    problems: Sequence[Problem]
    merges: int
    """Work for an administrator of Moodle: see `lms_bridge.sync.merge_list`."""
    merges_since: datetime | None


def of_site(database: Database, site: str, *, now: datetime) -> SiteStatus:
    """The site's status as of `now`."""
    with database.read() as session:
        by_state = (
            select(Mirror.state, func.count().label("accounts")).where(Mirror.site == site).group_by(Mirror.state)
        )
        states = {row.state: row.accounts for row in session.execute(by_state)}
        here = Mirror.site == site
        row = session.get(SiteState, site) or SiteState(site=site, release="", held_reason="", last_error="")
        problems = session.execute(
            select(Account.username, Mirror.problem, Mirror.conflicts)
            .join(Account, Account.id == Mirror.account_id)
            .where(here, Mirror.problem != "")
            .order_by(Mirror.id)
            .limit(LISTED)
        )
        runs = session.scalars(select(SyncRun).where(SyncRun.site == site).order_by(SyncRun.id.desc()).limit(5))
        lease = row.run_lease_until
        waiting = (MoodleMerge.site == site, MoodleMerge.state == OPEN)
        merges, merges_since = session.execute(
            select(func.count(), func.min(MoodleMerge.made_at)).where(*waiting)
        ).one()
        return SiteStatus(
            site=site,
            states=states,
            owned=session.scalar(select(func.count()).where(here, Mirror.owned)) or 0,
            waiting=session.scalar(select(func.count()).where(here, Mirror.due)) or 0,
            oldest_failure=session.scalar(
                select(Mirror.problem).where(here, Mirror.due, Mirror.tries > 0).order_by(Mirror.id).limit(1)
            )
            or "",
            unsettled=session.scalar(
                select(func.count()).where(JournalEntry.site == site, JournalEntry.state == journal.INTENDED)
            )
            or 0,
            release=row.release,
            complete_run_at=row.complete_run_at,
            held_since=row.held_since,
            held_reason=row.held_reason,
            failing_since=row.failing_since,
            last_error=row.last_error if row.failing_since else "",
            running_until=lease if lease is not None and lease > now else None,
            runs=[
                {
                    "kind": run.kind,
                    "started_at": run.started_at,
                    "ended_at": run.ended_at,
                    "outcome": run.outcome,
                    "actor": run.actor,
                    "counts": run.counts,
                    "problem": run.problem,
                }
                for run in runs
            ],
            problems=[Problem(*problem) for problem in problems],
            merges=merges,
            merges_since=merges_since,
        )


def lines(found: SiteStatus) -> Sequence[str]:
    """The status for a terminal."""
    states = ", ".join(f"{count} {state}" for state, count in sorted(found.states.items())) or "no account yet"
    text = [f"{found.site}: {states}; {found.owned} users are ours; {found.waiting} accounts wait."]
    if found.failing_since:
        text.append(f"  Moodle has been failing since {_at(found.failing_since)}: {found.last_error}")
    if found.held_since:
        text.append(f"  The guard holds changes since {_at(found.held_since)}: {found.held_reason}")
        text.append("    Look at `lms-bridge sync plan`, then `sync apply` with its checksum.")
    if found.running_until:
        text.append("  A run is at work now.")
    if found.unsettled:
        text.append(f"  {found.unsettled} writes with an unknown outcome; the next run reads them back.")
    if found.merges and found.merges_since:
        text.append(
            f"  {found.merges} merges wait, the oldest since {_at(found.merges_since)}: `lms-bridge merges list`."
        )
    last = f"the last complete run was at {_at(found.complete_run_at)}" if found.complete_run_at else "no run yet"
    text.append(f"  Moodle {found.release or 'not met yet'}; {last}.")
    for run in found.runs:
        ended = f", {run['problem']}" if run["problem"] else ""
        text.append(f"  {_at(run['started_at'])} {run['kind']:<8} {run['outcome']}{ended}")
    for problem in found.problems:
        text.append(f"  {problem.username}: {problem.problem}")
        text += [f"    {one['field']}: here {one['ours']!r}, in Moodle {one['theirs']!r}" for one in problem.conflicts]
    return text


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
