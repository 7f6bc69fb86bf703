"""Whatever is true here and in Moodle: applying a plan leaves an empty plan, and nothing of others changed.

The idea of `tests/lms_bridge/sync/test_convergence.py`, with what a real Moodle can be brought to hold. Few examples,
for it is slow.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lms_bridge import gate
from lms_bridge.sync import source
from lms_bridge.sync.runs import tools_of
from tests.live.bridged import SITE
from tests.live.kept_site import KeptSite, kept_site
from tests.live.moodle_under_test import MoodleUnderTest
from tests.lms_bridge.sync.site_runs import edit, run, run_asked
from tests.lms_bridge.sync.test_convergence import CASES, SAFE_NAME, Case, happen_here, refused

NUMBERS = itertools.count(1)


@pytest.fixture
def site(moodle: MoodleUnderTest, tmp_path: Path) -> Iterator[KeptSite]:
    with kept_site(moodle, tmp_path) as running:
        yield running


# Neither shrunk nor kept: each example is a minute's work of a site that many may share.
@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(cases=st.tuples(CASES, CASES))
def test_i6_i7_i12_apply_then_an_empty_plan_and_nothing_of_others_changed(
    site: KeptSite, cases: tuple[list[Case], list[Case]]
) -> None:
    people = {next(NUMBERS): case for case in itertools.chain(*cases)}
    for number, case in people.items():
        arrive(site, number, case)
    settle(site)
    for number, case in people.items():
        happen_here(site, site.moodle.name(number), case.later_here)
        happen_there(site, site.moodle.name(number), case.later_there)
    settle(site)


def settle(site: KeptSite) -> None:
    outcome = run_asked(site).outcome
    assert outcome in ("nothing", "done", "partial"), outcome
    site.check_strangers()
    left = [action for action in run(site, write=False).plan.actions() if action.account_id not in refused(site)]
    assert left == [], "what was applied is asked for again"
    check_gate_and_names(site)


def check_gate_and_names(site: KeptSite) -> None:
    tools = tools_of(site.bridge.runtime, SITE)
    entries = [
        entry
        for page in source.stream(tools.database, SITE, source.extent(tools.database).last_id)
        for entry in page
        if entry.mirror.owned and entry.mirror.moodle_id is not None and entry.mirror.state != "conflict"
    ]
    there = site.by_id(entry.mirror.moodle_id or 0 for entry in entries)
    for entry in entries:
        user = there[entry.mirror.moodle_id or 0]
        admitted = gate.decide(entry.subject.facts, tools.policy, site.bridge.clock()).admitted
        assert admitted or user.suspended, f"I6: {user.username} is open and may not enter"
        assert SAFE_NAME.fullmatch((user.username or "").encode()), "I12"
        assert user.auth == site.moodle.auth


def arrive(site: KeptSite, number: int, case: Case) -> None:
    old = {"firstname": "Be", "lastname": "Fore", "email": site.moodle.email(f"{number}.old")}
    match case.there_before:
        case "cas" | "twin":  # no real site takes an accented twin while extendedusernamechars is off
            site.stranger(number, **old)
        case "manual":
            site.stranger(number, **old, auth="manual")
        case "suspended":
            site.stranger(number, **old, suspended=True)
        case "address":
            site.stranger(f"{number}.other", **old | {"email": site.moodle.email(number)})
        case "deleted" if site.moodle.deletes:
            site.moodle.delete([site.moodle.create(number, **old)])
    name = site.add_one(number, given=case.given, family=case.family, confirmed=case.confirmed)
    if case.suspended_here:
        site.suspend(name)
    if case.ended:
        edit(site, name, rights_end_at=site.bridge.clock() - timedelta(seconds=1))


def happen_there(site: KeptSite, name: str, what: str) -> None:
    """An administrator's hand; users that are not the bridge's stay as the scenario left them."""
    found = site.users([name])
    if not found or found[0].id in site.strangers:
        return
    match what:
        case "lastname":
            site.change_there(name, lastname="Their Choice")
        case "suspend":
            site.change_there(name, suspended=True)
        case "lift":
            site.change_there(name, suspended=False)
        case "auth":
            site.change_there(name, auth="nologin")
        case "username":
            site.change_there(name, username=f"{name}.renamed")
        case "email":
            site.change_there(name, email=f"{name}.elsewhere@mail.example")
