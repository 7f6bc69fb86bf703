"""Before an account is made somebody is shown who is like them; the person who asks is told nothing of it (D27, I3)."""

from __future__ import annotations

import html
import re

from tests.bridge_under_test import Browser, heading
from tests.lms_bridge.duplicates.conftest import Radar
from tests.lms_bridge.mailing import in_french

LINK = re.compile(r"https?://\S+/account/register/\S+")
ALREADY = in_french("Do they have an account already?")
ASK = in_french("They may have an account already. Before you accept, ask the help desk to look.")
OWN_SENTENCE = "Vous avez déjà un compte de l'université"
GUEST = {"given_name": "ADA", "family_name": "Lovelace", "email": "guest@mail.example"}


def ask(radar: Radar, **fields: str) -> Browser:
    """Somebody asks for an account and proves the address."""
    browser = radar.bridge.browser()
    browser.get("/account/register")
    browser.submit(**(GUEST | fields))
    found = LINK.search(radar.mailbox.newest().text)
    assert found
    browser.get(found.group(0))
    browser.submit()
    return browser


def shown(browser: Browser, path: str) -> str:
    return " ".join(html.unescape(browser.get(path).text).split())


def request_page(radar: Radar, browser: Browser) -> str:
    links = re.findall(r"/helpdesk/registrations/\d+", browser.get("/helpdesk/registrations").text)
    return shown(browser, links[0])


def test_the_help_desk_reads_whose_account_it_may_be(radar: Radar) -> None:
    radar.add("ext.ada", unit="Sciences")
    ask(radar)
    page = request_page(radar, radar.agent)
    assert ALREADY in page
    assert "ext.ada, Sciences" in page
    assert in_french("same names") in page


def test_nothing_is_said_of_somebody_who_is_like_nobody(radar: Radar) -> None:
    radar.add("ext.grace", "Grace", "Hopper")
    ask(radar)
    page = request_page(radar, radar.agent)
    assert ALREADY not in page
    assert ASK not in page


def test_a_sponsor_reads_only_that_the_help_desk_must_look(radar: Radar) -> None:
    """Nobody who answers for one person sees another one's data."""
    radar.add("ext.ada", unit="Sciences")
    radar.add("ext.turing", "Alan", "Turing", profile="teacher")
    ask(radar, sponsor="ext.turing@mail.example")
    page = request_page(radar, radar.signed_in("ext.turing"))
    assert ASK in page
    assert not any(word in page for word in ("ext.ada", "Sciences", "points"))


def test_i3_who_asks_is_told_the_same_whether_or_not_somebody_has_their_name(radar: Radar) -> None:
    """The sentence about an account one may have is in every mail: it says nothing about anybody."""
    radar.add("ext.ada")
    mails = []
    for email, names in (("a@mail.example", {}), ("b@mail.example", {"given_name": "Grace", "family_name": "Hopper"})):
        ask(radar, email=email, **names)
        links = re.findall(r"/helpdesk/registrations/\d+", radar.agent.get("/helpdesk/registrations").text)
        radar.agent.get(links[0])
        radar.agent.submit(0, decision="accept")
        mails.append(radar.mailbox.newest().text)
    for text in mails:
        assert OWN_SENTENCE in " ".join(text.split())
    same = [re.sub(r"(Bonjour .*)|(http\S+)|(ADA|Grace|Lovelace|Hopper)", "", text) for text in mails]
    assert same[0] == same[1]


def test_an_invitation_waits_until_somebody_has_looked(radar: Radar) -> None:
    radar.add("ext.ada")
    radar.agent.get("/helpdesk/invitations")
    page = radar.agent.submit(0, **GUEST)
    assert page.status_code == 409
    assert "ext.ada" in page.text
    assert radar.mails() == []
    assert radar.agent.submit(0, **GUEST, homonym_checked="1").status_code == 200
    assert [to for to, _subject in radar.mails()] == ["guest@mail.example"]


def test_the_preview_of_a_file_says_who_is_like_whom(radar: Radar) -> None:
    radar.add("ext.ada")
    radar.agent.get("/helpdesk/invitations")
    csv = "courriel;prénom;nom\nguest@mail.example;Ada;Lovelace\ngrace@mail.example;Grace;Hopper\n"
    token = re.search(r'name="csrf_token" value="([^"]+)"', radar.agent.page.text)
    assert token
    answer = radar.agent.session.post(
        f"{radar.bridge.url}/helpdesk/invitations/import",
        data={"csrf_token": token.group(1)},
        files={"file": ("people.csv", csv.encode())},
        timeout=20,
    )
    assert heading(answer) == in_french("This is what will happen")
    assert answer.text.count("ext.ada") == 1
