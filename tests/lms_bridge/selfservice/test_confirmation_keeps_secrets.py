"""What a confirmation must not give away, whom it must not flood, and what an attacker cannot put into it."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest
import requests
from sqlalchemy import text

from external_accounts.proofs import CODE_ATTEMPTS
from tests.bridge_under_test import APP, Browser, forms, heading
from tests.lms_bridge.mailing import code_in, link_in, mailing_bridge, path_of
from tests.lms_bridge.selfservice.conftest import Scene


def test_d10_no_page_of_a_token_lets_it_out(scene: Scene) -> None:
    mail = scene.asked()
    waiting = scene.ada.page.url
    pages = [scene.ada.get(waiting), scene.ada.get(link_in(mail))]
    pages += [scene.ada.submit(), scene.ada.get(link_in(mail)), scene.ada.get(link_in(mail) + "x")]
    pages.append(requests.get(f"{waiting}/state", timeout=20))
    for page in pages:
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert page.headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        for address in re.findall(r'(?:src|href|action)="([^"]*)"', page.text):
            # Nothing is fetched from elsewhere, so there is nobody to tell.
            assert address.startswith(("/", "#", "mailto:", "tel:")) or not address


def test_d11_a_forged_host_reaches_no_mail_and_no_redirect(scene: Scene) -> None:
    """The link is built from the configured address alone, whatever the request claims to have asked for."""
    scene.ada.sign_in("ext.ada", service=APP)
    _, _, fields = forms(scene.ada.page)[0]
    # As a browser sends it: the jar would keep the cookies back from another host.
    cookie = "; ".join(f"{one.name}={one.value}" for one in scene.ada.session.cookies)
    for header in ({"Host": "evil.example"}, {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}):
        scene.bridge.clock.forward(minutes=2)
        answer = requests.post(
            f"{scene.bridge.url}/account/confirm",
            data=fields,
            headers={"Cookie": cookie, **header},
            allow_redirects=False,
            timeout=20,
        )
        assert answer.status_code == 303
        assert urlsplit(answer.headers["Location"]).netloc in ("", urlsplit(scene.bridge.url).netloc)
    mails = scene.mailbox.all()
    assert len(mails) == 2
    for mail in mails:
        assert "evil" not in mail.text + mail.html + mail.subject
        assert link_in(mail).startswith(scene.bridge.url + "/account/confirm/")


def test_d12_a_mailbox_cannot_be_flooded_and_nobody_learns_that_it_was_tried(scene: Scene) -> None:
    """TOK-02."""
    pages = set()
    scene.ada.sign_in("ext.ada", service=APP)
    for _ in range(12):
        page = scene.ada.get("/cas/login", params={"service": APP})
        page = scene.ada.submit()
        assert page.status_code == 200
        pages.add(heading(page))
        scene.bridge.clock.forward(seconds=61)
    assert len(pages) == 1
    assert len(scene.mailbox.all()) <= 5 + 12 * 61 // 600
    scene.bridge.clock.forward(hours=2)
    scene.ada.sign_in("ext.ada", service=APP)
    scene.ada.submit()
    assert len(scene.mailbox.all()) >= 6


def test_d12_the_budget_is_the_mailbox_s_and_not_the_account_s(tmp_path: Path) -> None:
    with mailing_bridge(tmp_path) as (bridge, mailbox):
        for number in range(8):
            bridge.add_account(f"ext.p{number}", confirmed=False, email="Shared@mail.example")
            browser = bridge.browser()
            browser.sign_in(f"ext.p{number}", service=APP)
            assert browser.submit().status_code == 200
        assert len(mailbox.all()) == 5


def test_d21_no_address_travels_in_an_address(scene: Scene) -> None:
    scene.bridge.add_account("ext.plus", confirmed=False, email="ada+moodle@mail.example")
    browser = Browser(scene.bridge.url)
    browser.sign_in("ada+moodle@mail.example", service=APP)
    waiting = browser.submit()
    mail = scene.mailbox.newest()
    assert mail.to == "ada+moodle@mail.example"
    for url in (waiting.url, link_in(mail)):
        assert "moodle" not in unquote(url)
        assert "@" not in unquote(url)


def test_the_waiting_page_masks_the_address_and_hides_it_from_strangers(scene: Scene) -> None:
    waiting = scene.ask()
    assert "a•••@mail.example" in waiting.text
    assert "ada@mail.example" not in waiting.text
    assert "mail.example" not in Browser(scene.bridge.url).get(waiting.url).text


def test_the_waiting_page_s_name_opens_nothing_but_the_code_form(scene: Scene) -> None:
    waiting = scene.ask().url
    stranger = Browser(scene.bridge.url)
    stranger.get(waiting)
    answer = stranger.submit(code="")
    assert answer.status_code == 422
    assert not scene.confirmed()


def test_a_stranger_s_guesses_are_counted_whoever_sends_them(scene: Scene) -> None:
    waiting = scene.ask().url
    mail = scene.mailbox.newest()
    for _ in range(CODE_ATTEMPTS):
        stranger = Browser(scene.bridge.url)
        stranger.get(waiting)
        assert stranger.submit(code="BBBBBBBB").status_code == 422
    assert scene.ada.submit(code=code_in(mail)).status_code == 422
    scene.ada.get(link_in(mail))
    assert scene.ada.submit().status_code == 200


@pytest.mark.parametrize("code", ["\0", "é" * 40, "x" * 60_000, "\u212a" * 8, "' or 1=1 --", "\r\nX: y"])
def test_no_code_of_any_kind_breaks_the_page(scene: Scene, code: str) -> None:
    scene.ask()
    assert scene.ada.submit(code=code).status_code == 422


@pytest.mark.parametrize(
    "token", ["x", "%00", "%ff%fe", "%0d%0aSet-Cookie:a=b", "..%2f..", "a" * 4000, "%F0%9F%92%A9", "a.b.c", "''"]
)
@pytest.mark.parametrize("tail", ["", "/state", "/resend"])
def test_garbage_instead_of_a_token_is_a_clear_page_and_no_error(scene: Scene, token: str, tail: str) -> None:
    path = f"/account/confirm/{token}{tail}"
    if tail != "/resend":
        answer = requests.get(scene.bridge.url + path, timeout=20, allow_redirects=False)
        assert answer.status_code in (404, 308), path
    browser = Browser(scene.bridge.url)
    browser.get("/signin/local")
    fields = {"csrf_token": forms(browser.page)[0][2]["csrf_token"], "code": "BBBB-BBBB"}
    answer = browser.session.post(scene.bridge.url + path, data=fields, timeout=20, allow_redirects=False)
    assert answer.status_code in (404, 405, 308), path
    assert "Set-Cookie: a" not in str(answer.headers)


def test_i11_a_forged_token_costs_no_query(scene: Scene) -> None:
    """The database is taken away: a forged token is still answered, a true one needs it."""
    mail = scene.asked()
    with scene.bridge.runtime.database.begin() as session:
        session.execute(text("ALTER TABLE proofs RENAME TO hidden"))
    link = link_in(mail)
    broken = link[:-3] + ("aaa" if link[-3:] != "aaa" else "bbb")
    assert requests.get(broken, timeout=20).status_code == 404
    assert requests.get(link, timeout=20).status_code >= 500


def test_a_rotated_key_leaves_mails_on_their_way_good_and_a_dropped_one_explains(tmp_path: Path) -> None:
    old, new = "o" * 40, "n" * 40
    with mailing_bridge(tmp_path, secret_keys=[old]) as (bridge, mailbox):
        bridge.add_account("ext.ada", confirmed=False)
        browser = bridge.browser()
        browser.sign_in("ext.ada", service=APP)
        waiting = path_of(browser.submit().url)
        mail = mailbox.newest()
    with mailing_bridge(tmp_path, secret_keys=[new]) as (bridge, _):
        gone = bridge.browser().get(path_of(link_in(mail)))
        assert gone.status_code == 404
        assert 'href="/"' in gone.text
    with mailing_bridge(tmp_path, secret_keys=[new, old]) as (bridge, mailbox):
        browser = bridge.browser()
        browser.get(waiting)
        bridge.clock.forward(minutes=2)
        browser.submit(1)
        again = mailbox.newest()
        assert code_in(again) == code_in(mail)
        assert bridge.browser().get(path_of(link_in(again))).status_code == 200
        browser.get(path_of(link_in(mail)))
        assert browser.submit().status_code == 200


def test_ten_requests_at_once_use_a_link_exactly_once(scene: Scene) -> None:
    """I2 over HTTP, several connections: the audit trail knows one confirmation."""
    from concurrent.futures import ThreadPoolExecutor

    link = link_in(scene.asked())
    browsers = [Browser(scene.bridge.url) for _ in range(10)]
    for browser in browsers:
        browser.get(link)
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda browser: browser.submit(), browsers))
    assert {answer.status_code for answer in answers} == {200}
    with scene.bridge.runtime.database.read() as session:
        count = session.execute(text("SELECT count(*) FROM audit_events WHERE event = 'address.confirmed'")).scalar()
    assert count == 1


def test_a_raw_header_injection_in_the_path_is_not_echoed(scene: Scene) -> None:
    host = urlsplit(scene.bridge.url)
    with socket.create_connection((host.hostname or "", host.port or 0), timeout=20) as connection:
        connection.sendall(
            b"GET /account/confirm/x%0d%0aLocation:%20https://evil.example HTTP/1.1\r\n"
            b"Host: evil.example\r\nConnection: close\r\n\r\n"
        )
        answer = b""
        while part := connection.recv(65536):
            answer += part
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert b" 404 " in head.splitlines()[0]
    assert b"evil" not in head


def test_the_service_asked_for_first_survives_the_whole_way(scene: Scene) -> None:
    deep = f"{APP}?next=%2Fcourse%3Fid%3D2&x=%C3%A9"
    scene.ada.sign_in("ext.ada", service=deep)
    scene.ada.submit()
    done = scene.ada.submit(code=code_in(scene.mailbox.newest()))
    assert quote(deep, safe="") in done.text


def test_the_audit_trail_tells_the_story_and_holds_no_secret_ses_07(scene: Scene) -> None:
    scene.ada.sign_in("ext.ada", "wrong horse battery")
    scene.ada.sign_in("ext.nobody\r\n", "wrong horse battery")
    mail = scene.asked()
    scene.ada.submit(code="WRNG-CODE")
    scene.ada.submit(code=code_in(mail))
    with scene.bridge.runtime.database.read() as session:
        rows = session.execute(
            text("SELECT event, outcome, actor, network, details FROM audit_events ORDER BY id")
        ).all()
    story = [(row.event, row.outcome) for row in rows]
    assert story == [
        ("account.created", "ok"),
        ("signin.local", "refused"),
        ("signin.local", "refused"),
        ("signin.local", "ok"),
        ("session.started", "ok"),
        ("proof.sent", "ok"),
        ("proof.code", "wrong"),
        ("address.confirmed", "ok"),
    ]
    assert {row.network for row in rows[1:]} == {"127.0.0.1"}
    written = repr(rows)
    for secret in (link_in(mail).rpartition("/")[2], code_in(mail), "WRNG", "wrong horse", "ada@mail", "nobody"):
        assert secret not in written


def test_i8_when_the_mail_cannot_be_written_nothing_else_is(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    from lms_bridge.selfservice import proof_pages

    def broken(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("the machine stops here")

    scene.ada.sign_in("ext.ada", service=APP)
    with monkeypatch.context() as stopped:
        stopped.setattr(proof_pages.outbox, "enqueue", broken)
        page = scene.ada.submit()
    assert page.status_code == 500
    assert "the machine stops here" not in page.text
    with scene.bridge.runtime.database.read() as session:
        for table in ("proofs", "outbox_mails"):
            assert session.execute(text(f"SELECT count(*) FROM {table}")).scalar() == 0  # noqa: S608
    scene.ada.sign_in("ext.ada", service=APP)
    assert scene.ada.get("/cas/login", params={"service": APP}).status_code == 403
    assert scene.ada.submit().status_code == 200
    assert len(scene.mailbox.all()) == 1
