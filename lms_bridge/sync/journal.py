"""The journal: each write is put down before it is made, and settled after it.

What a crash leaves behind is an entry that says `intended`. Nobody repeats it: the next run, or the next look at that
account, reads Moodle and settles it as `done` or `lost`, and the mirror accordingly (D53; "unknown outcome").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from external_accounts.schema import AccountId
from lms_bridge.schema import JournalEntry
from lms_bridge.sync.actions import Action, Kind

INTENDED, DONE, REFUSED, LOST = "intended", "done", "refused", "lost"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one entry: `state`, Moodle's `code` of a refusal, and the user's id once it is known."""

    state: str
    code: str = ""
    moodle_id: int | None = None

    @property
    def done(self) -> bool:
        return self.state == DONE


def intend(session: Session, actions: Sequence[Action], *, site: str, run_id: int | None, now: datetime) -> list[int]:
    """Write the actions down; returns the entries' ids, in order."""
    entries = [
        JournalEntry(
            run_id=run_id,
            site=site,
            account_id=action.account_id,
            moodle_id=action.moodle_id,
            kind=action.kind.value,
            before=dict(action.before),
            after=dict(action.after),
            reason=action.reason[:60],
            state=INTENDED,
            at=now,
        )
        for action in actions
    ]
    session.add_all(entries)
    session.flush()
    return [entry.id for entry in entries]


def owners(session: Session, entry_ids: Sequence[int]) -> dict[int, AccountId]:
    """Whose user each entry is about. A link takes the open entries of a user along (`lms_bridge.sync.merges`)."""
    query = select(JournalEntry.id, JournalEntry.account_id).where(JournalEntry.id.in_(entry_ids))
    return {row.id: row.account_id for row in session.execute(query)}


def settle(session: Session, outcomes: Mapping[int, Outcome], *, now: datetime) -> None:
    """Say what became of entries, by their ids."""
    rows: list[dict[str, Any]] = []
    for entry_id, outcome in outcomes.items():
        row = {"id": entry_id, "state": outcome.state, "code": outcome.code[:80], "settled_at": now}
        rows.append(row if outcome.moodle_id is None else {**row, "moodle_id": outcome.moodle_id})
    if rows:
        session.execute(update(JournalEntry), rows)


def unsettled(session: Session, site: str, account_ids: Iterable[AccountId] | None = None) -> list[tuple[int, Action]]:
    """The entries nobody has settled, oldest first: those of a site, or of some of its accounts."""
    query = select(JournalEntry).where(JournalEntry.site == site, JournalEntry.state == INTENDED)
    if account_ids is not None:
        query = query.where(JournalEntry.account_id.in_(list(account_ids)))
    return [(entry.id, _action(entry)) for entry in session.scalars(query.order_by(JournalEntry.id))]


def _action(entry: JournalEntry) -> Action:
    return Action(
        kind=Kind(entry.kind),
        account_id=entry.account_id,
        username=str(entry.after.get("username", "")),
        version=0,
        moodle_id=entry.moodle_id,
        before=entry.before,
        after=entry.after,
        reason=entry.reason,
        last=False,
    )
