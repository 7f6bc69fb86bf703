"""Which of two accounts has the longer history in Moodle: what is asked, and the proposal made of it (D27)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lms_bridge.sync.histories import History, Proposal, Reason, histories, propose
from tests.lms_bridge.sync.conftest import World
from tests.lms_bridge.sync.joined import LEARNER, MEMBER, two_accounts
from tests.lms_bridge.sync.site_runs import account_id


def known(**values: int | bool | None) -> list[History]:
    return [History(**{"site": "updago", "moodle_id": 7, "ours": True, **values})]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "two", "kept", "reason"),
    [
        ([], [], 0, Reason.NOT_KNOWN),
        ([], known(), 1, Reason.ONLY_USER),
        (known(), [], 0, Reason.ONLY_USER),
        (known(courses=9), known(ours=False, courses=0), 1, Reason.NOT_OURS),
        (known(courses=2, first_access=1), known(courses=3, first_access=9), 1, Reason.MORE_COURSES),
        (known(courses=None, first_access=5), known(courses=3, first_access=9), 0, Reason.FIRST_THERE),
        (known(courses=0, first_access=9), known(courses=0, first_access=5), 1, Reason.FIRST_THERE),
        (known(first_access=0, last_access=0), known(first_access=5, last_access=6), 1, Reason.FIRST_THERE),
        (known(first_access=5, last_access=6), known(first_access=5, last_access=7), 1, Reason.LAST_THERE),
        (known(last_access=6), known(first_access=5, last_access=None), 0, Reason.NOT_KNOWN),
        (known(first_access=0, last_access=0), known(first_access=0, last_access=0), 0, Reason.NOT_KNOWN),
        (known(courses=1) + known(courses=1), known(courses=3), 1, Reason.MORE_COURSES),
    ],
)
def test_d27_the_longer_history_is_proposed_with_the_reason(
    one: list[History], two: list[History], kept: int, reason: Reason
) -> None:
    assert propose(one, two) == Proposal(kept, reason)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with two_accounts(tmp_path) as running:
        running.moodle.site.enrolments |= {(running.user(LEARNER).id, course, 5) for course in (2, 3)}
        running.user(LEARNER).firstaccess, running.user(LEARNER).lastaccess = 1_700_000_000, 1_790_000_000
        yield running


def told(world: World, *, deadline: float = 20) -> list[History]:
    runtime = world.bridge.runtime
    ids = [account_id(world, name) for name in (LEARNER, MEMBER)]
    found = histories(runtime.database, runtime.sites, ids, deadline=deadline)
    return [history for number in ids for history in found[number]]


def test_d27_moodle_tells_visits_and_courses(world: World) -> None:
    one, two = told(world)
    assert (one.first_access, one.last_access, one.courses) == (1_700_000_000, 1_790_000_000, 2)
    assert (two.first_access, two.last_access, two.courses) == (0, 0, 0)
    assert world.writes() == ["core_user_create_users"], "only the run before wrote"


def test_what_the_token_may_not_ask_is_unknown(world: World) -> None:
    [token] = world.moodle.site.tokens.values()
    token.functions = ("core_user_get_users_by_field",)
    one, two = told(world)
    assert (one.courses, two.courses) == (None, None)
    assert one.first_access == 1_700_000_000


def test_when_moodle_is_down_everything_is_unknown_and_nothing_is_raised(world: World) -> None:
    world.down()
    assert {(one.first_access, one.last_access, one.courses) for one in told(world)} == {(None, None, None)}


def test_what_does_not_come_in_time_is_unknown(world: World) -> None:
    world.moodle.faults.next(*["slow=1"] * 4)
    assert {(one.first_access, one.courses) for one in told(world, deadline=0)} == {(None, None)}
