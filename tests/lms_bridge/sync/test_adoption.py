"""Taking over the users a Moodle had before the bridge: certain matches only, and everything else for a human."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from external_accounts.accounts import AccountFacts
from lms_bridge.settings.moodle_sites import Site
from lms_bridge.sync.actions import Action, Kind
from lms_bridge.sync.adopt import LEVELS, match
from lms_bridge.sync.desired import Subject
from moodle_ws.simulator import Database, User, Version
from moodle_ws.users import MoodleUser
from tests.lms_bridge.sync.conftest import World
from tests.lms_bridge.sync.site_runs import add_people, edit, entries, run, run_asked, site_world


@pytest.fixture(params=list(Database))
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with site_world(tmp_path, database=request.param) as world:
        yield world


def before(world: World, username: str, **values: Any) -> User:
    """A user that was in Moodle before the bridge; what is not said is as the account of that name has it."""
    facts = {
        "auth": "manual",
        "firstname": "Pat",
        "lastname": f"Nr {username[-4:]}",
        "email": f"{username}@mail.example",
    }
    return world.moodle.site.add_user(username, **{**facts, **values})


def adopt(world: World) -> Any:
    return run_asked(world, adopt=True, kind="adopt")


def conflicts(report: Any) -> dict[str, str]:
    return {conflict.username: conflict.problem for conflict in report.plan.found_conflicts()}


def test_an_adoption_always_asks_first(site: World) -> None:
    add_people(site, 1)
    before(site, "ext.p0000")
    report = run(site, adopt=True, kind="adopt")
    assert [stop.name for stop in report.stops] == ["TooManyChanges"]
    assert site.writes() == []


def test_a_manual_user_of_the_same_person_is_taken_over_and_from_then_on_kept(site: World) -> None:
    add_people(site, 1)
    user = before(site, "ext.p0000", idnumber="HR-1", city="Poitiers", password="Old.Passw0rd")
    assert adopt(site).done == {Kind.ADOPT: 1}
    assert (user.auth, user.idnumber, user.city, user.suspended) == ("cas", "HR-1", "Poitiers", False)
    assert run(site).outcome == "done"  # Ada is created
    edit(site, "ext.p0000", family_name="Later")
    run(site)
    assert user.lastname == "Later"
    assert adopt(site).outcome == "nothing"


def test_own_fields_are_written_and_seeds_only_where_moodle_has_nothing(site: World) -> None:
    add_people(site, 2)
    with_number = before(site, "ext.p0000", firstname="Patricia", idnumber="HR-7")
    without = before(site, "ext.p0001")
    adopt(site)
    assert (with_number.firstname, with_number.idnumber) == ("Pat", "HR-7")
    assert without.idnumber.startswith("lmsb-")


def test_a_user_found_by_the_confirmed_address_is_renamed(site: World) -> None:
    add_people(site, 1)
    user = before(site, "pat.old", lastname="Nr 0000", email="ext.p0000@mail.example")
    assert adopt(site).done == {Kind.ADOPT: 1}
    assert (user.username, user.auth) == ("ext.p0000", "cas")


def test_an_address_that_is_not_confirmed_finds_nobody(site: World) -> None:
    add_people(site, 1, confirmed=False)
    user = before(site, "pat.old", lastname="Nr 0000", email="ext.p0000@mail.example")
    report = adopt(site)
    assert report.outcome == "nothing"
    assert user.username == "pat.old"


def test_two_candidates_are_a_conflict_and_nothing_is_written(site: World) -> None:
    add_people(site, 1)
    before(site, "ext.p0000", email="someone@mail.example")
    before(site, "pat.old", email="ext.p0000@mail.example")
    report = adopt(site)
    assert conflicts(report) == {"ext.p0000": "several Moodle users could be this person"}
    assert site.writes() == []


def test_one_user_two_accounts_lay_claim_to_is_neithers(site: World) -> None:
    add_people(site, 1)
    site.bridge.add_account("ext.p0001", email="shared@mail.example")
    edit(site, "ext.p0001", family_name="Nr 0000")
    before(site, "ext.p0000", email="shared@mail.example")
    report = adopt(site)
    assert set(conflicts(report)) == {"ext.p0000", "ext.p0001"}
    assert site.writes() == []


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (
            {"lastname": "Quite Else", "firstname": "Somebody", "email": "else@mail.example"},
            "only the user name or the address agrees: it may be somebody else",
        ),
        ({"auth": "nologin"}, "users with this sign-in method are not taken over"),
        ({"confirmed": False}, "the user is not confirmed in Moodle"),
    ],
    ids=["another person", "nologin", "unconfirmed"],
)
def test_what_is_not_certain_is_for_a_human(site: World, values: dict[str, Any], problem: str) -> None:
    add_people(site, 1)
    user = before(site, "ext.p0000", **values)
    was = dict(vars(user))
    assert conflicts(adopt(site)) == {"ext.p0000": problem}
    assert dict(vars(user)) == was


def test_a_suspension_from_before_stays(site: World) -> None:
    add_people(site, 1)
    user = before(site, "ext.p0000", suspended=True)
    assert adopt(site).done == {Kind.ADOPT: 1}
    assert (user.auth, user.suspended) == ("cas", True)
    run(site)
    assert user.suspended


def test_who_may_not_enter_yet_is_left_alone_and_taken_over_later(site: World) -> None:
    add_people(site, 1, confirmed=False)
    user = before(site, "ext.p0000")
    adopt(site)
    run(site)
    assert (user.auth, user.suspended) == ("manual", False)


def test_the_administrator_is_never_taken_over(site: World) -> None:
    admin = site.moodle.site.user("admin")
    assert admin is not None
    admin.email = "boss@mail.example"
    site.bridge.add_account("ext.boss", email="boss@mail.example")
    report = adopt(site)
    assert conflicts(report) == {"ext.boss": "the Moodle user is protected"}
    assert site.writes() == []


def test_i12_the_twin_that_only_the_database_calls_equal_is_not_taken(site: World) -> None:
    add_people(site, 1)
    twin = before(site, "éxt.p0000", email="twin@mail.example")
    was = dict(vars(twin))
    adopt(site)
    assert dict(vars(twin)) == was


def test_a_user_whose_ownership_was_lost_is_found_again_by_the_bridge_key(site: World) -> None:
    add_people(site, 1)
    run(site)
    user = site.user("ext.p0000")
    forget(site)
    user.username, user.email, user.lastname = "changed", "changed@mail.example", "Changed"
    report = run_asked(site, adopt=True, kind="adopt")
    assert report.done[Kind.ADOPT] == 2  # Ada too
    assert user.username == "ext.p0000"
    assert [action.reason for action in report.plan.actions(Kind.ADOPT)][-1] == "same bridge key"


def test_a_mixed_site_is_taken_over_without_one_wrong_write(tmp_path: Path) -> None:
    """Manual and CAS users, renamed ones, other people's and strangers: every row is looked at afterwards."""
    with site_world(tmp_path, version=Version.V4_5) as world:
        names = add_people(world, 300)
        expected: dict[int, str] = {}
        for position, name in enumerate(names):
            match position % 6:
                case 0:
                    expected[before(world, name).id] = name
                case 1:
                    expected[before(world, name, auth="cas").id] = name
                case 2:
                    expected[
                        before(world, f"old.{position}", email=f"{name}@mail.example", lastname=f"Nr {name[-4:]}").id
                    ] = name
                case 3:
                    before(world, name, firstname="X", lastname="Y", email=f"x{position}@mail.example")
                case 4:
                    before(world, name, email=f"y{position}@mail.example")
                    before(world, f"old.{position}", email=f"{name}@mail.example")
        for number in range(100):
            before(world, f"stranger.{number}", email=f"stranger.{number}@mail.example", lastname="S")
        untouched = {user.id: dict(vars(user)) for user in world.moodle.site.living() if user.id not in expected}
        report = adopt(world)
        assert report.done == {Kind.ADOPT: len(expected)}
        assert {user.id: user.username for user in world.moodle.site.living() if user.id in expected} == expected
        assert {number: dict(vars(world.moodle.site.users[number])) for number in untouched} == untouched
        assert report.plan.conflicts == 100
        assert {entry.mirror.moodle_id for entry in entries(world) if entry.mirror.owned} == set(expected)


def forget(world: World) -> None:
    """As after a database restored from before the bridge met this Moodle."""
    with world.bridge.runtime.database.driver_for_writing() as connection:
        connection.cursor().execute("UPDATE mirrors SET moodle_id = NULL, owned = 0, written = '{}', state = 'pending'")


USERS: SearchStrategy[MoodleUser] = st.builds(
    MoodleUser,
    id=st.integers(1, 8),
    username=st.sampled_from(["jo", "jo.old", "admin", "x.1700000000"]),
    auth=st.sampled_from(["manual", "cas", "nologin", "webservice"]),
    suspended=st.booleans(),
    confirmed=st.sampled_from([True, True, False]),
    firstname=st.just("Jo"),
    lastname=st.sampled_from(["Petit", "PÉTIT", "Grand"]),
    email=st.sampled_from(["jo@mail.example", "JO@mail.example", "other@mail.example"]),
    idnumber=st.sampled_from([None, "", "HR-1"]),
)


@given(candidates=st.dictionaries(st.sampled_from(LEVELS), st.lists(USERS, min_size=1, max_size=2), max_size=4))
def test_i7_a_take_over_is_of_the_only_candidate_and_of_nobody_protected(
    candidates: dict[str, Sequence[MoodleUser]],
) -> None:
    site = Site.model_validate({"name": "s", "url": "https://m.example", "token": "t"})
    people = {user.id for users in candidates.values() for user in users}
    outcome = match(subject(), candidates, site, own_user=5, taken={7})
    if not isinstance(outcome, Action):
        assert (outcome is None) == (not people)
        return
    assert people == {outcome.moodle_id}
    assert outcome.moodle_id not in (1, 2, 5, 7)
    shown = [user for users in candidates.values() for user in users]
    assert all(user.auth in ("manual", "cas") and user.confirmed for user in shown[-1:])
    assert "suspended" not in outcome.after
    assert outcome.after["auth"] == "cas"


def subject() -> Subject:
    then = datetime(2026, 9, 1, tzinfo=UTC)
    facts = AccountFacts(
        account_id=1, username="jo", profile="learner", given_name="Jo", family_name="Pétit", language="",
        activated_at=then, suspended_at=None, suspended_until=None, rights_end_at=None, erased_at=None, version=1,
        email="jo@mail.example", email_confirmed_at=then, charter_version=None,
    )  # fmt: skip
    return Subject(facts, "0123456789abcdef0123")
