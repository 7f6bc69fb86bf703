"""What a comparison leaves in the mirror, whether or not anything is written to Moodle for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from lms_bridge.gate import MirrorState
from lms_bridge.schema import Mirror
from lms_bridge.sync import mirrors
from lms_bridge.sync.compare import Comparison
from lms_bridge.sync.source import Entry


def note(session: Session, entry: Entry, comparison: Comparison, site: str, now: datetime) -> None:
    """Write down where the account stands. With nothing left to do it is handled, until it changes again."""
    facts = entry.subject.facts
    row = mirrors.ensure_mirror(session, facts.account_id, site)
    if row.moodle_id != entry.mirror.moodle_id:
        return  # a link or another window changed whose user it is meanwhile: what was found is of another one
    for name, value in changes(entry, comparison, now).items():
        setattr(row, name, value)
    row.recheck_at = mirrors.next_change(facts, now)
    if not comparison.actions:
        mirrors.settle(session, site, {facts.account_id: facts.version})


def changes(entry: Entry, comparison: Comparison, now: datetime) -> dict[str, Any]:
    """The columns of the mirror that differ from what the comparison found, `seen_at` aside."""
    mirror, facts = entry.mirror, entry.subject.facts
    settled = not comparison.actions and comparison.state is MirrorState.IN_STEP
    wanted: dict[str, Any] = {
        "state": comparison.state_before.value,
        "problem": comparison.problem[:200],
        "conflicts": [_conflict(conflict) for conflict in map(asdict, comparison.conflicts)],
        "absent_runs": 0,
        "moodle_id": mirror.moodle_id if mirror.moodle_id is not None else comparison.moodle_id,
        "account_version": facts.version if settled else mirror.account_version,
    }
    if comparison.noted:
        wanted["written"] = {**mirror.written, **comparison.noted}
    found = {name: value for name, value in wanted.items() if value != _current(mirror, name)}
    if settled and comparison.moodle_id is not None:
        found["seen_at"] = now
    return found


def note_seen(session: Session, site: str, account_ids: Sequence[int], now: datetime) -> None:
    """Those a run found just as they should be: nothing changes but that they were seen."""
    if account_ids:
        session.execute(
            update(Mirror).where(Mirror.site == site, Mirror.account_id.in_(account_ids)).values(seen_at=now)
        )


def _current(mirror: mirrors.MirrorView, name: str) -> Any:
    value = getattr(mirror, name)
    if name == "state":
        return value.value
    return list(value) if name == "conflicts" else value


def _conflict(values: dict[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in ("field", "ours", "theirs", "problem")}
