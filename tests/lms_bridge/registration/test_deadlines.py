"""D07, D08: deadlines to the second, over the nights that gain or lose an hour; too late is no dead end."""

from __future__ import annotations

import html
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from external_accounts.local_calendar import end_of_day
from lms_bridge.registration_terms import usual_last_day
from tests.bridge_under_test import Clock, forms, heading
from tests.lms_bridge.mailing import code_in, in_french
from tests.lms_bridge.registration.conftest import ADA, NEW_PASSWORD, Office, link_in, office

NIGHTS = [
    pytest.param(datetime(2026, 3, 28, 17, 30, tzinfo=UTC), "dimanche 29 mars 2026 à 19 h 30", id="loses an hour"),
    pytest.param(datetime(2026, 10, 24, 17, 30, tzinfo=UTC), "dimanche 25 octobre 2026 à 18 h 30", id="gains an hour"),
]


@pytest.mark.parametrize(("asked_at", "words"), NIGHTS)
def test_d08_24_hours_are_24_hours_and_said_exactly(tmp_path: Path, asked_at: datetime, words: str) -> None:
    clock = Clock(asked_at)
    with office(tmp_path, clock=clock) as desk:
        browser, waiting = desk.ask()
        mail = desk.newest_to(ADA["email"])
        assert words in mail.text
        assert words in html.unescape(waiting.text).replace("\u00a0", " ")
        clock.moment = asked_at + timedelta(hours=24, seconds=-1)
        assert heading(browser.get(link_in(mail))) == in_french("Is this your address?")
        clock.forward(seconds=1)
        assert browser.get(link_in(mail)).status_code == 410
        assert browser.submit().status_code == 200  # one click: a new message
        assert link_in(desk.newest_to(ADA["email"])) != link_in(mail)


def test_d08_a_click_at_the_last_second_counts_and_one_later_does_not(desk: Office) -> None:
    start = desk.bridge.clock()
    for seconds, state in ((-1, "waiting"), (0, "unproved")):
        desk.bridge.clock.moment = start
        email = f"t{-seconds}@mail.example"
        browser, _page = desk.ask(email=email)
        browser.get(link_in(desk.newest_to(email)))
        desk.bridge.clock.moment = start + timedelta(hours=24, seconds=seconds)
        browser.submit()
        assert desk.state(email) == state
        start = desk.bridge.clock() + timedelta(hours=1)


def test_tok_06_the_code_lives_ten_minutes_the_link_on(desk: Office) -> None:
    browser, page = desk.ask()
    code = code_in(desk.newest_to(ADA["email"]))
    desk.bridge.clock.forward(minutes=10)
    assert browser.submit(code=code).status_code == 422
    browser.get(link_in(desk.newest_to(ADA["email"])))
    assert heading(browser.submit()) == in_french("Your request is being looked at")
    assert page.status_code == 200


def test_d07_the_link_of_the_last_step_is_renewed_by_one_click(desk: Office) -> None:
    last = desk.accepted()
    browser = desk.browser()
    desk.bridge.clock.forward(days=14, seconds=-1)
    assert "password_again" in browser.get(last).text
    desk.bridge.clock.forward(seconds=1)
    late = browser.get(last)
    assert (late.status_code, heading(late)) == (410, in_french("This link is too old"))
    waiting = browser.submit()
    assert heading(waiting) == in_french("Look in your mailbox")
    mail = desk.newest_to(ADA["email"])
    # The page that waits takes the code of the new message, and goes on to the last step.
    step = browser.submit(code=code_in(mail))
    assert heading(step) == in_french("Create your account")
    done = browser.submit(
        given_name="Ada", family_name="King", username="ext.ada", password=NEW_PASSWORD, password_again=NEW_PASSWORD
    )
    assert heading(done) == in_french("Your account is ready")
    assert heading(browser.get(waiting.url)) == in_french("You have an account")


def test_a_form_left_open_for_too_long_loses_nothing_that_matters(desk: Office) -> None:
    last = desk.accepted()
    browser = desk.browser()
    browser.get(last)
    desk.bridge.clock.forward(days=14)
    late = browser.submit(
        given_name="Ada", family_name="L", username="ext.ada", password=NEW_PASSWORD, password_again=NEW_PASSWORD
    )
    assert late.status_code == 410
    assert forms(late)[0][0].endswith("/resend")


def test_rights_that_would_be_over_make_no_account(desk: Office) -> None:
    today = desk.bridge.clock().astimezone(ZoneInfo("Europe/Paris")).date()
    last = desk.accepted(until=today.isoformat())
    assert "password_again" in desk.browser().get(last).text
    desk.bridge.clock.forward(days=2)
    assert desk.finish(last).status_code == 410
    assert desk.accounts() == ["ext.desk"]


@pytest.mark.parametrize(
    ("day", "moment"),
    [
        (date(2026, 3, 29), datetime(2026, 3, 29, 21, 59, tzinfo=UTC)),
        (date(2026, 10, 25), datetime(2026, 10, 25, 22, 59, tzinfo=UTC)),
    ],
)
def test_the_last_day_ends_at_2359_of_the_universitys_clocks(day: date, moment: datetime) -> None:
    assert end_of_day(day, ZoneInfo("Europe/Paris")) == moment


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.integers(1, 120))
def test_the_usual_last_day_is_so_many_months_later(today: date, months: int) -> None:
    last = usual_last_day(today, months)
    assert last is not None
    assert (last.year - today.year) * 12 + last.month - today.month == months
    assert last.day == today.day or (last.day < today.day and (last + timedelta(days=1)).month != last.month)


def test_rights_without_months_do_not_end_by_themselves() -> None:
    assert usual_last_day(date(2026, 1, 31), None) is None
