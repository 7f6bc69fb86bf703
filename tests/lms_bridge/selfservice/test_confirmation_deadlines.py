"""D08: the deadline is kept to the second, whatever the clocks of France do, and every text says it exactly."""

from __future__ import annotations

import html
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.bridge_under_test import APP, BridgeUnderTest, Clock, heading
from tests.lms_bridge.mailing import Mailbox, in_french, link_in, mailing_bridge

ASKED_ON = [
    # 24 hours are 24 hours: the night is 23 hours long in spring and 25 in autumn.
    pytest.param(
        datetime(2026, 3, 28, 17, 30, tzinfo=UTC),
        "dimanche 29 mars 2026 à 19 h 30, heure de Paris",
        "Sunday 29 March 2026 at 19:30, Paris time",
        "samedi 28 mars 2026 à 18 h 40, heure de Paris",
        id="the night that loses an hour",
    ),
    pytest.param(
        datetime(2026, 10, 24, 17, 30, tzinfo=UTC),
        "dimanche 25 octobre 2026 à 18 h 30, heure de Paris",
        "Sunday 25 October 2026 at 18:30, Paris time",
        "samedi 24 octobre 2026 à 19 h 40, heure de Paris",
        id="the night that gains an hour",
    ),
    pytest.param(
        datetime(2026, 10, 25, 0, 55, tzinfo=UTC),
        "lundi 26 octobre 2026 à 1 h 55, heure de Paris",
        "Monday 26 October 2026 at 01:55, Paris time",
        "dimanche 25 octobre 2026 à 2 h 05, heure de Paris",
        id="the code runs out in the hour that comes twice",
    ),
    pytest.param(
        datetime(2026, 12, 31, 22, 59, 59, tzinfo=UTC),
        "vendredi 1er janvier 2027 à 23 h 59, heure de Paris",
        "Friday 1 January 2027 at 23:59, Paris time",
        "vendredi 1er janvier 2027 à 0 h 09, heure de Paris",
        id="the last minute of the year",
    ),
]


def plain(text: str) -> str:
    return " ".join(html.unescape(text).split())


@pytest.mark.parametrize(("asked", "french", "english", "code"), ASKED_ON)
def test_page_and_mail_name_the_same_exact_deadline(
    tmp_path: Path, asked: datetime, french: str, english: str, code: str
) -> None:
    with mailing_bridge(tmp_path, clock=Clock(asked)) as (bridge, mailbox):
        bridge.add_account("ext.ada", confirmed=False)
        browser = bridge.browser()
        browser.sign_in("ext.ada", service=APP)
        waiting = browser.submit()
        mail = mailbox.newest()
        opened = browser.get(link_in(mail))
        for text in (mail.text, mail.html, waiting.text, opened.text):
            assert french in plain(text)
        for text in (mail.text, mail.html, waiting.text):
            assert code in plain(text)
        assert english in plain(browser.get(link_in(mail) + "?lang=en").text)


@pytest.mark.parametrize("asked", [case.values[0] for case in ASKED_ON], ids=[case.id for case in ASKED_ON])
@pytest.mark.parametrize(("seconds", "works"), [(-1, True), (0, False), (1, False)], ids=["T-1s", "T", "T+1s"])
def test_the_link_works_until_that_second_and_not_longer(
    tmp_path: Path, asked: datetime, seconds: int, works: bool
) -> None:
    with mailing_bridge(tmp_path, clock=Clock(asked)) as (bridge, mailbox):
        bridge.add_account("ext.ada", confirmed=False)
        browser = bridge.browser()
        browser.sign_in("ext.ada", service=APP)
        browser.submit()
        link = link_in(mailbox.newest())
        browser.get(link)
        bridge.clock.moment = asked + timedelta(hours=24, seconds=seconds)
        pressed = browser.submit()
        assert (pressed.status_code == 200) is works
        assert heading(pressed) == in_french("E-mail confirmed" if works else "This link is too old")
        assert browser.get(link).status_code == (200 if works else 410)


def test_the_lifetime_is_the_one_that_settings_name(tmp_path: Path) -> None:
    with mailing_bridge(tmp_path, confirmation_hours=2) as (bridge, mailbox):
        link = _asked(bridge, mailbox)
        bridge.clock.forward(hours=2, seconds=-1)
        assert bridge.browser().get(link).status_code == 200
        bridge.clock.forward(seconds=1)
        assert bridge.browser().get(link).status_code == 410


def _asked(bridge: BridgeUnderTest, mailbox: Mailbox) -> str:
    bridge.add_account("ext.ada", confirmed=False)
    browser = bridge.browser()
    browser.sign_in("ext.ada", service=APP)
    browser.submit()
    return link_in(mailbox.newest())
