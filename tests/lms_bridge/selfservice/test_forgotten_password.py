"""Forgotten user name or password, end to end: two searches, one mail, a new password, and what it ends."""

from __future__ import annotations

import html
import re
from pathlib import Path
from urllib.parse import quote

import pytest
import requests

from tests.bridge_under_test import APP, PASSWORD, heading, ticket_in
from tests.lms_bridge.mailing import code_in, in_french, link_in, mailing_bridge
from tests.lms_bridge.selfservice.forgetting import CHOOSE, DONE, INVALID, NEW, USED, WAITING, Town, audited, plain


@pytest.mark.parametrize("typed", [{"username": " EXT.Ada "}, {"email": "ADA@Mail.example"}])
def test_the_whole_way_by_the_link(town: Town, typed: dict[str, str]) -> None:
    waiting = town.search(**typed).page
    assert heading(waiting) == WAITING
    assert "un lien valable 30 minutes" in plain(waiting.text)
    mail = town.mailbox.newest()
    assert mail.to == "Ada@mail.example"
    assert "ext.ada" in mail.text
    assert "ext.ada" in mail.html
    browser = town.bridge.browser()
    page = browser.get(link_in(mail))
    assert heading(page) == CHOOSE
    assert 'value="ext.ada"' in page.text
    done = browser.submit(password=NEW, password_again=NEW)
    assert (done.status_code, heading(done)) == (200, DONE)
    assert f"/signin/local?service={quote(APP, safe='')}" in done.text
    assert ticket_in(browser.sign_in("ext.ada", NEW, service=APP))
    assert not town.signs_in(password=PASSWORD)
    assert audited(town, "password.reset") == ["ok"]


def test_the_whole_way_by_the_code(town: Town) -> None:
    browser = town.search(username="ext.ada")
    page = browser.submit(code=code_in(town.mailbox.newest()).lower().replace("-", " "))
    assert heading(page) == CHOOSE
    assert heading(browser.submit(password=NEW, password_again=NEW)) == DONE
    assert town.signs_in()


def test_the_forgotten_page_is_a_link_on_the_form_and_on_the_doors(town: Town) -> None:
    wanted = f"/account/forgot?service={quote(APP, safe='')}"
    for path in ("/signin/local", "/cas/login"):
        assert wanted in html.unescape(town.bridge.browser().get(path, params={"service": APP}).text)


def test_the_mail_is_in_the_language_of_the_page_that_asked(town: Town) -> None:
    browser = town.bridge.browser()
    browser.get("/account/forgot?lang=en")
    town.search(browser, username="ext.ada")
    mail = town.mailbox.newest()
    assert "choose a new password" in mail.subject
    assert "Paris time" in mail.text


def test_tok_11_d03_nobody_is_signed_in_by_a_reset(town: Town) -> None:
    browser = town.search(username="ext.ada")
    browser.get(link_in(town.mailbox.newest()))
    browser.submit(password=NEW, password_again=NEW)
    answer = browser.get("/cas/login", params={"service": APP}, follow=False)
    assert "ticket" not in answer.headers.get("Location", "")


def test_tok_12_lnk_02_i10_every_session_ends_and_so_does_what_was_pending(town: Town) -> None:
    mine = town.bridge.browser()
    mine.sign_in("ext.ada", service=None)
    assert mine.ticket()
    by_name = town.mailed(username="ext.ada")
    by_address = town.mailed(email="ada@mail.example")
    assert by_name != by_address
    assert heading(town.reset(by_name)) == DONE
    assert "ticket" not in mine.get("/cas/login", params={"service": APP}, follow=False).headers.get("Location", "")
    late = town.bridge.browser().get(by_address)
    assert (late.status_code, heading(late)) == (410, INVALID)


def test_tok_10_every_mailbox_is_told_and_never_the_password(town: Town) -> None:
    assert heading(town.reset(town.mailed(username="ext.ada"))) == DONE
    notice = town.mailbox.newest()
    assert notice.to == "Ada@mail.example"
    assert notice.subject.endswith(in_french("your password has been changed"))
    for text in (notice.text, notice.html):
        assert NEW not in text
        assert "/account/reset/" not in text
        assert f"{town.bridge.url}/account/forgot" in text


def test_d39_a_reset_clears_the_counters_of_the_account(town: Town) -> None:
    wrong = town.bridge.browser()
    while wrong.sign_in("ext.ada", "wrong horse battery").status_code != 429:
        pass
    while wrong.sign_in("ada@mail.example", "wrong horse battery").status_code != 429:
        pass
    assert heading(town.reset(town.mailed(username="ext.ada"))) == DONE
    assert town.signs_in("ext.ada")
    assert town.signs_in("ada@mail.example")


def test_tok_09_asking_changes_nothing_on_the_account(town: Town) -> None:
    mine = town.bridge.browser()
    mine.sign_in("ext.ada", service=None)
    town.search(username="ext.ada")
    town.mailbox.all()
    assert mine.ticket()
    assert town.signs_in(password=PASSWORD)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_d01_d02_looking_at_the_link_changes_nothing(town: Town, method: str) -> None:
    """TOK-19, I11."""
    link = town.mailed(username="ext.ada")
    for _ in range(3):
        assert requests.request(method, link, timeout=20).status_code == 200
    assert heading(town.reset(link)) == DONE


def test_d09_tok_04_a_used_link_says_so_and_sets_nothing(town: Town) -> None:
    link = town.mailed(username="ext.ada")
    first, second = town.bridge.browser(), town.bridge.browser()
    first.get(link)
    second.get(link)
    assert heading(first.submit(password=NEW, password_again=NEW)) == DONE
    late = second.submit(password="un autre mot bien long", password_again="un autre mot bien long")
    assert (late.status_code, heading(late)) == (410, USED)
    assert heading(second.get(link)) == USED
    assert town.signs_in()


def test_a_refused_password_uses_nothing_up_and_says_every_reason_pwd_04(town: Town) -> None:
    browser = town.bridge.browser()
    browser.get(town.mailed(username="ext.ada"))
    for typed, again, reason in [
        ("tr0p c0urt", "tr0p c0urt", "This password is too short: at least %(minimum)d characters."),
        (
            "Password2024!",
            "Password2024!",
            "Many people choose this password, or one that differs by a few figures only. It is tried first.",
        ),
        (
            "123456789012",
            "123456789012",
            "This password is a repetition, or keys that stand in a row. It is tried first.",
        ),
        (
            "lovelace et la machine",
            "lovelace et la machine",
            "This password contains “%(word)s”, which others know of you or the university.",
        ),
        (NEW, NEW + "s", "The two passwords are not the same."),
        ("", "", "Enter a new password."),
    ]:
        page = browser.submit(password=typed, password_again=again)
        assert page.status_code == 422
        words = in_french(reason) % {"minimum": 12, "word": "Lovelace"}
        assert words in plain(page.text)
        assert not typed or typed not in page.text
    assert heading(browser.submit(password=NEW, password_again=NEW)) == DONE


def test_the_university_sets_the_rules_pwd_01_pwd_04(tmp_path: Path) -> None:
    """Fifteen characters after NIST, its own words, its own list; and the page says how many characters."""
    leaked = tmp_path / "leaked.txt"
    leaked.write_text("le chat du voisin dort\n", "utf-8")
    rules = {"profile": "nist", "words": ["Futuroscope"], "leaked_file": str(leaked)}
    with mailing_bridge(tmp_path, passwords=rules) as (bridge, mailbox):
        town = Town(bridge, mailbox)
        browser = bridge.browser()
        page = browser.get(town.mailed(username="ext.ada"))
        assert "Au moins 15 caractères" in plain(page.text)
        for typed, reason in [
            ("lampe grenier", "This password is too short: at least %(minimum)d characters."),
            (
                "le futuroscope la nuit",
                "This password contains “%(word)s”, which others know of you or the university.",
            ),
            ("le chat du voisin dort", "This password is in a list of stolen passwords."),
        ]:
            refused = browser.submit(password=typed, password_again=typed)
            assert in_french(reason) % {"minimum": 15, "word": "Futuroscope"} in plain(refused.text)
        assert heading(browser.submit(password=NEW, password_again=NEW)) == DONE


def test_tok_14_the_pages_ask_no_question_and_give_no_hint(town: Town) -> None:
    browser = town.search(username="ext.ada")
    for page in (browser.page, browser.get(link_in(town.mailbox.newest()))):
        assert set(re.findall(r'<input [^>]*name="([^"]+)"', page.text)) <= {
            "csrf_token",
            "code",
            "username",
            "password",
            "password_again",
        }


def test_every_search_leaves_its_trace_ses_07(town: Town) -> None:
    for name in ("ext.ada", "ext.nobody"):
        town.search(username=name)
    town.mailbox.all()
    assert audited(town, "recovery.asked") == ["noted", "noted"]
    assert audited(town, "recovery.mailed") == ["local"]


def test_lnk_04_a_link_dies_when_the_mailbox_it_went_to_is_no_longer_the_account_s(town: Town) -> None:
    """And it stays dead when the account is asked for again, although the page that waits is the same one."""
    link = town.mailed(username="ext.ada")
    town.move("new@mail.example")
    assert heading(town.bridge.browser().get(link)) == INVALID
    town.bridge.clock.forward(minutes=2)
    again = town.mailed(username="ext.ada")
    assert town.mailbox.newest().to == "new@mail.example"
    assert heading(town.bridge.browser().get(link)) == INVALID
    assert heading(town.reset(again)) == DONE
