"""My activity: my own events in plain words, page by page, in both languages."""

from __future__ import annotations

import html
import re

import pytest

from external_accounts import audit
from lms_bridge.i18n import LOCALES, use_locale
from lms_bridge.selfservice.account import activity, activity_words
from tests.bridge_under_test import PASSWORD, Browser, heading
from tests.lms_bridge.mailing import in_french
from tests.lms_bridge.selfservice.account.conftest import Home


def events_on(browser: Browser) -> list[str]:
    """The sentences of the page, top to bottom."""
    return [html.unescape(found) for found in re.findall(r"<li>([^<]*)<br>", browser.page.text)]


def append(home: Home, count: int, account_id: int | None) -> None:
    with home.bridge.runtime.database.begin() as session:
        for _ in range(count):
            audit.record(
                session,
                "password.changed",
                outcome="ok",
                now=home.bridge.clock(),
                origin=audit.Origin(network="192.0.2.7", actor="cli:root"),
                account_id=account_id,
            )


def test_the_account_page_leads_to_what_happened_the_newest_first(home: Home) -> None:
    home.bridge.browser().sign_in("ext.ada", "not the password")
    assert 'href="/account/activity"' in home.ada.get("/account").text
    page = home.ada.get("/account/activity")
    assert heading(page) == in_french("My activity")
    shown = events_on(home.ada)
    assert shown[0] == in_french("Somebody tried to sign in with a wrong password.")
    assert in_french("You signed in with your user name and password.") in shown[1:]
    assert shown[-1] == in_french("Your account was created.")


def test_whoever_acted_is_not_named_and_the_network_is_told_roughly(home: Home) -> None:
    append(home, 1, home.account_id)
    text = home.ada.get("/account/activity").text
    assert in_french("by the help desk") in html.unescape(text)
    assert "root" not in text
    assert "192.0.…" in text
    assert "192.0.2.7" not in text


def test_nobody_sees_what_happened_to_somebody_else(home: Home) -> None:
    other = home.bridge.add_account("ext.grace")
    append(home, 3, other)
    append(home, 3, None)
    home.ada.get("/account/activity?before=999999999")
    assert in_french("The password was changed.") not in events_on(home.ada)


def test_pages_follow_each_other_without_a_gap_or_a_repetition(home: Home) -> None:
    append(home, 2 * activity.PAGE + 3, home.account_id)
    seen, path = 0, "/account/activity"
    while path:
        page = home.ada.get(path)
        seen += events_on(home.ada).count(in_french("The password was changed."))
        found = re.search(r'href="(/account/activity\?before=\d+)"', page.text)
        path = found.group(1) if found else ""
    assert seen == 2 * activity.PAGE + 3


def test_where_nothing_is_left_the_page_says_what_will_be_here(home: Home) -> None:
    page = home.ada.get("/account/activity?before=1")
    assert in_french("Nothing here yet. Sign-ins and changes will appear here.") in html.unescape(page.text)


@pytest.mark.parametrize("before", ["x", "-1", "9" * 40, "١"])
def test_a_bad_place_is_the_first_page(home: Home, before: str) -> None:
    assert home.ada.get("/account/activity", params={"before": before}).status_code == 200
    assert events_on(home.ada)


def test_without_a_session_there_is_nothing_to_see(home: Home) -> None:
    assert home.bridge.browser().get("/account/activity", follow=False).status_code == 303


def test_an_event_of_a_later_version_is_told_all_the_same() -> None:
    for locale in LOCALES:
        with use_locale(locale):
            assert "later.event" in activity_words.sentence("later.event", "ok")


def test_signing_out_and_in_again_leaves_a_story(home: Home) -> None:
    home.ada.get("/cas/logout")
    home.sign_in_again()
    home.ada.get("/account/activity")
    assert PASSWORD not in home.ada.page.text
    assert in_french("A session ended.") in events_on(home.ada)
