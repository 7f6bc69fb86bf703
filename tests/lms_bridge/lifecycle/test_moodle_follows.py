"""A whole life with a Moodle beside it: closed at the end of rights, opened at a return, locked at the erasure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from external_accounts import audit
from external_accounts.lifecycle import Step
from external_accounts.local_calendar import end_of_day, local_day
from external_accounts.rights import move_end
from external_accounts.schema import Account, Address, LocalPassword, SignInIdentity
from lms_bridge.jobs import people
from lms_bridge.lifecycle import runs
from tests.bridge_under_test import heading
from tests.lms_bridge.lifecycle.conftest import LABEL
from tests.lms_bridge.mailing import in_french
from tests.lms_bridge.sync.conftest import World, running_world

PROFILES = [{"name": "learner", "label": LABEL, "retention_months": 1, "extension_months": 6}]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with running_world(tmp_path, bridge_changes={"profiles": PROFILES}) as running:
        yield running


def let_rights_end(world: World, days: int) -> None:
    zone = world.bridge.runtime.settings.zone
    with world.bridge.runtime.database.begin() as session:
        number = session.scalars(select(Account.id)).one()
        end = end_of_day(local_day(world.bridge.clock(), zone) + timedelta(days=days), zone)
        move_end(session, number, end, now=world.bridge.clock(), origin=audit.SYSTEM)


def run(world: World) -> list[Step]:
    """A run of the life cycle, and the background work after it."""
    report = runs.run(world.bridge.runtime, actor="test")
    world.bridge.runner.run_once()
    return [step for step, count in report.done.items() if count]


def test_moodle_is_closed_at_the_end_and_opened_for_the_same_user_at_a_return_i6(world: World) -> None:
    assert world.ticket()
    moodle_id = world.user().id
    let_rights_end(world, 1)
    assert run(world) == [Step.WARN_RIGHTS_LAST]
    assert not world.user().suspended
    world.bridge.clock.forward(days=2)
    assert run(world) == [Step.CLOSE, Step.WARN_ERASURE_FIRST]
    assert world.user().suspended
    assert heading(world.enter()) == in_french("Your access has ended")
    let_rights_end(world, 60)
    world.bridge.runner.run_once()
    assert not world.user().suspended
    assert world.user().id == moodle_id
    assert world.ticket()


def test_without_any_run_the_gate_and_moodle_close_at_the_end_by_themselves_i6(world: World) -> None:
    assert world.ticket()
    let_rights_end(world, 0)
    world.bridge.runner.run_once()
    assert not world.user().suspended
    world.bridge.clock.forward(days=1)
    world.bridge.runner.run_once()
    assert world.user().suspended
    assert heading(world.enter()) == in_french("Your access has ended")


def test_an_erased_account_is_locked_out_and_its_moodle_user_stays_i7(world: World) -> None:
    assert world.ticket()
    moodle_id = world.user().id
    let_rights_end(world, 0)
    taken: list[Step] = []
    for _ in range(60):
        world.bridge.clock.forward(days=1)
        taken += run(world)
    assert taken[-1] is Step.ERASE
    people.erase_accounts(world.bridge.runtime)
    with world.bridge.runtime.database.read() as session:
        for table in (Address, LocalPassword, SignInIdentity):
            assert session.scalars(select(table)).all() == []
        assert session.scalars(select(Account.username)).all() == ["ext.ada"]
    assert world.user().suspended
    assert world.user().id == moodle_id
    assert world.sign_in().status_code == 401
