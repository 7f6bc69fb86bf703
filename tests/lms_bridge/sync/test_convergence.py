"""For arbitrary accounts and an arbitrary Moodle: applying a plan leaves an empty plan, and nothing of others changed.

One world for each database flavour and version; every example adds its own people to it, and the whole site must come
into step again.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lms_bridge import gate
from lms_bridge.sync import source
from lms_bridge.sync.runs import tools_of
from moodle_ws.simulator import Database, User, Version
from tests.lms_bridge.sync.conftest import World
from tests.lms_bridge.sync.site_runs import add_people, edit, run, run_asked, site_world

SAFE_NAME = re.compile(rb"[a-z0-9._@-]{1,100}")
LETTERS = st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="<>")
TEXTS = st.text(LETTERS, min_size=1, max_size=12)

MOSTLY = st.sampled_from([True] * 7 + [False])


@dataclass(frozen=True)
class Case:
    """One person: what is true here, what Moodle held before, and what happened since on either side."""

    confirmed: bool
    there_before: str
    suspended_here: bool
    ended: bool
    given: str
    family: str
    later_here: str
    later_there: str


CASES = st.lists(
    st.builds(
        Case,
        confirmed=MOSTLY,
        there_before=st.sampled_from(["", "", "cas", "cas", "manual", "suspended", "twin", "address", "deleted"]),
        suspended_here=MOSTLY.map(lambda true: not true),
        ended=MOSTLY.map(lambda true: not true),
        given=TEXTS,
        family=TEXTS,
        later_here=st.sampled_from(["", "rename", "suspend", "readmit", "erase"]),
        later_there=st.sampled_from(["", "lastname", "suspend", "lift", "auth", "username", "email"]),
    ),
    min_size=1,
    max_size=8,
)


@pytest.fixture(scope="module", params=list(itertools.product(Database, Version)), ids="-".join)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    database, version = request.param
    cohorts = [{"idnumber": "lmsb-learners", "name": "L", "profiles": ["learner"]}]
    with site_world(
        tmp_path_factory.mktemp("site"), site={"cohorts": cohorts}, database=database, version=version
    ) as running:
        yield running


NUMBERS = itertools.count(1)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases=CASES)
def test_i6_i7_i9_i12_apply_then_an_empty_plan_and_nothing_of_others_changed(world: World, cases: list[Case]) -> None:
    people = {name_of(next(NUMBERS)): case for case in cases}
    for name, case in people.items():
        arrive(world, name, case)
    settle(world)
    for name, case in people.items():
        happen_here(world, name, case.later_here)
        happen_there(world, name, case.later_there)
    settle(world)


def settle(world: World) -> None:
    """Apply, and look at what became of everybody."""
    strangers = {id(user): dict(vars(user)) for user in others(world)}
    outcome = run_asked(world).outcome
    assert outcome in ("nothing", "done", "partial"), outcome
    again = run(world, write=False).plan
    left = [action for action in again.actions() if action.account_id not in refused(world)]
    assert left == [], "what was applied is asked for again"
    assert {id(user): dict(vars(user)) for user in others(world) if id(user) in strangers} == strangers
    check_gate_and_names(world)


def check_gate_and_names(world: World) -> None:
    tools = tools_of(world.bridge.runtime, "updago")
    for page in source.stream(tools.database, "updago", source.extent(tools.database).last_id):
        for entry in page:
            user = world.moodle.site.users.get(entry.mirror.moodle_id or 0)
            if not entry.mirror.owned or user is None or user.deleted or entry.mirror.state == "conflict":
                continue
            admitted = gate.decide(entry.subject.facts, tools.policy, world.bridge.clock()).admitted
            assert admitted or user.suspended, f"I6: {user.username} is open and may not enter"
            assert SAFE_NAME.fullmatch(user.username.encode()), "I12"
            assert user.auth == "cas"


def others(world: World) -> list[User]:
    """The Moodle users the bridge does not own."""
    tools = tools_of(world.bridge.runtime, "updago")
    ours = {
        entry.mirror.moodle_id
        for page in source.stream(tools.database, "updago", source.extent(tools.database).last_id)
        for entry in page
        if entry.mirror.owned
    }
    return [user for user in world.moodle.site.users.values() if user.id not in ours]


def refused(world: World) -> set[int]:
    """Accounts for which Moodle refused a write in the last run: asked again, and rightly."""
    with world.bridge.runtime.database.driver() as connection:
        rows = connection.cursor().execute(
            "SELECT account_id FROM sync_journal WHERE state = 'refused' AND run_id = (SELECT max(id) FROM sync_runs)"
        )
        return {account for (account,) in rows.fetchall()}


def name_of(number: int) -> str:
    return f"ext.p{number:04d}"


def arrive(world: World, name: str, case: Case) -> None:
    before: dict[str, Any] = {"firstname": "Be", "lastname": "Fore", "email": f"{name}.old@mail.example", "auth": "cas"}
    site = world.moodle.site
    match case.there_before:
        case "cas":
            site.add_user(name, **before)
        case "manual":
            site.add_user(name, **before | {"auth": "manual"})
        case "suspended":
            site.add_user(name, **before | {"suspended": True})
        case "twin":
            site.add_user(name.replace("e", "é", 1), **before)
        case "address":
            site.add_user(f"{name}.other", **before | {"email": f"{name}@mail.example"})
        case "deleted":
            site.delete_user(site.add_user(name, **before))
    add_people(world, 1, confirmed=case.confirmed, first=int(name[-4:]))
    edit(world, name, given_name=case.given, family_name=case.family)
    if case.suspended_here:
        world.suspend(name)
    if case.ended:
        edit(world, name, rights_end_at=world.bridge.clock() - timedelta(seconds=1))


def happen_here(world: World, name: str, what: str) -> None:
    match what:
        case "rename":
            edit(world, name, family_name="Renamed")
        case "suspend":
            world.suspend(name)
        case "readmit":
            world.readmit(name)
            edit(world, name, rights_end_at=None)
        case "erase":
            edit(world, name, erased_at=world.bridge.clock(), given_name="", family_name="")


def happen_there(world: World, name: str, what: str) -> None:
    user = next((user for user in world.moodle.site.living() if user.username == name), None)
    if user is None:
        return
    match what:
        case "lastname":
            user.lastname = "Their Choice"
        case "suspend":
            user.suspended = True
        case "lift":
            user.suspended = False
        case "auth":
            user.auth = "manual"
        case "username":
            user.username = f"{name}.renamed"
        case "email":
            user.email = f"{name}.elsewhere@mail.example"
