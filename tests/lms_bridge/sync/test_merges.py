"""Two accounts become one, and the Moodle behind follows (D28, I6, I7, I12): the kept user is renamed in place, the
other one closed and out of the way, none deleted; and an undo puts both back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lms_bridge.gate import MirrorState
from lms_bridge.sync.compare import Comparison
from lms_bridge.sync.merge_list import Hint, MergeLine, listed
from lms_bridge.sync.notes import note
from moodle_ws.client import MoodleClient
from moodle_ws.simulator import User
from tests.bridge_under_test import heading
from tests.lms_bridge.sync.conftest import World
from tests.lms_bridge.sync.joined import (
    LEARNER,
    MEMBER,
    MEMBERS_ADDRESS,
    by_id,
    check_moodle,
    link,
    make_primary,
    merge_rows,
    settle,
    take,
    two_accounts,
    unlink,
)
from tests.lms_bridge.sync.site_runs import MOODLES, account_id, add_person, edit, entries, run, run_asked

CONFLICT = "L'assistance doit examiner votre compte"
PREPARING = "Votre accès est en préparation"


@pytest.fixture(params=MOODLES, ids=lambda moodle: "-".join(map(str, moodle)))
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    database, version = request.param
    with two_accounts(tmp_path, database=database, version=version) as running:
        yield running


@pytest.fixture
def one_world(tmp_path: Path) -> Iterator[World]:
    with two_accounts(tmp_path) as running:
        yield running


def plain(text: str) -> str:
    return text.replace("\u2019", "'")


def is_parked(user: User) -> bool:
    return user.suspended and user.username.startswith("lmsb-merged-") and not user.deleted


def test_d28_the_kept_user_is_renamed_in_place_and_the_other_one_is_closed_and_out_of_the_way(world: World) -> None:
    kept, other = world.user(LEARNER), world.user(MEMBER)
    link(world, LEARNER, MEMBER, swap=True, address=True)
    settle(world)
    assert (kept.username, kept.email, kept.auth, kept.suspended) == (MEMBER, MEMBERS_ADDRESS, "cas", False)
    assert is_parked(other)
    assert other.email == f"{other.username}@merged.invalid"
    assert run(world, write=False).plan.size == 0
    [merge] = merge_rows(world)
    assert (merge.state, merge.kept_moodle_id, merge.other_moodle_id) == ("open", kept.id, other.id)
    assert (merge.kept_username, merge.other_username) == (kept.username, other.username)
    check_moodle(world)


def test_d28_an_undo_gives_both_their_names_and_addresses_back(world: World) -> None:
    kept, other = world.user(LEARNER), world.user(MEMBER)
    before = (vars(kept).copy(), vars(other).copy())
    joined = link(world, LEARNER, MEMBER, swap=True, address=True)
    settle(world)
    unlink(world, joined)
    settle(world)
    assert (vars(kept), vars(other)) == before
    assert [merge.state for merge in merge_rows(world)] == ["void"]
    assert run(world, write=False).plan.size == 0


def test_i6_who_enters_right_after_joining_enters_with_the_kept_user(world: World) -> None:
    """Nobody has come to the other user yet: the door does both, in order."""
    kept, other = world.user(LEARNER), world.user(MEMBER)
    link(world, LEARNER, MEMBER, swap=True, address=True)
    ticket = world.ticket(LEARNER)
    assert (kept.username, kept.email, kept.suspended) == (MEMBER, MEMBERS_ADDRESS, False)
    assert is_parked(other)
    assert f"<cas:user>{MEMBER}</cas:user>" in world.bridge.validate(ticket, world.service).text


def test_i6_a_ticket_from_before_the_link_is_not_validated_under_a_name_that_moodle_does_not_know(
    one_world: World,
) -> None:
    ticket = one_world.ticket(LEARNER)
    link(one_world, LEARNER, MEMBER, swap=True)
    assert "authenticationSuccess" not in one_world.bridge.validate(ticket, one_world.service).text


@pytest.mark.parametrize("swap", [True, False])
def test_i6_a_run_over_the_site_closes_parks_and_then_renames(world: World, swap: bool) -> None:
    kept, other = world.user(LEARNER), world.user(MEMBER)
    link(world, LEARNER, MEMBER, swap=swap, address=True)
    plan = run(world, write=False).plan
    assert {kind.value: count for kind, count in plan.counts.items()} == {"close": 1, "park": 1, "take": 1}
    assert run_asked(world).outcome == "done"
    assert (kept.username, kept.email) == (MEMBER if swap else LEARNER, MEMBERS_ADDRESS)
    assert is_parked(other)
    assert run(world).outcome == "nothing"
    check_moodle(world)


def test_the_other_users_address_and_everything_else_stay_when_the_kept_one_does_not_need_them(world: World) -> None:
    other = world.user(MEMBER)
    before = vars(other).copy()
    link(world, LEARNER, MEMBER)
    settle(world)
    assert is_parked(other)
    changed = {name for name, value in vars(other).items() if value != before[name]}
    assert changed == {"username", "suspended"}


def test_an_address_that_the_person_takes_later_is_given_up_then(one_world: World) -> None:
    kept, other = one_world.user(LEARNER), one_world.user(MEMBER)
    link(one_world, LEARNER, MEMBER)
    settle(one_world)
    assert other.email == MEMBERS_ADDRESS
    make_primary(one_world, LEARNER, MEMBERS_ADDRESS)
    assert one_world.ticket(LEARNER)
    assert kept.email == MEMBERS_ADDRESS
    assert other.email == f"{other.username}@merged.invalid"


def test_the_only_user_comes_over_and_goes_back_with_an_undo(world: World) -> None:
    add_person(world.bridge, "new.member", given="Ada", family="Lovelace", email="new.member@univ.example")
    user = world.user(LEARNER)
    joined = link(world, "new.member", LEARNER)
    settle(world)
    assert (user.username, user.suspended) == ("new.member", False)
    [merge] = merge_rows(world)
    assert (merge.state, merge.kept_moodle_id) == ("moved", user.id)
    unlink(world, joined)
    settle(world)
    assert (user.username, user.suspended) == (LEARNER, False)
    assert world.user("new.member").id != user.id
    assert run(world, write=False).plan.size == 0


def test_i7_a_user_that_is_not_ours_stays_as_it_is_and_a_human_is_asked_to_close_it(one_world: World) -> None:
    add_person(one_world.bridge, "old.member", given="Ada", family="Lovelace", email="old.member@univ.example")
    stranger = one_world.moodle.site.add_user("old.member", auth="cas", firstname="A", email="elsewhere@mail.example")
    settle(one_world)
    before = vars(stranger).copy()
    link(one_world, LEARNER, "old.member")
    settle(one_world)
    assert vars(stranger) == before
    assert one_world.ticket(LEARNER), "the person is not kept out"
    [conflict] = run(one_world, write=False).plan.found_conflicts()
    assert "suspend it in Moodle" in conflict.problem
    [merge] = merge_rows(one_world)
    assert merge.other_username == "old.member"
    stranger.suspended = True
    assert run(one_world, write=False).plan.conflicts == 0


def test_i7_a_name_that_a_user_not_ours_bears_is_for_a_human(one_world: World) -> None:
    add_person(one_world.bridge, "old.member", given="Ada", family="Lovelace", email="old.member@univ.example")
    stranger = one_world.moodle.site.add_user("old.member", auth="cas", firstname="A", email="elsewhere@mail.example")
    settle(one_world)
    kept = one_world.user(LEARNER)
    link(one_world, LEARNER, "old.member", swap=True)
    assert plain(heading(one_world.enter(LEARNER))) == CONFLICT
    assert (kept.username, stranger.username, stranger.suspended) == (LEARNER, "old.member", False)
    # The human gives the user that is not ours another name, and closes it.
    stranger.username, stranger.suspended = "old.member.before", True
    assert one_world.ticket(LEARNER)
    assert kept.username == "old.member"
    assert run(one_world, write=False).plan.conflicts == 0


@pytest.mark.parametrize(("auth", "changed"), [("manual", True), ("ldap", True), ("oauth2", False)])
def test_the_sign_in_method_is_changed_in_place_when_a_link_asks_for_it(
    one_world: World, auth: str, changed: bool
) -> None:
    kept = one_world.user(LEARNER)
    kept.auth = auth
    link(one_world, LEARNER, MEMBER, swap=True)
    if changed:
        assert one_world.ticket(LEARNER)
        assert (kept.username, kept.auth) == (MEMBER, "cas")
    else:
        assert plain(heading(one_world.enter(LEARNER))) == CONFLICT
        assert (kept.username, kept.auth) == (LEARNER, auth)


def test_a_sign_in_method_that_was_changed_in_moodle_later_is_for_a_human_again(one_world: World) -> None:
    kept = one_world.user(LEARNER)
    link(one_world, LEARNER, MEMBER, swap=True)
    settle(one_world)
    kept.auth = "manual"
    assert plain(heading(one_world.enter(LEARNER))) == CONFLICT
    assert kept.auth == "manual"


@pytest.mark.parametrize("enters", [True, False], ids=["door", "run"])
def test_i6_the_kept_user_waits_while_the_other_one_cannot_be_closed(one_world: World, enters: bool) -> None:
    """Somebody renamed the other user in Moodle: whose it is, a human says. Until then it is open, and the person with
    their new name stays out."""
    kept, other = one_world.user(LEARNER), one_world.user(MEMBER)
    other.username = "somebody.renamed.it"
    link(one_world, LEARNER, MEMBER, swap=True)
    if enters:
        assert plain(heading(one_world.enter(LEARNER))) == CONFLICT
    else:
        assert run_asked(one_world).outcome == "partial"
    assert (kept.username, other.username, other.suspended) == (LEARNER, "somebody.renamed.it", False)
    other.suspended = True
    assert one_world.ticket(LEARNER)
    assert (kept.username, other.username) == (MEMBER, "somebody.renamed.it")


def test_i8_a_link_made_while_moodle_is_being_called_takes_what_is_written_along(
    one_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_person(one_world.bridge, "new.member", given="Ada", family="Lovelace", email="new.member@univ.example")
    edit(one_world, LEARNER, family_name="King")
    call = MoodleClient.call
    learner = account_id(one_world, LEARNER)

    def linking_call(self: MoodleClient, function: str, parameters: Any = None, *, read: bool) -> Any:
        if function == "core_user_update_users" and not merge_rows(one_world):
            link(one_world, "new.member", LEARNER)
        return call(self, function, parameters, read=read)

    with monkeypatch.context() as patch:
        patch.setattr(MoodleClient, "call", linking_call)
        take(one_world, learner)
    views = {entry.account_id: entry.mirror for entry in entries(one_world)}
    assert views[learner].written == {}
    assert views[account_id(one_world, "new.member")].written["lastname"] == "King"
    settle(one_world)
    assert one_world.user("new.member").lastname == "Lovelace"


def test_i7_a_suspension_that_stood_in_moodle_before_stays_after_an_undo(one_world: World) -> None:
    other = one_world.user(MEMBER)
    other.suspended = True
    joined = link(one_world, LEARNER, MEMBER)
    settle(one_world)
    assert is_parked(other)
    [line] = listed_merges(one_world)
    assert line.hint is Hint.READY
    unlink(one_world, joined)
    settle(one_world)
    assert (other.username, other.suspended) == (MEMBER, True)


def listed_merges(world: World) -> Sequence[MergeLine]:
    """The work list as it stands when the time to undo is over."""
    with world.bridge.runtime.database.read() as session:
        return listed(session, world.bridge.clock() + timedelta(days=8))


def test_the_closed_user_is_closed_again_when_somebody_opens_it_in_moodle(one_world: World) -> None:
    other = one_world.user(MEMBER)
    link(one_world, LEARNER, MEMBER)
    settle(one_world)
    other.suspended = False
    assert run(one_world).outcome == "done"
    assert other.suspended


def test_i9_the_guard_counts_what_links_ask_for(tmp_path: Path) -> None:
    thresholds = {kind: {"percent": 0, "floor": 0} for kind in ("park", "take")}
    with two_accounts(tmp_path, site={"guard": thresholds}) as world:
        link(world, LEARNER, MEMBER, swap=True)
        report = run(world)
        assert report.outcome == "stopped"
        assert len(report.stops) == 2
        assert world.user(LEARNER).suspended is False
        assert run_asked(world).outcome == "done"


def test_i9_the_worker_holds_a_link_back_when_too_many_users_would_be_closed(tmp_path: Path) -> None:
    with two_accounts(tmp_path, site={"guard": {"close": {"percent": 0, "floor": 0}}}) as world:
        kept, other = world.user(LEARNER), world.user(MEMBER)
        link(world, LEARNER, MEMBER, swap=True)
        settle(world)
        assert (kept.username, other.username, other.suspended) == (LEARNER, MEMBER, False)
        assert world.ticket(LEARNER), "one person at the door is no wave"
        assert (kept.username, other.suspended) == (MEMBER, True)


def test_moodle_being_down_keeps_out_only_who_has_a_new_name(one_world: World) -> None:
    one_world.ticket(LEARNER)
    link(one_world, LEARNER, MEMBER)
    one_world.down()
    assert one_world.ticket(LEARNER), "the name is the one that Moodle knows"


def test_moodle_being_down_a_renamed_person_waits_and_enters_when_it_is_back(one_world: World) -> None:
    one_world.ticket(LEARNER)
    link(one_world, LEARNER, MEMBER, swap=True)
    one_world.down()
    assert plain(heading(one_world.enter(LEARNER))) == PREPARING
    one_world.down(down=False)
    one_world.bridge.clock.forward(minutes=1)
    assert one_world.ticket(LEARNER)


def test_the_erasure_of_the_kept_account_opens_nothing_again(one_world: World) -> None:
    kept, other = one_world.user(LEARNER), one_world.user(MEMBER)
    link(one_world, LEARNER, MEMBER, swap=True)
    settle(one_world)
    edit(one_world, MEMBER, erased_at=one_world.bridge.clock(), given_name="", family_name="")
    settle(one_world)
    assert (kept.suspended, is_parked(other)) == (True, True)
    assert run(one_world, write=False).plan.size == 0


def test_undoing_a_link_whose_course_work_was_moved_says_so(one_world: World) -> None:
    joined = link(one_world, LEARNER, MEMBER)
    settle(one_world)
    with one_world.bridge.runtime.database.begin() as session:
        [merge] = merge_rows(one_world)
        session.merge(merge).state = "done"
    assert unlink(one_world, joined) == ["updago"]
    assert [merge.state for merge in merge_rows(one_world)] == ["done"]


def test_what_was_noted_of_a_user_before_it_changed_hands_is_not_noted_of_the_next_one(one_world: World) -> None:
    add_person(one_world.bridge, "new.member", given="Ada", family="Lovelace", email="new.member@univ.example")
    stale = next(entry for entry in entries(one_world) if entry.account_id == account_id(one_world, "new.member"))
    user = by_id(one_world, one_world.user(LEARNER).id)
    link(one_world, "new.member", LEARNER)
    with one_world.bridge.runtime.database.begin() as session:
        note(session, stale, Comparison(MirrorState.IN_STEP, moodle_id=999), "updago", one_world.bridge.clock())
    settle(one_world)
    assert user.username == "new.member"
