"""Asking for an account, from the form to the first sign-in."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import requests

from external_accounts.addresses import primary_address
from tests.bridge_under_test import APP, forms, heading, ticket_in
from tests.lms_bridge.mailing import code_in, in_french
from tests.lms_bridge.registration.conftest import ADA, NEW_PASSWORD, SITE, Office, link_in, office

WAITING = in_french("Look in your mailbox")
LOOKED_AT = in_french("Your request is being looked at")
READY = in_french("Your account is ready")


def test_d01_from_the_form_to_the_first_ticket(desk: Office) -> None:
    browser, page = desk.ask(APP, reason="Analyse 1")
    assert heading(page) == WAITING
    assert desk.accounts() == ["ext.desk"]
    link = link_in(desk.newest_to(ADA["email"]))
    # Scanners open links: nothing happens.
    assert desk.state() == "unproved"
    browser.session.head(link, timeout=20)
    assert heading(browser.get(link)) == in_french("Is this your address?")
    assert desk.state() == "unproved"
    assert heading(browser.submit()) == LOOKED_AT
    assert "Analyse 1" in desk.newest_to("aide@univ.example").text
    assert desk.accounts() == ["ext.desk"]
    decided = desk.decide(until="2099-06-30")
    assert in_french("Accepted") in decided.text
    last = link_in(desk.newest_to(ADA["email"]))
    done = desk.finish(last)
    assert heading(done) == READY
    account = desk.account("ext.ada.lovelace")
    assert account is not None
    assert account.rights_end_at is not None
    assert (
        account.rights_end_at.astimezone(desk.bridge.runtime.settings.zone).isoformat() == "2099-06-30T23:59:00+02:00"
    )
    address = primary_address(account)
    assert address is not None
    assert (address.email, address.confirmed_by) == (ADA["email"], "proof")
    assert f"/signin/local?service={quote(APP, safe='')}" in done.text
    assert ticket_in(desk.browser().sign_in("ext.ada.lovelace", NEW_PASSWORD, service=APP))


def test_d03_links_sign_nobody_in_and_lead_to_the_bridge_whatever_the_host_header_said_d11(desk: Office) -> None:
    browser = desk.browser()
    browser.get("/account/register")
    action, _method, hidden = forms(browser.page)[0]
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.session.cookies)
    sent = requests.post(
        desk.bridge.url + action,
        data=hidden | ADA,
        headers={"Host": "evil.example", "Cookie": cookies},
        timeout=20,
        allow_redirects=False,
    )
    assert sent.status_code == 303
    link = link_in(desk.newest_to(ADA["email"]))
    assert link.startswith(desk.bridge.url)
    other = desk.browser()
    other.get(link)
    other.submit()
    assert desk.state() == "waiting"
    desk.decide()
    desk.finish(link_in(desk.newest_to(ADA["email"])))
    assert not any("session" in cookie.name for browser in (browser, other) for cookie in browser.session.cookies)


def test_d04_the_code_of_the_mail_does_the_same_on_the_first_device(desk: Office) -> None:
    browser, page = desk.ask()
    assert browser.submit(code="BCDF-GHJK").status_code == 422
    assert heading(browser.submit(code=code_in(desk.newest_to(ADA["email"])))) == LOOKED_AT
    assert desk.state() == "waiting"
    assert browser.get(page.url + "/state").json()["confirmed"] is True


def test_d09_links_used_twice_say_where_the_request_stands(desk: Office) -> None:
    browser = desk.proved()
    first = link_in(desk.newest_to(ADA["email"]))
    assert heading(browser.get(first)) == LOOKED_AT
    desk.decide()
    assert heading(browser.get(first)) == in_french("Your request was accepted")
    last = link_in(desk.newest_to(ADA["email"]))
    assert heading(desk.finish(last)) == READY
    for link in (first, last):
        page = browser.get(link)
        assert heading(page) == in_french("You have an account")
        assert "ext.ada.lovelace" in page.text


def test_a_refusal_is_told_by_mail_with_its_reason(desk: Office) -> None:
    browser = desk.proved()
    desk.decide("refuse", reason="Le cours est complet.")
    mail = desk.newest_to(ADA["email"])
    assert "Le cours est complet." in mail.text
    assert heading(browser.get(browser.page.url)) == in_french("Your request was not accepted")
    assert desk.accounts() == ["ext.desk"]


def test_closed_sites_say_what_to_do_instead(tmp_path: Path) -> None:
    for mode, title in (
        ("closed", "Accounts cannot be asked for here"),
        ("invitation", "Accounts are given on invitation"),
    ):
        folder = tmp_path / mode
        folder.mkdir()
        with office(folder, sites=[SITE | {"registration": mode}]) as closed:
            browser = closed.browser()
            doors = browser.get("/")
            assert "/account/register" not in doors.text
            page = browser.get("/account/register")
            assert (page.status_code, heading(page)) == (403, in_french(title))
            browser.get("/signin/local")
            token = browser.page.text.split('name="csrf_token" value="')[1].split('"')[0]
            answer = browser.session.post(
                f"{closed.bridge.url}/account/register", data=ADA | {"csrf_token": token}, timeout=20
            )
            assert answer.status_code == 403
            assert closed.rows() == (0, 0)


def test_the_doors_offer_it_where_it_is_open(desk: Office) -> None:
    page = desk.browser().get("/cas/login", params={"service": APP})
    assert f"/account/register?service={quote(APP, safe='')}" in page.text


def test_d15_the_link_that_somebody_else_caused_asks_for_no_address_again(desk: Office) -> None:
    page = desk.browser().get(desk.accepted())
    assert ADA["email"] in page.text
    assert 'name="password_again"' in page.text
    assert 'name="email"' not in page.text


def test_d43_no_page_sets_a_puzzle(desk: Office) -> None:
    """Nothing to see, to hear or to solve: budgets and a mail do that work, for everybody alike."""
    typed = {
        "/account/register": {"given_name", "family_name", "email", "reason", "sponsor", "charter"},
        "/account/forgot": {"username", "email"},
        "/signin/local": {"identifier", "password", "remember"},
    }
    for path, fields in typed.items():
        page = desk.browser().get(path)
        assert page.status_code == 200
        named = re.findall(r'<(?:input|textarea|select)\b(?![^>]*type="hidden")[^>]*\bname="([^"]+)"', page.text)
        assert named, path
        assert set(named) <= fields, path
        assert not re.search(r"<(?:canvas|iframe|audio|video|object)\b|captcha", page.text, re.IGNORECASE)
