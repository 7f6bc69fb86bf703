"""The work list of merges in the console: who sees it, the file, and noting what was done (D28, I11)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from external_accounts.linking_schema import AccountLink
from external_accounts.schema import AuditEvent
from tests.bridge_under_test import Browser, forms, heading
from tests.lms_bridge.sync.conftest import World
from tests.lms_bridge.sync.joined import LEARNER, MEMBER, link, merge_rows, settle, two_accounts

DESK = "ext.desk"
PAGE = "/helpdesk/merges"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with two_accounts(
        tmp_path, bridge_changes={"help_desk": {"members": [{"role": "administrator", "usernames": [DESK]}]}}
    ) as running:
        running.bridge.add_account(DESK)
        yield running


@pytest.fixture
def desk(world: World) -> Browser:
    browser = world.bridge.browser()
    browser.sign_in(DESK)
    return browser


def time_to_undo_is_over(world: World) -> None:
    with world.bridge.runtime.database.begin() as session:
        for made in session.scalars(select(AccountLink)):
            made.undo_until = world.bridge.clock() - timedelta(seconds=1)


def test_an_empty_list_says_what_will_stand_there(desk: Browser) -> None:
    page = desk.get(PAGE)
    assert heading(page) == "Fusions dans Moodle"
    assert "Aucun travail de cours" in page.text


def test_only_the_help_desk_sees_the_list_and_the_file(world: World) -> None:
    stranger = world.bridge.browser()
    stranger.sign_in(LEARNER)
    assert [stranger.get(path).status_code for path in (PAGE, f"{PAGE}/merges.csv")] == [403, 403]
    link(world, LEARNER, MEMBER)
    assert stranger.get(f"{PAGE}/1/done", follow=False).status_code == 405, "I11: a look changes nothing"


def test_d28_the_list_names_both_users_and_says_how_long_to_wait(world: World, desk: Browser) -> None:
    other = world.user(MEMBER)
    link(world, LEARNER, MEMBER, swap=True)
    settle(world)
    page = desk.get(PAGE)
    assert str(other.id) in page.text
    assert other.username in page.text
    assert "Attendez jusqu" in page.text
    assert "Le travail de cours est déplacé" not in page.text, "nothing to press before the time to undo is over"


def test_d28_what_was_moved_is_noted_once_and_audited(world: World, desk: Browser) -> None:
    link(world, LEARNER, MEMBER)
    settle(world)
    time_to_undo_is_over(world)
    desk.get(PAGE)
    late = world.bridge.browser()
    late.sign_in(DESK)
    late.get(PAGE)
    assert "Aucun travail de cours" in desk.submit().text
    assert "avant vous" in late.submit().text
    [merge] = merge_rows(world)
    assert (merge.state, merge.done_by) == ("done", DESK)
    with world.bridge.runtime.database.read() as session:
        [event] = session.scalars(select(AuditEvent).where(AuditEvent.event == "merge.done"))
        assert event.actor == DESK


def test_the_file_holds_all_that_wait(world: World, desk: Browser) -> None:
    link(world, LEARNER, MEMBER)
    answer = desk.get(f"{PAGE}/merges.csv")
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert "attachment" in answer.headers["Content-Disposition"]
    [row] = csv.DictReader(io.StringIO(answer.text))
    [merge] = merge_rows(world)
    assert (row["fromid"], row["toid"]) == (str(merge.other_moodle_id), str(merge.kept_moodle_id))


def test_a_number_that_is_no_merge_changes_nothing(world: World, desk: Browser) -> None:
    link(world, LEARNER, MEMBER)
    settle(world)
    time_to_undo_is_over(world)
    [fields] = [values for action, _method, values in forms(desk.get(PAGE)) if action.endswith("/done")]
    answers = [
        desk.session.post(f"{world.bridge.url}{PAGE}/{number}/done", data=fields) for number in ("999", "x", "9" * 30)
    ]
    assert [answer.status_code for answer in answers] == [200, 404, 404]
    assert [merge.state for merge in merge_rows(world)] == ["open"]
