"""A person walks from Moodle to the bridge and back, and out again."""

from __future__ import annotations

import re

from tests.bridge_under_test import Browser
from tests.live.bridged import Bridged

NAME = "Ada Lovelace"


def enters(browser: Browser, page: str) -> None:
    """Asks for a page of Moodle's and sees it under her name, whatever the way."""
    answer = browser.get(page)
    assert answer.url == page
    assert NAME in answer.text


def stays_outside(entrance: Bridged, browser: Browser, page: str) -> None:
    """Asks for a page of Moodle's and ends at the bridge, unknown to Moodle."""
    answer = browser.get(page)
    assert answer.url.startswith(f"{entrance.public_url}/"), answer.url


def test_somebody_new_comes_in_by_the_doors_and_stays_in(entrance: Bridged) -> None:
    browser = entrance.browser()
    answer = entrance.sign_in_for(browser, entrance.home)
    assert answer.status_code == 200
    assert NAME in answer.text
    enters(browser, entrance.home)
    user = entrance.user()
    assert user is not None
    assert user.auth == entrance.moodle.auth


def test_somebody_signed_in_at_the_portal_enters_moodle_without_a_question(entrance: Bridged) -> None:
    browser = entrance.browser()
    browser.get("/signin/local")
    browser.submit(identifier=entrance.username, password="correct horse battery")
    assert entrance.user() is None
    enters(browser, entrance.home)


def test_the_page_asked_for_first_is_the_page_one_comes_to(entrance: Bridged) -> None:
    browser = entrance.browser()
    answer = entrance.sign_in_for(browser, entrance.deep_link)
    assert answer.url == entrance.deep_link
    assert answer.status_code == 200


def test_somebody_suspended_gets_an_explanation_and_is_unknown_to_moodle(entrance: Bridged) -> None:
    entrance.suspend()
    browser = entrance.browser()
    answer = entrance.sign_in_for(browser, entrance.home)
    assert answer.url.startswith(f"{entrance.public_url}/")
    assert NAME not in answer.text
    stays_outside(entrance, browser, entrance.home)
    assert entrance.user() is None


def test_i6_suspending_somebody_ends_the_open_moodle_session_until_readmitted(entrance: Bridged) -> None:
    browser = entrance.browser()
    entrance.sign_in_for(browser, entrance.home)
    entrance.suspend()
    entrance.jobs()
    stays_outside(entrance, browser, entrance.home)
    entrance.readmit()
    enters(browser, entrance.home)


def test_signing_out_of_moodle_signs_out_of_the_bridge(entrance: Bridged) -> None:
    browser = entrance.browser()
    answer = entrance.sign_in_for(browser, entrance.home)
    key = re.search(r'sesskey(?:=|" value=")(\w+)', answer.text)
    assert key
    browser.get(f"{entrance.moodle.url}/login/logout.php", params={"sesskey": key[1]})
    stays_outside(entrance, browser, entrance.home)


def test_signing_out_everywhere_ends_the_moodle_session_and_lets_in_again(entrance: Bridged) -> None:
    browser, elsewhere = entrance.browser(), entrance.browser()
    for one in (browser, elsewhere):
        entrance.sign_in_for(one, entrance.home)
    browser.get("/account/sign-out")
    browser.submit()
    entrance.jobs()
    stays_outside(entrance, elsewhere, entrance.home)
    assert NAME in entrance.sign_in_for(entrance.browser(), entrance.home).text


def test_a_ticket_is_good_once(entrance: Bridged) -> None:
    """Moodle shows what the CAS server answers; nothing in it may be a secret."""
    browser = entrance.browser()
    browser.sign_in(entrance.username, service=entrance.service, follow=False)
    hop = browser.get("/cas/login", params={"service": entrance.service}, follow=False)
    address = hop.headers["Location"]
    browser.get(address)
    replay = entrance.browser().get(address)
    assert replay.status_code == 404
    assert NAME not in replay.text
    assert "INVALID_TICKET" in replay.text
