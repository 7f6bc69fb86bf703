"""I3, D34: the pages say nothing of whose account it is; the mail says it, to the mailboxes that are stored."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import requests
from sqlalchemy import event

from external_accounts import throttle
from tests.bridge_under_test import APP, PASSWORD, heading
from tests.lms_bridge.mailing import in_french, link_in, mailing_bridge
from tests.lms_bridge.selfservice.forgetting import DONE, NEW, Town


def comparable(answer: requests.Response) -> tuple[int, list[tuple[str, str]], str]:
    """What an observer could tell two answers apart by: everything but the random tokens, whose length stays."""
    headers = {name: value for name, value in answer.headers.items() if name != "Date"}
    headers["Set-Cookie"] = re.sub(r"=[^;]*", "=…", headers.get("Set-Cookie", ""), count=1)
    hide = re.compile(r"/account/(?:forgot|activate)/[\w.-]+")
    headers["Location"] = hide.sub(lambda found: f"{len(found[0])}", headers.get("Location", ""))
    page = re.sub(r'name="csrf_token" value="[^"]*"', "", answer.text)
    return answer.status_code, sorted(headers.items()), hide.sub("…", page)


NAMES = ["ext.nobody", "ext.ada", "ext.bob", "ext.dan", "ext.eve", "jdupont", "x\x00y", "é" * 300, "nobody@no.example"]


def test_i3_known_and_unknown_get_the_same_bytes_everywhere(crowd: Town) -> None:
    """TOK-01, D13, D14: asking, the waiting page, a wrong code, asking again, before and after the mails left."""
    seen: dict[str, list[object]] = {}
    for name in NAMES:
        browser = crowd.bridge.browser()
        browser.get("/account/forgot")
        posted = comparable(browser.submit(username=name, follow=False))
        waiting = browser.get(browser.page.headers["Location"])
        wrong = [comparable(browser.submit(code="BBBB-BBBB")) for _ in range(7)]
        early = comparable(browser.submit(1))
        seen[name] = [posted, comparable(waiting), wrong, early]
    crowd.mailbox.all()
    crowd.bridge.clock.forward(minutes=2)
    for name in NAMES:
        browser = crowd.bridge.browser()
        browser.get("/account/forgot")
        seen[name] += [comparable(browser.submit(username=name))]
    for name in NAMES:
        assert seen[name] == seen["ext.nobody"], name


def test_i3_the_page_says_nothing_of_what_the_owner_did_meanwhile(town: Town) -> None:
    strangers = {}
    for name in ("ext.ada", "ext.nobody"):
        strangers[name] = town.search(username=name)
    handles = {name: browser.page.url for name, browser in strangers.items()}
    assert heading(town.reset(link_in(town.mailbox.newest()))) == DONE
    answers = {}
    for name, browser in strangers.items():
        shown = [comparable(browser.get(handles[name]))]
        shown += [comparable(browser.submit(code="BBBB-BBBB")) for _ in range(6)]
        town.bridge.clock.forward(minutes=2)
        browser.get(handles[name])
        again = browser.submit(1)
        shown += [comparable(again)]
        answers[name] = (shown, again.url == handles[name])
        town.bridge.clock.forward(minutes=-2)
    assert answers["ext.ada"] == answers["ext.nobody"]
    assert answers["ext.ada"][1]


def test_i3_the_request_looks_nothing_up_and_sends_nothing(town: Town) -> None:
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        statements.append(statement)

    event.listen(town.bridge.runtime.database.engine, "before_cursor_execute", note)
    try:
        town.search(username="ext.ada")
    finally:
        event.remove(town.bridge.runtime.database.engine, "before_cursor_execute", note)
    read = {
        name
        for name in ("accounts", "addresses", "identities", "local_passwords")
        if any(re.search(rf"\b{name}\b", statement) for statement in statements)
    }
    assert any("proofs" in statement for statement in statements)
    assert read == set()
    # Of the mails the page asks one thing, whether they all leave late; it writes none.
    mails = [statement for statement in statements if "outbox_mails" in statement]
    assert all(statement.startswith("SELECT") and "account_id" not in statement for statement in mails)


def test_d34_mail_goes_to_the_stored_form_only(town: Town) -> None:
    town.search(email="ada@\uff4dail.example")
    assert [mail.to for mail in town.mailbox.all()] == ["Ada@mail.example"]
    for typed in ("ada@ma\u0131l.example", "ada@mail.example.evil.example", "a.da@mail.example", "ada+x@mail.example"):
        town.search(email=typed)
    assert len(town.mailbox.all()) == 1


def test_every_confirmed_mailbox_of_a_name_gets_the_same_link(town: Town) -> None:
    town.add_address("ada@second.example")
    town.add_address("ada@third.example", confirmed=False)
    town.search(username="ext.ada")
    mails = town.mailbox.all()
    assert sorted(mail.to for mail in mails) == ["Ada@mail.example", "ada@second.example"]
    assert len({link_in(mail) for mail in mails}) == 1


def test_an_unconfirmed_primary_address_is_written_to_only_where_none_is_confirmed(town: Town) -> None:
    town.bridge.add_account("ext.eve", confirmed=False)
    link = town.mailed(username="ext.eve")
    assert town.mailbox.newest().to == "ext.eve@mail.example"
    assert heading(town.reset(link)) == DONE
    # I4, D25: the reset confirmed nothing.
    page = town.bridge.browser().sign_in("ext.eve", NEW, service=APP)
    assert heading(page) == in_french("E-mail not confirmed")


def test_d37_a_shared_mailbox_gets_one_mail_with_all_its_accounts_and_one_is_chosen(town: Town) -> None:
    town.bridge.add_account("ext.bob", email="ada@mail.example")
    town.search(email="ada@mail.example")
    [mail] = town.mailbox.all()
    assert "ext.ada" in mail.text
    assert "ext.bob" in mail.text
    browser = town.bridge.browser()
    page = browser.get(link_in(mail))
    assert 'type="radio"' in page.text
    unsaid = browser.submit(password=NEW, password_again=NEW)
    assert unsaid.status_code == 422
    refused = browser.submit(username="ext.bob", password="court", password_again="court")
    assert refused.status_code == 422
    assert re.search(r'value="ext\.bob"[^>]* checked', refused.text)
    assert heading(browser.submit(username="ext.bob", password=NEW, password_again=NEW)) == DONE
    assert town.signs_in("ext.bob")
    assert town.signs_in("ext.ada", PASSWORD)


def test_a_member_of_the_university_is_told_where_the_recovery_is(crowd: Town) -> None:
    crowd.search(email="jean@univ.example")
    mail = crowd.mailbox.newest()
    assert mail.to == "jean@univ.example"
    for text in (mail.text, mail.html):
        assert "https://sel.univ.example/oubli" in text
        assert "Compte SEL" in text
        assert "/account/reset" not in text


def test_a_suspended_person_may_choose_a_password_and_stays_suspended(crowd: Town) -> None:
    link = crowd.mailed(username="ext.bob")
    assert "suspendu" in crowd.mailbox.newest().text
    assert heading(crowd.reset(link)) == DONE
    page = crowd.bridge.browser().sign_in("ext.bob", NEW, service=APP)
    assert heading(page) == in_french("Your account is suspended")


def test_nobody_is_written_to_for_erased_and_unknown(crowd: Town) -> None:
    for name in ("ext.dan", "ext.nobody", "ext.dan@mail.example"):
        crowd.search(username=name)
    crowd.search(email="nobody@no.example")
    assert crowd.mailbox.all() == []


def test_an_unknown_address_gets_the_polite_mail_when_that_is_switched_on(tmp_path: Path) -> None:
    with mailing_bridge(tmp_path, recovery={"tell_unknown": True}) as (bridge, mailbox):
        town = Town(bridge, mailbox)
        town.search(email="Nobody@no.example")
        [mail] = mailbox.all()
        assert mail.to == "nobody@no.example"
        assert "/account/reset" not in mail.text
        assert f"{bridge.url}/account/forgot" in mail.text
        for name in ("ext.nobody", "other@no.example"):
            town.search(username=name)
        assert len(mailbox.all()) == 1


def test_strangers_are_written_to_at_a_bounded_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "UNKNOWN_MAIL", throttle.Limit("unknown recipients", burst=3, every=60))
    with mailing_bridge(tmp_path, recovery={"tell_unknown": True}) as (bridge, mailbox):
        town = Town(bridge, mailbox)
        for number in range(5):
            town.search(email=f"nobody{number}@no.example")
        assert len(mailbox.all()) == 3
