"""My addresses over HTTP: added and confirmed, made the main one, removed, told, and brought back (D36)."""

from __future__ import annotations

import requests

from external_accounts import audit
from external_accounts.confirmation import lose_confirmation
from external_accounts.schema import Address
from tests.bridge_under_test import APP, PASSWORD, Browser, heading
from tests.lms_bridge.mailing import in_french
from tests.lms_bridge.selfservice.account.conftest import Home, mail_link, words

NEW = "ada@new.example"
OLD = "ada@mail.example"
OVER = in_french("This link does not work any more")


def undo(home: Home, mailbox: str, *, number: int = -1) -> requests.Response:
    """Somebody who reads `mailbox` presses the button behind the link of one of its notices."""
    reader = home.bridge.browser()
    notices = [mail for mail in home.mails_to(mailbox) if "/account/undo/" in mail.text]
    page = reader.get(mail_link(notices[number], "undo"))
    return reader.submit() if page.status_code == 200 else page


def test_an_added_address_is_confirmed_by_its_own_mail_and_leads_back(home: Home) -> None:
    waiting = home.add(NEW, confirm=False)
    assert "/account/confirm/" in waiting.url
    assert home.addresses()[NEW] == (False, False, "contact")
    done = home.add("ada@third.example")
    assert 'href="/account/addresses"' in done.text
    assert home.addresses()["ada@third.example"] == (False, True, "contact")


def test_d36_i4_only_a_confirmed_address_becomes_the_main_one(home: Home) -> None:
    home.add(NEW, confirm=False)
    home.ada.get("/account/addresses")
    assert f"/account/addresses/{home.address_id(NEW)}/primary" not in home.ada.page.text
    hidden = {"csrf_token": _token(home.ada)}
    answer = home.ada.session.post(
        f"{home.bridge.url}/account/addresses/{home.address_id(NEW)}/primary", data=hidden, timeout=20
    )
    assert answer.status_code == 409
    assert home.addresses()[OLD][0]


def _token(browser: Browser) -> str:
    return browser.page.text.split('name="csrf_token" value="')[1].split('"')[0]


def test_d36_tok_18_the_old_address_is_told_of_every_change_and_can_undo_it(home: Home) -> None:
    home.add(NEW)
    home.change(NEW, "primary")
    assert home.addresses()[NEW] == (True, True, "contact")
    home.change(OLD, "remove")
    assert OLD not in home.addresses()
    subjects = [mail.subject for mail in home.mails_to(OLD) if "/account/undo/" in mail.text]
    assert len(subjects) == 3
    done = undo(home, OLD, number=1)
    assert heading(done) == in_french("The change is undone")
    assert home.addresses() == {OLD: (True, True, "contact"), NEW: (False, True, "contact")}


def test_the_undo_ends_every_session_and_its_link_is_used_once_i10(home: Home) -> None:
    home.add(NEW)
    home.change(NEW, "primary")
    thief = home.ada
    assert heading(undo(home, OLD, number=0)) == in_french("The change is undone")
    assert home.addresses() == {OLD: (True, True, "contact")}
    assert thief.get("/account", follow=False).status_code == 303
    again = undo(home, OLD, number=0)
    assert (again.status_code, heading(again)) == (410, OVER)


def test_an_older_link_goes_further_back_and_a_newer_one_cannot_follow_it(home: Home) -> None:
    home.add(NEW)  # told to OLD: link 0
    home.change(NEW, "primary")  # told to both
    home.change(OLD, "remove")  # told to both
    assert heading(undo(home, OLD, number=0)) == in_french("The change is undone")
    for mailbox in (OLD, NEW):
        assert heading(undo(home, mailbox)) == OVER
    assert home.addresses() == {OLD: (True, True, "contact")}


def test_a_newer_link_used_first_leaves_the_older_one_alive(home: Home) -> None:
    home.add(NEW)
    home.change(NEW, "primary")
    home.change(OLD, "remove")
    undo(home, NEW)  # the thief brings back a state that suits them
    assert heading(undo(home, OLD, number=0)) == in_french("The change is undone")
    assert home.addresses() == {OLD: (True, True, "contact")}


def test_the_undo_link_outlives_a_new_password_and_ends_after_seven_days(home: Home) -> None:
    home.add(NEW)
    home.later(days=7, seconds=-1)
    reader = home.bridge.browser()
    link = mail_link(home.mails_to(OLD)[-1], "undo")
    assert heading(reader.get(link)) == in_french("Undo this change?")
    home.later(seconds=2)
    assert heading(reader.get(link)) == OVER


def test_i11_looking_at_the_undo_link_changes_nothing(home: Home) -> None:
    home.add(NEW)
    before = home.addresses()
    link = mail_link(home.mails_to(OLD)[-1], "undo")
    for method in ("GET", "HEAD", "OPTIONS"):
        assert requests.request(method, home.bridge.url + link, timeout=20).status_code == 200
    assert home.addresses() == before
    assert home.ada.get("/account").status_code == 200


def test_an_undo_link_confirms_nothing_on_the_page_of_confirmations(home: Home) -> None:
    home.add(NEW)
    token = mail_link(home.mails_to(OLD)[-1], "undo").rpartition("/")[2]
    assert requests.get(f"{home.bridge.url}/account/confirm/{token}", timeout=20).status_code == 404


def test_the_last_confirmed_and_the_main_address_are_never_removed(home: Home) -> None:
    home.ada.get("/account/addresses")
    assert "/remove" not in home.ada.page.text
    home.add(NEW)
    home.ada.get("/account/addresses")
    assert f"/account/addresses/{home.address_id(OLD)}/remove" not in home.ada.page.text


def test_sensitive_changes_ask_for_the_password_again_and_keep_what_was_typed_ses_03(home: Home) -> None:
    home.later(minutes=6)
    home.ada.get("/account/addresses")
    before = dict(home.ada.session.cookies)
    question = home.press("/account/addresses", email=NEW, role="recovery")
    assert heading(question) == in_french("Is it really you?")
    assert NEW not in home.addresses()
    wrong = home.ada.submit(password="not the password")
    assert (wrong.status_code, heading(wrong)) == (401, in_french("Is it really you?"))
    assert NEW not in home.addresses()
    waiting = home.ada.submit(password=PASSWORD)
    assert "/account/confirm/" in waiting.url
    assert home.addresses()[NEW] == (False, False, "recovery")
    assert dict(home.ada.session.cookies) != before


def test_ses_01_the_session_has_a_new_secret_after_the_question(home: Home) -> None:
    home.later(minutes=6)
    stolen = home.bridge.browser()
    stolen.session.cookies.update(home.ada.session.cookies)
    assert stolen.get("/account", follow=False).status_code == 200
    home.ada.get("/account/addresses")
    home.press("/account/addresses", email=NEW)
    home.ada.submit(password=PASSWORD)
    assert stolen.get("/account", follow=False).status_code == 303
    assert home.ada.get("/account", follow=False).status_code == 200


def test_the_question_is_throttled_as_a_sign_in_is(home: Home) -> None:
    home.later(minutes=6)
    home.ada.get("/account/addresses")
    home.press("/account/addresses", email=NEW)
    answers = [home.ada.submit(password="wrong").status_code for _ in range(12)]
    assert answers[:10] == [401] * 10
    assert answers[10:] == [429] * 2
    assert "Retry-After" in home.ada.page.headers


def test_the_question_goes_on_to_sensitive_changes_only(home: Home) -> None:
    home.later(minutes=6)
    home.ada.get("/account/addresses")
    home.press("/account/addresses", email=NEW)
    for to in (
        "https://evil.example/",
        "//evil.example/",
        "/signin/local",
        "/account/sign-out",
        "/account/addresses/x",
    ):
        answer = home.ada.session.post(
            f"{home.bridge.url}/account/identity",
            data={"csrf_token": _token(home.ada), "to": to, "password": PASSWORD},
            allow_redirects=False,
            timeout=20,
        )
        assert answer.status_code == 400, to


def test_d34_mail_goes_to_the_stored_form_and_capitals_are_no_other_address(home: Home) -> None:
    answer = home.add("ADA@mail.example", confirm=False)
    assert answer.status_code == 422
    assert set(home.addresses()) == {OLD}


def test_d35_a_tag_makes_another_address(home: Home) -> None:
    home.add("ada+moodle@mail.example")
    assert set(home.addresses()) == {OLD, "ada+moodle@mail.example"}


def test_d37_an_address_that_somebody_else_has_can_be_added_and_tells_nothing(home: Home) -> None:
    home.bridge.add_account("ext.bob", email="shared@mail.example")
    shared = home.add("shared@mail.example", confirm=False)
    fresh = home.add("nobody@mail.example", confirm=False)
    assert heading(shared) == heading(fresh)
    assert home.bridge.browser().sign_in("shared@mail.example", PASSWORD).status_code == 200


def test_a_bounced_address_is_shown_with_what_to_do_and_the_gate_asks_again(home: Home) -> None:
    with home.bridge.runtime.database.begin() as session:
        address = session.get_one(Address, home.address_id(OLD))
        lose_confirmation(session, address, reason="bounce", now=home.bridge.clock(), origin=audit.SYSTEM)
    page = home.ada.get("/account/addresses")
    assert in_french("Our messages come back") in words(page)
    assert home.ada.get("/cas/login", params={"service": APP}).status_code == 403
    home.ada.get("/account/addresses")
    home.press(f"/account/addresses/{home.address_id(OLD)}/confirm")
    home.ada.get(mail_link(home.mails_to(OLD)[-1], "confirm"))
    home.ada.submit()
    assert home.ada.ticket()


def test_changes_ask_for_a_session(home: Home) -> None:
    nobody = home.bridge.browser()
    for path in ("/account", "/account/addresses", "/account/sessions", "/account/data", "/account/deletion"):
        assert nobody.get(path, follow=False).status_code == 303, path


def test_somebody_else_s_addresses_cannot_be_touched(home: Home) -> None:
    home.bridge.add_account("ext.bob", email="bob@mail.example")
    bob = home.bridge.browser()
    bob.sign_in("ext.bob", PASSWORD)
    home.add(NEW)
    bob.get("/account/addresses")
    for what, status in (("primary", 409), ("remove", 409), ("recovery", 409), ("confirm", 303)):
        answer = bob.session.post(
            f"{home.bridge.url}/account/addresses/{home.address_id(NEW)}/{what}",
            data={"csrf_token": _token(bob)},
            allow_redirects=False,
            timeout=20,
        )
        assert answer.status_code == status
    assert home.addresses()[NEW] == (False, True, "contact")
