"""The help desk's first page: the box that finds people, and what waits."""

from __future__ import annotations

import html
import re

import pytest
import requests
from sqlalchemy import select

from external_accounts.linking_schema import SearchWord
from external_accounts.schema import Account, SignInIdentity
from lms_bridge.schema import Mirror
from tests.bridge_under_test import Browser, heading
from tests.lms_bridge.helpdesk.conftest import ARTS, LAW, Console, console_with
from tests.lms_bridge.mailing import in_french

SITES = [{"name": "updago", "url": "https://moodle.example", "token": "x" * 32}]
NOBODY = in_french("Nobody found")


def names(page: requests.Response) -> list[str]:
    """The user names of the lines found, in order."""
    lines = re.findall(r"<li>\s*<a class=\"card door.*?</li>", page.text, re.DOTALL)
    return [re.search(r'door-text">([^ <]+)', line)[1] for line in lines]  # type: ignore[index]


def ask(browser: Browser, question: str) -> requests.Response:
    return browser.get("/helpdesk", params={"q": question})


@pytest.fixture
def peopled(tmp_path):  # type: ignore[no-untyped-def]
    with console_with(tmp_path, sites=SITES) as console:
        number = console.person("ext.zoe", given_name="Zoé", family_name="Lemaître", external_key="V007", unit=ARTS)
        other = console.person("ext.jean", given_name="Jean", family_name="Martin", unit=LAW)
        with console.bridge.runtime.database.begin() as session:
            for mirror in session.scalars(select(Mirror).where(Mirror.account_id == number)):
                session.delete(mirror)
            session.add(Mirror(account_id=number, site="updago", moodle_id=4711))
            session.add(
                SignInIdentity(
                    account_id=other, issuer="local", subject="jmartin",
                    attributes={}, created_at=console.bridge.clock(), refreshed_at=console.bridge.clock(),
                )
            )  # fmt: skip
        yield console, number


@pytest.mark.parametrize(
    "question",
    [
        "zoe", "LEMAITRE", "lemaître zoé", "zoe lem", "ext.zoe", "EXT.ZOE@mail.example", "ext.zoe@mail", "V007", "v007",
        "moodle:4711", "Moodle: 4711", "4711", "lettres zoe",
    ],
)  # fmt: skip
def test_one_box_finds_by_whatever_is_known(peopled: tuple[Console, int], question: str) -> None:
    console, number = peopled
    page = ask(console.as_("ext.viewer"), question)
    assert names(page) == ["ext.zoe"]
    assert f'href="/helpdesk/accounts/{number}"' in page.text


def test_a_number_is_ours_or_moodles_and_a_subject_is_found_too(peopled: tuple[Console, int]) -> None:
    console, number = peopled
    browser = console.as_("ext.viewer")
    assert names(ask(browser, f"#{number}")) == ["ext.zoe"]
    assert names(ask(browser, str(number))) == ["ext.zoe"]
    assert names(ask(browser, f"moodle:{number}")) == []
    assert names(ask(browser, "jmartin")) == ["ext.jean"]
    assert in_french("by its name at the university's CAS") in html.unescape(ask(browser, "jmartin").text)


def test_the_question_stays_in_the_box_and_shows_nothing_else(peopled: tuple[Console, int]) -> None:
    page = ask(peopled[0].as_("ext.viewer"), '"><b>x')
    assert "<b>x" not in page.text
    assert heading(page) == in_french("Help desk")
    assert NOBODY in html.unescape(page.text)


def test_a_typing_error_is_a_link_to_the_right_question(peopled: tuple[Console, int]) -> None:
    browser = peopled[0].as_("ext.viewer")
    page = ask(browser, "lemiatre zoe")
    assert NOBODY in html.unescape(page.text)
    found = re.search(r'<li><a href="(/helpdesk\?q=[^"]+)"', page.text)
    assert found
    assert names(browser.get(html.unescape(found[1]))) == ["ext.zoe"]


def test_erased_and_merged_accounts_are_found_by_name_and_say_so(peopled: tuple[Console, int]) -> None:
    console, number = peopled
    gone, joined = console.person("ext.gone"), console.person("ext.old", family_name="Lemaître")
    console.change(gone, erased_at=console.bridge.clock(), given_name="", family_name="")
    console.change(joined, merged_into_id=number)
    browser = console.as_("ext.viewer")
    assert names(ask(browser, "lemaitre")) == ["ext.zoe"]
    erased, merged = ask(browser, "ext.gone"), ask(browser, "ext.old")
    assert (names(erased), in_french("erased") in erased.text) == (["ext.gone"], True)
    assert (names(merged), in_french("joined to another account") in merged.text) == (["ext.old"], True)
    assert f'href="/helpdesk/accounts/{number}"' in merged.text
    with console.bridge.runtime.database.read() as session:
        assert not session.scalars(select(SearchWord).where(SearchWord.account_id.in_([gone, joined]))).all()


@pytest.mark.parametrize("question", ["ext.jean", "jean", "martin", "ext.jean@mail.example", "jmartin"])
def test_whoever_sees_one_unit_finds_nobody_of_another(peopled: tuple[Console, int], question: str) -> None:
    console, _number = peopled
    assert names(ask(console.as_("ext.arts"), question)) == []
    assert names(ask(console.as_("ext.lawyer"), question)) == ["ext.jean"]
    assert names(ask(console.as_("ext.both"), question)) == ["ext.jean"]


def test_no_proposal_speaks_of_another_unit(peopled: tuple[Console, int]) -> None:
    console, _number = peopled
    assert "lemaitre" in ask(console.as_("ext.arts"), "lemiatre").text
    assert "lemaitre" not in ask(console.as_("ext.lawyer"), "lemiatre").text


def test_more_than_a_page_says_so(console: Console) -> None:
    with console.bridge.runtime.database.begin() as session:
        now = console.bridge.clock()
        session.add_all(
            Account(username=f"m{n}", profile="learner", family_name="Martin", created_at=now) for n in range(60)
        )
    page = ask(console.as_("ext.viewer"), "martin")
    assert len(names(page)) == 50
    told = in_french("The first %(count)s. There are more: add a word.").replace("%(count)s", "50")
    assert told in " ".join(html.unescape(page.text).split())


# --- What waits ---

UNSETTLED = ("bounces", "corrections", "conflicts")


@pytest.mark.parametrize(
    ("username", "pages"),
    [
        ("ext.viewer", []),
        ("ext.lawyer", ["registrations", "extensions", *UNSETTLED, "letters"]),
        (
            "ext.agent",
            ["registrations", "extensions", "assistance", *UNSETTLED, "duplicates", "invitations", "letters"],
        ),
    ],
)
def test_the_first_page_leads_where_the_role_reaches(console: Console, username: str, pages: list[str]) -> None:
    browser = console.as_(username)
    page = browser.get("/helpdesk")
    offered = re.findall(r'<a class="card door door-low" href="/helpdesk/([a-z]+)"', page.text)
    assert offered == pages
    for path in offered:
        assert browser.get(f"/helpdesk/{path}").status_code == 200
        assert 'aria-current="page"' in browser.page.text


def test_a_sponsor_has_the_queues_and_no_search(console: Console) -> None:
    console.person("ext.turing", profile="teacher")
    browser = console.as_("ext.turing")
    page = browser.get("/helpdesk")
    assert 'name="q"' not in page.text
    assert re.findall(r'href="/helpdesk/([a-z]+)"', page.text.split("<main")[1]) == ["registrations", "extensions"]
    assert "/helpdesk/accounts/" not in ask(browser, "ext.viewer").text


def test_nobody_without_a_role_gets_an_answer(console: Console) -> None:
    console.person("ext.ada")
    assert ask(console.as_("ext.ada"), "ada").status_code == 403
    assert "ext.ada" not in ask(console.bridge.browser(), "ada").text
