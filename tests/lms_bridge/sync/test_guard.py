"""I9: a run that would change too much, or that rests on an incomplete read, stops before its first write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lms_bridge.settings.moodle_sites import Guard, Site, Threshold
from lms_bridge.sync import guard, source
from lms_bridge.sync.actions import Action, Kind
from lms_bridge.sync.apply import ForbiddenTarget, Writer
from lms_bridge.sync.runs import Report
from moodle_ws.errors import Unavailable
from moodle_ws.simulator import Database, Version
from tests.lms_bridge.sync.conftest import World
from tests.lms_bridge.sync.site_runs import CANARY, add_people, edit, run, run_asked, site_world

CLOSE_FEW = {"guard": {"close": {"percent": 10, "floor": 2}}}


@pytest.fixture(params=[(Database.POSTGRESQL, Version.V4_5), (Database.MARIADB, Version.V4_4)], ids="-".join)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A world with 30 people in step, in which a run may close three of them unasked."""
    database, version = request.param
    with site_world(tmp_path, site=CLOSE_FEW, database=database, version=version) as world:
        add_people(world, 30)
        run_asked(world)
        yield world


def names(report: Report) -> set[str]:
    return {stop.name for stop in report.stops}


def writes_of(world: World, how: Callable[[], Report]) -> tuple[Report, int]:
    before = len(world.writes())
    report = how()
    return report, len(world.writes()) - before


def suspend(world: World, count: int) -> None:
    for number in range(count):
        world.suspend(f"ext.p{number:04d}")


def test_i9_more_changes_than_the_threshold_stop_the_run_before_its_first_write(site: World) -> None:
    suspend(site, 4)
    edit(site, "ext.p0020", family_name="Allowed")
    report, writes = writes_of(site, lambda: run(site))
    assert names(report) == {"TooManyChanges"}
    assert report.outcome == "stopped"
    assert writes == 0, "not even the changes that are allowed"
    assert "close: 4 changes" in report.stops[0].text


def test_i9_the_plans_checksum_lets_exactly_that_plan_pass(site: World) -> None:
    suspend(site, 4)
    checksum = run(site, write=False).plan.checksum
    assert run(site, checksum="0123456789abcdef").outcome == "stopped"
    site.suspend("ext.p0010")
    assert run(site, checksum=checksum).outcome == "stopped", "one more was suspended meanwhile"
    assert run_asked(site).done == {Kind.CLOSE: 5}


def test_changes_within_the_threshold_pass_unasked(site: World) -> None:
    suspend(site, 3)
    assert run(site).done == {Kind.CLOSE: 3}


def test_a_dated_override_widens_the_threshold_for_its_days_only(tmp_path: Path) -> None:
    today = {"first_day": "2026-09-01", "last_day": "2026-09-15", "close": {"percent": 100, "floor": 0}}
    values = Guard.model_validate({**CLOSE_FEW["guard"], "overrides": [today]})
    first, last = values.overrides[0].first_day, values.overrides[0].last_day
    assert values.on(first).close.percent == values.on(last).close.percent == 100
    assert values.on(first - timedelta(days=1)).close.percent == values.on(last + timedelta(days=1)).close.percent == 10
    assert values.on(first).refresh == values.refresh, "what it does not name stays"


@given(known=st.integers(0, 10**6), percent=st.floats(0, 100), floor=st.integers(0, 1000), extra=st.integers(1, 50))
def test_i9_the_limit_is_the_percentage_or_the_floor_and_one_more_is_too_many(
    known: int, percent: float, floor: int, extra: int
) -> None:
    limits = Guard(close=Threshold(percent=percent, floor=floor))
    limit = guard.limit_of(limits.close, known)
    assert limit >= floor
    assert limit <= max(floor, known * percent / 100)
    assert guard.check_counts({Kind.CLOSE: limit}, known, limits) == []
    assert len(guard.check_counts({Kind.CLOSE: limit + extra}, known, limits)) == 1


def hide_email(world: World) -> None:
    world.moodle.site.options = replace(world.moodle.site.options, showuseridentity=())


def lose(right: str) -> Callable[[World], None]:
    def change(world: World) -> None:
        token = world.moodle.site.tokens[world.moodle.site.options.token]
        token.capabilities -= {right}

    return change


def drop_function(world: World) -> None:
    token = world.moodle.site.tokens[world.moodle.site.options.token]
    token.functions = ("core_webservice_get_site_info", "core_user_get_users_by_field")


def upgrade_moodle(world: World) -> None:
    world.moodle.site.options = replace(world.moodle.site.options, version=Version.V5_2)


def move_site(world: World) -> None:
    world.moodle.site.wwwroot = "https://elsewhere.example"


def rename_canary(world: World) -> None:
    user = world.moodle.site.user(CANARY)
    assert user is not None
    user.username = "canary2"


@pytest.mark.parametrize(
    ("trouble", "stop"),
    [
        (hide_email, "VisibilityLost"),
        (lose("moodle/user:viewdetails"), "VisibilityLost"),
        (lose("moodle/user:viewalldetails"), "VisibilityLost"),
        (lose("moodle/site:viewuseridentity"), "VisibilityLost"),
        (rename_canary, "VisibilityLost"),
        (drop_function, "FunctionsMissing"),
        (upgrade_moodle, "ReleaseChanged"),
        (move_site, "WrongSite"),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", "lost"),
)
def test_i9_what_cannot_be_trusted_stops_the_run_before_its_first_write(
    site: World, trouble: Callable[[World], None], stop: str
) -> None:
    site.suspend("ext.p0000")
    trouble(site)
    report, writes = writes_of(site, lambda: run(site))
    assert stop in names(report)
    assert (report.outcome, writes) == ("stopped", 0)
    checksum = report.plan.checksum
    report, writes = writes_of(site, lambda: run(site, checksum=checksum))
    assert (report.outcome, writes) == ("stopped", 0), "a checksum is no answer to this"


def test_the_functions_of_the_guide_are_all_a_run_needs(tmp_path: Path) -> None:
    with site_world(tmp_path) as world:
        token = world.moodle.site.tokens[world.moodle.site.options.token]
        token.functions = tuple(sorted(guard.FUNCTIONS))
        assert run(world).outcome == "done"
        world.suspend("ext.ada")
        assert run(world).outcome == "done"
        assert run(world, write=False, adopt=True).outcome == "nothing"


def test_a_new_release_is_accepted_once_and_then_known(site: World) -> None:
    site.suspend("ext.p0000")
    upgrade_moodle(site)
    assert run(site, accept_release=True).outcome == "done"
    assert run(site).outcome == "nothing"


def test_without_a_canary_in_settings_a_mirrored_user_serves(tmp_path: Path) -> None:
    with site_world(tmp_path, site={"canary": ""}) as world:
        report, writes = writes_of(world, lambda: run(world))
        assert (names(report), writes) == ({"NoCanary"}, 0)
        world.ticket()  # Ada comes in, and is the first whom we know there
        add_people(world, 2)
        assert run(world).outcome == "done"


def test_the_tokens_own_user_is_no_canary(tmp_path: Path) -> None:
    with site_world(tmp_path, site={"canary": "svc-bridge"}) as world:
        report, writes = writes_of(world, lambda: run(world))
        assert (names(report), writes) == ({"NoCanary"}, 0)


def test_i9_a_source_that_was_not_read_whole_stops_the_run(site: World, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = source.stream

    def torn(*arguments: Any) -> Any:
        for page in whole(*arguments):
            yield page[:-1]

    monkeypatch.setattr(source, "stream", torn)
    site.suspend("ext.p0000")
    report, writes = writes_of(site, lambda: run(site))
    assert (names(report), writes) == ({"SourceIncomplete"}, 0)


def action(username: str, moodle_id: int) -> Action:
    return Action(Kind.CLOSE, 1, username, 1, moodle_id, {"suspended": False}, {"suspended": True}, "suspended")


@pytest.mark.parametrize(("username", "moodle_id"), [("admin", 77), ("x", 1), ("x", 2), ("x", 9), ("boss", 5)])
def test_i9_no_plan_may_hold_a_change_of_a_protected_user(username: str, moodle_id: int) -> None:
    site = Site.model_validate({"name": "s", "url": "https://m.example", "token": "t", "protected": ["boss"]})
    assert [stop.name for stop in guard.check_targets([action(username, moodle_id)], site, own_user=9)] == [
        "ForbiddenTargets"
    ]
    assert guard.check_targets([action("x", 10)], site, own_user=9) == []


@pytest.mark.parametrize("name", ["admin", "guest"])
def test_the_writer_itself_refuses_a_protected_user(site: World, name: str) -> None:
    runtime = site.bridge.runtime
    writer = Writer(
        runtime.database,
        runtime.sites.client("updago"),
        runtime.sites.site("updago"),
        {},
        site.bridge.clock,
    )
    before = len(site.writes())
    with pytest.raises(ForbiddenTarget):
        writer.write([action(name, 50)])
    assert len(site.writes()) == before


def test_an_account_called_like_the_administrator_is_a_conflict_and_nobody_elses_matter(site: World) -> None:
    site.bridge.add_account("admin")
    add_people(site, 1, first=200)
    report = run(site)
    assert report.outcome == "done"
    assert [conflict.username for conflict in report.plan.found_conflicts()] == ["admin"]
    admin = site.moodle.site.user("admin")
    assert admin is not None
    assert (admin.auth, admin.suspended) == ("manual", False)


def test_moodle_down_is_no_plan_and_no_write(site: World) -> None:
    suspend(site, 1)
    site.down()
    before = len(site.writes())
    with pytest.raises(Unavailable):
        run(site)
    assert len(site.writes()) == before
    site.down(False)
    assert run(site).done == {Kind.CLOSE: 1}
