"""The work list of merges: course work that stands under two Moodle users of one person, to be moved by hand.

In the form that Moodle's merge-users plugin takes (jpahullo/moodle-tool_mergeusers, `cli/climerger.php`): pairs of
Moodle ids called `fromid`, the user to remove, and `toid`, the user to keep.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.linking_schema import AccountLink
from external_accounts.schema import Account
from external_accounts.spreadsheets import harmless
from lms_bridge.i18n import N_
from lms_bridge.schema import Mirror, MoodleMerge
from lms_bridge.sync.merges import DONE, OPEN
from lms_bridge.sync.ties import is_away

COLUMNS = ("fromid", "toid", "id", "site", "fromusername", "tousername", "state", "hint", "since", "undo_until")
NO_MORE = "-1"
"""What ends the plugin's questions for pairs of ids."""
ANSWER = 2048
"""Bytes that Moodle's command line takes for one answer from a file, whatever lines are in them (`cli_input`, seen on
4.4): each answer is filled up to that length, and Moodle cuts the blanks off."""


class NotOpen(Exception):
    """The merge is done already, was undone, or never was work; or there is none of this number."""


class Hint(StrEnum):
    """What to know before the course work of a merge is moved."""

    READY = "ready"
    UNDER_WAY = "under_way"
    NOT_OURS = "not_ours"
    UNDOABLE = "undoable"


HINTS = {
    Hint.READY: N_("It can be moved now."),
    Hint.UNDER_WAY: N_("Wait: the users are not renamed and closed yet."),
    Hint.NOT_OURS: N_("The user to remove is not ours: suspend it in Moodle too."),
    Hint.UNDOABLE: N_("Wait: the person can still undo it, and what is moved does not come back."),
}


@dataclass(frozen=True, slots=True)
class MergeLine:
    """One merge, by Moodle's ids. Times are UTC."""

    id: int
    site: str
    from_id: int
    to_id: int
    from_username: str
    to_username: str
    state: str
    hint: Hint
    made_at: datetime
    undo_until: datetime
    done_at: datetime | None
    done_by: str


def waiting(session: Session) -> int:
    """How many wait for somebody to move the course work."""
    return session.scalar(select(func.count()).where(MoodleMerge.state == OPEN)) or 0


def hint_of(*, ours: bool, away: bool, undo_until: datetime, now: datetime) -> Hint:
    """What stands against moving course work now: `ours` and `away` are about the user to remove."""
    if now < undo_until:
        return Hint.UNDOABLE
    if not ours:
        return Hint.NOT_OURS
    return Hint.READY if away else Hint.UNDER_WAY


def listed(
    session: Session,
    now: datetime,
    *,
    site: str | None = None,
    every: bool = False,
    after: int = 0,
    limit: int | None = None,
) -> Sequence[MergeLine]:
    """The merges that are work, oldest first; `every`: also those that were done."""
    query = (
        select(MoodleMerge, AccountLink.undo_until, Account.key, Mirror.owned, Mirror.state, Mirror.written)
        .join(AccountLink, AccountLink.id == MoodleMerge.link_id)
        .join(Account, Account.id == AccountLink.other_id)
        .outerjoin(Mirror, (Mirror.site == MoodleMerge.site) & (Mirror.moodle_id == MoodleMerge.other_moodle_id))
        .where(MoodleMerge.state.in_((OPEN, DONE) if every else (OPEN,)), MoodleMerge.id > after)
        .order_by(MoodleMerge.id)
        .limit(limit)
    )
    if site is not None:
        query = query.where(MoodleMerge.site == site)
    return [_line(row, now) for row in session.execute(query)]


def _line(row: Any, now: datetime) -> MergeLine:
    merge, undo_until, key, owned, state, written = row
    away = state is not None and is_away(state, written, key)
    return MergeLine(
        id=merge.id,
        site=merge.site,
        from_id=merge.other_moodle_id,
        to_id=merge.kept_moodle_id,
        from_username=merge.other_username,
        to_username=merge.kept_username,
        state=merge.state,
        hint=hint_of(ours=bool(owned), away=away, undo_until=undo_until, now=now),
        made_at=merge.made_at,
        undo_until=undo_until,
        done_at=merge.done_at,
        done_by=merge.done_by,
    )


def as_csv(lines: Iterable[MergeLine]) -> str:
    """The list as a file: commas, as PHP reads them, and the two columns that the plugin needs first."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in lines:
        cells = (
            line.from_id,
            line.to_id,
            line.id,
            line.site,
            harmless(line.from_username),
            harmless(line.to_username),
            line.state,
            line.hint.value,
            line.made_at.isoformat(),
            line.undo_until.isoformat(),
        )
        writer.writerow(cells)
    return out.getvalue()


def as_pairs(lines: Iterable[MergeLine]) -> str:
    """The list as the answers to the plugin's questions on the command line: from, to, from, to, and the end."""
    numbers = [str(number) for line in lines for number in (line.from_id, line.to_id)]
    return "".join(number.ljust(ANSWER - 1) + "\n" for number in (*numbers, NO_MORE))


def mark_done(session: Session, merge_id: int, *, by: str, now: datetime, origin: audit.Origin) -> None:
    """Note that the course work was moved. Of two people at once one does, and the other learns it.

    Raises:
        NotOpen: see there.
    """
    merge = session.get(MoodleMerge, merge_id, with_for_update=True, populate_existing=True)
    if merge is None or merge.state != OPEN:
        raise NotOpen(merge_id)
    merge.state, merge.done_at, merge.done_by = DONE, now, by
    link = session.get_one(AccountLink, merge.link_id)
    audit.record(
        session,
        "merge.done",
        outcome="ok",
        now=now,
        origin=origin,
        account_id=link.kept_id,
        site=merge.site,
        removed=merge.other_moodle_id,
        kept=merge.kept_moodle_id,
    )
