"""One account kept in step: created, refreshed, closed, opened, and left alone where it is somebody else's."""

from __future__ import annotations

from lms_bridge.gate import MirrorState
from moodle_ws import UserUpdate
from tests.live.bridged import ADA, Bridged


def test_a_person_is_created_by_the_cas_method_and_once(joined: Bridged) -> None:
    assert joined.step() is MirrorState.IN_STEP
    user = joined.user()
    assert user is not None
    assert (user.auth, user.suspended, user.email) == (joined.moodle.auth, False, joined.moodle.email(ADA))
    assert user.fullname == "Ada Lovelace"
    assert joined.step() is MirrorState.IN_STEP
    assert joined.user() == user


def test_a_new_name_reaches_the_same_user(joined: Bridged) -> None:
    joined.step()
    before = joined.user()
    assert before is not None
    joined.marry()
    joined.jobs()
    after = joined.user()
    assert after is not None
    assert (after.id, after.fullname) == (before.id, "Ada King")


def test_i6_somebody_suspended_is_closed_and_opened_again(joined: Bridged) -> None:
    joined.step()
    for change, suspended in ((joined.suspend, True), (joined.readmit, False)):
        change()
        joined.jobs()
        user = joined.user()
        assert user is not None
        assert user.suspended is suspended


def test_somebody_who_may_not_enter_is_not_created(joined: Bridged) -> None:
    joined.suspend()
    assert joined.step() is MirrorState.PENDING
    assert joined.user() is None


def test_i7_a_manual_user_of_the_same_name_is_a_conflict_and_is_not_written(joined: Bridged) -> None:
    row = joined.moodle.person(ADA, auth="manual", password="Lms-Bridge-2026!", lastname="Byron")
    joined.moodle.client.create_users([row])
    before = joined.user()
    assert joined.step() is MirrorState.CONFLICT
    joined.suspend()
    joined.jobs()
    assert joined.user() == before


def test_i7_somebody_who_was_there_before_enters_and_is_not_written(joined: Bridged) -> None:
    joined.moodle.client.create_users([joined.moodle.person(ADA, lastname="Byron")])
    before = joined.user()
    assert joined.step() is MirrorState.IN_STEP
    joined.suspend()
    joined.jobs()
    assert joined.user() == before


def test_i7_a_suspension_made_in_moodle_is_not_lifted(joined: Bridged) -> None:
    joined.step()
    user = joined.user()
    assert user is not None
    joined.moodle.client.update_users([UserUpdate(id=user.id, suspended=True)])
    assert joined.step() is MirrorState.SUSPENDED_ELSEWHERE
    joined.suspend()
    joined.readmit()
    joined.jobs()
    after = joined.user()
    assert after is not None
    assert after.suspended is True


def test_an_address_that_somebody_else_has_in_moodle_is_a_conflict(joined: Bridged) -> None:
    joined.moodle.create("other", email=joined.moodle.email(ADA))
    assert joined.step() is MirrorState.CONFLICT
    assert joined.user() is None


def test_somebody_renamed_in_moodle_is_a_conflict_and_not_created_again(joined: Bridged) -> None:
    joined.step()
    user = joined.user()
    assert user is not None
    joined.moodle.client.update_users([UserUpdate(id=user.id, username=joined.moodle.name("elsewhere"))])
    assert joined.step() is MirrorState.CONFLICT
    assert joined.user() is None


def test_somebody_deleted_in_moodle_is_a_conflict_and_not_created_again(joined: Bridged) -> None:
    joined.moodle.offers("core_user_delete_users")
    joined.step()
    user = joined.user()
    assert user is not None
    joined.moodle.delete([user.id])
    assert joined.step() is MirrorState.CONFLICT
    assert joined.user() is None
