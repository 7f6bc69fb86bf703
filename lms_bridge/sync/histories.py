"""Which of two accounts has the longer history in Moodle, as far as its web services tell: for the proposal made to a
person who joins them. They choose; this only says what is known, and unknown stays unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

from sqlalchemy import select

from external_accounts.database import Database
from external_accounts.schema import AccountId
from lms_bridge.i18n import N_
from lms_bridge.schema import Mirror
from lms_bridge.sync.sites import MoodleSites
from moodle_ws.errors import MoodleError

DEADLINE = 3.0
"""Seconds that a person waits for what Moodle tells, at most."""


@dataclass(frozen=True, slots=True)
class History:
    """What is known of one account's user at one site. None: unknown. Times are Unix seconds, 0 for never."""

    site: str
    moodle_id: int
    ours: bool
    """Whether the bridge may rename it (I7)."""
    first_access: int | None = None
    last_access: int | None = None
    courses: int | None = None


class Reason(StrEnum):
    """Why one of two is proposed."""

    ONLY_USER = "only_user"
    NOT_OURS = "not_ours"
    MORE_COURSES = "more_courses"
    FIRST_THERE = "first_there"
    LAST_THERE = "last_there"
    NOT_KNOWN = "not_known"


REASONS = {
    Reason.ONLY_USER: N_("It is the only one of the two that was ever known there."),
    Reason.NOT_OURS: N_("The other one could not be given a new name there without help."),
    Reason.MORE_COURSES: N_("It takes part in more courses."),
    Reason.FIRST_THERE: N_("It has been used for longer."),
    Reason.LAST_THERE: N_("It was used more recently."),
    Reason.NOT_KNOWN: N_("We could not find out which of them was used more."),
}
"""For the person, about the proposed one."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """Which of two accounts to keep, by its place in the question (0 or 1)."""

    kept: int
    reason: Reason


def histories(
    database: Database, sites: MoodleSites, account_ids: Sequence[AccountId], *, deadline: float = DEADLINE
) -> Mapping[AccountId, Sequence[History]]:
    """What each account's users did, at every site where it has one. Never raises for Moodle's faults, and answers
    within `deadline` seconds: what did not come in time, or the token may not ask, is unknown. Only reads."""
    query = (
        select(Mirror.account_id, Mirror.site, Mirror.moodle_id, Mirror.owned)
        .where(Mirror.account_id.in_(account_ids), Mirror.moodle_id.is_not(None), Mirror.site.in_(list(sites.names)))
        .order_by(Mirror.site, Mirror.account_id)
    )
    with database.read() as session:
        rows = session.execute(query).all()
    questions: dict[tuple[Any, str], Callable[[], Any]] = {}
    for row in rows:
        client = sites.client(row.site)
        questions[row, "user"] = partial(client.users_by_field, "id", [row.moodle_id])
        questions[row, "courses"] = partial(client.courses_of, row.moodle_id)
    answers = _within(deadline, questions)
    found: dict[AccountId, list[History]] = {account_id: [] for account_id in account_ids}
    for row in rows:
        users, courses = answers.get((row, "user"), ()), answers.get((row, "courses"))
        user = users[0] if users else None
        history = History(
            row.site,
            row.moodle_id,
            row.owned,
            user.firstaccess if user is not None else None,
            user.lastaccess if user is not None else None,
            len(courses) if courses is not None else None,
        )
        found[row.account_id].append(history)
    return found


def propose(one: Sequence[History], two: Sequence[History]) -> Proposal:
    """Which of two accounts has the longer history. A pure function; the first one where nothing tells them apart.

    A user that may not be renamed goes before everything, or the person would wait for help. Then more courses; then
    who was there first, for long use leaves more behind than late use; then who was there last. What is unknown of
    either is no argument; nor are no courses on both sides, which Moodle also says where the token may not see them.
    """
    if not one or not two:
        return Proposal(1 if two else 0, Reason.ONLY_USER if one or two else Reason.NOT_KNOWN)
    bound = [sum(not history.ours for history in histories) for histories in (one, two)]
    if bound[0] != bound[1]:
        return Proposal(int(bound[1] > bound[0]), Reason.NOT_OURS)
    courses = [_total(history.courses for history in histories) for histories in (one, two)]
    if courses[0] is not None and courses[1] is not None and courses[0] != courses[1]:
        return Proposal(int(courses[1] > courses[0]), Reason.MORE_COURSES)
    first = [_extreme(min, (history.first_access for history in histories)) for histories in (one, two)]
    if first[0] is not None and first[1] is not None and first[0] != first[1]:
        # Never there (0) is later than any day.
        return Proposal(int((first[1] or float("inf")) < (first[0] or float("inf"))), Reason.FIRST_THERE)
    last = [_extreme(max, (history.last_access for history in histories)) for histories in (one, two)]
    if last[0] is not None and last[1] is not None and last[0] != last[1]:
        return Proposal(int(last[1] > last[0]), Reason.LAST_THERE)
    return Proposal(0, Reason.NOT_KNOWN)


def _total(counts: Iterable[int | None]) -> int | None:
    known = list(counts)
    return None if None in known else sum(count or 0 for count in known)


def _extreme(choose: Callable[[Sequence[int]], int], moments: Iterable[int | None]) -> int | None:
    known = list(moments)
    if None in known:
        return None
    visits = [moment for moment in known if moment]
    return choose(visits) if visits else 0


def _within(seconds: float, questions: Mapping[tuple[Any, str], Callable[[], Any]]) -> Mapping[tuple[Any, str], Any]:
    """The answers that came in time. Nobody waits for the others: each call ends by its own time-out."""
    if not questions:
        return {}
    pool = ThreadPoolExecutor(len(questions), thread_name_prefix="histories")
    asked = {pool.submit(question): key for key, question in questions.items()}
    done, _late = wait(asked, timeout=seconds)
    pool.shutdown(wait=False, cancel_futures=True)
    answers = {}
    for future in done:
        error = future.exception()
        if error is None:
            answers[asked[future]] = future.result()
        elif not isinstance(error, MoodleError):
            raise error
    return answers
