"""To the person after the sign-in: who is asked, what the page says of the other account, and "not me" (D27, I3)."""

from __future__ import annotations

import html

import pytest
import requests
from sqlalchemy import select, text

from external_accounts import audit
from external_accounts.confirmation import lose_confirmation
from external_accounts.schema import Account
from tests.bridge_under_test import Browser, forms
from tests.lms_bridge.duplicates.conftest import DESK, Radar
from tests.lms_bridge.mailing import in_french

OFFER = in_french("You may have another account")
PAGES = ("/", "/account")


def offered(browser: Browser) -> list[bool]:
    return [OFFER in html.unescape(browser.get(page).text) for page in PAGES]


@pytest.fixture
def sharing(radar: Radar) -> Radar:
    """Two accounts that confirmed the same address."""
    radar.add("ext.ada", email="ada@mail.example")
    radar.add("ext.augusta", "Augusta", "King", email="ada@mail.example")
    radar.seek()
    return radar


def test_d27_a_confirmed_address_in_common_is_an_offer_to_both_that_names_nothing(sharing: Radar) -> None:
    for username, other in (("ext.ada", ("Augusta", "King", "ext.augusta")), ("ext.augusta", ("Lovelace", "ext.ada"))):
        browser = sharing.signed_in(username)
        assert offered(browser) == [True, True]
        page = browser.page.text.replace("ext.augusta", "") if username == "ext.augusta" else browser.page.text
        assert "/account/links" in page
        assert not any(word in page for word in other), other


def test_i3_names_alone_tell_strangers_nothing_of_each_other(radar: Radar) -> None:
    radar.add("ext.ada")
    radar.add("ext.augusta")
    radar.seek()
    assert radar.pair().state == "open"
    assert offered(radar.signed_in("ext.ada")) == [False, False]


def test_what_the_help_desk_proposes_is_offered_for_names_too(radar: Radar) -> None:
    radar.add("ext.ada")
    radar.add("ext.augusta")
    radar.seek()
    radar.open()
    radar.press("/propose")
    assert offered(radar.signed_in("ext.ada")) == [True, True]


def decline(browser: Browser) -> requests.Response:
    browser.get("/account")
    actions = [action for action, _method, _hidden in forms(browser.page)]
    return browser.submit(actions.index("/account/second-account/decline"))


def test_declined_once_it_is_never_asked_again(sharing: Radar) -> None:
    browser = sharing.signed_in("ext.ada")
    assert in_french("Thank you. We do not ask again.") in html.unescape(decline(browser).text)
    pair = sharing.pair()
    assert (pair.state, pair.decided_by) == ("declined", "ext.ada")
    assert offered(browser) == offered(sharing.signed_in("ext.augusta")) == [False, False]
    # Something stronger comes to light: the help desk looks again, the person is left alone.
    with sharing.bridge.runtime.database.begin() as session:
        session.execute(
            text("UPDATE accounts SET given_name = 'Ada', family_name = 'Lovelace' WHERE given_name = 'Augusta'")
        )
    sharing.seek()
    again = sharing.pair()
    assert again.state == "open"
    assert again.new_facts
    assert offered(browser) == [False, False]
    sharing.agent.get(f"{DESK}/{pair.id}")
    assert not any(action.endswith("/propose") for action, _method, _hidden in forms(sharing.agent.page))


def test_i11_looking_changes_nothing_and_only_the_two_can_decline(sharing: Radar) -> None:
    sharing.add("ext.eve", "Eve", "Evil")
    eve = sharing.signed_in("ext.eve")
    assert offered(eve) == [False, False]
    token = forms(eve.get("/account/sign-out"))[0][2]["csrf_token"]
    url = f"{sharing.bridge.url}/account/second-account/decline"
    for pair in (str(sharing.pair().id), "0", "", "x" * 40):
        data = {"csrf_token": token, "pair": pair}
        assert eve.session.post(url, data=data, allow_redirects=False, timeout=20).status_code == 303
    assert eve.session.get(url, timeout=20).status_code == 405
    assert sharing.pair().state == "open"


def test_a_confirmation_that_is_lost_takes_the_offer_back(sharing: Radar) -> None:
    with sharing.bridge.runtime.database.begin() as session:
        account = session.scalars(select(Account).where(Account.username == "ext.augusta")).one()
        lose_confirmation(
            session, account.addresses[0], reason="bounce", now=sharing.bridge.clock(), origin=audit.SYSTEM
        )
    sharing.seek()
    assert sharing.pair().state == "gone"
    assert offered(sharing.signed_in("ext.ada")) == [False, False]
