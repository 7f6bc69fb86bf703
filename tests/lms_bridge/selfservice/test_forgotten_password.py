"""Forgotten user name or password, end to end: two searches, one mail, a new password, and the way back in."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from sqlalchemy import delete, event, update

from external_accounts import audit, throttle
from external_accounts.accounts import Person, create_account, suspend
from external_accounts.addresses import parse_address, set_primary_address
from external_accounts.schema import Account, Address, Proof, SignInIdentity
from tests.bridge_under_test import APP, PASSWORD, BridgeUnderTest, Browser, forms, heading, ticket_in
from tests.lms_bridge.mailing import Mailbox, code_in, in_french, link_in, mailing_bridge

NEW = "une lampe dans le grenier"
WAITING = in_french("Look in your mailbox")
CHOOSE = in_french("Choose a new password")
DONE = in_french("Your new password is set")
USED = in_french("This link has been used")
EXPIRED = in_french("This link is too old")
INVALID = in_french("This link does not work")
CODE_REFUSED = in_french("This code does not work. Use the link, or ask for a new message.")

SEL = {
    "issuer": "sel",
    "cas_url": "https://cas.univ.example/cas",
    "title": {"fr": "Compte SEL", "en": "SEL account"},
    "recovery_url": "https://sel.univ.example/oubli",
}


class Town:
    """A bridge with Ada, and the ways to ask."""

    def __init__(self, bridge: BridgeUnderTest, mailbox: Mailbox) -> None:
        self.bridge, self.mailbox = bridge, mailbox
        self.ada_id = bridge.add_account("ext.ada", email="Ada@mail.example")

    def search(self, browser: Browser | None = None, service: str | None = APP, **typed: str) -> Browser:
        """Open the page, search by one of the two forms: the page that waits."""
        browser = browser or self.bridge.browser()
        browser.get("/account/forgot", params={"service": service} if service else {})
        browser.submit(1 if "email" in typed else 0, **typed)
        return browser

    def mailed(self, **typed: str) -> str:
        """Search; the link of the mail."""
        self.search(**typed)
        return link_in(self.mailbox.newest())

    def reset(self, link: str, password: str = NEW, **fields: str) -> requests.Response:
        browser = self.bridge.browser()
        browser.get(link)
        return browser.submit(password=password, password_again=password, **fields)

    def signs_in(self, username: str = "ext.ada", password: str = NEW) -> bool:
        return self.bridge.browser().sign_in(username, password, service=APP, follow=False).status_code == 303

    def add_address(self, email: str, *, confirmed: bool = True) -> None:
        """A further address for Ada, from now on her primary one."""
        with self.bridge.runtime.database.begin() as session:
            account = session.get_one(Account, self.ada_id)
            set_primary_address(session, account, parse_address(email), role="contact", now=self.bridge.clock())
            if confirmed:
                self.bridge.confirm(session, account)

    def move(self, email: str) -> None:
        """Ada's only address is another one from now on."""
        self.add_address(email)
        with self.bridge.runtime.database.begin() as session:
            session.execute(update(Proof).values(address_id=None))
            session.execute(delete(Address).where(Address.account_id == self.ada_id, Address.email != email))


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with mailing_bridge(tmp_path, upstreams=[SEL]) as (bridge, mailbox):
        yield Town(bridge, mailbox)


def plain(text: str) -> str:
    return " ".join(html.unescape(text).split())


def audited(town: Town, event: str) -> list[str]:
    with town.bridge.runtime.database.read() as session:
        rows = session.query(audit.AuditEvent).filter_by(event=event).order_by(audit.AuditEvent.id)
        return [row.outcome for row in rows]


# --- The whole way ---


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


# --- I3: nothing is told ---


def comparable(answer: requests.Response) -> tuple[int, list[tuple[str, str]], str]:
    """What an observer could tell two answers apart by: everything but the random tokens, whose length stays."""
    headers = {name: value for name, value in answer.headers.items() if name != "Date"}
    headers["Set-Cookie"] = re.sub(r"=[^;]*", "=…", headers.get("Set-Cookie", ""), count=1)
    hide = re.compile(r"/account/forgot/[\w.-]+")
    headers["Location"] = hide.sub(lambda found: f"{len(found[0])}", headers.get("Location", ""))
    page = re.sub(r'name="csrf_token" value="[^"]*"', "", answer.text)
    return answer.status_code, sorted(headers.items()), hide.sub("…", page)


@pytest.fixture
def crowd(town: Town) -> Town:
    """A suspended Bob, an erased Dan, an unconfirmed Eve, and a member who comes by the university's CAS."""
    bob = town.bridge.add_account("ext.bob")
    dan = town.bridge.add_account("ext.dan")
    town.bridge.add_account("ext.eve", confirmed=False)
    now = town.bridge.clock()
    with town.bridge.runtime.database.begin() as session:
        suspend(session, session.get_one(Account, bob), reason="x", until=None, now=now, origin=audit.SYSTEM)
        session.get_one(Account, dan).erased_at = now
        member = create_account(
            session, username="jdupont", profile="staff", person=Person("Jean"), activated=True, now=now
        )
        member.identities.append(
            SignInIdentity(issuer="sel", subject="jdupont", attributes={}, created_at=now, refreshed_at=now)
        )
        set_primary_address(session, member, parse_address("jean@univ.example"), role="institutional", now=now)
    return town


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
        for name in ("accounts", "addresses", "identities", "local_passwords", "outbox_mails")
        if any(re.search(rf"\b{name}\b", statement) for statement in statements)
    }
    assert any("proofs" in statement for statement in statements)
    assert read == set()


# --- Whom the mail reaches ---


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


# --- What a reset does ---


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


# --- Time, resending, budgets ---


def test_d06_a_resend_is_the_same_proof(town: Town) -> None:
    browser = town.search(username="ext.ada")
    first = town.mailbox.newest()
    town.bridge.clock.forward(minutes=2)
    browser.get(browser.page.url)
    browser.submit(1)
    second = town.mailbox.newest()
    assert second.id != first.id
    assert (link_in(second), code_in(second)) == (link_in(first), code_in(first))


def test_d07_an_expired_link_sends_a_new_one_with_one_click_and_names_nobody(town: Town) -> None:
    link = town.mailed(username="ext.ada")
    town.bridge.clock.forward(minutes=30)
    browser = town.bridge.browser()
    page = browser.get(link)
    assert (page.status_code, heading(page)) == (410, EXPIRED)
    for private in ("ada", "Ada", "mail.example"):
        assert private not in page.text
    assert heading(browser.submit()) == WAITING
    second = link_in(town.mailbox.newest())
    assert second != link
    assert heading(town.reset(second)) == DONE


def test_d12_one_mailbox_is_not_flooded_however_it_is_asked_for(town: Town) -> None:
    for minute in range(12):
        for typed in ({"username": "ext.ada"}, {"email": "ada@mail.example"}, {"username": "ada@mail.example"}):
            assert heading(town.search(**typed).page) == WAITING
        town.bridge.clock.forward(seconds=61)
        town.mailbox.all()
        assert minute >= 0
    assert len(town.mailbox.all()) <= throttle.PROOF_MAIL_ADDRESS.burst + 1


def test_d16_whoever_asks_twice_has_one_pending_proof(town: Town) -> None:
    first = town.mailed(username="ext.ada")
    town.bridge.clock.forward(minutes=5)
    assert town.mailed(username="EXT.ADA") == first


def test_d13_a_network_that_asks_too_often_is_told_so_whatever_it_asks_for(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "PROOF_MAIL_NETWORK", throttle.Limit("proof mail network", burst=2, every=60))
    codes = {}
    for name in ("ext.ada", "ext.nobody"):
        codes[name] = [town.search(username=name).page.status_code for _ in range(3)]
        town.bridge.clock.forward(minutes=5)
    assert codes["ext.ada"] == codes["ext.nobody"] == [200, 200, 429]


def test_d21_d10_no_address_stands_in_any_link_or_address_bar(town: Town) -> None:
    town.bridge.add_account("ext.plus", email="ada+moodle%40x@mail.example")
    browser = town.search(email="ada+moodle%40x@mail.example")
    mail = town.mailbox.newest()
    assert mail.to == "ada+moodle%40x@mail.example"
    for url in (browser.page.url, link_in(mail)):
        assert "ada" not in url
        assert re.fullmatch(r"[A-Za-z0-9_.-]+", url.rpartition("/")[2].partition("?")[0])
    page = browser.get(link_in(mail))
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"


def test_d11_tok_07_the_link_ignores_the_host_header(town: Town) -> None:
    browser = town.bridge.browser()
    browser.get("/account/forgot")
    _, _, fields = forms(browser.page)[0]
    # As a browser sends it: the jar would keep the cookies back from another host.
    cookie = "; ".join(f"{one.name}={one.value}" for one in browser.session.cookies)
    for header in ({"Host": "evil.example"}, {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}):
        town.bridge.clock.forward(minutes=2)
        answer = requests.post(
            f"{town.bridge.url}/account/forgot",
            data=fields | {"username": "ext.ada"},
            headers={"Cookie": cookie, **header},
            allow_redirects=False,
            timeout=20,
        )
        assert answer.headers["Location"].startswith("/account/forgot/")
        mail = town.mailbox.newest()
        assert "evil" not in mail.text + mail.html
        assert link_in(mail).startswith(town.bridge.url)


def test_five_wrong_codes_spend_the_code_and_the_link_still_works_tok_03(town: Town) -> None:
    browser = town.search(username="ext.ada")
    mail = town.mailbox.newest()
    for _ in range(5):
        assert CODE_REFUSED in plain(browser.submit(code="BBBB-BBBB").text)
    right = browser.submit(code=code_in(mail))
    assert (right.status_code, heading(right)) == (422, WAITING)
    assert heading(town.reset(link_in(mail))) == DONE


def test_tok_06_the_code_lasts_ten_minutes(town: Town) -> None:
    browser = town.search(username="ext.ada")
    code = code_in(town.mailbox.newest())
    town.bridge.clock.forward(seconds=600)
    assert browser.submit(code=code).status_code == 422
    assert heading(browser.page) == WAITING


def test_tok_17_a_code_opens_only_the_search_it_was_mailed_for(town: Town) -> None:
    town.search(username="ext.ada")
    code = code_in(town.mailbox.newest())
    other = town.search(username="ext.nobody")
    assert other.submit(code=code).status_code == 422


def test_a_link_or_name_that_is_not_ours_is_explained(town: Town) -> None:
    link = town.mailed(username="ext.ada")
    for broken in (f"{link}x", link[:-4], f"{town.bridge.url}/account/forgot/nothing"):
        page = requests.get(broken, timeout=20)
        assert (page.status_code, heading(page)) == (404, INVALID)


def test_without_local_accounts_there_is_no_such_page(tmp_path: Path) -> None:
    with mailing_bridge(tmp_path, upstreams=[SEL], local={"enabled": False}) as (bridge, _mailbox):
        assert requests.get(f"{bridge.url}/account/forgot", timeout=20).status_code == 404
        assert requests.get(f"{bridge.url}/account/reset/x", timeout=20).status_code == 404


@pytest.mark.parametrize(
    ("form", "typed"), [(0, {"username": "  "}), (1, {"email": ""}), (1, {"email": "ada at home"})]
)
def test_an_empty_or_impossible_search_is_said_to_be_so_and_kept(town: Town, form: int, typed: dict[str, str]) -> None:
    browser = town.bridge.browser()
    browser.get("/account/forgot", params={"service": APP})
    page = browser.submit(form, **typed)
    assert page.status_code == 422
    assert APP in page.text
    assert typed.get("email", "") in page.text
