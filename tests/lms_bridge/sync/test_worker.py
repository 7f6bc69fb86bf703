"""The continuous part: a changed account reaches Moodle by itself, and a wave of changes does not pass the guard."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from lms_bridge.jobs import functions
from lms_bridge.schema import Mirror, SiteState, SyncRun
from lms_bridge.sync import status, worker
from lms_bridge.sync.status import SiteStatus
from tests.lms_bridge.sync.conftest import World
from tests.lms_bridge.sync.site_runs import account_id, add_people, edit, entries, run_asked, site_world
from tests.postgresql_server import PostgresqlServer


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    changes = {}
    if request.param == "postgresql":
        server: PostgresqlServer = request.getfixturevalue("postgresql")
        changes["database_url"] = server.create_database()
    guard = {
        "close": {"percent": 0, "floor": 3},
        "refresh": {"percent": 0, "floor": 30},
        "create": {"percent": 0, "floor": 30},
    }
    with site_world(tmp_path, bridge_changes=changes, site={"guard": guard}) as running:
        yield running


def work(world: World) -> None:
    """Rounds of the worker until it finds nothing more to do."""
    while functions.bring_mirrors_into_step(world.bridge.runtime):
        pass


def state_of(world: World) -> SiteStatus:
    return status.of_site(world.bridge.runtime.database, "updago", now=world.bridge.clock())


def is_due(world: World, name: str) -> bool:
    return next(entry.mirror.due for entry in entries(world) if entry.subject.facts.username == name)


def test_a_new_account_is_in_moodle_before_anybody_came(world: World) -> None:
    [name] = add_people(world, 1)
    assert is_due(world, name)
    work(world)
    assert world.user(name).auth == "cas"
    assert not is_due(world, name)


def test_whoever_may_not_enter_yet_is_not_created_and_is_once_the_address_is_confirmed(world: World) -> None:
    [name] = add_people(world, 1, confirmed=False)
    work(world)
    assert world.usernames() == ["canary"]
    world.change(name, world.bridge.confirm)
    work(world)
    assert name in world.usernames()


def test_a_site_that_creates_who_enters_leaves_the_others_alone(tmp_path: Path) -> None:
    with site_world(tmp_path, site={"creates": "entering"}) as world:
        add_people(world, 1)
        work(world)
        assert world.usernames() == ["canary"]
        world.ticket()
        assert world.usernames() == ["canary", "ext.ada"]


def test_a_change_marks_the_row_in_its_own_transaction(world: World) -> None:
    [name] = add_people(world, 1)
    work(world)

    def fails(session: Any, account: Any) -> None:
        account.family_name = "Undone"
        account.note_change()
        session.flush()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        world.change(name, fails)
    assert not is_due(world, name)
    edit(world, name, family_name="Done")
    assert is_due(world, name)


def test_a_changed_account_costs_two_requests_and_an_idle_round_none(world: World) -> None:
    names = add_people(world, 10)
    work(world)
    before = len(world.moodle.calls)
    work(world)
    assert len(world.moodle.calls) == before
    edit(world, names[3], family_name="Changed")
    work(world)
    assert world.moodle.calls[before:] == ["core_user_get_users_by_field", "core_user_update_users"]


def test_an_account_changed_while_it_was_being_handled_is_handled_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    [name] = add_people(world, 1)
    work(world)
    edit(world, name, family_name="First")
    real = worker.step
    changed = False

    def change_meanwhile(*arguments: object, **more: object) -> object:
        nonlocal changed
        outcome = real(*arguments, **more)  # type: ignore[arg-type]
        if not changed:
            changed = True
            edit(world, name, family_name="Second")
        return outcome

    monkeypatch.setattr(worker, "step", change_meanwhile)
    work(world)
    assert world.user(name).lastname == "Second"
    assert not is_due(world, name)


def test_i9_more_closings_within_an_hour_than_the_guard_allows_are_held(world: World) -> None:
    names = add_people(world, 8)
    work(world)
    for name in names[:6]:
        world.suspend(name)
        work(world)
    closed = [name for name in names if world.user(name).suspended]
    assert len(closed) == 3, "one by one is as many as at once"
    assert "suspended within an hour" in state_of(world).held_reason
    edit(world, names[7], family_name="Goes on")
    work(world)
    assert world.user(names[7]).lastname == "Goes on"
    report = run_asked(world)
    assert report.outcome == "done"
    assert all(world.user(name).suspended for name in names[:6])
    assert state_of(world).held_since is None


def test_people_who_sign_out_everywhere_do_not_count_as_closings(world: World) -> None:
    names = add_people(world, 5)
    work(world)
    with world.bridge.runtime.database.begin() as session:
        session.execute(update(Mirror).where(Mirror.owned).values(sign_out_pending=True))
    functions.end_sessions_in_moodle(world.bridge.runtime)
    world.suspend(names[0])
    work(world)
    assert world.user(names[0]).suspended


def test_an_hour_later_some_more_may_be_closed(world: World) -> None:
    names = add_people(world, 5)
    work(world)
    for name in names:
        world.suspend(name)
    work(world)
    world.bridge.clock.forward(minutes=61)
    work(world)
    assert all(world.user(name).suspended for name in names)
    assert state_of(world).held_since is None


def test_i9_a_wave_of_changes_waits_for_a_run_that_an_operator_has_looked_at(world: World) -> None:
    names = add_people(world, 31)
    before = len(world.writes())
    work(world)
    assert len(world.writes()) == before
    assert "31 accounts changed at once" in state_of(world).held_reason
    assert world.ticket(), "whoever comes is taken all the same"
    assert run_asked(world).outcome == "done"
    assert set(names) <= set(world.usernames())
    assert state_of(world).held_since is None


def test_a_killed_workers_rows_are_taken_over_when_the_lease_ends(world: World) -> None:
    [name] = add_people(world, 1)
    assert list(worker._take(world.bridge.runtime, "updago", world.bridge.clock())) == [account_id(world, name)]
    work(world)
    assert name not in world.usernames()
    world.bridge.clock.forward(minutes=2)
    work(world)
    assert name in world.usernames()


def test_several_workers_take_each_row_once(world: World) -> None:
    add_people(world, 25)
    taken: list[int] = []
    gate = threading.Barrier(4)

    def take() -> None:
        gate.wait()
        while rows := worker._take(world.bridge.runtime, "updago", world.bridge.clock()):
            taken.extend(rows)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 25
    assert len(set(taken)) == 25


def test_a_suspension_with_an_end_opens_by_itself(world: World) -> None:
    [name] = add_people(world, 1)
    work(world)
    world.suspend(name, until=world.bridge.clock() + timedelta(hours=2))
    work(world)
    assert world.user(name).suspended
    world.bridge.clock.forward(hours=1, minutes=59)
    work(world)
    assert world.user(name).suspended
    world.bridge.clock.forward(minutes=1)
    work(world)
    assert not world.user(name).suspended


def test_a_token_that_expired_is_told_to_operators_and_nothing_is_lost(world: World) -> None:
    [name] = add_people(world, 1)
    token = world.moodle.site.tokens.pop(world.moodle.site.options.token)
    work(world)
    assert "token" in state_of(world).last_error
    assert state_of(world).waiting == 1
    world.moodle.site.tokens[token.value] = token
    world.bridge.clock.forward(seconds=10)
    work(world)
    assert name in world.usernames()
    assert state_of(world).failing_since is None


def test_one_failing_account_does_not_keep_a_site_that_is_down_busy(world: World) -> None:
    add_people(world, 12)
    world.down()
    before = len(world.moodle.calls)
    for _ in range(5):
        functions.bring_mirrors_into_step(world.bridge.runtime)
    assert len(world.moodle.calls) - before <= 2


def test_the_nightly_run_is_made_once_a_night_by_one_process(world: World) -> None:
    runtime = world.bridge.runtime
    [name] = add_people(world, 1)
    local = world.bridge.clock().astimezone(runtime.settings.zone)
    world.bridge.clock.moment = local.replace(hour=12, minute=0)
    functions.make_nightly_runs(runtime)  # the site is met: its first night is the next one
    world.bridge.clock.moment = (local + timedelta(days=1)).replace(hour=2, minute=29)
    functions.make_nightly_runs(runtime)
    assert runs(world) == []
    world.bridge.clock.moment = (local + timedelta(days=1)).replace(hour=2, minute=31)
    threads = [threading.Thread(target=functions.make_nightly_runs, args=(runtime,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert runs(world) == [("nightly", "done")]
    assert name in world.usernames()
    functions.make_nightly_runs(runtime)
    assert len(runs(world)) == 1


def test_a_nightly_run_stopped_by_the_guard_is_seen_in_the_status(world: World) -> None:
    names = add_people(world, 8)
    work(world)
    for name in names:
        world.suspend(name)
    with world.bridge.runtime.database.begin() as session:
        session.execute(update(SiteState).values(nightly_day="2000-01-01"))
    world.bridge.clock.moment = world.bridge.clock().astimezone(world.bridge.runtime.settings.zone).replace(hour=3)
    functions.make_nightly_runs(world.bridge.runtime)
    [made] = state_of(world).runs
    assert (made["kind"], made["outcome"]) == ("nightly", "stopped")
    assert "close: 8 changes" in made["problem"]
    assert not any(world.user(name).suspended for name in names)


def test_the_running_bridge_brings_a_change_to_moodle_within_a_second(world: World) -> None:
    """In real time: the runner's thread, as `serve` starts it. Waits for the effect; the bound is the product's."""
    [name] = add_people(world, 1)
    work(world)
    world.bridge.clock.moment = world.bridge.clock()
    world.bridge.runner.start()
    try:
        edit(world, name, family_name="Live")
        deadline = time.monotonic() + 10
        while world.user(name).lastname != "Live" and time.monotonic() < deadline:
            threading.Event().wait(0.02)
        assert world.user(name).lastname == "Live"
    finally:
        world.bridge.runner.stop()


def runs(world: World) -> list[tuple[str, str]]:
    with world.bridge.runtime.database.read() as session:
        return [(run.kind, run.outcome) for run in session.scalars(select(SyncRun))]
