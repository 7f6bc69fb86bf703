"""Acting on many accounts: what is shown is what is done, once, and every line says what became of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import select

from external_accounts.schema import Account, AuditEvent
from lms_bridge.helpdesk import bulk_runs
from lms_bridge.schema import BulkLine, BulkRun
from tests.bridge_under_test import Browser, forms, heading
from tests.lms_bridge.helpdesk.acting import DESK, SECOND, Office, office, words
from tests.lms_bridge.mailing import in_french

BULK = "/helpdesk/bulk"
NAMES = ("ext.p1", "ext.p2", "ext.p3")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path) as running:
        yield running


@pytest.fixture
def people(desk: Office) -> list[int]:
    return [desk.person(name, unit="Lettres") for name in NAMES]


def look(browser: Browser, act: str = "suspend", **fields: str) -> requests.Response:
    browser.get(BULK)
    return browser.submit(**({"act": act, "reason": "end of course", "identifiers": "\n".join(NAMES)} | fields))


def carry_out(desk: Office, browser: Browser, **fields: str) -> requests.Response:
    """Confirm the preview, and let the background work do it."""
    browser.submit(**fields)
    return settled(desk, browser)


def settled(desk: Office, browser: Browser) -> requests.Response:
    desk.bridge.runner.run_once()
    return browser.get(browser.page.url)


def states(desk: Office) -> dict[str, str]:
    with desk.bridge.runtime.database.read() as session:
        lines = session.scalars(select(BulkLine).order_by(BulkLine.id)).all()
        return {line.typed: line.refusal or line.state for line in lines}


def newest(desk: Office) -> BulkRun:
    with desk.bridge.runtime.database.read() as session:
        found = session.scalars(select(BulkRun).order_by(BulkRun.id.desc())).first()
        assert found is not None
        return found


def test_nothing_is_done_before_it_was_looked_at_and_confirmed(desk: Office, people: list[int]) -> None:
    browser = desk.browser()
    typed = "\n".join([*NAMES, "ext.nobody", DESK, SECOND, "ext.p1@mail.example"])
    page = look(browser, identifiers=typed)
    assert "Rien n'a encore été fait" in words(page)
    assert states(desk) == {
        **dict.fromkeys(NAMES, "ready"),
        "ext.nobody": "no such account",
        DESK: "own account",
        SECOND: "one by one",
        "ext.p1@mail.example": "twice",
    }
    desk.bridge.runner.run_once()
    assert all(desk.account(number).suspended_at is None for number in people)
    page = carry_out(desk, browser)
    assert all(desk.account(number).suspension_reason == "end of course" for number in people)
    assert in_french("Done") in words(page)
    assert in_french("Your account is suspended") in desk.mails_to("ext.p2@mail.example")[-1].html
    assert {one.actor for one in desk.events(people[0], "account.suspended")} == {DESK}
    with desk.bridge.runtime.database.read() as session:
        trail = session.scalars(select(AuditEvent).where(AuditEvent.event == "helpdesk.bulk").order_by(AuditEvent.id))
        assert [one.outcome for one in trail] == ["previewed", "started", "done"]


def test_what_changed_after_it_was_shown_is_left_alone_and_named(desk: Office, people: list[int]) -> None:
    browser = desk.browser()
    look(browser)
    desk.change(people[1], family_name="Byron")
    page = carry_out(desk, browser)
    assert states(desk) == {"ext.p1": "done", "ext.p2": "changed", "ext.p3": "done"}
    assert desk.account(people[1]).suspended_at is None
    assert "Ada Byron" in words(browser.get(f"{page.url}?only=changed"))
    assert "ext.p1" not in words(browser.page)


def test_the_outcomes_are_taken_away_as_a_file_that_computes_nothing(desk: Office, people: list[int]) -> None:
    browser = desk.browser()
    look(browser, identifiers="ext.p1\n=cmd")
    page = carry_out(desk, browser)
    answer = browser.get(f"{page.url}/outcomes.csv")
    rows = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig")), delimiter=";"))
    assert [row[1] for row in rows[1:]] == ["ext.p1", ""]
    assert rows[2][0] == "'=cmd"
    assert rows[1][2] == in_french("done")
    assert rows[2][3] == in_french("There is no account of that identifier.")


def test_a_suspension_of_many_is_lifted_by_the_contrary_which_is_looked_at_too(desk: Office, people: list[int]) -> None:
    browser = desk.browser()
    look(browser)
    carry_out(desk, browser)
    desk.act("readmit", people[0], reason="by mistake")
    desk.clock.forward(seconds=5)
    desk.act("suspend", people[0], reason="something else")
    page = browser.get(f"{BULK}/{newest(desk).id}")
    page = browser.submit()
    assert heading(page) == in_french("Lift the suspension")
    assert "ext.p1" not in words(page), "somebody suspended it anew since"
    carry_out(desk, browser)
    assert [desk.account(number).suspended_at is None for number in people] == [False, True, True]


@pytest.mark.parametrize("act", ["resend", "extend", "sessions"])
def test_the_other_acts_do_for_many_what_they_do_for_one(desk: Office, act: str) -> None:
    number = desk.person(
        "ext.p1", confirmed=act != "resend", rights_end_at=desk.clock() + timedelta(days=9), unit="Lettres"
    )
    desk.browser("ext.p1")
    before = desk.account(number).rights_end_at
    day = (desk.clock() + timedelta(days=40)).date().isoformat()
    browser = desk.browser()
    look(browser, act, identifiers="ext.p1", until=day)
    carry_out(desk, browser)
    assert states(desk) == {"ext.p1": "done"}
    if act == "resend":
        assert "/account/confirm/" in desk.mails_to("ext.p1@mail.example")[-1].text
    elif act == "extend":
        after = desk.account(number).rights_end_at
        assert after is not None
        assert before is not None
        assert after > before
    else:
        assert desk.open_sessions(number) == 0


def test_accounts_are_chosen_by_unit_profile_and_state(desk: Office, people: list[int]) -> None:
    desk.person("ext.other", unit="Droit")
    desk.change(people[0], suspended_at=desk.clock())
    browser = desk.browser()
    look(browser, identifiers="", unit="Lettres", profile="learner", state="active")
    assert set(states(desk)) == {"ext.p2", "ext.p3"}


@pytest.mark.parametrize(
    "fields",
    [
        {"identifiers": ""},
        {"act": ""},
        {"act": "erase"},
        {"reason": ""},
        {"identifiers": "\n".join(f"p{n}" for n in range(bulk_runs.MOST + 1))},
        {"identifiers": "", "unit": "Nowhere"},
        {"act": "extend", "until": ""},
        {"until": "yesterday"},
    ],
)
def test_a_choice_that_means_nothing_is_said_and_kept(desk: Office, people: list[int], fields: dict[str, str]) -> None:
    page = look(desk.browser(), **({"reason": "a <reason>"} | fields))
    assert page.status_code == 422
    assert fields.get("reason", "a &lt;reason&gt;") in page.text
    assert states(desk) == {}


def test_many_are_acted_on_only_by_whoever_types_how_many(desk: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_runs, "COUNTED_ABOVE", 2)
    for name in NAMES:
        desk.person(name)
    browser = desk.browser()
    look(browser)
    assert browser.submit(count="2").status_code == 409
    assert newest(desk).state == "previewed"
    carry_out(desk, browser, count="3")
    assert newest(desk).state == "done"


def test_only_whoever_looked_carries_it_out_and_not_the_next_day(desk: Office, people: list[int]) -> None:
    browser = desk.browser()
    page = look(browser)
    other = desk.browser(SECOND)
    assert not [action for action, *_rest in forms(other.get(page.url)) if action.endswith("/start")]
    token = forms(other.get(BULK))[0][2]["csrf_token"]
    answer = other.session.post(f"{page.url}/start", data={"csrf_token": token}, timeout=20)
    assert answer.status_code == 409
    desk.clock.forward(hours=25)
    again = desk.browser()
    assert not [action for action, *_rest in forms(again.get(page.url)) if action.endswith("/start")]
    assert newest(desk).state == "previewed"


def test_a_run_is_stopped_and_what_was_done_stays_done(desk: Office, people: list[int]) -> None:
    browser = desk.browser()
    page = look(browser)
    browser.submit()
    run = newest(desk)
    with desk.bridge.runtime.database.read() as session:
        first = session.scalars(select(BulkLine.id).order_by(BulkLine.id)).first()
    assert first is not None
    bulk_runs._carry_out(desk.bridge.runtime, run, first)
    browser.get(page.url)
    page = browser.submit()
    assert in_french("Stopped") in words(page)
    desk.bridge.runner.run_once()
    assert [desk.account(number).suspended_at is not None for number in people] == [True, False, False]


def test_a_killed_process_leaves_whole_accounts_and_the_next_goes_on_i8(
    desk: Office, people: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = desk.browser()
    look(browser)
    browser.submit()
    told = bulk_runs.ACTS["suspend"].deed

    def dies(*arguments: object) -> None:
        told(*arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    broken = bulk_runs.Act(dies, bulk_runs.ACTS["suspend"].check, "readmit")
    with monkeypatch.context() as patched:
        patched.setitem(bulk_runs.ACTS, "suspend", broken)  # type: ignore[arg-type]
        with pytest.raises(KeyboardInterrupt):
            bulk_runs.carry_out(desk.bridge.runtime)
    assert [desk.account(number).suspended_at for number in people] == [None] * 3
    settled(desk, browser)
    assert states(desk) == dict.fromkeys(NAMES, "done")


def test_one_account_that_fails_does_not_hold_up_the_others(
    desk: Office, people: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    works = bulk_runs.ACTS["suspend"].deed

    def fails_once(session: Any, doer: Any, account: Account, wanted: Any) -> None:
        works(session, doer, account, wanted)
        if account.id == people[0]:
            raise RuntimeError

    browser = desk.browser()
    look(browser)
    monkeypatch.setitem(bulk_runs.ACTS, "suspend", bulk_runs.Act(fails_once, bulk_runs.ACTS["suspend"].check))  # type: ignore[arg-type]
    page = carry_out(desk, browser)
    assert states(desk) == {"ext.p1": "failed", "ext.p2": "done", "ext.p3": "done"}
    assert desk.account(people[0]).suspended_at is None
    assert "ext.p1" in words(page)


def test_ses_03_carrying_out_asks_who_it_is(desk: Office, people: list[int]) -> None:
    browser = desk.browser()
    look(browser)
    desk.clock.forward(minutes=31)
    page = browser.submit()
    assert heading(page) == in_french("Is it really you?")
    assert newest(desk).state == "previewed"


def test_old_runs_and_previews_are_forgotten(desk: Office, people: list[int]) -> None:
    browser = desk.browser()
    look(browser)
    carry_out(desk, browser)
    desk.change(people[0], suspended_at=None)
    look(browser)
    desk.clock.forward(days=3)
    with desk.bridge.runtime.database.begin() as session:
        bulk_runs.purge(session, desk.clock())
    assert newest(desk).state == "done"
    desk.clock.forward(days=30)
    with desk.bridge.runtime.database.begin() as session:
        bulk_runs.purge(session, desk.clock())
        assert session.scalars(select(BulkRun)).all() == []


def test_no_bulk_page_for_those_who_may_not(desk: Office) -> None:
    desk.person("ext.ada")
    for path in (BULK, f"{BULK}/1", f"{BULK}/1/outcomes.csv"):
        assert desk.browser("ext.ada").get(path).status_code == 403
