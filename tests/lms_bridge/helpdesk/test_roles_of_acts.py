"""Every role before every act and every list: who gets a page, who is told that a role is missing, who sees nothing."""

from __future__ import annotations

import pytest

from external_accounts.accounts import account_by_username
from lms_bridge.helpdesk.account_pages import ACTS
from tests.bridge_under_test import forms, heading
from tests.lms_bridge.helpdesk.conftest import ARTS, LAW, STAFF, Console
from tests.lms_bridge.mailing import in_french

ACT_PATHS = [page.name for page in ACTS]
NOTHING_TO_DO = {"readmit", "extend", "correct"}
"""No suspension to lift, no end of rights to move, no address that was lost."""
LISTS = {
    "bounces": {"ext.agent", "ext.admin", "ext.both", "ext.lawyer"},
    "conflicts": {"ext.agent", "ext.admin", "ext.both", "ext.lawyer"},
    "corrections": {"ext.agent", "ext.admin", "ext.both", "ext.lawyer"},
    "duplicates": {"ext.agent", "ext.admin"},
    "merges": {"ext.admin"},
    "bulk": {"ext.admin"},
}


def test_an_act_is_for_agents_and_only_in_their_units(console: Console) -> None:
    people = {unit: console.person(f"ext.of{number}", unit=unit) for number, unit in enumerate((ARTS, LAW, ""))}
    expected = {
        "ext.viewer": dict.fromkeys(people, 403),
        "ext.agent": dict.fromkeys(people, 200),
        "ext.admin": dict.fromkeys(people, 200),
        "ext.arts": dict.fromkeys(people, 403),
        "ext.both": {ARTS: 404, LAW: 200, "": 404},
        "ext.lawyer": {ARTS: 404, LAW: 200, "": 404},
    }
    for username in STAFF:
        browser = console.as_(username)
        for act in ("suspend", "link"):
            found = {unit: browser.get(f"/helpdesk/accounts/{one}/{act}").status_code for unit, one in people.items()}
            assert found == expected[username], (username, act)


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_for_those_with_the_role_and_stands_on_their_first_page(console: Console, name: str) -> None:
    for username in STAFF:
        browser = console.as_(username)
        may = username in LISTS[name]
        assert (browser.get(f"/helpdesk/{name}").status_code == 200) is may, username
        assert (f'href="/helpdesk/{name}"' in browser.get("/helpdesk").text) is may, username


def test_what_can_be_done_stands_on_the_account_s_page_for_those_who_may(console: Console) -> None:
    number = console.person("ext.ada", unit=LAW)
    for username, may in {"ext.viewer": False, "ext.lawyer": True, "ext.admin": True}.items():
        page = console.as_(username).get(f"/helpdesk/accounts/{number}").text
        for act in set(ACT_PATHS) - NOTHING_TO_DO:
            assert (f"/helpdesk/accounts/{number}/{act}" in page) is may, (username, act)
        for act in NOTHING_TO_DO:
            assert f"/helpdesk/accounts/{number}/{act}" not in page, act


def test_only_an_administrator_acts_on_people_of_the_desk(console: Console) -> None:
    with console.bridge.runtime.database.read() as session:
        viewer = account_by_username(session, "ext.viewer")
        assert viewer is not None
        number = viewer.id
    agents = console.as_("ext.agent").get(f"/helpdesk/accounts/{number}/suspend")
    assert [form for form in forms(agents) if form[0].endswith("/suspend")] == []
    administrators = console.as_("ext.admin").get(f"/helpdesk/accounts/{number}/suspend")
    assert [form for form in forms(administrators) if form[0].endswith("/suspend")]


def test_the_same_person_is_proposed_once_from_either_page(console: Console) -> None:
    """What is proposed is a row of the list of likely pairs, whether or not anything was found before (D30)."""
    one, two = console.person("ext.ada"), console.person("ext.ada2")
    browser = console.as_("ext.agent")
    browser.get(f"/helpdesk/accounts/{one}/link")
    done = browser.submit(other="ext.ada2", reason="she says so", follow=False)
    assert done.status_code == 303, heading(done)
    texts = [mail.text for mail in console.mailbox.all() if in_french("Do you have two accounts?") in mail.text]
    assert all("ext.ada" not in text for text in texts), "names neither account (LNK-11)"
    assert len([mail for mail in console.mailbox.all() if "/account/links" in mail.text]) == 2
    browser.get(f"/helpdesk/accounts/{two}/link")
    again = browser.submit(other="ext.ada", reason="once more", follow=False)
    assert again.status_code == 409
    assert "ext.ada" in console.as_("ext.admin").get("/helpdesk/duplicates?state=proposed").text
