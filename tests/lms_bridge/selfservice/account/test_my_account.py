"""My account over HTTP: the overview, sessions, consents, my data, and the yearly look."""

from __future__ import annotations

import json
import time

from sqlalchemy import select, update

from external_accounts import audit, engagements
from external_accounts.schema import Account, LocalPassword
from lms_bridge.schema import SsoSession
from lms_bridge.web import cookies
from tests.bridge_under_test import APP, PASSWORD, heading
from tests.lms_bridge.mailing import in_french
from tests.lms_bridge.selfservice.account.conftest import Home, words

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Mobile/15E148 Safari/604.1"
)


def test_the_overview_says_who_what_and_what_stands_in_the_way(home: Home) -> None:
    page = words(home.ada.get("/account"))
    for text in ("Ada Lovelace", "ext.ada", "a•••@mail.example", in_french("E-mail confirmed"), "Appli"):
        assert text in page
    home.bridge.add_account("ext.bob", confirmed=False)
    bob = home.bridge.browser()
    bob.sign_in("ext.bob")
    bob_page = bob.get("/account")
    assert in_french("You can enter as soon as you have confirmed your e-mail address. It takes a minute.") in words(
        bob_page
    )
    assert 'action="/account/confirm"' in bob_page.text
    assert 'href="/account"' in bob.get("/").text


def test_ses_03_sessions_are_listed_with_device_and_what_they_opened(home: Home) -> None:
    telephone = home.bridge.browser()
    telephone.session.headers["User-Agent"] = IPHONE
    telephone.sign_in("ext.ada")
    home.bridge.validate(telephone.ticket())
    page = words(home.ada.get("/account/sessions"))
    assert "Safari sur iPhone" in page
    assert page.count(in_french("This device")) == 1
    assert f"{in_french('Open applications')} Appli" in page


def test_ses_03_one_session_is_ended_and_what_it_opened_is_told(home: Home) -> None:
    telephone = home.bridge.browser()
    telephone.sign_in("ext.ada")
    home.bridge.validate(telephone.ticket())
    with home.bridge.runtime.database.read() as session:
        other = session.scalars(select(SsoSession.id).order_by(SsoSession.id.desc())).first()
    home.ada.get("/account/sessions")
    ended = home.press(f"/account/sessions/{other}/end")
    assert in_french("Signed in on this device only. Others will appear here.") in words(ended)
    assert telephone.get("/account", follow=False).status_code == 303
    assert telephone.get("/cas/login", params={"service": APP}, follow=False).status_code != 302
    assert home.ada.get("/account", follow=False).status_code == 200


def test_ses_03_all_others_end_and_this_one_stays(home: Home) -> None:
    others = [home.bridge.browser() for _ in range(3)]
    for browser in others:
        browser.sign_in("ext.ada")
    home.ada.get("/account/sessions")
    home.press("/account/sessions/end-others")
    assert [browser.get("/account", follow=False).status_code for browser in others] == [303] * 3
    assert home.ada.get("/account", follow=False).status_code == 200


def test_somebody_else_s_session_cannot_be_ended(home: Home) -> None:
    home.bridge.add_account("ext.bob")
    bob, second = home.bridge.browser(), home.bridge.browser()
    bob.sign_in("ext.bob")
    second.sign_in("ext.bob")
    with home.bridge.runtime.database.read() as session:
        ada = session.scalars(select(SsoSession.id).where(SsoSession.account_id == home.account_id)).one()
    token = bob.get("/account/sessions").text.split('name="csrf_token" value="')[1].split('"')[0]
    bob.session.post(
        f"{home.bridge.url}/account/sessions/{ada}/end", data={"csrf_token": token}, allow_redirects=False, timeout=20
    )
    assert home.ada.get("/account", follow=False).status_code == 200


def test_consents_show_date_and_version_and_the_charter_is_not_withdrawn(home: Home) -> None:
    with home.bridge.runtime.database.begin() as session:
        for document in ("charter", "directory"):
            engagements.accept(
                session, home.account_id, document, "2026-09", now=home.bridge.clock(), origin=audit.SYSTEM
            )
    page = home.ada.get("/account/data/consents")
    assert words(page).count("2026-09") == 2
    assert page.text.count("/withdraw") == 1
    withdrawn = home.ada.submit(0)
    assert in_french("Withdrawn. It counts from now on.") in words(withdrawn)
    assert "/withdraw" not in withdrawn.text


def download(home: Home, form: str) -> object:
    home.ada.get("/account/data")
    return home.press("/account/data/download", format=form)


def test_my_data_is_complete_and_holds_nothing_that_opens_anything(home: Home) -> None:
    home.add("ada@new.example", confirm=False)
    home.mailbox.all()
    with home.bridge.runtime.database.read() as session:
        password_hash = session.scalars(select(LocalPassword.hash)).one()
        secret_hash = session.scalars(select(SsoSession.secret_hash)).first()
    download(home, "json")
    answer = home.ada.page
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="ext.ada.json"'
    assert answer.headers["Cache-Control"] == "no-store"
    data = json.loads(answer.text)
    assert data["account"]["username"] == "ext.ada"
    assert [row["email"] for row in data["addresses"]] == ["ada@mail.example", "ada@new.example"]
    assert [row["issuer"] for row in data["identities"]] == ["local"]
    assert {row["template"] for row in data["mails"]} == {"address_changed", "confirm_address"}
    assert {"signin.local", "address.added", "account.exported"} <= {row["event"] for row in data["history"]}
    assert len(data["sessions"]) == 1
    for secret in (password_hash, str(secret_hash), "nonce", "link_hash"):
        assert secret not in answer.text
    download(home, "html")
    assert in_french("What was done") in home.ada.page.text
    assert "ada@new.example" in home.ada.page.text
    assert "<script" not in home.ada.page.text
    assert "src=" not in home.ada.page.text


def test_my_data_is_asked_for_by_the_person_just_now_and_never_by_an_address(home: Home) -> None:
    assert home.ada.get("/account/data/download").status_code == 405
    home.later(minutes=6)
    download(home, "json")
    assert heading(home.ada.page) == in_french("Is it really you?")
    answer = home.ada.submit(password=PASSWORD)
    assert json.loads(answer.text)["account"]["username"] == "ext.ada"


def test_the_yearly_look_at_the_addresses_is_asked_for_once_by_mail_and_until_done_on_the_pages(home: Home) -> None:
    question = in_french("Are your addresses still right?")
    assert question not in words(home.ada.get("/"))
    home.later(days=367)
    home.sign_in_again()
    assert question in words(home.ada.get("/"))
    home.mailbox.all()
    subject = in_french("are your addresses still right?")
    assert len([mail for mail in home.mailbox.all() if subject in " ".join(mail.subject.split())]) == 1
    home.ada.get("/account")
    done = home.press("/account/check")
    assert in_french("Thank you. We ask again in a year.") in words(done)
    assert question not in words(home.ada.get("/"))


def test_pwd_09_a_sign_in_from_a_new_device_is_told(home: Home) -> None:
    subject = in_french("sign-in from a new device")

    def told() -> list[str]:
        return [mail.text for mail in home.mailbox.all() if subject in " ".join(mail.subject.split())]

    assert told() == [], "the first sign-in of all is no news"
    home.ada.get("/cas/logout")
    home.ada.sign_in("ext.ada")
    assert told() == [], "this browser is known"
    stranger = home.bridge.browser()
    stranger.session.headers["User-Agent"] = FIREFOX
    stranger.sign_in("ext.ada")
    assert len(told()) == 1
    assert "Firefox sur Linux" in " ".join(told()[0].split())
    for _ in range(5):
        home.bridge.browser().sign_in("ext.ada")
    assert len(told()) == 3, "and no flood for browsers that keep no cookies"


def test_pwd_09_a_wrong_password_is_told_to_nobody(home: Home) -> None:
    home.bridge.browser().sign_in("ext.ada", "wrong")
    assert home.mailbox.all() == []


def test_a_suspended_person_can_still_look_after_the_account(home: Home) -> None:
    with home.bridge.runtime.database.begin() as session:
        session.execute(update(Account).values(suspended_at=home.bridge.clock()))
    assert in_french("Your account is suspended") in words(home.ada.get("/account"))
    assert home.ada.get("/account/data").status_code == 200


def test_a_mails_link_to_a_page_of_the_account_leads_there_through_the_sign_in(home: Home) -> None:
    browser = home.bridge.browser()
    assert browser.get("/account/addresses").url == f"{home.bridge.url}/signin/local"
    assert browser.sign_in("ext.ada").url == f"{home.bridge.url}/account/addresses"
    assert browser.get("/").url == f"{home.bridge.url}/"  # once


def test_whoever_goes_to_an_application_first_finds_their_home_page_later(home: Home) -> None:
    browser = home.bridge.browser()
    browser.get("/account/sessions")
    browser.sign_in("ext.ada", service=APP, follow=False)
    kept = [cookie for cookie in browser.session.cookies if "wanted" in cookie.name]
    assert len(kept) == 1
    assert kept[0].expires is not None
    assert 0 < kept[0].expires - time.time() <= 15 * 60


def test_a_wanted_page_is_one_of_ours_and_nothing_else(home: Home) -> None:
    for path in ("https://evil.example/", "//evil.example", "/cas/login?service=https://evil.example", "/account/../x"):
        browser = home.bridge.browser()
        browser.sign_in("ext.ada")
        browser.session.cookies.set(cookies.name(home.bridge.runtime.settings, "wanted"), path, path="/")
        assert browser.get("/", follow=False).status_code == 200
