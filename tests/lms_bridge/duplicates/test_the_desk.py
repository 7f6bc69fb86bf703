"""Likely duplicates at the help desk: who sees them, and what is decided (D27, D30)."""

from __future__ import annotations

import html
import re
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import requests
from sqlalchemy import insert, select, text

from external_accounts.linking_schema import LikelyPair
from external_accounts.schema import Account, AuditEvent
from tests.bridge_under_test import forms, heading
from tests.lms_bridge.duplicates.conftest import DESK, Radar
from tests.lms_bridge.mailing import in_french

EMPTY = in_french(
    "None. Accounts that have a name, a confirmed address or a number in common appear here by themselves."
)


def shown(page: str) -> str:
    return " ".join(html.unescape(page).split())


def test_an_empty_list_says_what_would_stand_there(radar: Radar) -> None:
    radar.seek()
    assert EMPTY in shown(radar.agent.get(DESK).text)


def test_d27_the_list_names_the_two_and_the_reasons_in_words(radar: Radar) -> None:
    radar.add("ext.ada", email="ada@mail.example")
    radar.add("ext.augusta", "Augusta", "King", email="ada@mail.example")
    radar.seek()
    page = shown(radar.agent.get(DESK).text)
    assert "Ada Lovelace · Augusta King" in page
    assert in_french("same confirmed e-mail address") in page


def test_one_pair_is_shown_side_by_side(radar: Radar) -> None:
    radar.add("ext.ada", birth_name="Byron", unit="Sciences", external_key="V1", email="ada@mail.example")
    radar.add("ext.augusta", email="ada@mail.example", confirmed=False)
    radar.seek()
    page = shown(radar.open().text)
    assert heading(radar.agent.page) == in_french("One person or two?")
    for text_there in ("ext.ada", "ext.augusta", "Byron", "Sciences", "V1", "ada@mail.example"):
        assert text_there in page, text_there
    assert page.count(in_french("in common")) == 2
    assert in_french("same e-mail address, which only one of the two has confirmed") in page


def test_nobody_but_the_help_desk_sees_pairs(radar: Radar) -> None:
    """A sponsor decides on requests, and never sees another's data."""
    radar.add("ext.ada")
    radar.add("ext.augusta", profile="teacher")
    radar.seek()
    number = radar.pair().id
    for username in ("ext.ada", "ext.augusta"):
        browser = radar.signed_in(username)
        for path in (DESK, f"{DESK}/{number}", f"{DESK}/several"):
            assert browser.get(path).status_code == 403, (username, path)
        token = forms(browser.get("/account/sign-out"))[0][2]["csrf_token"]
        for path in (
            f"{number}/dismiss",
            f"{number}/reopen",
            f"{number}/propose",
            "several/preview",
            "several/dismiss",
        ):
            data = {"csrf_token": token, "reason": "x", "pair": str(number)}
            answer = browser.session.post(f"{radar.bridge.url}{DESK}/{path}", data=data, timeout=20)
            assert answer.status_code == 403, path
    assert radar.pair().state == "open"


def test_setting_aside_needs_a_reason_and_can_be_taken_back(radar: Radar) -> None:
    radar.add("ext.ada")
    radar.add("ext.augusta")
    radar.seek()
    radar.open()
    assert radar.press("/dismiss").status_code == 422
    assert radar.pair().state == "open"
    radar.press("/dismiss", reason="Née en 1815, l'autre en 1990")
    pair = radar.pair()
    assert (pair.state, pair.decided_by, pair.note) == ("dismissed", "ext.desk", "Née en 1815, l'autre en 1990")
    assert "Hélène Bernard" in radar.agent.page.text
    radar.press("/reopen")
    assert radar.pair().state == "open"
    radar.seek()
    assert events(radar) == ["duplicates.dismissed", "duplicates.reopened"]


def test_i3_nobody_learns_from_their_own_trail_that_somebody_is_like_them(radar: Radar) -> None:
    radar.add("ext.ada")
    radar.add("ext.augusta")
    radar.seek()
    radar.open()
    radar.press("/dismiss", reason="Deux personnes")
    page = radar.signed_in("ext.ada").get("/account/activity").text
    assert "duplicates" not in page
    assert "second compte" not in page


def events(radar: Radar) -> list[str]:
    with radar.bridge.runtime.database.read() as session:
        query = select(AuditEvent.event).where(AuditEvent.event.startswith("duplicates.")).order_by(AuditEvent.id)
        return list(session.scalars(query))


def test_d30_a_proposal_asks_both_sides_and_names_neither(radar: Radar) -> None:
    radar.add("ext.ada")
    radar.add("ext.augusta", "ADA", "Lovelace")
    radar.seek()
    radar.open()
    radar.press("/propose")
    assert radar.pair().state == "proposed"
    mails = [mail for mail in radar.mailbox.all() if "/account/links" in mail.text]
    assert sorted(mail.to for mail in mails) == ["ext.ada@mail.example", "ext.augusta@mail.example"]
    for mail in mails:
        said = mail.text + mail.html
        assert not any(name in said for name in ("ext.", "Ada", "ADA", "Lovelace", "mail.example"))
    assert mails[0].text == mails[1].text
    assert events(radar) == ["duplicates.proposed"] * 2


def test_a_mailbox_that_both_have_gets_one_mail_and_an_unconfirmed_one_none(radar: Radar) -> None:
    radar.add("ext.ada", email="ada@mail.example")
    radar.add("ext.augusta", email="ada@mail.example")
    radar.add("ext.eve", email="eve@mail.example", confirmed=False)
    radar.seek()
    with radar.bridge.runtime.database.read() as session:
        query = select(LikelyPair.id).order_by(LikelyPair.points.desc())
        best = session.scalars(query).first()
    radar.agent.get(f"{DESK}/{best}")
    radar.press("/propose")
    assert [to for to, _subject in radar.mails()] == ["ada@mail.example"]


def test_of_two_agents_one_decides_and_the_other_reads_what_was_decided(radar: Radar) -> None:
    radar.add("ext.ada")
    radar.add("ext.augusta")
    radar.seek()
    radar.open()
    token = forms(radar.agent.page)[0][2]["csrf_token"]
    cookies, number = radar.agent.session.cookies, radar.pair().id

    def decide(ending: str) -> int:
        data = {"csrf_token": token, "reason": "Vu"}
        url = f"{radar.bridge.url}{DESK}/{number}/{ending}"
        return requests.post(url, data=data, cookies=cookies, allow_redirects=False, timeout=20).status_code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(decide, ["dismiss"] * 4)) == [303, 409, 409, 409]
    assert decide("propose") == 409
    assert events(radar) == ["duplicates.dismissed"]


def test_several_are_looked_at_before_they_are_set_aside(radar: Radar) -> None:
    for index in range(3):
        radar.add(f"ext.ada{index}")
    radar.seek()
    numbers = [str(row[0]) for row in all_pairs(radar)]
    radar.agent.get(f"{DESK}/several")
    action, _method, hidden = forms(radar.agent.page)[0]
    data = {**hidden, "pair": numbers[:2], "reason": "Trois personnes"}
    url = radar.bridge.url + action
    assert radar.agent.session.post(url, data={**data, "pair": []}, timeout=20).status_code == 422
    assert radar.agent.session.post(url, data={**data, "reason": ""}, timeout=20).status_code == 422
    preview = radar.agent.session.post(url, data=data, timeout=20)
    assert in_french("Set several pairs aside") == heading(preview)
    assert [state for _number, state in all_pairs(radar)] == ["open"] * 3
    with radar.bridge.runtime.database.begin() as session:  # somebody else is quicker with one of them
        session.execute(text("UPDATE likely_pairs SET state = 'declined' WHERE id = :id"), {"id": numbers[0]})
    action, _method, hidden = forms(preview)[0]
    done = radar.agent.session.post(radar.bridge.url + action, data={**hidden, "pair": numbers[:2]}, timeout=20)
    assert "1 paire a été écartée" in shown(done.text)
    assert sorted(state for _number, state in all_pairs(radar)) == ["declined", "dismissed", "open"]


def all_pairs(radar: Radar) -> list[tuple[int, str]]:
    with radar.bridge.runtime.database.read() as session:
        query = select(LikelyPair.id, LikelyPair.state).order_by(LikelyPair.id)
        return [(number, state) for number, state in session.execute(query)]


def test_the_list_goes_by_points_and_pages(radar: Radar) -> None:
    """More than a page, of equal and of different points: each pair is shown once, the likeliest first."""
    with radar.bridge.runtime.database.begin() as session:
        ids = [
            session.execute(
                insert(Account).returning(Account.id),
                {
                    "username": f"u{index}",
                    "profile": "staff",
                    "family_name": f"N{index}",
                    "created_at": radar.bridge.clock(),
                },
            ).scalar_one()
            for index in range(121)
        ]
        for index, (one, other) in enumerate(pairwise(ids)):
            session.add(
                LikelyPair(
                    first_id=one,
                    second_id=other,
                    points=60 + index % 3,
                    facts=["same_names"],
                    state="open",
                    found_at=radar.bridge.clock(),
                    new_facts=[],
                    proposed_by="",
                    decided_by="",
                    note="",
                )
            )
    found: list[str] = []
    further: list[str] = [DESK]
    while further and len(found) <= 120:
        page = radar.agent.get(further[0]).text
        found += re.findall(rf'href="{DESK}/(\d+)"', page)
        further = re.findall(rf'href="({re.escape(DESK)}\?after=\d+)"', page)
    filtered = shown(radar.agent.get(f"{DESK}?points=62").text)
    assert "40 paires" in filtered
    assert radar.agent.get(f"{DESK}?state=strange").status_code == 404
