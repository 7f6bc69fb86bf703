"""The CAS door over HTTP, before a CAS that answers whatever the test wants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from sqlalchemy import select

from external_accounts.accounts import Person, create_account
from external_accounts.schema import Account, AuditEvent
from lms_bridge.demo.server import LoopbackServer
from tests.bridge_under_test import APP, BridgeUnderTest, Browser, running_bridge, ticket_in

NS = 'xmlns:cas="http://www.yale.edu/tp/cas"'


def success(user: str = "jdupont", attributes: str = "") -> str:
    return (
        f"<cas:serviceResponse {NS}><cas:authenticationSuccess><cas:user>{user}</cas:user>"
        f"<cas:attributes>{attributes}</cas:attributes></cas:authenticationSuccess></cas:serviceResponse>"
    )


def failure(code: str) -> str:
    return (
        f'<cas:serviceResponse {NS}><cas:authenticationFailure code="{code}">no</cas:authenticationFailure>'
        "</cas:serviceResponse>"
    )


@dataclass
class StubCas:
    """Says `answer` to every ticket and counts them; without a ticket it says no, as a CAS does."""

    answer: str = field(default_factory=success)
    asked: int = 0

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "application/xml")])
        if "ticket=" not in environ["QUERY_STRING"]:
            return [failure("INVALID_REQUEST").encode()]
        self.asked += 1
        return [self.answer.encode()]


@dataclass
class Street:
    """A bridge with a CAS door and the CAS behind it."""

    bridge: BridgeUnderTest
    cas: StubCas

    def leave(self, browser: Browser, service: str | None = APP) -> str:
        """The browser goes to the door; returns the address the CAS is to send it back to."""
        answer = browser.get("/signin/sel", params={"service": service} if service else {}, follow=False)
        return parse_qs(urlsplit(answer.headers["Location"]).query)["service"][0]

    def come_back(self, browser: Browser, callback: str, ticket: str = "ST-upstream-1") -> requests.Response:
        return browser.get(f"{callback}&ticket={ticket}", follow=False)

    def sign_in(self, browser: Browser | None = None, service: str | None = APP) -> requests.Response:
        browser = browser or self.bridge.browser()
        return self.come_back(browser, self.leave(browser, service))


@contextmanager
def street(folder: Path, **door: Any) -> Iterator[Street]:
    cas = StubCas()
    server = LoopbackServer(cas, 0)
    server.start()
    try:
        upstream = {"issuer": "sel", "cas_url": f"{server.url}/cas", "trusted_domains": ["univ.example"], **door}
        with running_bridge(folder, upstreams=[upstream]) as bridge:
            yield Street(bridge, cas)
    finally:
        server.stop()


@pytest.fixture
def sel(tmp_path: Path) -> Iterator[Street]:
    with street(tmp_path) as found:
        yield found


MAIL = "<cas:mail>jean@univ.example</cas:mail>"


def test_a_member_with_a_vouched_address_gets_straight_through(sel: Street) -> None:
    sel.cas.answer = success("JDupont", MAIL)
    ticket = ticket_in(sel.sign_in())
    assert "<cas:user>jdupont</cas:user>" in sel.bridge.validate(ticket).text


@pytest.mark.parametrize(
    "user", ["ext.ada", "EXT.ADA", "rené", "\u212aarim", "a b", "x" * 101, "&lt;b&gt;", " jdupont", "../admin"]
)
def test_lnk_06_a_name_that_can_be_nobody_s_is_refused_with_a_page_and_the_other_door(sel: Street, user: str) -> None:
    sel.bridge.add_account("ext.ada")
    sel.cas.answer = success(user, MAIL)
    page = sel.sign_in()
    assert page.status_code == 403
    assert "/signin/local" in page.text
    with sel.bridge.runtime.database.read() as session:
        assert session.scalars(select(Account.username)).all() == ["ext.ada"]


def test_a_name_that_another_account_holds_is_refused_and_joins_nothing(sel: Street) -> None:
    """LNK-11: and nothing of the other account is shown."""
    with sel.bridge.runtime.database.begin() as session:
        create_account(
            session,
            username="jdupont",
            profile="staff",
            person=Person("Somebody", "Else"),
            activated=True,
            now=sel.bridge.clock(),
        )
    browser = sel.bridge.browser()
    page = sel.come_back(browser, sel.leave(browser))
    assert page.status_code == 403
    assert "Somebody" not in page.text
    assert browser.get("/", follow=False).text.count("Somebody") == 0
    with sel.bridge.runtime.database.read() as session:
        events = session.execute(
            select(AuditEvent.outcome, AuditEvent.details).where(AuditEvent.event == "signin.cas")
        ).all()
    assert [event.outcome for event in events] == ["refused"]
    assert events[0].details["upstream_code"].startswith("UsernameTaken")


def test_lnk_01_the_mail_of_a_local_account_opens_nothing_of_it(sel: Street) -> None:
    sel.bridge.add_account("ext.ada", email="jean@univ.example")
    sel.cas.answer = success("jdupont", MAIL)
    ticket = ticket_in(sel.sign_in())
    assert "<cas:user>jdupont</cas:user>" in sel.bridge.validate(ticket).text


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "<html>Maintenance</html>",
        success("<!-- nobody -->"),
        success().replace("<cas:user>jdupont</cas:user>", ""),
        f"<cas:authenticationSuccess {NS}/>",
        "<authenticationSuccess/>",
        "<serviceResponse><authenticationSuccess><user>jdupont</user></authenticationSuccess></serviceResponse>",
        success().replace("<cas:authenticationSuccess>", "<!-- c --><cas:authenticationSuccess>"),
        success().replace("<cas:authenticationSuccess>", "<cas:note/><cas:authenticationSuccess>"),
        success(attributes="<!-- c --><?pi x?>"),
        '<!DOCTYPE x [<!ENTITY e "jdupont">]>' + success("&e;"),
        success("x" * 300_000),
    ],
    ids=range(12),
)
def test_an_answer_that_is_none_is_explained_and_never_an_error(sel: Street, broken: str) -> None:
    sel.cas.answer = broken
    page = sel.sign_in()
    assert page.status_code in (403, 503)
    if page.status_code == 503:
        assert "/signin/local" in page.text


def test_a_refused_ticket_is_explained_and_the_code_kept_for_the_audit_trail(sel: Street) -> None:
    sel.cas.answer = failure("INVALID_SERVICE")
    assert sel.sign_in().status_code == 403
    with sel.bridge.runtime.database.read() as session:
        details = session.scalars(select(AuditEvent.details).where(AuditEvent.event == "signin.cas")).one()
    assert "INVALID_SERVICE" in details["upstream_code"]


def test_ses_04_a_return_address_slipped_to_another_browser_is_not_even_asked_about(sel: Street) -> None:
    attacker, victim = sel.bridge.browser(), sel.bridge.browser()
    callback = sel.leave(attacker)
    sel.leave(victim)
    page = sel.come_back(victim, callback)
    assert page.status_code == 400
    assert sel.cas.asked == 0


def test_a_return_that_took_too_long_starts_again_and_keeps_its_way(sel: Street) -> None:
    browser = sel.bridge.browser()
    callback = sel.leave(browser)
    sel.bridge.clock.forward(minutes=31)
    page = sel.come_back(browser, callback)
    assert page.status_code == 400
    assert "/signin/sel" in page.text
    assert sel.cas.asked == 0


@pytest.mark.parametrize("query", ["", "?ticket=ST-1", "?state=x&ticket=ST-1", "?state=", "?state=%00&ticket=%00"])
def test_a_return_without_a_true_state_is_a_page(sel: Street, query: str) -> None:
    page = sel.bridge.browser().get(f"/signin/sel/callback{query}", follow=False)
    assert page.status_code == 400
    assert sel.cas.asked == 0


@pytest.mark.parametrize("tail", ["", "&ticket=", f"&ticket={'x' * 1500}", "&ticket=ST-1&ticket=ST-2", "&ticket=%ff"])
def test_a_return_without_one_sane_ticket_is_a_page(sel: Street, tail: str) -> None:
    browser = sel.bridge.browser()
    page = browser.get(sel.leave(browser) + tail, follow=False)
    assert page.status_code == 400
    assert sel.cas.asked == 0


def test_d26_a_person_signed_in_by_the_other_door_is_asked_who_they_want_to_be(sel: Street) -> None:
    sel.bridge.add_account("ext.ada")
    browser = sel.bridge.browser()
    browser.sign_in("ext.ada")
    page = browser.get("/signin/sel", params={"service": APP}, follow=False)
    assert page.status_code == 200
    assert "renew=true" in page.text


def test_upstream_logout_of_an_unknown_ticket_changes_nothing(sel: Street) -> None:
    sel.cas.answer = success("jdupont", MAIL)
    browser = sel.bridge.browser()
    sel.come_back(browser, sel.leave(browser), "ST-upstream-9")
    message = (
        '<samlp:LogoutRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol">'
        "<samlp:SessionIndex>{ticket}</samlp:SessionIndex></samlp:LogoutRequest>"
    )
    url = f"{sel.bridge.url}/signin/sel/callback"
    assert requests.post(url, data={"logoutRequest": message.format(ticket="ST-other")}, timeout=20).status_code == 200
    assert browser.get("/", follow=False).status_code == 200
    told = requests.post(url, data={"logoutRequest": message.format(ticket="ST-upstream-9")}, timeout=20)
    assert told.status_code == 200
    assert "jdupont" not in browser.get("/", follow=False).text


@pytest.mark.parametrize("body", [{}, {"logoutRequest": ""}, {"logoutRequest": "<x/>"}, {"logoutRequest": "\0"}])
def test_a_post_that_is_no_logout_message_is_refused(sel: Street, body: dict[str, str]) -> None:
    assert requests.post(f"{sel.bridge.url}/signin/sel/callback", data=body, timeout=20).status_code == 400


def test_an_unvouched_address_stands_before_the_gate_lnk_05(tmp_path: Path) -> None:
    with street(tmp_path, trusted_domains=[]) as found:
        found.cas.answer = success("jdupont", MAIL)
        browser = found.bridge.browser()
        back = found.come_back(browser, found.leave(browser))
        assert "ticket=" not in back.headers.get("Location", "")
        assert browser.get("/cas/login", params={"service": APP}, follow=False).status_code == 403
