"""Confirming an address, end to end: the obstacle, the mail, the link or the code, and on to where one wanted to go."""

from __future__ import annotations

import html
import re
from urllib.parse import quote

import pytest
import requests

from lms_bridge.i18n import translator
from tests.bridge_under_test import APP, Browser, forms, heading
from tests.lms_bridge.mailing import code_in, in_french, link_in, path_of
from tests.lms_bridge.selfservice.conftest import Scene

CONFIRMED = in_french("E-mail confirmed")
EXPIRED = in_french("This link is too old")
INVALID = in_french("This link does not work")
ALREADY = in_french("This address is already confirmed")
WAITING = in_french("Look in your mailbox")
YOURS = in_french("Is this your address?")


def state(scene: Scene, waiting: str) -> bool:
    """What the waiting page's script is told."""
    answer = requests.get(f"{waiting}/state", timeout=20)
    assert answer.status_code == 200
    return bool(answer.json()["confirmed"])


def test_the_whole_way_by_the_link(scene: Scene) -> None:
    waiting = scene.ask()
    assert heading(waiting) == WAITING
    mail = scene.mailbox.newest()
    assert mail.to == "ada@mail.example"
    page = scene.ada.get(link_in(mail))
    assert heading(page) == YOURS
    assert "ada@mail.example" in page.text
    done = scene.ada.submit()
    assert (done.status_code, heading(done)) == (200, CONFIRMED)
    assert f"/cas/login?service={quote(APP, safe='')}" in done.text
    assert scene.confirmed()


def test_the_whole_way_by_the_code(scene: Scene) -> None:
    scene.ask()
    done = scene.ada.submit(code=code_in(scene.mailbox.newest()))
    assert heading(done) == CONFIRMED
    assert scene.confirmed()


def test_without_a_service_the_way_leads_home(scene: Scene) -> None:
    scene.ask(service=None)
    done = scene.ada.submit(code=code_in(scene.mailbox.newest()))
    assert heading(done) == CONFIRMED
    assert 'href="/"' in done.text


def test_link_and_code_are_one_state(scene: Scene) -> None:
    mail = scene.asked()
    scene.ada.submit(code=code_in(mail))
    assert heading(Browser(scene.bridge.url).get(link_in(mail))) == ALREADY


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_d01_looking_at_the_link_changes_nothing(scene: Scene, method: str) -> None:
    """TOK-09, TOK-19, I11."""
    mail = scene.asked()
    for _ in range(3):
        assert requests.request(method, link_in(mail), timeout=20).status_code == 200
    assert not scene.confirmed()
    scene.ada.get(link_in(mail))
    assert heading(scene.ada.submit()) == CONFIRMED


def test_d02_the_page_behind_the_link_presses_no_button_by_itself(scene: Scene) -> None:
    page = Browser(scene.bridge.url).get(link_in(scene.asked()))
    assert "http-equiv" not in page.text
    assert not re.search(r"<script(?![^>]*src=)", page.text)
    script = requests.get(f"{scene.bridge.url}/static/bridge.js", timeout=20).text
    assert ".submit(" not in script
    assert ".click(" not in script
    assert "'unsafe-inline'" not in page.headers["Content-Security-Policy"]


def test_d03_d23_confirming_signs_nobody_in(scene: Scene) -> None:
    """TOK-11."""
    mail = scene.asked()
    stranger = Browser(scene.bridge.url)
    stranger.get(link_in(mail))
    done = stranger.submit()
    assert heading(done) == CONFIRMED
    names = {cookie.name.rsplit("-", 1)[0] for cookie in stranger.session.cookies}
    assert "lms-bridge-session" not in names
    answer = stranger.get("/cas/login", params={"service": APP}, follow=False)
    assert "ticket" not in answer.headers.get("Location", "")
    assert stranger.get("/").url.endswith("/signin/local")
    assert "Ada" not in done.text


def test_d04_the_waiting_page_hears_of_the_other_device(scene: Scene) -> None:
    waiting = scene.ask().url
    assert state(scene, waiting) is False
    telephone = Browser(scene.bridge.url)
    telephone.get(link_in(scene.mailbox.newest()))
    assert state(scene, waiting) is False
    telephone.submit()
    assert state(scene, waiting) is True
    assert heading(scene.ada.get(waiting)) == ALREADY


def test_d05_the_link_s_page_needs_no_cookie_and_cookies_are_lax(scene: Scene) -> None:
    answer = requests.get(link_in(scene.asked()), timeout=20)
    assert heading(answer) == YOURS
    assert all("SameSite=Lax" in cookie for cookie in answer.raw.headers.getlist("Set-Cookie"))


def test_d06_a_resend_is_the_same_proof_and_the_older_mail_still_works(scene: Scene) -> None:
    first = scene.asked()
    scene.bridge.clock.forward(minutes=2)
    scene.ada.get(scene.ada.page.url)
    scene.ada.submit(1)
    second = scene.mailbox.newest()
    assert second.id != first.id
    assert (link_in(second), code_in(second)) == (link_in(first), code_in(first))
    scene.ada.get(link_in(first))
    assert heading(scene.ada.submit()) == CONFIRMED


def test_a_second_resend_within_a_minute_sends_nothing_and_looks_the_same(scene: Scene) -> None:
    scene.ask()
    scene.bridge.clock.forward(seconds=59)
    again = scene.ada.submit(1)
    assert heading(again) == WAITING
    assert len(scene.mailbox.all()) == 1


def test_d07_the_expired_page_sends_a_new_link_with_one_click_and_names_nobody(scene: Scene) -> None:
    first = scene.asked()
    scene.bridge.clock.forward(hours=25)
    stranger = Browser(scene.bridge.url)
    page = stranger.get(link_in(first))
    assert (page.status_code, heading(page)) == (410, EXPIRED)
    shown = re.sub(r"[\w.-]{40,}", "", page.text)  # a random token may spell a short name
    for private in ("ada", "Ada", "mail.example"):
        assert private not in shown
    waiting = stranger.submit()
    assert heading(waiting) == WAITING
    assert "ada" not in re.sub(r"[\w.-]{40,}", "", waiting.text)
    second = scene.mailbox.newest()
    assert second.to == "ada@mail.example"
    assert link_in(second) != link_in(first)
    stranger.get(link_in(second))
    assert heading(stranger.submit()) == CONFIRMED


def test_the_button_pressed_after_the_end_says_so_and_offers_a_new_link(scene: Scene) -> None:
    scene.ada.get(link_in(scene.asked()))
    scene.bridge.clock.forward(hours=24)
    late = scene.ada.submit()
    assert (late.status_code, heading(late)) == (410, EXPIRED)
    assert heading(scene.ada.submit()) == WAITING


def test_d09_a_used_link_says_that_all_is_well(scene: Scene) -> None:
    mail = scene.asked()
    first, second = Browser(scene.bridge.url), Browser(scene.bridge.url)
    first.get(link_in(mail))
    second.get(link_in(mail))
    assert heading(first.submit()) == CONFIRMED
    late = second.submit()
    assert (late.status_code, heading(late)) == (200, ALREADY)
    assert heading(second.get(link_in(mail))) == ALREADY


def test_d16_whoever_asks_twice_has_one_pending_proof(scene: Scene) -> None:
    first = scene.asked()
    scene.bridge.clock.forward(minutes=5)
    other = Browser(scene.bridge.url)
    other.sign_in("ext.ada", service=APP)
    other.submit()
    second = scene.mailbox.newest()
    assert link_in(second) == link_in(first)
    assert code_in(second) == code_in(first)


def test_d17_another_tab_does_not_lead_past_the_gate(scene: Scene) -> None:
    scene.ask()
    for path in ("/", "/cas/login", f"/cas/login?service={quote(APP, safe='')}&gateway=true", "/account/confirm"):
        answer = scene.ada.get(path, follow=False)
        assert "ticket=" not in answer.headers.get("Location", "")
    assert not scene.confirmed()


def test_d26_a_link_opened_while_somebody_else_is_signed_in_names_neither(scene: Scene) -> None:
    mail = scene.asked()
    scene.bridge.add_account("ext.bob", confirmed=False, email="bob@mail.example")
    bob = Browser(scene.bridge.url)
    bob.sign_in("ext.bob")
    page = bob.get(link_in(mail))
    assert heading(page) == in_french("This link is for another account")
    shown = re.sub(r"[\w.-]{40,}", "", page.text)  # a random token may spell a short name
    for private in ("ada", "Ada Lovelace", "bob", "mail.example"):
        assert private not in shown
    assert "/cas/logout" in page.text
    assert heading(bob.submit()) == CONFIRMED
    assert scene.confirmed()
    refused = bob.get("/cas/login", params={"service": APP})
    assert heading(refused) == in_french("E-mail not confirmed")


def test_five_wrong_codes_spend_the_code_and_a_resend_brings_a_new_one(scene: Scene) -> None:
    mail = scene.asked()
    for left in (4, 3, 2, 1):
        wrong = scene.ada.submit(code="BBBB-BBBB")
        assert wrong.status_code == 422
        words = ("This is not the code. %(num)d try left.", "This is not the code. %(num)d tries left.")
        assert translator("fr").ngettext(*words, left) in html.unescape(wrong.text)
    scene.ada.submit(code="BBBB-BBBB")
    right = scene.ada.submit(code=code_in(mail))
    assert right.status_code == 422
    spent = "This code can no longer be used. Use the link in the message, or ask for a new message."
    assert in_french(spent) in " ".join(html.unescape(right.text).split())
    assert not scene.confirmed()
    scene.bridge.clock.forward(minutes=2)
    scene.ada.get(link_in(mail))
    assert heading(scene.ada.page) == YOURS
    scene.ada.sign_in("ext.ada", service=APP)
    scene.ada.get("/cas/login", params={"service": APP})
    scene.ada.submit()
    renewed = scene.mailbox.newest()
    assert code_in(renewed) != code_in(mail)
    assert link_in(renewed) == link_in(mail)
    assert heading(scene.ada.submit(code=code_in(renewed))) == CONFIRMED


def test_a_late_code_is_refused_and_the_link_still_works(scene: Scene) -> None:
    mail = scene.asked()
    scene.bridge.clock.forward(minutes=10)
    assert scene.ada.submit(code=code_in(mail)).status_code == 422
    scene.ada.get(link_in(mail))
    assert heading(scene.ada.submit()) == CONFIRMED


def test_a_second_mail_that_leaves_late_shows_no_dead_code(scene: Scene) -> None:
    scene.asked()
    scene.bridge.clock.forward(minutes=2)
    scene.ada.submit(1)
    scene.mailbox.refuse_with("451 4.7.1 greylisted")
    assert len(scene.mailbox.all()) == 1
    scene.bridge.clock.forward(minutes=9)
    scene.mailbox.refuse_with(None)
    mail = scene.mailbox.newest()
    assert len(scene.mailbox.all()) == 2
    assert "None" not in mail.text + mail.html
    assert not re.search(r"[A-Z0-9]{4}-[A-Z0-9]{4}", mail.text)
    scene.ada.get(link_in(mail))
    assert heading(scene.ada.submit()) == CONFIRMED


def test_a_mail_that_would_arrive_after_the_hard_cap_is_not_sent(scene: Scene) -> None:
    scene.ask()
    scene.bridge.clock.forward(hours=48)
    assert scene.mailbox.all() == []


def test_a_mail_for_what_was_confirmed_meanwhile_is_not_sent(scene: Scene) -> None:
    mail = scene.asked()
    scene.bridge.clock.forward(minutes=2)
    scene.ada.submit(1)
    scene.ada.get(link_in(mail))
    scene.ada.submit()
    assert len(scene.mailbox.all()) == 1


def test_lnk_04_the_link_for_a_former_address_confirms_nothing_and_pushes_nothing_out(scene: Scene) -> None:
    former = scene.asked()
    scene.change_address("new@mail.example")
    scene.bridge.clock.forward(minutes=2)
    stranger = Browser(scene.bridge.url)
    assert (stranger.get(link_in(former)).status_code, heading(stranger.page)) == (410, INVALID)
    scene.ada.get("/cas/login", params={"service": APP})
    scene.ada.submit()
    current = scene.mailbox.newest()
    assert current.to == "new@mail.example"
    # Whoever holds the former link can neither use it nor ask for another one with it.
    for tail in ("", "/resend"):
        stranger.get("/signin/local")
        token = forms(stranger.page)[0][2]["csrf_token"]
        answer = stranger.session.post(link_in(former) + tail, data={"csrf_token": token}, timeout=20)
        assert answer.status_code == 410
    assert not scene.confirmed()
    assert len(scene.mailbox.all()) == 2
    scene.ada.get(link_in(current))
    assert heading(scene.ada.submit()) == CONFIRMED
    assert scene.confirmed()


@pytest.mark.parametrize("damage", [lambda path: path[:-5], lambda path: path + "x", lambda path: path.upper()])
def test_a_link_cut_or_altered_on_its_way_is_explained(scene: Scene, damage: object) -> None:
    path = path_of(link_in(scene.asked()))
    broken = "/account/confirm/" + damage(path.removeprefix("/account/confirm/"))  # type: ignore[operator]
    page = scene.ada.get(broken)
    assert (page.status_code, heading(page)) == (404, INVALID)
    assert requests.get(f"{scene.bridge.url}{broken}/state", timeout=20).json() == {"confirmed": False}


def test_a_person_without_an_address_gives_one_and_confirms_it(scene: Scene) -> None:
    scene.remove_address()
    refused = scene.ada.sign_in("ext.ada", service=APP)
    assert refused.status_code == 403
    form = scene.ada.get("/account/confirm", params={"service": APP})
    assert 'name="email"' in form.text
    bad = scene.ada.submit(email="not an address\r\nBcc: eve@mail.example")
    assert bad.status_code == 422
    assert scene.mailbox.all() == []
    scene.ada.submit(email=" Ada+Home@Mail.Example ")
    mail = scene.mailbox.newest()
    assert mail.to == "Ada+Home@mail.example"
    done = scene.ada.submit(code=code_in(mail))
    assert heading(done) == CONFIRMED
    assert quote(APP, safe="") in done.text


def test_whoever_has_an_address_cannot_slip_another_one_in(scene: Scene) -> None:
    scene.ada.sign_in("ext.ada", service=APP)
    scene.ada.submit(email="eve@mail.example")
    assert [mail.to for mail in scene.mailbox.all()] == ["ada@mail.example"]


def test_a_confirmed_person_is_sent_on_and_gets_no_further_mail(scene: Scene) -> None:
    scene.ada.get(link_in(scene.asked()))
    scene.ada.submit()
    scene.ada.get("/signin/local?renew=true")
    token = forms(scene.ada.page)[0][2]["csrf_token"]
    answer = scene.ada.session.post(
        f"{scene.bridge.url}/account/confirm",
        data={"csrf_token": token, "service": APP},
        allow_redirects=False,
        timeout=20,
    )
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/cas/login?service={quote(APP, safe='')}")
    assert len(scene.mailbox.all()) == 1


def test_an_unregistered_service_is_neither_kept_nor_followed(scene: Scene) -> None:
    scene.ada.sign_in("ext.ada", service=APP)
    scene.ada.submit(service="https://evil.example/")
    done = scene.ada.submit(code=code_in(scene.mailbox.newest()))
    assert heading(done) == CONFIRMED
    assert "evil.example" not in done.text
