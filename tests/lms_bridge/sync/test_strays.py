"""Moodle users beside an account's own: found by look-ups, shown to the help desk, never written to (D27, D33)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from lxml import html
from sqlalchemy import select

from lms_bridge.jobs.duplicates import NIGHT, seek_strays
from lms_bridge.schema import Mirror, StrayUser
from lms_bridge.sync import strays
from moodle_ws.simulator import User
from tests.bridge_under_test import Browser, forms
from tests.lms_bridge.sync.conftest import World, running_world
from tests.lms_bridge.sync.site_runs import run_asked, site_world

LIST = "/helpdesk/duplicates/moodle"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with running_world(
        tmp_path, bridge_changes={"help_desk": {"members": [{"role": "administrator", "usernames": ["ext.desk"]}]}}
    ) as running:
        running.bridge.add_account("ext.desk")
        yield running


def in_moodle(world: World, username: str, **values: Any) -> User:
    return world.moodle.site.add_user(username, **{"auth": "manual", "firstname": "Ada", "lastname": "L", **values})


def found(world: World) -> list[tuple[str, list[str], str]]:
    with world.bridge.runtime.database.read() as session:
        rows = session.scalars(select(StrayUser).order_by(StrayUser.id))
        return [(row.username, row.facts, row.state) for row in rows]


def seek(world: World) -> None:
    strays.seek(world.bridge.runtime.database, world.bridge.runtime.sites, "updago", now=world.bridge.clock())


def agent(world: World) -> Browser:
    browser = world.bridge.browser()
    browser.sign_in("ext.desk")
    return browser


def test_d33_who_holds_the_address_that_stops_a_creation_is_named(world: World) -> None:
    """Moodle refuses a second user with the address: the help desk reads whose it is there."""
    user = in_moodle(world, "alovelace", email="ext.ada@mail.example")
    world.enter()
    seek(world)
    assert found(world) == [("alovelace", ["email"], "open")]
    page = agent(world).get(LIST).text
    assert "alovelace" in page
    assert f"{user.id}" in page
    assert "ext.ada" in page
    assert user.auth == "manual"
    assert world.moodle.site.users[user.id].suspended is False


def test_a_user_without_a_name_goes_by_the_user_name(world: World) -> None:
    """Moodle shows such a user's full name as a blank."""
    in_moodle(world, "alovelace", email="ext.ada@mail.example", firstname="", lastname="")
    world.enter()
    seek(world)
    headings = html.fromstring(agent(world).get(LIST).text).xpath("//main//h2")
    assert [heading.text_content().strip() for heading in headings] == ["alovelace"]


def test_what_is_set_aside_stays_aside_and_what_is_gone_goes(world: World) -> None:
    user = in_moodle(world, "alovelace", email="ext.ada@mail.example")
    world.enter()
    seek(world)
    desk = agent(world)
    desk.get(LIST)
    number = [action.startswith(LIST) for action, _method, _hidden in forms(desk.page)].index(True)
    desk.submit(number, decision="dismiss")
    seek(world)
    assert found(world) == [("alovelace", ["email"], "dismissed")]
    desk.get(f"{LIST}?state=dismissed")
    desk.submit(number, decision="reopen")
    assert found(world) == [("alovelace", ["email"], "open")]
    user.email = "another@mail.example"
    seek(world)
    assert found(world) == []


def test_an_adoption_notes_whom_it_leaves_to_a_human(tmp_path: Path) -> None:
    with site_world(tmp_path) as world:
        world.bridge.add_account("ext.desk")
        in_moodle(world, "ext.ada", email="ext.ada@mail.example", lastname="Lovelace")
        in_moodle(world, "alovelace", email="ext.ada@mail.example", lastname="Lovelace")
        in_moodle(world, "ext.desk", email="ext.desk@mail.example", lastname="Lovelace")  # one match: taken over
        report = run_asked(world, adopt=True, kind="adopt")
        assert report.plan.conflicts == 1
        assert {name for name, _facts, _state in found(world)} == {"ext.ada", "alovelace"}


def test_the_nightly_job_looks_once_a_night_and_a_silent_moodle_ends_nothing(world: World) -> None:
    in_moodle(world, "alovelace", email="ext.ada@mail.example")
    world.enter()
    with world.bridge.runtime.database.read() as session:
        assert session.scalars(select(Mirror.state).where(Mirror.state == "conflict")).all()
    local = world.bridge.clock().astimezone(world.bridge.runtime.settings.zone)
    tonight = local.replace(hour=NIGHT.hour, minute=NIGHT.minute, second=0)
    clock = world.bridge.clock
    clock.moment = tonight - timedelta(minutes=1) + timedelta(days=1)
    seek_strays(world.bridge.runtime)
    clock.forward(minutes=2)
    seek_strays(world.bridge.runtime)  # the first night after it was switched on is tomorrow's
    assert found(world) == []
    clock.forward(days=1)
    world.down()
    seek_strays(world.bridge.runtime)
    world.down(down=False)
    seek_strays(world.bridge.runtime)
    assert found(world) == []  # once a night
    clock.forward(days=1)
    seek_strays(world.bridge.runtime)
    assert found(world) == [("alovelace", ["email"], "open")]
