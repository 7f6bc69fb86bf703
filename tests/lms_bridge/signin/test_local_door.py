"""The Extérieurs door: who gets in, what is remembered, and what a session may do."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from argon2 import PasswordHasher
from sqlalchemy import select, text, update

from external_accounts import audit
from external_accounts.passwords import HashingBusy, Verdict
from external_accounts.schema import LocalPassword
from lms_bridge.signin import local
from tests.bridge_under_test import APP, PASSWORD, BridgeUnderTest, Browser, forms, heading, running_bridge, ticket_in
from tests.lms_bridge.mailing import in_french


def cookie_names(browser: Browser) -> set[str]:
    """The bridge's cookies by purpose."""
    return {cookie.name.split("-")[2] for cookie in browser.session.cookies}


def signed_in(browser: Browser) -> bool:
    return browser.get("/", follow=False).status_code == 200


@pytest.mark.parametrize(
    "identifier", ["ext.ada", "EXT.Ada", "  ext.ada ", "ada@mail.example", "Ada@MAIL.example", "\u00a0ada@mail.example"]
)
def test_user_name_or_address_lead_in_whatever_the_case(bridge: BridgeUnderTest, identifier: str) -> None:
    bridge.add_account("ext.ada", email="ada@mail.example")
    assert ticket_in(bridge.browser().sign_in(identifier, service=APP, follow=True)).startswith("ST-")


def test_a_password_typed_on_another_keyboard_is_the_same_password_pwd_02(bridge: BridgeUnderTest) -> None:
    account_id = bridge.add_account()
    chosen = bridge.runtime.hashing.hash("d\u00e9j\u00e0 vu et encore")
    with bridge.runtime.database.begin() as session:
        session.execute(update(LocalPassword).where(LocalPassword.account_id == account_id).values(hash=chosen))
    browser = bridge.browser()
    browser.sign_in("ext.ada", "de\u0301ja\u0300 vu et encore")
    assert signed_in(browser)


@pytest.mark.parametrize(("identifier", "password"), [("", PASSWORD), ("ext.ada", ""), ("  ", PASSWORD), ("", "")])
def test_an_empty_field_is_asked_for_and_costs_no_try(bridge: BridgeUnderTest, identifier: str, password: str) -> None:
    bridge.add_account()
    browser = bridge.browser()
    for _ in range(12):
        assert browser.sign_in(identifier, password).status_code == 422
    browser.sign_in("ext.ada")
    assert signed_in(browser)


@pytest.mark.parametrize(
    "password", ["x" * 1025, "x" * 50_000, PASSWORD + "\0", "\0", PASSWORD.upper(), PASSWORD + " ", "\ufffd"]
)
def test_a_password_that_is_nearly_right_or_absurd_is_wrong(bridge: BridgeUnderTest, password: str) -> None:
    bridge.add_account()
    browser = bridge.browser()
    assert browser.sign_in("ext.ada", password).status_code == 401
    assert not signed_in(browser)


def test_an_old_hash_is_replaced_at_the_next_sign_in_pwd_06(bridge: BridgeUnderTest) -> None:
    account_id = bridge.add_account()
    old = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD)

    def stored() -> str:
        with bridge.runtime.database.read() as session:
            return session.scalars(select(LocalPassword.hash)).one()

    with bridge.runtime.database.begin() as session:
        session.execute(update(LocalPassword).where(LocalPassword.account_id == account_id).values(hash=old))
    bridge.browser().sign_in("ext.ada", "wrong horse battery")
    assert stored() == old
    browser = bridge.browser()
    browser.sign_in("ext.ada")
    assert signed_in(browser)
    assert stored() != old
    bridge.browser().sign_in("ext.ada")
    assert signed_in(browser)


class SlowHashing:
    """Checks as the real one does, and lets something happen between the look-up and the answer."""

    def __init__(self, meanwhile: Any) -> None:
        self._meanwhile = meanwhile

    def verify(self, stored: str | None, password: str) -> Verdict:
        self._meanwhile()
        return Verdict(correct=True, new_hash="$argon2id$rehash-of-the-old-password")


def test_a_password_changed_while_the_old_one_is_checked_lets_nobody_in_i10(bridge: BridgeUnderTest) -> None:
    bridge.add_account()

    def change() -> None:
        with bridge.runtime.database.begin() as session:
            session.execute(update(LocalPassword).values(hash="$argon2id$the-new-one"))

    runtime: Any = replace(bridge.runtime, hashing=SlowHashing(change))
    with pytest.raises(local.BadCredentials):
        local.sign_in(runtime, "ext.ada", PASSWORD, device="", origin=audit.SYSTEM, user_agent="", now=bridge.clock())
    with bridge.runtime.database.read() as session:
        assert session.scalars(select(LocalPassword.hash)).one() == "$argon2id$the-new-one"
        assert session.execute(text("SELECT count(*) FROM sso_sessions")).scalar() == 0


def test_a_full_house_says_so_counts_no_try_and_goes_on(
    bridge: BridgeUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge.add_account()

    def busy(*_arguments: object) -> Verdict:
        raise HashingBusy

    browser = bridge.browser()
    with monkeypatch.context() as full:
        full.setattr(type(bridge.runtime.hashing), "verify", busy)
        for _ in range(25):
            page = browser.sign_in("ext.ada", service=APP)
            assert (page.status_code, page.headers["Retry-After"]) == (503, "5")
            assert heading(page) == in_french("Many people are signing in")
        assert "/signin/local?service=" in page.text
    assert ticket_in(browser.sign_in("ext.ada", service=APP))


# --- remembering ---


def test_the_user_name_is_remembered_only_when_asked_for(bridge: BridgeUnderTest) -> None:
    bridge.add_account()
    browser = bridge.browser()
    browser.get("/signin/local")
    assert "checked" not in browser.page.text
    browser.submit(identifier="Ext.Ada", password=PASSWORD)
    assert "username" not in cookie_names(browser)
    browser.get("/cas/logout")
    browser.get("/signin/local")
    browser.submit(identifier="Ext.Ada", password=PASSWORD, remember="1")
    assert "username" in cookie_names(browser)
    browser.get("/cas/logout")
    page = browser.get("/signin/local")
    assert 'value="Ext.Ada"' in page.text
    assert "checked" in page.text
    browser.submit(identifier="ext.ada", password=PASSWORD)
    assert "username" not in cookie_names(browser)


def test_a_failed_sign_in_remembers_nothing_and_keeps_what_was_typed(bridge: BridgeUnderTest) -> None:
    browser = bridge.browser()
    browser.get("/signin/local")
    page = browser.submit(identifier='<script>"é', password="wrong horse battery", remember="1")
    assert page.status_code == 401
    assert "&lt;script&gt;&#34;é" in page.text
    assert "wrong horse battery" not in page.text
    assert cookie_names(browser) <= {"form", "language"}


# --- forms ---


@pytest.mark.parametrize("token", [None, "", "x", "IjEi.x.y", "é"])
def test_a_form_without_its_token_changes_nothing_and_leads_back_to_the_form(
    bridge: BridgeUnderTest, token: str | None
) -> None:
    bridge.add_account()
    browser = bridge.browser()
    browser.get("/signin/local", params={"service": APP})
    fields = {"identifier": "ext.ada", "password": PASSWORD} | ({} if token is None else {"csrf_token": token})
    page = browser.session.post(
        f"{bridge.url}/signin/local", params={"service": APP}, data=fields, allow_redirects=False, timeout=20
    )
    assert page.status_code == 400
    assert heading(page) == in_french("The form has been open too long")
    assert PASSWORD not in page.text
    assert not signed_in(browser)
    back = page.text.partition('class="btn btn-primary" href="')[2].partition('"')[0].replace("&amp;", "&")
    browser.get(back)
    assert ticket_in(browser.submit(identifier="ext.ada", password=PASSWORD))


def test_login_csrf_a_form_of_another_browser_signs_nobody_in_ses_04(bridge: BridgeUnderTest) -> None:
    bridge.add_account()
    attacker, victim = bridge.browser(), bridge.browser()
    attacker.get("/signin/local")
    _, _, fields = forms(attacker.page)[0]
    victim.get("/signin/local")
    answer = victim.session.post(
        f"{bridge.url}/signin/local", data=fields | {"identifier": "ext.ada", "password": PASSWORD}, timeout=20
    )
    assert answer.status_code == 400
    assert not signed_in(victim)


def test_each_browser_gets_a_form_token_of_its_own_also_from_a_page_that_is_kept(bridge: BridgeUnderTest) -> None:
    tokens = []
    for _ in range(3):
        browser = bridge.browser()
        browser.get("/signin/local", params={"service": APP})
        tokens.append(forms(browser.page)[0][2]["csrf_token"])
    assert len(set(tokens)) == 3


def test_a_key_rotation_does_not_break_open_sessions(tmp_path: Path) -> None:
    old, new = "o" * 40, "n" * 40
    with running_bridge(tmp_path, secret_keys=[old]) as bridge:
        bridge.add_account()
        browser = bridge.browser()
        browser.sign_in("ext.ada")
        cookie = {c.name.rsplit("-", 1)[0]: c.value for c in browser.session.cookies}
    with running_bridge(tmp_path, secret_keys=[new, old]) as bridge:
        port = bridge.url.rpartition(":")[2]
        kept = {f"lms-bridge-session-{port}": cookie["lms-bridge-session"]}
        assert requests.get(bridge.url, cookies=kept, timeout=20, allow_redirects=False).status_code == 200


# --- sessions ---


def test_ses_01_a_planted_cookie_is_worth_nothing_and_every_sign_in_makes_a_new_one(bridge: BridgeUnderTest) -> None:
    bridge.add_account()
    name = f"lms-bridge-session-{bridge.url.rpartition(':')[2]}"
    browser = bridge.browser()
    browser.session.cookies.set(name, "planted-by-an-attacker", domain="127.0.0.1", path="/")
    browser.sign_in("ext.ada")
    values = [cookie.value for cookie in browser.session.cookies if cookie.name == name]
    assert "planted-by-an-attacker" not in values
    planted = requests.get(bridge.url, cookies={name: "planted-by-an-attacker"}, timeout=20, allow_redirects=False)
    assert planted.status_code != 200
    browser.get("/signin/local", params={"renew": "true"})
    browser.submit(identifier="ext.ada", password=PASSWORD)
    again = [cookie.value for cookie in browser.session.cookies if cookie.name == name]
    assert again != values


def test_signing_out_ends_the_session_on_the_server_ses_01(bridge: BridgeUnderTest) -> None:
    bridge.add_account()
    browser = bridge.browser()
    browser.sign_in("ext.ada")
    stolen = browser.session.cookies.copy()
    browser.get("/cas/logout")
    assert requests.get(bridge.url, cookies=stolen, timeout=20, allow_redirects=False).status_code != 200


def test_ses_02_an_unused_session_ends_after_the_idle_time(bridge: BridgeUnderTest) -> None:
    bridge.add_account()
    browser = bridge.browser()
    browser.sign_in("ext.ada")
    for _ in range(3):
        bridge.clock.forward(minutes=59)
        assert signed_in(browser)
    bridge.clock.forward(minutes=60)
    assert not signed_in(browser)


@pytest.mark.parametrize(("seconds", "alive"), [(-1, True), (0, False)])
def test_ses_02_no_session_outlives_the_absolute_time_however_busy(
    bridge: BridgeUnderTest, seconds: int, alive: bool
) -> None:
    bridge.add_account()
    browser = bridge.browser()
    begun = bridge.clock()
    browser.sign_in("ext.ada")
    for _ in range(11):
        bridge.clock.forward(minutes=50)
        assert signed_in(browser)
    bridge.clock.moment = begun
    bridge.clock.forward(hours=10, seconds=seconds)
    assert signed_in(browser) is alive


def test_a_ticket_of_a_session_that_ended_by_time_does_not_validate(bridge: BridgeUnderTest) -> None:
    bridge.add_account()
    browser = bridge.browser()
    browser.sign_in("ext.ada")
    bridge.clock.forward(minutes=59)
    ticket = browser.ticket()
    bridge.clock.forward(seconds=30)
    browser.get("/cas/logout")
    assert "INVALID_TICKET" in bridge.validate(ticket).text


def test_sign_out_everywhere_ends_the_other_devices_too(bridge: BridgeUnderTest) -> None:
    bridge.add_account()
    here, there = bridge.browser(), bridge.browser()
    here.sign_in("ext.ada")
    there.sign_in("ext.ada")
    here.get("/account/sign-out")
    here.submit()
    assert not signed_in(here)
    assert not signed_in(there)


@pytest.mark.parametrize("value", ["", "x", "é", "x" * 5000, "\x7f", "a;b", '"quoted"'])
def test_a_broken_session_cookie_is_nobody(bridge: BridgeUnderTest, value: str) -> None:
    port = bridge.url.rpartition(":")[2]
    for purpose in ("session", "device", "username", "form", "language", "loop", "door", "browser"):
        header = f"lms-bridge-{purpose}-{port}={value}".encode()
        answer = requests.get(
            f"{bridge.url}/signin/local", headers={"Cookie": header}, timeout=20, allow_redirects=False
        )
        assert answer.status_code == 200, purpose


def test_ses_05_cookies_over_https_are_bound_to_the_host_and_out_of_reach(tmp_path: Path) -> None:
    # Behind a proxy that speaks https, the bridge itself is reached over http.
    with running_bridge(tmp_path, public_url="https://connexion.univ.example") as bridge:
        bridge.add_account()
        form = requests.get(f"{bridge.url}/signin/local", timeout=20)
        jar = {c.name: c.value for c in form.cookies}
        _, _, fields = forms(form)[0]
        cookie = "; ".join(f"{name}={value}" for name, value in jar.items())
        answer = requests.post(
            f"{bridge.url}/signin/local?lang=en",
            data=fields | {"identifier": "ext.ada", "password": PASSWORD, "remember": "1"},
            headers={"Cookie": cookie, "Referer": "https://connexion.univ.example/signin/local"},
            allow_redirects=False,
            timeout=20,
        )
        assert answer.status_code == 303
        written = [*form.raw.headers.getlist("Set-Cookie"), *answer.raw.headers.getlist("Set-Cookie")]
        purposes = {line.partition("=")[0] for line in written}
        assert purposes >= {f"__Host-lms-bridge-{name}" for name in ("form", "session", "device", "username", "door")}
        for line in written:
            parts = [part.strip().lower() for part in line.split(";")]
            assert line.startswith("__Host-lms-bridge-")
            assert {"secure", "httponly", "samesite=lax", "path=/"} <= set(parts), line
            assert not any(part.startswith("domain=") for part in parts)
        session = next(line for line in written if line.startswith("__Host-lms-bridge-session="))
        assert "max-age" not in session.lower()
        assert "expires" not in session.lower()
        assert "max-age=" in answer.headers["Strict-Transport-Security"]


def test_many_sign_ins_at_once_all_get_in(bridge: BridgeUnderTest) -> None:
    for number in range(8):
        bridge.add_account(f"ext.p{number}")
    start = threading.Barrier(8)

    def come(number: int) -> bool:
        browser = bridge.browser()
        browser.get("/signin/local")
        start.wait(timeout=30)
        browser.submit(identifier=f"ext.p{number}", password=PASSWORD)
        return signed_in(browser)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(come, range(8)))


def test_i10_suspending_an_account_from_the_command_line_ends_its_sessions_and_tickets(
    bridge: BridgeUnderTest, tmp_path: Path
) -> None:
    bridge.add_account()
    browser = bridge.browser()
    browser.sign_in("ext.ada")
    ticket = browser.ticket()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LMS_BRIDGE_")} | {
        "LMS_BRIDGE_PUBLIC_URL": bridge.url,
        "LMS_BRIDGE_SECRET_KEYS": f'["{"k" * 40}"]',
        "LMS_BRIDGE_DATABASE_URL": bridge.runtime.settings.database_url,
        "LMS_BRIDGE_INSTITUTION__HELP_EMAIL": "aide@univ.example",
        "LMS_BRIDGE_MAIL__HOST": "127.0.0.1",
        "LMS_BRIDGE_MAIL__SENDER": "noreply@univ.example",
    }
    command = [sys.executable, "-c", "from lms_bridge.cli import main; main()", "accounts", "suspend", "ext.ada"]
    done = subprocess.run(
        [*command, "--reason", "test"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "INVALID_TICKET" in bridge.validate(ticket).text
    assert not signed_in(browser)
    assert browser.sign_in("ext.ada", service=APP).status_code == 403


def test_another_door_is_offered_only_where_there_is_one(tmp_path: Path) -> None:
    sel = {"issuer": "sel", "cas_url": "http://127.0.0.1:1/cas"}
    for name, upstreams in (("one", []), ("two", [sel])):
        (tmp_path / name).mkdir()
        with running_bridge(tmp_path / name, upstreams=upstreams) as bridge:
            page = bridge.browser().get("/signin/local")
            assert ("Choisir une autre porte" in page.text) is bool(upstreams)
