"""What runs and worker left in the database, as the doctor reads it."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from lms_bridge.schema import JournalEntry, MoodleMerge, SiteState
from lms_bridge.sync.sites import enrol_sites
from tests.lms_bridge.ops.doctor.conftest import Clinic
from tests.lms_bridge.sync.joined import link
from tests.lms_bridge.sync.site_runs import account_id, add_person, run, run_asked

CHECKS = ("complete_run", "held_changes", "conflicts", "unsettled_writes", "merges")


def test_a_bridge_that_never_went_over_the_site_is_told_to_begin(clinic: Clinic) -> None:
    line = clinic.examine().line("complete_run")
    assert (line["verdict"], line["seen"]) == ("warning", "no run yet")
    assert "lms-bridge sync plan" in line["fix"]


def test_after_a_run_all_is_well(clinic: Clinic) -> None:
    run(clinic.world)
    report = clinic.examine()
    assert {report.verdict(check) for check in CHECKS} == {"ok"}


def test_a_run_of_three_days_ago_is_worth_a_look(clinic: Clinic) -> None:
    run(clinic.world)
    now = clinic.world.bridge.clock()
    with clinic.world.bridge.runtime.database.begin() as session:
        session.get_one(SiteState, "updago").complete_run_at = now - timedelta(days=3)
    line = clinic.examine().line("complete_run")
    assert (line["verdict"], line["seen"]) == ("warning", "3 days ago")


def test_changes_that_are_held_are_a_problem_with_the_reason(clinic: Clinic) -> None:
    runtime = clinic.world.bridge.runtime
    enrol_sites(runtime.database, runtime.sites)
    with runtime.database.begin() as session:
        state = session.get_one(SiteState, "updago")
        state.held_since, state.held_reason = runtime.clock() - timedelta(hours=3), "900 accounts changed at once"
    line = clinic.examine().line("held_changes")
    assert (line["verdict"], line["seen"]) == ("problem", "for 3 hours: 900 accounts changed at once")


def test_people_who_wait_for_a_decision_are_counted(clinic: Clinic) -> None:
    clinic.world.ticket()
    clinic.world.user().auth = "manual"
    assert clinic.world.enter().status_code == 403
    line = clinic.examine().line("conflicts")
    assert (line["verdict"], line["seen"]) == ("warning", "1 account, who cannot enter")


def test_a_write_that_a_crash_left_open_is_noticed(clinic: Clinic) -> None:
    clinic.world.ticket()
    runtime = clinic.world.bridge.runtime
    with runtime.database.begin() as session:
        entry = JournalEntry(
            site="updago", account_id=account_id(clinic.world, "ext.ada"), kind="refresh",
            before={}, after={"lastname": "B"}, state="intended", at=runtime.clock(),
        )  # fmt: skip
        session.add(entry)
    line = clinic.examine().line("unsettled_writes")
    assert (line["verdict"], line["seen"]) == ("warning", "1 write is open")


def test_merges_that_wait_are_counted_with_their_age_and_after_three_weeks_somebody_should_make_them(
    clinic: Clinic,
) -> None:
    assert clinic.examine().line("merges")["seen"] == "none waits"
    add_person(clinic.world.bridge, "member", family="Lovelace")
    run_asked(clinic.world)
    link(clinic.world, "ext.ada", "member")
    with clinic.world.bridge.runtime.database.begin() as session:
        [merge] = session.scalars(select(MoodleMerge))
        merge.made_at = clinic.world.bridge.clock() - timedelta(days=3)
    line = clinic.examine().line("merges")
    assert (line["verdict"], line["seen"]) == ("ok", "1 merge waits, for 3 days")
    with clinic.world.bridge.runtime.database.begin() as session:
        session.merge(merge).made_at = clinic.world.bridge.clock() - timedelta(days=22)
    line = clinic.examine().line("merges")
    assert line["verdict"] == "warning"
    assert "lms-bridge merges export" in line["fix"]
