"""A process that dies at any point of a run, and a re-run: every point is tried, not some of them."""

from __future__ import annotations

import itertools
from contextlib import suppress
from pathlib import Path

import pytest

from lms_bridge.gate import MirrorState
from lms_bridge.sync import source, status
from lms_bridge.sync.runs import tools_of
from lms_bridge.sync.source import Entry
from lms_bridge.sync.step import step
from tests.lms_bridge.sync.conftest import World
from tests.lms_bridge.sync.mortality import Killed, Mortally, dying, until_survived
from tests.lms_bridge.sync.site_runs import account_id, add_people, edit, run, run_asked, site_world

COHORTS = [
    {"idnumber": "lmsb-staff", "name": "Staff", "profiles": ["staff"]},
    {"idnumber": "lmsb-learners", "name": "Learners", "profiles": ["learner"]},
]


def test_i6_i7_i8_a_run_that_dies_anywhere_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = {"cohorts": COHORTS, "parallel_calls": 1}
    numbers = itertools.count(0, 10)
    with site_world(tmp_path, site=site) as world:
        run(world)

        def trial(mortally: Mortally) -> None:
            to_close, to_open, to_refresh, to_move = add_people(world, 4, first=next(numbers))
            world.suspend(to_open)
            world.readmit(to_open)
            run_asked(world)
            world.suspend(to_open)
            run_asked(world)
            # What the run is to do: each kind of write there is.
            [created] = add_people(world, 1, first=next(numbers))
            world.suspend(to_close)
            world.readmit(to_open)
            edit(world, to_refresh, family_name="Changed")
            edit(world, to_move, profile="staff")
            checksum = run(world, write=False).plan.checksum
            mortally(lambda: run(world, checksum=checksum))
            world.bridge.clock.forward(seconds=91)  # the dead run's lease
            assert run_asked(world).outcome in ("done", "nothing")
            assert run(world).outcome == "nothing"
            assert world.usernames().count(created) == 1
            assert [world.user(name).suspended for name in (to_close, to_open, created)] == [True, False, False]
            assert world.user(to_refresh).lastname == "Changed"
            assert members(world, "lmsb-staff").count(world.user(to_move).id) == 1
            assert world.user(to_move).id not in members(world, "lmsb-learners")
            check_memory(world, to_close, suspended_by_us=True)
            check_memory(world, to_open, suspended_by_us=False)
            check_memory(world, created, suspended_by_us=False)
            now = world.bridge.clock()
            assert status.of_site(world.bridge.runtime.database, "updago", now=now).unsettled == 0

        assert until_survived(monkeypatch, trial) > 30


@pytest.mark.parametrize("kind", ["create", "close", "open", "refresh"])
def test_i6_i7_i8_one_accounts_step_that_dies_anywhere_is_finished_by_the_next(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = itertools.count()
    with site_world(tmp_path) as world:

        def trial(mortally: Mortally) -> None:
            [name] = add_people(world, 1, first=next(numbers))
            if kind != "create":
                take(world, name)
            if kind in ("close", "open"):
                world.suspend(name)
            if kind == "open":
                take(world, name)
                world.readmit(name)
            if kind == "refresh":
                edit(world, name, family_name="Changed")
            mortally(lambda: take(world, name))
            expected = MirrorState.IN_STEP
            assert take(world, name) is expected
            writes = len(world.writes())
            assert take(world, name) is expected
            assert len(world.writes()) == writes
            assert world.usernames().count(name) == 1
            assert world.user(name).suspended is (kind == "close")
            assert kind != "refresh" or world.user(name).lastname == "Changed"
            check_memory(world, name, suspended_by_us=kind == "close")

        assert until_survived(monkeypatch, trial) >= 6


def test_i7_a_suspension_we_only_meant_to_make_is_not_taken_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dead between "we are about to suspend" and the call; then a human suspends in Moodle: it is theirs to lift."""
    with site_world(tmp_path) as world:
        take(world, "ext.ada")
        world.suspend()
        for at in itertools.count(1):
            with dying(monkeypatch, at) as fate, suppress(Killed):
                take(world, "ext.ada")
            if entry_of(world, "ext.ada").mirror.suspended_by_us:
                break
        assert fate.dead
        assert world.user().suspended is False
        world.readmit()
        take(world, "ext.ada")
        world.user().suspended = True
        take(world, "ext.ada")
        assert world.user().suspended is True


def take(world: World, name: str) -> MirrorState:
    """Bring one account into step, as the continuous worker does."""
    runtime = world.bridge.runtime
    policy = tools_of(runtime, "updago").policy
    entry = entry_of(world, name)
    return step(runtime.database, runtime.sites, "updago", entry, policy, now=world.bridge.clock(), entering=False)


def entry_of(world: World, name: str) -> Entry:
    entry = source.one(world.bridge.runtime.database, account_id(world, name), "updago")
    assert entry is not None
    return entry


def check_memory(world: World, name: str, *, suspended_by_us: bool) -> None:
    """What the bridge remembers of a user is what is so."""
    mirror = entry_of(world, name).mirror
    assert (mirror.owned, mirror.suspended_by_us) == (True, suspended_by_us)
    assert mirror.moodle_id == world.user(name).id
    assert not mirror.due


def members(world: World, idnumber: str) -> list[int]:
    [cohort] = [found for found in world.moodle.site.cohorts.values() if found.idnumber == idnumber]
    return cohort.members
