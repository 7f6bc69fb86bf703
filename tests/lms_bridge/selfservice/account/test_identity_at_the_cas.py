"""“Is it really you?” for people who came through the university's CAS: away with `renew`, back as the same person."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from sqlalchemy import select

from external_accounts.schema import Address
from tests.bridge_under_test import Browser, forms, heading
from tests.lms_bridge.mailing import in_french
from tests.lms_bridge.selfservice.account.conftest import words
from tests.lms_bridge.signin.test_upstream_answers import MAIL, Street, failure, street, success

NEW = "jean@private.example"
TYPED = "<cas:isFromNewLogin>true</cas:isFromNewLogin>"


@pytest.fixture
def sel(tmp_path: Path) -> Iterator[Street]:
    with street(tmp_path) as found:
        found.cas.answer = success("jdupont", MAIL)
        yield found


@pytest.fixture
def jean(sel: Street) -> Browser:
    browser = sel.bridge.browser()
    sel.sign_in(browser, service=None)
    return browser


def ask_to_add(browser: Browser) -> requests.Response:
    browser.get("/account/addresses")
    number = next(n for n, (action, _m, _f) in enumerate(forms(browser.page)) if action == "/account/addresses")
    return browser.submit(number, email=NEW, role="recovery")


def leave(browser: Browser) -> dict[str, list[str]]:
    """Press the button of the question; returns what the CAS is told."""
    answer = browser.submit(follow=False)
    assert answer.status_code == 303, answer.text[:300]
    return parse_qs(urlsplit(answer.headers["Location"]).query)


def emails(sel: Street) -> list[str]:
    with sel.bridge.runtime.database.read() as session:
        return list(session.scalars(select(Address.email).order_by(Address.id)))


def test_ses_03_the_cas_asks_for_the_password_and_what_was_typed_is_not_lost(sel: Street, jean: Browser) -> None:
    question = ask_to_add(jean)
    assert heading(question) == in_french("Is it really you?")
    assert 'type="password"' not in question.text
    asked = leave(jean)
    assert asked["renew"] == ["true"]
    assert NEW not in str(asked), "an address has no place in a URL"
    stolen = sel.bridge.browser()
    stolen.session.cookies.update(jean.session.cookies)
    jean.get(f"{asked['service'][0]}&ticket=ST-again")
    assert heading(jean.page) == in_french("It is really you")
    assert NEW in words(jean.page)
    assert emails(sel) == ["jean@univ.example"]
    waiting = jean.submit()
    assert "/account/confirm/" in waiting.url
    assert emails(sel) == ["jean@univ.example", NEW]
    assert stolen.get("/account", follow=False).status_code == 303, "SES-01: the session has a new secret"


def test_somebody_else_at_the_cas_changes_nothing(sel: Street, jean: Browser) -> None:
    ask_to_add(jean)
    asked = leave(jean)
    sel.cas.answer = success("another", "<cas:mail>another@univ.example</cas:mail>")
    refused = jean.get(f"{asked['service'][0]}&ticket=ST-other")
    assert refused.status_code == 403
    assert emails(sel) == ["jean@univ.example"]
    assert "jdupont" in words(jean.get("/account"))
    assert heading(ask_to_add(jean)) == in_french("Is it really you?")


def test_a_refused_ticket_changes_nothing(sel: Street, jean: Browser) -> None:
    ask_to_add(jean)
    asked = leave(jean)
    sel.cas.answer = failure("INVALID_TICKET")
    assert jean.get(f"{asked['service'][0]}&ticket=ST-forged").status_code == 403
    assert heading(ask_to_add(jean)) == in_french("Is it really you?")


def test_ses_04_the_way_back_is_bound_to_the_browser_it_left_from(sel: Street, jean: Browser) -> None:
    ask_to_add(jean)
    asked = leave(jean)
    other = sel.bridge.browser()
    sel.sign_in(other, service=None)
    assert other.get(f"{asked['service'][0]}&ticket=ST-again").status_code == 400


def test_a_sign_in_without_a_typed_password_is_no_proof_and_one_with_it_is(sel: Street) -> None:
    silent, typed = sel.bridge.browser(), sel.bridge.browser()
    sel.sign_in(silent, service=None)
    sel.cas.answer = success("jdupont", MAIL + TYPED)
    sel.sign_in(typed, service=None)
    assert heading(ask_to_add(silent)) == in_french("Is it really you?")
    assert "/account/confirm/" in ask_to_add(typed).url


def test_nothing_waits_for_somebody_who_comes_by_the_address(jean: Browser) -> None:
    assert jean.get("/account/identity").url.endswith("/account")


def test_members_are_told_where_their_password_is_and_their_university_address_is_theirs_to_read(jean: Browser) -> None:
    page = jean.get("/account/password")
    assert 'type="password"' not in page.text
    assert in_french("It is changed where the university says, and is then the same everywhere.") in words(page)
    addresses = jean.get("/account/addresses")
    assert in_french("The university gave you this address: it is changed there, not here.") in words(addresses)
    assert "/remove" not in addresses.text


def test_a_form_too_long_for_a_cookie_waits_on_its_page(sel: Street, jean: Browser) -> None:
    """What was typed is not lost, however long: the CAS asks in another window, and the form goes on from its own."""
    jean.get("/account/addresses")
    number = next(n for n, (action, _m, _f) in enumerate(forms(jean.page)) if action == "/account/addresses")
    jean.submit(number, email=NEW, role="recovery", more="x" * 6000)
    waiting = jean.submit()
    assert waiting.status_code == 200
    assert heading(waiting) == in_french("Is it really you?")
    token = forms(waiting)[0][2]["csrf_token"]
    answer = jean.session.post(
        f"{sel.bridge.url}/account/identity/window", data={"csrf_token": token}, allow_redirects=False, timeout=20
    )
    asked = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert asked["renew"] == ["true"]
    jean.get(f"{asked['service'][0]}&ticket=ST-again")
    assert in_french("Close this window, and go on in the one where your form waits.") in words(jean.page)
    jean.page = waiting
    jean.submit()
    assert emails(sel) == ["jean@univ.example", NEW]


def test_without_having_shown_it_the_long_form_goes_nowhere(sel: Street, jean: Browser) -> None:
    jean.get("/account/addresses")
    number = next(n for n, (action, _m, _f) in enumerate(forms(jean.page)) if action == "/account/addresses")
    jean.submit(number, email=NEW, role="recovery", more="x" * 6000)
    assert heading(jean.submit()) == in_french("Is it really you?")
    assert heading(jean.submit()) == in_french("Is it really you?")
    assert emails(sel) == ["jean@univ.example"]
