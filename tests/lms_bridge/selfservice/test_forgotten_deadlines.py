"""D08: 30 minutes are 30 minutes, to the second, also in the nights when the clocks change; mail and page say when."""

from __future__ import annotations

import html
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.bridge_under_test import BridgeUnderTest, Browser, Clock, heading
from tests.lms_bridge.mailing import Mailbox, in_french, link_in, mailing_bridge

NEW = "une lampe dans le grenier"
HALF_AN_HOUR = timedelta(minutes=30)
ASKED_ON = [
    pytest.param(
        datetime(2026, 3, 29, 0, 45, tzinfo=UTC),
        "dimanche 29 mars 2026 à 3 h 15, heure de Paris",
        "Sunday 29 March 2026 at 03:15, Paris time",
        id="from before the hour that is lost to after it",
    ),
    pytest.param(
        datetime(2026, 10, 25, 0, 45, tzinfo=UTC),
        "dimanche 25 octobre 2026 à 2 h 15, heure de Paris",
        "Sunday 25 October 2026 at 02:15, Paris time",
        id="into the hour that comes twice",
    ),
    pytest.param(
        datetime(2026, 12, 31, 22, 45, tzinfo=UTC),
        "vendredi 1er janvier 2027 à 0 h 15, heure de Paris",
        "Friday 1 January 2027 at 00:15, Paris time",
        id="over the end of the year",
    ),
]
MOMENTS = [case.values[0] for case in ASKED_ON]
NAMES = [case.id for case in ASKED_ON]
AROUND = pytest.mark.parametrize(("seconds", "works"), [(-1, True), (0, False), (1, False)], ids=["T-1s", "T", "T+1s"])


def plain(text: str) -> str:
    return " ".join(html.unescape(text).split())


def search(bridge: BridgeUnderTest) -> Browser:
    bridge.add_account("ext.ada")
    browser = bridge.browser()
    browser.get("/account/forgot")
    browser.submit(username="ext.ada")
    return browser


@pytest.mark.parametrize(("asked", "french", "english"), ASKED_ON)
def test_mail_and_page_name_the_same_exact_deadline_d08(
    tmp_path: Path, asked: datetime, french: str, english: str
) -> None:
    with mailing_bridge(tmp_path, clock=Clock(asked)) as (bridge, mailbox):
        browser = search(bridge)
        mail = mailbox.newest()
        for text in (mail.text, mail.html, browser.get(link_in(mail)).text):
            assert french in plain(text)
        assert english in plain(browser.get(link_in(mail) + "?lang=en").text)


@pytest.mark.parametrize("asked", MOMENTS, ids=NAMES)
@AROUND
def test_the_link_sets_a_password_until_that_second_and_not_longer_d08_tok_06(
    tmp_path: Path, asked: datetime, seconds: int, works: bool
) -> None:
    with mailing_bridge(tmp_path, clock=Clock(asked)) as (bridge, mailbox):
        search(bridge)
        link = link_in(mailbox.newest())
        browser = bridge.browser()
        browser.get(link)
        bridge.clock.moment = asked + HALF_AN_HOUR + timedelta(seconds=seconds)
        pressed = browser.submit(password=NEW, password_again=NEW)
        assert heading(pressed) == in_french("Your new password is set" if works else "This link is too old")
        assert pressed.status_code == (200 if works else 410)
        assert (bridge.browser().sign_in("ext.ada", NEW, follow=False).status_code == 303) is works


@AROUND
def test_the_waiting_page_lasts_as_long_for_everybody_d08_i3(tmp_path: Path, seconds: int, works: bool) -> None:
    with mailing_bridge(tmp_path) as (bridge, mailbox):
        known = search(bridge)
        unknown = bridge.browser()
        unknown.get("/account/forgot")
        unknown.submit(username="ext.nobody")
        _answer(mailbox)
        bridge.clock.moment += HALF_AN_HOUR + timedelta(seconds=seconds)
        for browser in (known, unknown):
            page = browser.get(browser.page.url)
            assert heading(page) == in_french("Look in your mailbox" if works else "This link is too old")


def _answer(mailbox: Mailbox) -> None:
    assert len(mailbox.all()) == 1
