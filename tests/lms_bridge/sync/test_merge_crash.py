"""A link, or its undo, whose work in Moodle dies at any point: the next look finishes it (I6, I7, I8)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lms_bridge.sync import status
from tests.lms_bridge.sync.conftest import World
from tests.lms_bridge.sync.joined import by_id, check_moodle, link, settle, take, unlink
from tests.lms_bridge.sync.mortality import Mortally, until_survived
from tests.lms_bridge.sync.site_runs import account_id, add_person, edit, run, run_asked, site_world

Work = Callable[[World], Any]


def in_the_background(world: World) -> None:
    settle(world)


def over_the_site(world: World) -> None:
    run_asked(world)


WORKS = pytest.mark.parametrize("work", [in_the_background, over_the_site], ids=["worker", "run"])


@WORKS
def test_i6_i7_i8_a_link_whose_work_dies_anywhere_is_finished_by_the_next_look(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = itertools.count()
    with site_world(tmp_path, site={"parallel_calls": 1}) as world:
        run(world)

        def trial(mortally: Mortally) -> None:
            learner, member = two_people(world, next(numbers))
            kept, other = world.user(learner), world.user(member)
            link(world, learner, member, swap=True, address=True)
            mortally(lambda: work(world))
            check_moodle_while_under_way(world, kept.id, other.id, member)
            after_the_lease(world)
            work(world)
            assert (kept.username, kept.email, kept.suspended) == (member, f"{member}@univ.example", False)
            assert other.suspended
            assert other.username.startswith("lmsb-merged-")
            finished(world)

        assert until_survived(monkeypatch, trial) > 15


@WORKS
@pytest.mark.parametrize("finished_first", [True, False], ids=["after-the-link", "in-the-middle"])
def test_i6_i7_i8_an_undo_after_or_while_the_work_is_done_ends_as_before_the_link(
    work: Work, finished_first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work of the undo dies anywhere; or that of the link does, and the undo comes before it is finished."""
    numbers = itertools.count()
    with site_world(tmp_path, site={"parallel_calls": 1}) as world:
        run(world)

        def trial(mortally: Mortally) -> None:
            learner, member = two_people(world, next(numbers))
            kept, other = world.user(learner), world.user(member)
            before = (vars(kept).copy(), vars(other).copy())
            joined = link(world, learner, member, swap=True, address=True)
            if finished_first:
                settle(world)
                unlink(world, joined)
                mortally(lambda: work(world))
            else:
                mortally(lambda: work(world))
                unlink(world, joined)
            after_the_lease(world)
            work(world)
            assert (vars(kept), vars(other)) == before
            finished(world)

        assert until_survived(monkeypatch, trial) > 15


def test_i8_a_user_that_comes_over_while_it_is_written_takes_what_was_begun_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process has written down what it is about to do, and is dead when the link is made."""
    numbers = itertools.count()
    with site_world(tmp_path, site={"creates": "entering"}) as world:

        def trial(mortally: Mortally) -> None:
            learner, member = two_people(world, next(numbers))
            take(world, account_id(world, learner))
            edit(world, learner, family_name="Changed")
            mortally(lambda: settle(world))
            user = world.user(learner)
            link(world, member, learner)
            after_the_lease(world)
            settle(world)
            assert (user.username, user.lastname, user.suspended) == (member, "Person", False)
            assert len([one for one in world.usernames() if one in (learner, member)]) == 1
            finished(world)

        assert until_survived(monkeypatch, trial) > 5


def two_people(world: World, number: int) -> tuple[str, str]:
    world.bridge.clock.forward(hours=2)  # the guard counts closings by the hour
    learner, member = f"ext.p{number}", f"member{number}"
    add_person(world.bridge, learner, family="Person", email=f"{learner}@mail.example")
    add_person(world.bridge, member, family="Person", email=f"{member}@univ.example")
    settle(world)
    return learner, member


def check_moodle_while_under_way(world: World, kept: int, other: int, name: str) -> None:
    if by_id(world, kept).username == name:
        assert by_id(world, other).suspended, "the name was given before the other user was closed"
    names = [user.username for user in world.moodle.site.living()]
    assert len(names) == len(set(names))


def after_the_lease(world: World) -> None:
    """The dead process's rows and its run are free again."""
    world.bridge.clock.forward(minutes=3)


def finished(world: World) -> None:
    settle(world)
    check_moodle(world)
    assert run(world, write=False).plan.size == 0
    now = world.bridge.clock()
    assert status.of_site(world.bridge.runtime.database, "updago", now=now).unsettled == 0
