"""`/cas/validate`, `/cas/serviceValidate` and `/cas/p3/serviceValidate` (CAS 3.0.3, 2.4, 2.5, 3.1)."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from sqlalchemy import text
from structlog.testing import capture_logs

from external_accounts import audit
from external_accounts.accounts import suspend
from external_accounts.addresses import primary_address
from external_accounts.confirmation import lose_confirmation
from external_accounts.schema import Account
from tests.bridge_under_test import APP, PASSWORD, BridgeUnderTest, Browser, Clock, running_bridge, ticket_in
from tests.lms_bridge.cas.answers import read
from tests.lms_bridge.cas.conftest import ON_BOTH_DATABASES

P2, P3, P1 = "/cas/serviceValidate", "/cas/p3/serviceValidate", "/cas/validate"
XML_PATHS = [P2, P3, "/cas/proxyValidate", "/cas/p3/proxyValidate"]


@pytest.fixture
def account_id(bridge: BridgeUnderTest) -> int:
    return bridge.add_account("ext.ada")


@pytest.fixture
def ada(bridge: BridgeUnderTest, account_id: int) -> Browser:
    browser = bridge.browser()
    browser.sign_in("ext.ada")
    return browser


def get(bridge: BridgeUnderTest, path: str, query: str) -> requests.Response:
    return requests.get(f"{bridge.url}{path}?{query}", timeout=20)


# --- CAS 1.0 ---


@ON_BOTH_DATABASES
def test_cas_13_validate_says_yes_and_the_user_on_the_second_line(bridge: BridgeUnderTest, ada: Browser) -> None:
    answer = bridge.validate(ada.ticket(), path=P1)
    assert answer.text == "yes\next.ada\n"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_cas_13_validate_says_no_for_a_ticket_used_before(bridge: BridgeUnderTest, ada: Browser) -> None:
    ticket = ada.ticket()
    bridge.validate(ticket, path=P1)
    assert bridge.validate(ticket, path=P1).text == "no\n"


@pytest.mark.parametrize("query", ["", "service=https://app.example/landing", "ticket=ST-x", "service=&ticket=", "%"])
def test_cas_13_validate_says_no_to_whatever_is_missing(bridge: BridgeUnderTest, query: str) -> None:
    answer = get(bridge, P1, query)
    assert (answer.status_code, answer.text) == (200, "no\n")


def test_cas_13_validate_keeps_to_renew(bridge: BridgeUnderTest, ada: Browser) -> None:
    assert bridge.validate(ada.ticket(), path=P1, renew="true").text == "no\n"


# --- Parameters ---


@pytest.mark.parametrize("path", XML_PATHS)
@pytest.mark.parametrize("query", ["", f"service={APP}", "ticket=ST-x", f"service={APP}&ticket=", "service=&ticket=ST"])
def test_cas_14_service_and_ticket_are_required(bridge: BridgeUnderTest, path: str, query: str) -> None:
    told = read(get(bridge, path, query))
    assert told.code == "INVALID_REQUEST"
    assert told.text


@pytest.mark.parametrize("query", [f"Service={APP}&ticket=ST-x", f"service={APP}&TICKET=ST-x"])
def test_cas_14_names_of_parameters_are_case_sensitive(bridge: BridgeUnderTest, query: str) -> None:
    assert read(get(bridge, P2, query)).code == "INVALID_REQUEST"


@pytest.mark.parametrize("double", ["service", "ticket", "pgtUrl", "format"])
def test_ses_06_a_parameter_given_twice_is_refused(bridge: BridgeUnderTest, ada: Browser, double: str) -> None:
    """Two readers could each believe another one; and the ticket is not spent on a question nobody can read."""
    values = {"service": APP, "ticket": ada.ticket(), "pgtUrl": "https://app.example/p", "format": "XML"}
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in values.items() if name in query_of(double))
    assert read(get(bridge, P2, f"{query}&{double}={quote(values[double], safe='')}")).code == "INVALID_REQUEST"
    assert read(bridge.validate(values["ticket"])).user == "ext.ada"


def query_of(double: str) -> set[str]:
    return {"service", "ticket", double}


def test_cas_15_renew_accepts_the_ticket_of_a_fresh_password(bridge: BridgeUnderTest, account_id: int) -> None:
    ticket = ticket_in(bridge.browser().sign_in("ext.ada", service=APP))
    told = read(bridge.validate(ticket, renew="true"))
    assert (told.user, told.from_new_login) == ("ext.ada", "true")


def test_cas_15_renew_refuses_the_ticket_of_a_session(bridge: BridgeUnderTest, ada: Browser) -> None:
    ticket = ada.ticket()
    assert read(bridge.validate(ticket, renew="true")).code == "INVALID_TICKET"
    assert read(bridge.validate(ticket)).code == "INVALID_TICKET", "the attempt spent it"


@pytest.mark.parametrize("renew", ["false", ""])
def test_cas_15_renew_that_says_no_is_no(bridge: BridgeUnderTest, ada: Browser, renew: str) -> None:
    told = read(bridge.validate(ada.ticket(), renew=renew))
    assert (told.user, told.from_new_login) == ("ext.ada", "false")


def test_cas_15_the_ticket_after_the_renewed_one_is_of_the_session_again(
    bridge: BridgeUnderTest, account_id: int
) -> None:
    browser = bridge.browser()
    browser.sign_in("ext.ada", service=APP)
    assert read(bridge.validate(browser.ticket(), renew="true")).code == "INVALID_TICKET"


def test_cas_15_a_renewed_sign_in_moves_the_date(bridge: BridgeUnderTest, ada: Browser) -> None:
    before = read(bridge.validate(ada.ticket())).authenticated_at
    bridge.clock.forward(minutes=5)
    ada.get(f"/cas/login?renew=true&service={quote(APP, safe='')}")
    ticket = ticket_in(ada.submit(identifier="ext.ada", password=PASSWORD, follow=False))
    told = read(bridge.validate(ticket, renew="true"))
    assert told.authenticated_at == before + timedelta(minutes=5)


@pytest.mark.parametrize("wanted", ["XML", "xml", ""])
def test_cas_16_xml_is_the_format_by_default(bridge: BridgeUnderTest, ada: Browser, wanted: str) -> None:
    assert read(bridge.validate(ada.ticket(), format=wanted)).user == "ext.ada"


@pytest.mark.parametrize("wanted", ["JSON", "json"])
def test_cas_16_json_says_the_same(bridge: BridgeUnderTest, ada: Browser, wanted: str) -> None:
    answer = bridge.validate(ada.ticket(), format=wanted)
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    success = answer.json()["serviceResponse"]["authenticationSuccess"]
    assert success["user"] == "ext.ada"
    assert success["attributes"]["mail"] == "ext.ada@mail.example"
    assert success["attributes"]["isFromNewLogin"] is False


def test_cas_16_json_without_attributes_in_cas_2(bridge: BridgeUnderTest, ada: Browser) -> None:
    answer = bridge.validate(ada.ticket(), path=P2, format="JSON")
    assert answer.json() == {"serviceResponse": {"authenticationSuccess": {"user": "ext.ada"}}}


def test_cas_16_json_failures_carry_code_and_description(bridge: BridgeUnderTest) -> None:
    failure = bridge.validate("ST-unknown", format="JSON").json()["serviceResponse"]["authenticationFailure"]
    assert failure["code"] == "INVALID_TICKET"
    assert failure["description"]


@pytest.mark.parametrize("wanted", ["yaml", "JSONP", "XML,JSON", "\x00", "é"])
def test_cas_16_another_format_is_an_error_and_spends_nothing(
    bridge: BridgeUnderTest, ada: Browser, wanted: str
) -> None:
    ticket = ada.ticket()
    assert read(bridge.validate(ticket, format=wanted)).code == "INVALID_REQUEST"
    assert read(bridge.validate(ticket)).user == "ext.ada"


# --- Codes ---


@pytest.mark.parametrize(
    ("ticket", "service", "code"),
    [
        ("ST-" + "x" * 29, APP, "INVALID_TICKET"),
        ("PT-" + "x" * 29, APP, "INVALID_TICKET"),
        ("TGT-1", APP, "INVALID_TICKET"),
        ("ST-" + "x" * 5000, APP, "INVALID_TICKET"),
        ("ST-\x00", APP, "INVALID_TICKET"),
        ("ST-é", APP, "INVALID_TICKET"),
        ("' OR 1=1 --", APP, "INVALID_TICKET"),
    ],
)
def test_cas_17_every_refusal_has_a_code_and_words(
    bridge: BridgeUnderTest, ticket: str, service: str, code: str
) -> None:
    told = read(bridge.validate(ticket, service))
    assert told.code == code
    assert told.text
    assert ticket not in told.text, "Moodle shows this text to people"


@pytest.mark.parametrize("path", [P1, *XML_PATHS])
def test_cas_17_a_database_in_trouble_is_an_internal_error(bridge: BridgeUnderTest, ada: Browser, path: str) -> None:
    ticket = ada.ticket()
    with bridge.runtime.database.begin() as session:
        session.execute(text("ALTER TABLE tickets RENAME TO tickets_gone"))
    answer = bridge.validate(ticket, path=path)
    if path == P1:
        assert (answer.status_code, answer.text) == (200, "no\n")
    else:
        assert read(answer).code == "INTERNAL_ERROR"


def test_cas_17_trouble_that_passes_loses_no_ticket(bridge: BridgeUnderTest, ada: Browser) -> None:
    ticket = ada.ticket()
    with bridge.runtime.database.begin() as session:
        session.execute(text("ALTER TABLE tickets RENAME TO tickets_gone"))
    bridge.validate(ticket)
    with bridge.runtime.database.begin() as session:
        session.execute(text("ALTER TABLE tickets_gone RENAME TO tickets"))
    assert read(bridge.validate(ticket)).user == "ext.ada"


@ON_BOTH_DATABASES
def test_cas_18_another_service_is_refused_and_the_ticket_is_dead(bridge: BridgeUnderTest, ada: Browser) -> None:
    ticket = ada.ticket()
    assert read(bridge.validate(ticket, "https://open.example/")).code == "INVALID_SERVICE"
    assert read(bridge.validate(ticket)).code == "INVALID_TICKET"


@pytest.mark.parametrize(
    "service",
    [
        APP + "/",
        APP + "?",
        APP + "#",
        APP.upper(),
        APP + "?a",
        APP.replace("app.", "APP."),
        APP.replace("/l", ":443/l"),
    ],
)
def test_cas_18_the_service_must_be_the_same_to_the_letter(bridge: BridgeUnderTest, ada: Browser, service: str) -> None:
    assert read(bridge.validate(ada.ticket(), service)).code == "INVALID_SERVICE"


def test_cas_18_an_unregistered_service_cannot_validate(bridge: BridgeUnderTest, ada: Browser) -> None:
    assert read(bridge.validate(ada.ticket(), "https://evil.example/")).code == "INVALID_SERVICE"


@ON_BOTH_DATABASES
@pytest.mark.parametrize("second", [P1, P2, P3, "/cas/p3/proxyValidate"])
def test_cas_19_a_second_validation_always_fails(bridge: BridgeUnderTest, ada: Browser, second: str) -> None:
    ticket = ada.ticket()
    assert read(bridge.validate(ticket)).user == "ext.ada"
    answer = bridge.validate(ticket, path=second)
    assert answer.text == "no\n" if second == P1 else read(answer).code == "INVALID_TICKET"


@ON_BOTH_DATABASES
def test_cas_20_an_unused_ticket_expires_after_a_minute(bridge: BridgeUnderTest, ada: Browser) -> None:
    early, late = ada.ticket(), ada.ticket()
    bridge.clock.forward(seconds=59)
    assert read(bridge.validate(early)).user == "ext.ada"
    bridge.clock.forward(seconds=1)
    assert read(bridge.validate(late)).code == "INVALID_TICKET"


def test_cas_21_tickets_fit_every_client_and_cannot_be_guessed(ada: Browser) -> None:
    """CAS-22 too: letters, digits and dashes only. Interoperability 5.3.1: phpCAS wants `ST-` first."""
    tickets = {ada.ticket() for _ in range(20)}
    assert len(tickets) == 20
    for ticket in tickets:
        assert re.fullmatch(r"ST-[A-Za-z0-9]{29}", ticket), ticket
    # 172 bits: no two of twenty share even a beginning
    assert len({ticket[3:9] for ticket in tickets}) == 20


# --- The gate at validation, and sessions that end meanwhile ---


@ON_BOTH_DATABASES
def test_i1_a_person_suspended_after_the_ticket_is_refused(bridge: BridgeUnderTest, ada: Browser) -> None:
    ticket = ada.ticket()
    with bridge.runtime.database.begin() as session:
        account = session.query(Account).one()
        suspend(session, account, reason="test", until=None, now=bridge.clock(), origin=audit.SYSTEM)
    told = read(bridge.validate(ticket))
    assert told.code == "INVALID_TICKET"
    assert read(bridge.validate(ticket)).code == "INVALID_TICKET"


@ON_BOTH_DATABASES
def test_i1_a_person_whose_address_bounced_after_the_ticket_is_refused(bridge: BridgeUnderTest, ada: Browser) -> None:
    ticket = ada.ticket()
    with bridge.runtime.database.begin() as session:
        address = primary_address(session.query(Account).one())
        assert address is not None
        lose_confirmation(session, address, reason="bounce", now=bridge.clock(), origin=audit.SYSTEM)
    assert read(bridge.validate(ticket)).code == "INVALID_TICKET"


def test_i1_an_open_service_stays_open_to_the_unconfirmed(bridge: BridgeUnderTest) -> None:
    bridge.add_account("ext.eve", confirmed=False)
    browser = bridge.browser()
    browser.sign_in("ext.eve")
    ticket = browser.ticket("https://open.example/x")
    assert read(bridge.validate(ticket, "https://open.example/x")).user == "ext.eve"


@ON_BOTH_DATABASES
def test_cas_24_tickets_die_with_their_session(bridge: BridgeUnderTest, ada: Browser) -> None:
    ticket = ada.ticket()
    ada.get("/cas/logout")
    assert read(bridge.validate(ticket)).code == "INVALID_TICKET"


def test_cas_24_the_session_gives_any_number_of_tickets(bridge: BridgeUnderTest, ada: Browser) -> None:
    assert [read(bridge.validate(ada.ticket())).user for _ in range(3)] == ["ext.ada"] * 3


# --- Clocks ---


@pytest.mark.parametrize("skew", [-20, 0, 20])
def test_d46_two_nodes_whose_clocks_differ_accept_each_others_tickets_and_say_so(
    bridge: BridgeUnderTest, ada: Browser, tmp_path: Path, skew: int
) -> None:
    other_clock = Clock(bridge.clock() + timedelta(seconds=skew))
    same: dict[str, Any] = {"database_url": str(bridge.runtime.database.url)}
    with running_bridge(tmp_path, clock=other_clock, **same) as other, capture_logs() as lines:
        assert read(other.validate(ada.ticket())).user == "ext.ada"
    warned = [line["issued_seconds_ahead"] for line in lines if line.get("outcome") == "clocks differ"]
    assert warned == ([20] if skew == -20 else []), "a ticket from the future is noticed"


# --- Methods ---


@pytest.mark.parametrize("path", [P1, *XML_PATHS, "/cas/proxy"])
def test_validation_is_a_get_and_nothing_else(bridge: BridgeUnderTest, ada: Browser, path: str) -> None:
    ticket = ada.ticket()
    for method in ("POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW"):
        answer = requests.request(method, bridge.url + path, params={"service": APP, "ticket": ticket}, timeout=20)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")
    assert read(bridge.validate(ticket)).user == "ext.ada", "a wrong method spends nothing"
