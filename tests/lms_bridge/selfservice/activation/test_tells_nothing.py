"""I3: the pages of asking say nothing of whose account it is, nor whether it waits to be activated."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import event

from external_accounts import audit, throttle
from external_accounts.accounts import suspend
from external_accounts.schema import Account
from tests.bridge_under_test import heading
from tests.lms_bridge.mailing import link_in
from tests.lms_bridge.selfservice.activation.town import DONE, PRIVATE, WAITING, Town, plain
from tests.lms_bridge.selfservice.test_forgotten_tells_nothing import comparable


@pytest.fixture
def crowd(town: Town) -> dict[str, str]:
    """Somebody in every situation, by what they type."""
    town.announce("open", private="open@mail.example", mail=False)
    town.announce("nowhere", private=None, mail=False)
    active = town.announce("active", private="active@mail.example", mail=False)
    ended = town.announce("ended", private="ended@mail.example", mail=False)
    suspended = town.announce("suspended", private="suspended@mail.example", mail=False)
    erased = town.announce("erased", private="erased@mail.example", mail=False)
    town.announce("member", private="member@mail.example", profile="staff", mail=False)
    now = town.bridge.clock()
    town.change(active, activated_at=now)
    town.change(ended, rights_end_at=now - timedelta(days=1))
    town.change(erased, erased_at=now)
    with town.bridge.runtime.database.begin() as session:
        account = session.get_one(Account, suspended)
        suspend(session, account, reason="x", until=None, now=now, origin=audit.SYSTEM)
    return {
        "nobody": "unknown",
        "open": "mailed",
        "nowhere": "no mail",
        "active": "over",
        "ended": "over",
        "suspended": "over",
        "erased": "no mail",
        "member": "over",
        "open@univ.example": "mailed",
        "nobody@univ.example": "unknown",
        "x\x00y": "unknown",
        "é" * 300: "unknown",
    }


def test_i3_the_same_bytes_for_everybody_everywhere(town: Town, crowd: dict[str, str]) -> None:
    """TOK-01, D13: asking, waiting, a wrong code, asking again, before and after the mails left."""
    seen: dict[str, list[object]] = {}
    for name in crowd:
        browser = town.bridge.browser()
        browser.get("/account/activate")
        posted = comparable(browser.submit(identifier=name, follow=False))
        waiting = browser.get(browser.page.headers["Location"])
        wrong = [comparable(browser.submit(code="BBBB-BBBB")) for _ in range(3)]
        seen[name] = [posted, comparable(waiting), wrong, comparable(browser.submit(1))]
    town.mailbox.all()
    town.bridge.clock.forward(minutes=2)
    for name in crowd:
        browser = town.bridge.browser()
        browser.get("/account/activate")
        seen[name] += [comparable(browser.submit(identifier=name))]
        seen[name] += [comparable(browser.submit(code="BBBB-BBBB")) for _ in range(7)]
    for name in crowd:
        assert seen[name] == seen["nobody"], name


def test_the_mail_tells_each_their_own(town: Town, crowd: dict[str, str]) -> None:
    for name in crowd:
        town.ask(name)
    mails = town.mailbox.all()
    told = {mail.to: "mailed" if "/account/activate/" in mail.text else "over" for mail in mails}
    assert told == {
        "open@mail.example": "mailed",
        "active@mail.example": "over",
        "ended@mail.example": "over",
        "suspended@mail.example": "over",
        "member@mail.example": "over",
    }
    active = next(mail for mail in mails if mail.to == "active@mail.example")
    assert "/account/forgot" in active.text


def test_i3_the_page_says_nothing_of_what_the_owner_did_meanwhile(town: Town) -> None:
    town.announce(mail=False)
    strangers = {name: town.ask(name) for name in ("nlopez", "nobody")}
    assert heading(town.finish(link_in(town.mailbox.newest())).page) == DONE
    answers = {}
    for name, browser in strangers.items():
        shown = [comparable(browser.get(browser.page.url))]
        shown += [comparable(browser.submit(code="BBBB-BBBB")) for _ in range(6)]
        answers[name] = shown
    assert answers["nlopez"] == answers["nobody"]


def test_i3_the_request_looks_nothing_up_and_sends_nothing(town: Town) -> None:
    town.announce(mail=False)
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        statements.append(statement)

    engine = town.bridge.runtime.database.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        town.ask("nlopez")
    finally:
        event.remove(engine, "before_cursor_execute", note)
    private = ("accounts", "addresses", "identities", "activation_drafts", "directory_entries")
    assert [name for name in private if any(re.search(rf"\b{name}\b", one) for one in statements)] == []


def test_whom_to_see_stands_there_for_every_population_and_none_is_singled_out(town: Town) -> None:
    town.announce(private=None, mail=False)
    page = town.ask("nlopez").page
    assert heading(page) == WAITING
    for words in ("Vacataire le service des ressources humaines", "Étudiant·e la scolarité", "l’assistance"):
        assert words in plain(page)
    assert town.mailbox.all() == []


def test_d34_a_link_never_goes_to_the_university_address_nor_to_what_was_typed(town: Town) -> None:
    town.announce(mail=False)
    for typed in ("nlopez@univ.example", "NLOPEZ@UNIV.EXAMPLE", "nora@\uff4dail.example"):
        town.ask(typed)
    assert {mail.to for mail in town.mailbox.all()} == {PRIVATE}


def test_d12_a_mailbox_is_not_flooded(town: Town) -> None:
    town.announce()
    for _minute in range(12):
        for typed in ("nlopez", "nlopez@univ.example", PRIVATE):
            assert heading(town.ask(typed).page) == WAITING
        town.bridge.clock.forward(seconds=61)
        town.mailbox.all()
    assert len(town.mailbox.all()) <= throttle.PROOF_MAIL_ADDRESS.burst + 2


def test_no_link_of_another_kind_opens_a_page_here(town: Town) -> None:
    town.bridge.add_account("ext.ada", confirmed=False, email="ada@mail.example")
    ada = town.bridge.browser()
    ada.sign_in("ext.ada", service="https://app.example/landing")
    ada.submit()
    token = link_in(town.mailbox.newest()).rpartition("/")[2]
    for path in (token, f"{token}/steps/charter", "nonsense", "nonsense/steps/password"):
        assert town.bridge.browser().get(f"/account/activate/{path}").status_code == 404
