"""A run over a whole site: what it sees, what it writes, what it leaves alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from lms_bridge.schema import SyncRun
from lms_bridge.sync.actions import Kind
from lms_bridge.sync.lease import AlreadyRunning, run_lease
from lms_bridge.sync.runs import Orders, run_site, tools_of
from moodle_ws.simulator.site import ProfileField
from tests.lms_bridge.sync.conftest import World
from tests.lms_bridge.sync.site_runs import (
    MOODLES,
    account_id,
    add_people,
    edit,
    mirrors_of,
    run,
    run_asked,
    site_world,
)


@pytest.fixture(params=MOODLES, ids="-".join)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    database, version = request.param
    with site_world(tmp_path, database=database, version=version) as world:
        yield world


def test_a_plan_writes_nothing_anywhere(site: World) -> None:
    add_people(site, 3)
    report = run(site, write=False)
    assert report.plan.counts == {Kind.CREATE: 4}
    assert report.outcome == "planned"
    assert site.writes() == []
    assert site.usernames() == ["canary"]
    lines = report.plan.path.read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines[1:]] == ["create"] * 4
    assert report.plan.path.stat().st_mode & 0o077 == 0


def test_apply_creates_who_is_admitted_and_nobody_else(site: World) -> None:
    confirmed = add_people(site, 3)
    add_people(site, 2, confirmed=False, first=100)
    report = run(site)
    assert report.outcome == "done"
    assert site.usernames() == ["canary", "ext.ada", *confirmed]
    assert all(user.auth == "cas" and user.idnumber.startswith("lmsb-") for user in map(site.user, confirmed))
    assert run(site).outcome == "nothing"


def test_a_second_run_finds_nothing_and_writes_nothing(site: World) -> None:
    add_people(site, 5)
    assert run(site).outcome == "done"
    writes = len(site.writes())
    assert run(site).outcome == "nothing"
    assert len(site.writes()) == writes


def test_one_request_reads_fifty_people_and_one_writes_them(site: World) -> None:
    add_people(site, 99)
    assert run_asked(site).done == {Kind.CREATE: 100}
    assert site.writes() == ["core_user_create_users"] * 2
    before = len(site.moodle.calls)
    run(site, write=False)
    looks = [name for name in site.moodle.calls[before:] if name == "core_user_get_users_by_field"]
    assert len(looks) == 2 + 3  # a hundred people, and the canary three ways


def test_i6_everything_that_closes_comes_before_anything_else(site: World) -> None:
    names = add_people(site, 4)
    run(site)
    site.suspend(names[0])
    edit(site, names[1], family_name="Newname")
    add_people(site, 1, first=50)
    before = len(site.writes())
    report = run(site)
    assert report.done == {Kind.CLOSE: 1, Kind.REFRESH: 1, Kind.CREATE: 1}
    update, create = "core_user_update_users", "core_user_create_users"
    assert site.writes()[before:] == [update, update, create]
    with site.bridge.runtime.database.driver() as connection:
        rows = connection.cursor().execute("SELECT kind FROM sync_journal ORDER BY id DESC LIMIT 3").fetchall()
    assert [kind for (kind,) in rows] == ["create", "refresh", "close"]


def test_i7_only_our_own_suspensions_are_lifted(site: World) -> None:
    ours, theirs = add_people(site, 2)
    run(site)
    site.suspend(ours)
    run(site)
    site.user(theirs).suspended = True
    site.readmit(ours)
    report = run(site)
    assert report.done == {Kind.OPEN: 1}
    assert (site.user(ours).suspended, site.user(theirs).suspended) == (False, True)
    assert report.plan.suspended_elsewhere == 1


def test_i7_users_that_are_not_ours_are_never_written(site: World) -> None:
    [name] = add_people(site, 1)
    existing = site.moodle.site.add_user(name, auth="cas", firstname="Old", lastname="Name", email="old@mail.example")
    site.moodle.site.add_user("stranger", auth="cas", firstname="S", lastname="T", email="s@mail.example")
    run(site)
    site.suspend(name)
    run(site)
    assert (existing.firstname, existing.email, existing.suspended) == ("Old", "old@mail.example", False)
    assert site.writes() == ["core_user_create_users"]  # Ada's


def test_a_field_changed_on_one_side_is_settled_and_on_both_sides_is_a_conflict(site: World) -> None:
    here, there, both = add_people(site, 3)
    run(site)
    edit(site, here, family_name="Here")
    site.user(there).lastname = "There"
    edit(site, both, family_name="Ours")
    site.user(both).lastname = "Theirs"
    report = run(site)
    assert site.user(here).lastname == "Here"
    assert site.user(there).lastname == "Nr 0001"
    assert site.user(both).lastname == "Theirs"
    [conflict] = report.plan.found_conflicts()
    assert (conflict.username, conflict.field, conflict.ours, conflict.theirs) == (both, "lastname", "Ours", "Theirs")
    assert not conflict.blocking
    assert run(site).outcome == "nothing"


def test_each_field_follows_its_mode(tmp_path: Path) -> None:
    fields = {"firstname": "seed", "idnumber": "ignore", "lang": "own"}
    custom = [{"shortname": "emailconfirmed", "holds": "email_confirmed"}, {"shortname": "kind", "holds": "profile"}]
    with site_world(tmp_path, site={"fields": fields, "custom_fields": custom}) as world:
        world.moodle.site.profile_fields = (ProfileField("emailconfirmed", "Confirmed"), ProfileField("kind", "Kind"))
        edit(world, "ext.ada", language="fr")
        run(world)
        user = world.user()
        assert (user.firstname, user.idnumber, user.lang) == ("Ada", "", "fr")
        assert user.customfields == {"emailconfirmed": "1", "kind": "learner"}
        edit(world, "ext.ada", given_name="Augusta", language="en", profile="vacataire")
        user.idnumber = "HR-12"
        assert run(world).outcome == "done"
        assert (user.firstname, user.idnumber, user.lang, user.customfields["kind"]) == (
            "Ada",
            "HR-12",
            "en",
            "vacataire",
        )
        assert run(world).outcome == "nothing"


def test_cohorts_of_ours_are_made_and_their_members_kept(tmp_path: Path) -> None:
    cohorts = [
        {"idnumber": "lmsb-learners", "name": "Learners", "profiles": ["learner"]},
        {"idnumber": "lmsb-all", "name": "Everybody"},
    ]
    with site_world(tmp_path, site={"cohorts": cohorts}) as world:
        names = add_people(world, 2)
        assert run(world).outcome == "done"
        by_name = {cohort.idnumber: cohort for cohort in world.moodle.site.cohorts.values()}
        ids = [world.user(name).id for name in ("ext.ada", *names)]
        assert by_name["lmsb-learners"].members == ids
        assert by_name["lmsb-all"].members == ids
        assert run(world).outcome == "nothing"
        guest = world.moodle.site.user("canary")
        assert guest is not None
        by_name["lmsb-learners"].members.append(guest.id)  # a human put somebody in
        edit(world, names[0], profile="staff")
        report = run(world)
        assert report.done == {Kind.LEAVE: 1}
        assert by_name["lmsb-learners"].members == [ids[0], ids[2], guest.id]
        by_name["lmsb-all"].members.remove(ids[0])
        assert run(world).done == {Kind.JOIN: 1}
        world.suspend(names[1])
        run(world)
        assert ids[2] in by_name["lmsb-all"].members, "a closed user keeps the cohorts"


def test_somebody_missing_once_is_a_doubt_and_missing_twice_a_conflict(site: World) -> None:
    names = add_people(site, 2)
    run(site)
    gone = site.user(names[0])
    site.moodle.site.delete_user(gone)
    first = run(site)
    # Deleted users are found by id; somebody really gone is not.
    assert first.plan.conflicts == 1
    del site.moodle.site.users[site.user(names[1]).id]
    second = run(site)
    assert second.plan.absent == (account_id(site, names[1]),)
    assert second.plan.conflicts == 1
    third = run(site)
    assert third.plan.absent == ()
    assert [conflict.problem for conflict in third.plan.found_conflicts()] == [
        "the user was deleted in Moodle",
        "the user is gone from Moodle",
    ]
    assert len(site.writes()) == 1


def test_a_dry_run_does_not_count_as_a_run_that_missed_somebody(site: World) -> None:
    [name] = add_people(site, 1)
    run(site)
    del site.moodle.site.users[site.user(name).id]
    for _ in range(3):
        assert run(site, write=False).plan.conflicts == 0


def test_an_address_two_accounts_share_goes_to_the_first_and_the_other_is_for_a_human(site: World) -> None:
    site.bridge.add_account("ext.one", email="same@mail.example")
    site.bridge.add_account("ext.two", email="SAME@mail.example")
    report = run(site)
    assert "ext.one" in site.usernames()
    assert "ext.two" not in site.usernames()
    assert [conflict.username for conflict in report.plan.found_conflicts()] == ["ext.two"]


def test_an_address_another_moodle_user_has_is_for_a_human_and_not_tried(site: World) -> None:
    names = add_people(site, 3)
    site.moodle.site.add_user("other", auth="manual", firstname="O", email=f"{names[1]}@mail.example")
    report = run(site)
    assert (report.outcome, report.refused) == ("done", 0)
    [conflict] = report.plan.found_conflicts()
    assert (conflict.username, conflict.problem) == (names[1], "another Moodle user has the same address")
    assert "other" in conflict.theirs
    assert run(site).outcome == "nothing"


def test_a_row_moodle_refuses_stops_nobody_else(site: World) -> None:
    names = add_people(site, 10)
    edit(site, names[4], family_name="<b>")  # Moodle takes no tags in names
    report = run(site)
    assert (report.outcome, report.refused, report.done[Kind.CREATE]) == ("partial", 1, 10)
    assert names[4] not in site.usernames()
    again = run(site)
    assert again.refused == 1  # still so, and still nobody else's matter
    assert len(site.usernames()) == 11


def test_a_poison_row_hides_one_person_and_nobody_else(site: World) -> None:
    names = add_people(site, 8)
    run(site)
    site.user(names[3]).username = "Ext.P0003"  # a script wrote it
    edit(site, names[5], family_name="Later")
    report = run(site)
    assert [conflict.username for conflict in report.plan.found_conflicts()] == [names[3]]
    assert site.user(names[5]).lastname == "Later"


def test_a_lost_answer_is_read_back_and_not_repeated(site: World) -> None:
    add_people(site, 3)
    plan = run(site, write=False)
    assert plan.plan.counts == {Kind.CREATE: 4}
    before = len(site.moodle.calls)
    run(site, write=False)
    reads = len(site.moodle.calls) - before
    site.moodle.faults.next(*[""] * reads, "lost")
    report = run(site)
    assert report.outcome == "unreachable"
    assert len(site.usernames()) == 5
    assert run(site).outcome == "nothing"
    assert all(view.owned for view in mirrors_of(site))
    assert site.writes().count("core_user_create_users") == 1


def test_two_runs_at_once_are_one(site: World) -> None:
    tools = tools_of(site.bridge.runtime, "updago")
    with run_lease(tools.database, "updago", tools.clock), pytest.raises(AlreadyRunning):
        run(site)
    assert run(site).outcome == "done"


def test_a_dead_run_is_taken_over_when_its_lease_ends(site: World) -> None:
    tools = tools_of(site.bridge.runtime, "updago")
    lease = run_lease(tools.database, "updago", tools.clock)
    lease.__enter__()
    site.bridge.clock.forward(seconds=91)
    assert run(site).outcome == "done"
    lease.__exit__(None, None, None)


def test_what_changes_while_a_run_is_at_work_is_not_overwritten(site: World) -> None:
    """The plan said "create"; meanwhile the account was suspended: the write is left to the next look."""
    [name] = add_people(site, 1)
    tools = tools_of(site.bridge.runtime, "updago")

    def meddle(work: str, _done: int, _total: int) -> None:
        if work == "read":
            site.suspend(name)

    run_site(tools, "updago", Orders(write=True), site.folder, progress=meddle)
    assert name not in site.usernames()
    assert run(site).outcome == "nothing"


def test_rights_that_end_by_themselves_close_the_user(site: World) -> None:
    [name] = add_people(site, 1)
    edit(site, name, rights_end_at=site.bridge.clock() + timedelta(days=1))
    run(site)
    site.bridge.clock.forward(days=2)
    report = run(site)
    assert [action.reason for action in report.plan.actions(Kind.CLOSE)] == ["rights_ended"]
    assert site.user(name).suspended


def test_after_a_call_that_failed_no_batch_that_waits_for_its_turn_is_sent(tmp_path: Path) -> None:
    with site_world(tmp_path, site={"parallel_calls": 1}) as site:
        add_people(site, 160)
        site.moodle.faults.at("core_user_create_users", 1, "503")
        assert run_asked(site).outcome == "unreachable"
        assert site.writes() == ["core_user_create_users"]
        assert {mirror.owned for mirror in mirrors_of(site)} == {False}
        assert run_asked(site).outcome == "done"
        assert len(site.writes()) == 5


def test_a_right_that_is_taken_away_meanwhile_is_no_matter_of_waiting(tmp_path: Path) -> None:
    with site_world(tmp_path, site={"parallel_calls": 1}) as site:
        add_people(site, 60)
        site.moodle.faults.at("core_user_create_users", 2, "without=moodle/user:create")
        report = run_asked(site)
        assert (report.outcome, report.done) == ("denied", {Kind.CREATE: 50})
        with site.bridge.runtime.database.read() as session:
            assert session.scalars(select(SyncRun.outcome)).all() == ["denied"]
        assert run_asked(site).outcome == "done"
