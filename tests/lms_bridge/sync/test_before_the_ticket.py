"""Before a ticket is issued for Moodle, the person's Moodle user is what it should be; or there is no ticket."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from moodle_ws.simulator import Database
from tests.bridge_under_test import heading
from tests.lms_bridge.sync.conftest import World, running_world

PREPARING = "Votre accès est en préparation"
CONFLICT = "L'assistance doit examiner votre compte"


def plain(text: str) -> str:
    return text.replace("\u2019", "'")


def test_i6_the_first_sign_in_creates_the_moodle_user_before_the_ticket(world: World) -> None:
    ticket = world.ticket()
    user = world.user()  # not yet redirected to Moodle, and already there
    assert (user.auth, user.suspended) == ("cas", False)
    assert (user.firstname, user.lastname, user.email) == ("Ada", "Lovelace", "ext.ada@mail.example")
    assert "<cas:user>ext.ada</cas:user>" in world.bridge.validate(ticket, world.service).text


def test_a_person_enters_moodle_with_the_ticket(world: World) -> None:
    browser = world.bridge.browser()
    browser.get(world.service)
    browser.get("/signin/local", params={"service": world.service})
    browser.submit(identifier="ext.ada", password="correct horse battery")
    moodle = world.service.removesuffix("/login/index.php")
    assert browser.get(moodle + "/whoami.json").json()["username"] == "ext.ada"


def test_a_second_sign_in_writes_nothing(world: World) -> None:
    world.ticket()
    before = len(world.writes())
    world.bridge.clock.forward(minutes=10)
    assert world.ticket()
    assert len(world.writes()) == before


def test_somebody_who_may_not_enter_is_not_created_in_moodle(world: World) -> None:
    world.bridge.add_account("ext.bob", confirmed=False)
    assert world.enter("ext.bob").status_code == 403
    assert world.usernames() == []


def test_a_changed_name_reaches_moodle_at_the_next_sign_in(world: World) -> None:
    world.ticket()

    def marry(_session: object, account: object) -> None:
        account.family_name = "King"  # type: ignore[attr-defined]
        account.note_change()  # type: ignore[attr-defined]

    world.change("ext.ada", marry)
    assert world.ticket()
    assert world.user().lastname == "King"


def test_a_field_of_ours_that_was_changed_in_moodle_is_put_right(world: World) -> None:
    world.ticket()
    world.user().lastname = "Byron"
    world.bridge.clock.forward(minutes=10)
    assert world.ticket()
    assert world.user().lastname == "Lovelace"


def test_i7_somebody_suspended_in_moodle_by_hand_gets_no_ticket_and_is_told_so(world: World) -> None:
    world.ticket()
    world.user().suspended = True
    world.bridge.clock.forward(minutes=10)
    page = world.enter()
    assert page.status_code == 403
    assert heading(page) == "Vous êtes suspendu·e dans cette application"
    assert world.user().suspended is True


def test_lifting_it_in_moodle_lets_the_person_in_again(world: World) -> None:
    world.ticket()
    world.user().suspended = True
    world.bridge.clock.forward(minutes=10)
    world.enter()
    world.user().suspended = False
    assert world.ticket()


def test_i7_a_manual_user_of_that_name_is_a_conflict_and_is_not_touched(world: World) -> None:
    existing = world.moodle.site.add_user("ext.ada", auth="manual", firstname="Other", email="other@mail.example")
    page = world.enter()
    assert page.status_code == 403
    assert plain(heading(page)) == CONFLICT
    assert "other@mail.example" not in page.text
    assert world.writes() == []
    assert (existing.auth, existing.firstname, existing.suspended) == ("manual", "Other", False)


def test_a_conflict_settled_in_moodle_by_a_human_is_over_at_the_next_sign_in(world: World) -> None:
    existing = world.moodle.site.add_user("ext.ada", auth="manual", firstname="Ada", email="a@mail.example")
    world.enter()
    existing.auth = "cas"
    assert world.ticket()


def test_an_address_that_another_moodle_user_holds_is_a_conflict(world: World) -> None:
    world.moodle.site.add_user("somebody", auth="manual", firstname="S", email="ext.ada@mail.example")
    page = world.enter()
    assert plain(heading(page)) == CONFLICT
    assert world.usernames() == ["somebody"]


def test_a_moodle_user_that_was_there_with_our_auth_method_is_taken_and_not_rewritten(world: World) -> None:
    existing = world.moodle.site.add_user(
        "ext.ada", auth="cas", firstname="A.", lastname="L.", email="old@mail.example"
    )
    assert world.ticket()
    assert world.writes() == []
    assert (existing.firstname, existing.email) == ("A.", "old@mail.example")


@pytest.mark.parametrize("database", list(Database))
def test_i12_a_row_that_only_the_database_calls_equal_is_refused(tmp_path: Path, database: Database) -> None:
    with running_world(tmp_path, database=database) as world:
        twin = world.moodle.site.add_user("éxt.ada", auth="cas", firstname="Éa", email="e@mail.example")
        page = world.enter()
        if database is Database.MARIADB:
            assert page.status_code == 403
            assert plain(heading(page)) == CONFLICT
            assert world.usernames() == ["éxt.ada"]
            assert world.writes() == []
        else:
            assert world.user("ext.ada").id != twin.id
        assert (twin.firstname, twin.suspended) == ("Éa", False)


def test_a_user_renamed_in_moodle_is_for_a_human(world: World) -> None:
    world.ticket()
    writes = len(world.writes())
    world.user().username = "ada.renamed"
    world.bridge.clock.forward(minutes=10)
    assert plain(heading(world.enter())) == CONFLICT
    assert world.usernames() == ["ada.renamed"]
    assert len(world.writes()) == writes


def test_a_user_deleted_in_moodle_is_for_a_human_and_is_not_made_again(world: World) -> None:
    world.ticket()
    writes = len(world.writes())
    world.moodle.site.delete_user(world.user())
    world.bridge.clock.forward(minutes=10)
    assert plain(heading(world.enter())) == CONFLICT
    assert len(world.writes()) == writes


def test_a_name_taken_over_in_moodle_after_a_deletion_is_not_given_away(world: World) -> None:
    world.ticket()
    world.moodle.site.delete_user(world.user())
    world.moodle.site.add_user("ext.ada", auth="cas", firstname="Someone", lastname="Else", email="s@mail.example")
    world.bridge.clock.forward(minutes=10)
    assert plain(heading(world.enter())) == CONFLICT


def test_moodle_down_people_seen_in_step_still_get_in(world: World) -> None:
    world.ticket()
    world.down()
    world.bridge.clock.forward(hours=9)
    ticket = world.ticket()
    assert "<cas:user>ext.ada</cas:user>" in world.bridge.validate(ticket, world.service).text


def test_moodle_down_for_longer_than_settings_allow_nobody_gets_in_unseen(world: World) -> None:
    world.ticket()
    world.down()
    world.bridge.clock.forward(hours=73)
    assert heading(world.enter()) == PREPARING


def test_moodle_down_newcomers_see_that_their_access_is_being_prepared(world: World) -> None:
    world.down()
    page = world.enter()
    assert heading(page) == PREPARING
    assert page.status_code == 200
    world.down(False)
    assert world.browser.get(page.url, follow=False).is_redirect
    assert world.usernames() == ["ext.ada"]


def test_a_moodle_that_hangs_holds_nobody_up_for_long(world: World) -> None:
    world.moodle.faults.next("slow=6", "slow=6")
    page = world.enter()
    assert heading(page) == PREPARING
    assert page.elapsed < timedelta(seconds=5)


def test_a_creation_whose_answer_got_lost_is_found_again_and_not_made_twice(world: World) -> None:
    world.moodle.faults.next("", "lost")
    world.enter()
    assert world.ticket()
    assert world.usernames() == ["ext.ada"]


@pytest.mark.parametrize("right", ["moodle/user:viewalldetails", "moodle/user:viewdetails"])
def test_what_moodle_does_not_show_is_not_taken_for_no(world: World, right: str) -> None:
    world.ticket()
    writes = len(world.writes())
    token = world.moodle.site.tokens[world.moodle.site.options.token]
    token.capabilities -= {right}
    world.bridge.clock.forward(minutes=10)
    assert plain(heading(world.enter())) == CONFLICT
    assert len(world.writes()) == writes


def test_i1_a_ticket_issued_before_a_suspension_does_not_validate_after_it(world: World) -> None:
    ticket = world.ticket()
    world.suspend()
    assert "INVALID_TICKET" in world.bridge.validate(ticket, world.service).text
