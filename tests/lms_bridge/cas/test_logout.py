"""`/cas/logout` and single logout by the back channel (CAS 3.0.3, 2.3 and appendix C)."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, quote, unquote_plus

import pytest
import requests
from lxml import etree
from sqlalchemy import select

from lms_bridge.cas.responses import logout_request
from lms_bridge.schema import Ticket
from tests.bridge_under_test import APP, PASSWORD, SERVICES, BridgeUnderTest, Browser, heading
from tests.lms_bridge.cas import listeners
from tests.lms_bridge.cas.answers import read
from tests.lms_bridge.cas.conftest import ON_BOTH_DATABASES
from tests.lms_bridge.cas.listeners import Listener, Received

SAMLP = "{urn:oasis:names:tc:SAML:2.0:protocol}"
SAML = "{urn:oasis:names:tc:SAML:2.0:assertion}"
BY_URL = "https://byurl.example/"


@pytest.fixture
def apps() -> Iterator[list[Listener]]:
    """Three applications that people sign in to."""
    with ExitStack() as stack:
        yield [stack.enter_context(Listener()) for _ in range(3)]


@pytest.fixture
def services(apps: list[Listener]) -> list[dict[str, Any]]:
    return [
        *SERVICES,
        *(
            {"name": f"app{number}", "label": {"fr": f"Appli {number}"}, "url": app.url}
            for number, app in enumerate(apps)
        ),
        {"name": "quiet", "label": {"fr": "Muet"}, "url": apps[0].url + "2", "single_logout": False},
        {"name": "byurl", "label": {"fr": "Par url"}, "url": BY_URL, "logout_parameter": "url"},
        {"name": "exact", "label": {"fr": "Exact"}, "url": "https://exact.example/cas?x=1", "match": "exact"},
    ]


@pytest.fixture
def ada(bridge: BridgeUnderTest) -> Browser:
    bridge.add_account("ext.ada")
    browser = bridge.browser()
    browser.sign_in("ext.ada")
    return browser


def enter(bridge: BridgeUnderTest, browser: Browser, url: str) -> str:
    """Enter an application; returns the ticket it validated."""
    ticket = browser.ticket(url)
    assert read(bridge.validate(ticket, url)).user
    return ticket


def logout(browser: Browser, query: str = "") -> requests.Response:
    return browser.get(f"/cas/logout{query}", follow=False)


def message(received: Received) -> etree._Element:
    (text,) = parse_qs(received.body.decode(), strict_parsing=True)["logoutRequest"]
    return etree.fromstring(text.encode())


def named_ticket(received: Received) -> str | None:
    return message(received).findtext(SAMLP + "SessionIndex")


# --- The browser's side ---


@ON_BOTH_DATABASES
def test_cas_09_after_signing_out_the_password_is_asked_again(bridge: BridgeUnderTest, ada: Browser) -> None:
    logout(ada)
    page = ada.get(f"/cas/login?service={quote(APP, safe='')}")
    assert 'type="password"' in page.text


def test_cas_09_the_old_cookie_is_worth_nothing_afterwards(bridge: BridgeUnderTest, ada: Browser) -> None:
    kept = {cookie.name: str(cookie.value) for cookie in ada.session.cookies}
    logout(ada)
    answer = requests.get(
        f"{bridge.url}/cas/login", params={"service": APP}, cookies=kept, allow_redirects=False, timeout=20
    )
    assert "ticket=" not in answer.headers.get("Location", "")


def test_cas_09_signing_out_drops_the_cookie(ada: Browser) -> None:
    answer = logout(ada)
    (dropped,) = (value for value in answer.raw.headers.getlist("Set-Cookie") if "session" in value)
    assert "Max-Age=0" in dropped


def test_cas_09_signing_out_twice_is_no_error(ada: Browser) -> None:
    logout(ada)
    assert logout(ada).status_code == 200


@pytest.mark.parametrize(
    "target", [APP, APP + "/deep?a=1&b=é", "https://app.example/bye", "https://exact.example/cas?x=1"]
)
def test_cas_10_a_registered_service_gets_the_browser_back(ada: Browser, target: str) -> None:
    answer = logout(ada, f"?service={quote(target, safe='')}")
    assert (answer.status_code, answer.headers["Location"]) == (302, target.replace("é", "%C3%A9"))
    assert "ticket" not in answer.headers["Location"]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?service=",
        "?service=https%3A%2F%2Fevil.example%2F",
        "?service=https%3A%2F%2Fapp.example%2Fother",
        "?service=https%3A%2F%2Fexact.example%2Fcas%2Fbelow%3Fx%3D1",
        "?service=%2F%2Fevil.example",
        "?service=javascript%3Aalert(1)",
        "?service=https%3A%2F%2Fapp.example%2Flanding&service=https%3A%2F%2Fopen.example%2F",
        "?Service=https%3A%2F%2Fapp.example%2Flanding",
        "?service=%E9",
        "?service=%00",
        "?url=https%3A%2F%2Fapp.example%2Flanding",
        "?url=https%3A%2F%2Fevil.example%2F",
        "?service=https%3A%2F%2Fbyurl.example%2F",
    ],
)
def test_cas_10_everything_else_is_ignored_and_the_person_is_signed_out(
    bridge: BridgeUnderTest, ada: Browser, query: str
) -> None:
    answer = logout(ada, query)
    assert answer.status_code == 200
    assert heading(answer)
    assert 'href="https://evil' not in answer.text
    assert 'type="password"' in ada.get(f"/cas/login?service={quote(APP, safe='')}").text


def test_cas_10_url_counts_for_a_service_that_says_so(ada: Browser) -> None:
    answer = logout(ada, f"?url={quote(BY_URL + 'x', safe='')}")
    assert answer.headers["Location"] == BY_URL + "x"


def test_i11_head_signs_nobody_out(bridge: BridgeUnderTest, ada: Browser) -> None:
    ada.session.head(f"{bridge.url}/cas/logout", timeout=20)
    assert ada.ticket()


# --- The applications' side ---


@ON_BOTH_DATABASES
def test_cas_11_every_service_of_the_session_is_told(
    bridge: BridgeUnderTest, ada: Browser, apps: list[Listener]
) -> None:
    tickets = [enter(bridge, ada, app.url) for app in apps]
    logout(ada)
    bridge.runner.run_once()
    for app, ticket in zip(apps, tickets, strict=True):
        (received,) = app.received
        assert (received.method, received.target) == ("POST", "/app")
        assert named_ticket(received) == ticket
    bridge.clock.forward(hours=1)
    bridge.runner.run_once()
    assert [len(app.received) for app in apps] == [1, 1, 1], "told once"


def test_cas_11_a_service_entered_twice_is_told_of_both_tickets(
    bridge: BridgeUnderTest, ada: Browser, apps: list[Listener]
) -> None:
    tickets = {enter(bridge, ada, apps[0].url), enter(bridge, ada, apps[0].url + "?course=2")}
    logout(ada)
    bridge.runner.run_once()
    assert {named_ticket(received) for received in apps[0].received} == tickets
    assert {received.target for received in apps[0].received} == {"/app", "/app?course=2"}


def test_cas_11_only_services_that_validated_a_ticket_are_told(
    bridge: BridgeUnderTest, ada: Browser, apps: list[Listener]
) -> None:
    ada.ticket(apps[0].url)  # never validated
    bridge.validate(ada.ticket(apps[1].url), APP)  # refused
    enter(bridge, ada, apps[0].url + "2")  # says that it does not want to be told
    logout(ada)
    bridge.runner.run_once()
    assert [len(app.received) for app in apps] == [0, 0, 0]


def test_cas_11_other_peoples_sessions_are_left_alone(
    bridge: BridgeUnderTest, ada: Browser, apps: list[Listener]
) -> None:
    bridge.add_account("ext.bob")
    bob = bridge.browser()
    bob.sign_in("ext.bob")
    enter(bridge, ada, apps[0].url)
    ticket = enter(bridge, bob, apps[0].url)
    logout(bob)
    bridge.runner.run_once()
    assert [named_ticket(received) for received in apps[0].received] == [ticket]
    assert ada.ticket()


@pytest.mark.parametrize(
    "behaviour", [listeners.says("302 Found", "Location: /"), listeners.says("404 Not Found")], ids=["302", "404"]
)
def test_cas_11_an_application_that_ignores_the_message_is_not_told_again(
    bridge: BridgeUnderTest, ada: Browser, apps: list[Listener], behaviour: listeners.Behaviour
) -> None:
    """Interoperability 5.3.5: stock Moodle answers a redirect and has no handler at all."""
    apps[0].behaviour = behaviour
    enter(bridge, ada, apps[0].url)
    logout(ada)
    bridge.runner.run_once()
    bridge.clock.forward(minutes=5)
    bridge.runner.run_once()
    assert len(apps[0].received) == 1


@pytest.mark.parametrize(
    "behaviour", [listeners.says("503 Service Unavailable"), listeners.hangs_up, listeners.babbles]
)
def test_cas_11_a_failing_service_is_told_three_times_and_then_left(
    bridge: BridgeUnderTest, ada: Browser, apps: list[Listener], behaviour: listeners.Behaviour
) -> None:
    apps[0].behaviour = behaviour
    enter(bridge, ada, apps[0].url)
    logout(ada)
    for _ in range(6):
        bridge.runner.run_once()
        bridge.clock.forward(minutes=1)
    assert len(apps[0].received) == 3


def test_cas_11_a_message_that_cannot_be_written_holds_up_no_other_and_is_given_up(
    bridge: BridgeUnderTest, ada: Browser, apps: list[Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = enter(bridge, ada, apps[0].url)
    enter(bridge, ada, apps[1].url)

    def refuse_one(ticket: str, user: str, now: datetime) -> str:
        if ticket == broken:
            raise RuntimeError("as a library may")
        return logout_request(ticket, user, now)

    monkeypatch.setattr("lms_bridge.cas.logout.logout_request", refuse_one)
    logout(ada)
    for _ in range(5):
        bridge.runner.run_once()
        bridge.clock.forward(minutes=2)
    assert len(apps[1].received) == 1
    with bridge.runtime.database.read() as session:
        states = session.execute(select(Ticket.logout_state, Ticket.logout_attempts)).all()
    assert sorted(states) == [("failed", 3), ("sent", 1)]


def test_cas_11_dead_services_delay_neither_the_person_nor_the_others(
    bridge: BridgeUnderTest, ada: Browser, apps: list[Listener]
) -> None:
    """One that never answers, one that never ends its answer; the third is told at once, the round ends in time."""
    apps[0].behaviour, apps[1].behaviour = listeners.hangs, listeners.trickles
    for app in apps:
        enter(bridge, ada, app.url)
    started = time.monotonic()
    assert logout(ada).status_code == 200
    assert time.monotonic() - started < 2, "signing out waits for nobody"
    bridge.runner.start()
    apps[2].wait_for(1, seconds=3)
    bridge.runner.stop(timeout=15)
    assert time.monotonic() - started < 15


def test_cas_11_a_service_taken_off_the_register_is_not_called(
    bridge: BridgeUnderTest, ada: Browser, apps: list[Listener]
) -> None:
    """SES-05: calls go to registered addresses only, also to the ones registered when the ticket was issued."""
    enter(bridge, ada, apps[0].url)
    logout(ada)
    without = [entry for entry in bridge.runtime.registry._entries if not entry[1].name.startswith("app0")]
    bridge.runtime.registry._entries[:] = without
    bridge.runner.run_once()
    assert not apps[0].received


@ON_BOTH_DATABASES
@pytest.mark.parametrize("hours", [1, 10])
def test_cas_11_a_session_that_runs_out_is_told_like_a_sign_out(
    bridge: BridgeUnderTest, ada: Browser, apps: list[Listener], hours: int
) -> None:
    ticket = enter(bridge, ada, apps[0].url)
    bridge.clock.forward(hours=hours)
    for _ in range(2):  # the first round ends the session, at the latest the second tells
        bridge.runner.run_once()
    assert [named_ticket(received) for received in apps[0].received] == [ticket]


def test_cas_11_signing_in_again_keeps_the_services_of_the_first_sign_in(
    bridge: BridgeUnderTest, ada: Browser, apps: list[Listener]
) -> None:
    """`renew` makes a new session (SES-01); to the person it is the same one, and one sign-out ends it all."""
    first = enter(bridge, ada, apps[0].url)
    ada.get(f"/cas/login?renew=true&service={quote(apps[1].url, safe='')}")
    answer = ada.submit(identifier="ext.ada", password=PASSWORD, follow=False)
    second = parse_qs(answer.headers["Location"].partition("?")[2])["ticket"][0]
    assert read(bridge.validate(second, apps[1].url)).user == "ext.ada"
    bridge.runner.run_once()
    assert not apps[0].received, "nobody signed out"
    logout(ada)
    bridge.runner.run_once()
    assert [named_ticket(received) for received in apps[0].received] == [first]
    assert [named_ticket(received) for received in apps[1].received] == [second]


def test_cas_11_somebody_elses_sign_in_in_the_same_browser_ends_the_first_session(
    bridge: BridgeUnderTest, ada: Browser, apps: list[Listener]
) -> None:
    """A shared computer: nothing of the first person stays open behind the second one's back."""
    bridge.add_account("ext.bob")
    first = enter(bridge, ada, apps[0].url)
    kept = {cookie.name: str(cookie.value) for cookie in ada.session.cookies}
    ada.get("/cas/login?renew=true")
    ada.submit(identifier="ext.bob", password=PASSWORD)
    bridge.runner.run_once()
    assert [named_ticket(received) for received in apps[0].received] == [first]
    answer = requests.get(
        f"{bridge.url}/cas/login", params={"service": APP}, cookies=kept, allow_redirects=False, timeout=20
    )
    assert "ticket=" not in answer.headers.get("Location", "")


# --- The message ---


@pytest.fixture
def told(bridge: BridgeUnderTest, ada: Browser, apps: list[Listener]) -> tuple[str, Received]:
    """A ticket, and the request that told its service of the end."""
    ticket = enter(bridge, ada, apps[0].url)
    logout(ada)
    bridge.runner.run_once()
    return ticket, apps[0].received[0]


def test_cas_12_the_message_is_a_logout_request_of_saml_2(bridge: BridgeUnderTest, told: tuple[str, Received]) -> None:
    ticket, received = told
    root = message(received)
    assert root.tag == SAMLP + "LogoutRequest"
    assert root.get("Version") == "2.0"
    assert datetime.fromisoformat(str(root.get("IssueInstant"))) == bridge.clock().astimezone(UTC)
    assert root.findtext(SAML + "NameID") == "ext.ada"
    assert root.findtext(SAMLP + "SessionIndex") == ticket
    assert [element.tag for element in root] == [SAML + "NameID", SAMLP + "SessionIndex"]


def test_cas_12_every_message_has_a_random_id(bridge: BridgeUnderTest, ada: Browser, apps: list[Listener]) -> None:
    for app in apps:
        enter(bridge, ada, app.url)
    logout(ada)
    bridge.runner.run_once()
    ids = {str(message(app.received[0]).get("ID")) for app in apps}
    assert len(ids) == 3
    assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9._-]{20,}", one) for one in ids), "an xs:ID, 80 bits at least"


def test_interoperability_2_phpcas_finds_the_ticket_by_its_pattern(told: tuple[str, Received]) -> None:
    """phpCAS decodes the POST value a second time, then looks for the literal prefix, without attributes."""
    ticket, received = told
    (value,) = parse_qs(received.body.decode())["logoutRequest"]
    found = re.search(r"<samlp:SessionIndex>(.*)</samlp:SessionIndex>", unquote_plus(value))
    assert found
    assert found.group(1) == ticket
    assert "%" not in value
    assert "+" not in value


def test_interoperability_4_the_message_is_the_only_field_of_a_plain_form(told: tuple[str, Received]) -> None:
    """mod_auth_cas looks whether the body begins with `logoutRequest=`."""
    _, received = told
    assert received.body.startswith(b"logoutRequest=")
    assert b"&" not in received.body
    assert received.headers["content-type"] == "application/x-www-form-urlencoded"
    assert received.headers["content-length"] == str(len(received.body))
    assert "transfer-encoding" not in received.headers
