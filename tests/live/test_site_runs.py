"""Runs over a whole site: planned, made, planned again, and an adoption. What a lost answer or a hidden field does is
`tests/lms_bridge/sync/`'s matter: nobody can ask a real Moodle for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lms_bridge.sync.actions import Kind
from lms_bridge.sync.runs import Report
from tests.live.kept_site import KeptSite, kept_site
from tests.live.moodle_under_test import MoodleUnderTest
from tests.live.test_cohorts import FUNCTIONS as COHORT_FUNCTIONS
from tests.lms_bridge.sync.site_runs import edit, mirrors_of, run, run_asked

ORDINARY = {"given": "Paul", "family": "Martin"}


@pytest.fixture
def opens(moodle: MoodleUnderTest, tmp_path: Path) -> Iterator[Callable[..., KeptSite]]:
    """Starts a bridge whose site has further settings."""
    with ExitStack() as stack:
        yield lambda **site: stack.enter_context(kept_site(moodle, tmp_path, **site))


@pytest.fixture
def site(opens: Callable[..., KeptSite]) -> KeptSite:
    return opens()


def conflicts(report: Report) -> dict[str, str]:
    return {conflict.username: conflict.problem for conflict in report.plan.found_conflicts()}


def test_sixty_people_are_planned_created_and_found_in_step(site: KeptSite) -> None:
    names = site.add(60)
    planned = run(site, write=False)
    assert planned.plan.counts == {Kind.CREATE: 60}
    assert site.users(names) == []
    assert run(site, checksum=planned.plan.checksum).done == {Kind.CREATE: 60}
    users = site.users(names)
    assert [user.username for user in users] == names
    assert {(user.auth, user.suspended, user.confirmed) for user in users} == {(site.moodle.auth, False, True)}
    assert [user.lastname for user in users] == [f"Nr {number}" for number in range(60)]
    assert {mirror.moodle_id for mirror in mirrors_of(site)} == {user.id for user in users}
    again = run(site)
    assert (again.outcome, again.plan.in_step) == ("nothing", 60)
    assert site.client.written == set()
    assert site.users(names) == users


def test_a_field_changed_on_one_side_is_settled_and_on_both_sides_is_a_conflict(site: KeptSite) -> None:
    here, there, both, same = site.add(4)
    run(site)
    edit(site, here, family_name="Ici")
    site.change_there(there, lastname="Là-bas")
    for name, elsewhere in ((both, "Leur"), (same, "Nôtre")):
        edit(site, name, family_name="Nôtre")
        site.change_there(name, lastname=elsewhere)
    report = run(site)
    assert report.done == {Kind.REFRESH: 2}
    assert [site.user(name).lastname for name in (here, there, both, same)] == ["Ici", "Nr 1", "Leur", "Nôtre"]
    [conflict] = report.plan.found_conflicts()
    assert (conflict.username, conflict.field, conflict.ours, conflict.theirs) == (both, "lastname", "Nôtre", "Leur")
    assert run(site).outcome == "nothing"


def test_an_address_changed_there_alone_is_put_right(site: KeptSite) -> None:
    [name] = site.add(1)
    run(site)
    site.change_there(name, email=site.moodle.email("elsewhere"))
    assert run(site).done == {Kind.REFRESH: 1}
    assert site.user(name).email == site.moodle.email(0)
    site.change_there(name, email=site.moodle.email(0).upper().replace("@MAIL.EXAMPLE", "@mail.example"))
    assert run(site).outcome == "nothing", "an address in other letters is the same address"


def test_i6_i7_only_our_own_suspensions_are_lifted(site: KeptSite) -> None:
    ours, theirs, twice, never = site.add(4)
    run(site)
    site.suspend(ours)
    site.suspend(twice)
    assert run(site).done == {Kind.CLOSE: 2}
    assert [user.suspended for user in site.users([ours, theirs, twice, never])] == [True, False, True, False]
    site.change_there(theirs, suspended=True)
    for name in (theirs, twice):
        site.suspend(name)
    run(site)
    for name in (ours, theirs, twice):
        site.readmit(name)
    report = run(site)
    assert report.done == {Kind.OPEN: 2}
    assert [user.suspended for user in site.users([ours, theirs, twice, never])] == [False, True, False, False]
    assert report.plan.suspended_elsewhere == 1
    assert run(site).outcome == "nothing"


def test_somebody_renamed_here_keeps_the_moodle_user(site: KeptSite) -> None:
    [old] = site.add(1)
    run(site)
    before = site.user(old)
    new = site.moodle.name("married")
    edit(site, old, username=new)
    assert run(site).done == {Kind.REFRESH: 1}
    assert site.user(new).id == before.id
    assert site.users([old]) == []
    assert run(site).outcome == "nothing"


def test_two_people_who_exchange_their_names_are_left_to_a_later_run_or_a_human(site: KeptSite) -> None:
    """Moodle takes no name that somebody has: neither may end with the other's user."""
    one, two = site.add(2)
    run(site)
    ids = [site.user(name).id for name in (one, two)]
    for name, new in ((one, site.moodle.name("between")), (two, one), (site.moodle.name("between"), two)):
        edit(site, name, username=new)
    report = run(site)
    assert (report.outcome, report.refused) == ("partial", 2)
    assert [site.user(name).id for name in (one, two)] == ids


def test_custom_fields_are_written_where_the_site_has_them(
    moodle: MoodleUnderTest, opens: Callable[..., KeptSite]
) -> None:
    if not moodle.field:
        moodle.cannot("no text profile field is named (LMS_BRIDGE_LIVE_MOODLE_FIELD)")
    site = opens(custom_fields=[{"shortname": moodle.field, "holds": "profile"}])
    [name] = site.add(1)
    run(site)
    assert (site.user(name).customfields or {})[moodle.field] == "learner"
    edit(site, name, profile="vacataire")
    assert run(site).done == {Kind.REFRESH: 1}
    assert (site.user(name).customfields or {})[moodle.field] == "vacataire"
    site.change_there(name, customfields={moodle.field: "autre"})
    assert run(site).done == {Kind.REFRESH: 1}
    assert (site.user(name).customfields or {})[moodle.field] == "vacataire"
    assert run(site).outcome == "nothing"


def test_cohorts_of_ours_are_made_and_their_members_kept(
    moodle: MoodleUnderTest, opens: Callable[..., KeptSite]
) -> None:
    moodle.offers(*COHORT_FUNCTIONS)
    if moodle.simulated is None:  # not a function of the bridge's, but without it cohorts would stay behind
        moodle.offers("core_cohort_delete_cohorts")
    keys = [moodle.name("learners"), moodle.name("all")]
    site = opens(
        cohorts=[
            {"idnumber": keys[0], "name": "Learners", "profiles": ["learner"]},
            {"idnumber": keys[1], "name": "Everybody"},
        ]
    )

    def members(key: str) -> set[int]:
        [cohort] = moodle.client.search_cohorts(key)
        return set(moodle.client.cohort_members([cohort.id])[cohort.id])

    names = site.add(3)
    assert run(site).done == {Kind.CREATE: 3, Kind.JOIN: 6}
    ids = [site.user(name).id for name in names]
    assert members(keys[0]) == members(keys[1]) == set(ids)
    assert run(site).outcome == "nothing"
    edit(site, names[0], profile="staff")
    site.suspend(names[1])
    assert run(site).done == {Kind.LEAVE: 1, Kind.CLOSE: 1}
    assert members(keys[0]) == set(ids[1:]), "a closed user keeps the cohorts"
    assert members(keys[1]) == set(ids)
    assert run(site).outcome == "nothing"


def test_somebody_deleted_in_moodle_is_for_a_human_and_not_created_again(site: KeptSite) -> None:
    site.moodle.offers("core_user_delete_users")
    gone, stays = site.add(2)
    run(site)
    number = site.user(gone).id
    site.moodle.delete([number])
    report = run(site)
    assert conflicts(report) == {gone: "the user was deleted in Moodle"}
    assert [user.username for user in site.users([gone, stays])] == [stays]
    site.suspend(gone)
    assert run(site).outcome == "nothing"


@pytest.mark.parametrize("written", [str, str.upper], ids=["same", "capitals"])
def test_an_address_that_another_moodle_user_has_is_a_conflict_of_one_person(
    site: KeptSite, written: Callable[[str], str]
) -> None:
    site.stranger("holder", email=written(site.moodle.email(2)))
    names = site.add(4)
    report = run(site)
    assert report.done == {Kind.CREATE: 3}
    assert [user.username for user in site.users(names)] == [names[0], names[1], names[3]]
    assert [mirror.state.value for mirror in mirrors_of(site)] == ["in_step", "in_step", "conflict", "in_step"]
    assert not run(site).done.get(Kind.CREATE)


def test_users_there_before_are_never_written_by_a_run(site: KeptSite) -> None:
    """They enter if they may; only an adoption makes them the bridge's."""
    manual, same_name, suspended = site.add(3)
    site.stranger(0, auth="manual", email=site.moodle.email("manual"))
    site.stranger(1, email=site.moodle.email("old"), lastname="Ancien")
    site.stranger(2, email=site.moodle.email("suspended"), suspended=True)
    report = run(site)
    assert report.plan.size == 0
    assert conflicts(report) == {manual: "the user has another sign-in method"}
    for name in (manual, same_name, suspended):
        site.suspend(name)
        edit(site, name, family_name="Nouveau")
    assert run(site).plan.size == 0
    assert site.client.written == set()


def test_an_adoption_takes_over_who_is_certain_and_nobody_else(
    moodle: MoodleUnderTest, opens: Callable[..., KeptSite]
) -> None:
    protected = moodle.name("protected")
    site = opens(protected=[protected])
    there: dict[str, dict[str, Any]] = {
        "both": {"auth": "manual"},
        "family": {"auth": moodle.auth, "email": moodle.email("family.old"), "lastname": "Martin"},
        "suspended": {"suspended": True},
        "somebody": {"auth": "manual", "email": moodle.email("somebody.else"), "lastname": "Durand"},
        "method": {"auth": "nologin"},
        "protected": {"auth": "manual"},
        "two": {"email": moodle.email("two.old")},
        "stranger": {},
    }
    before = {who: site.stranger(who, **{"lastname": "Martin", **row}) for who, row in there.items()}
    site.stranger("two.other", email=moodle.email("two"), lastname="Martin")
    here = [who for who in there if who != "stranger"]
    names = {who: site.add_one(who, **ORDINARY) for who in here}
    new = site.add_one("new", **ORDINARY)
    add_administrator(site)

    report = run_asked(site, adopt=True)

    assert report.done == {Kind.ADOPT: 3}
    taken = {who: site.user(names[who]) for who in ("both", "family", "suspended")}
    assert {who: user.id for who, user in taken.items()} == {who: before[who].id for who in taken}
    for who, user in taken.items():
        assert (user.auth, user.email, user.lastname) == (moodle.auth, moodle.email(who), "Martin")
        assert user.suspended is before[who].suspended
    assert conflicts(report) == {
        names["somebody"]: "only the user name or the address agrees: it may be somebody else",
        names["method"]: "users with this sign-in method are not taken over",
        names["protected"]: "the Moodle user is protected",
        names["two"]: "several Moodle users could be this person",
        "admin": "the Moodle user is protected",
    }
    site.check_strangers()
    run(site)
    assert site.user(new).auth == moodle.auth
    assert site.user(names["suspended"]).suspended is True
    assert run(site).outcome == "nothing"


def add_administrator(site: KeptSite) -> None:
    """An account of the bridge's that happens to be called like Moodle's administrator."""
    site.bridge.add_account("admin", email=site.moodle.email("admin"))


def test_the_guard_stops_a_run_over_a_real_site_before_its_first_write(opens: Callable[..., KeptSite]) -> None:
    site = opens(guard={"close": {"percent": 10, "floor": 2}})
    names = site.add(6)
    run(site)
    for name in names[:3]:
        site.suspend(name)
    edit(site, names[5], family_name="Allowed")
    report = run(site)
    assert [stop.name for stop in report.stops] == ["TooManyChanges"]
    assert site.client.written == set()
    assert run(site, checksum=report.plan.checksum).done == {Kind.CLOSE: 3, Kind.REFRESH: 1}
    assert run(site).outcome == "nothing"
