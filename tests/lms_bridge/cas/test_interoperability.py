"""What client libraries were read to expect: each fact a test, over HTTP and without the library.

The libraries themselves are driven in `tests/peers`. Facts about the message of single logout stand in `test_logout`,
about tickets in `test_validation`, about `Host` headers in `test_bad_input`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from sqlalchemy import select

from external_accounts.schema import AuditEvent
from tests.bridge_under_test import APP, BridgeUnderTest, Browser, heading, running_bridge, ticket_in
from tests.lms_bridge.cas import listeners
from tests.lms_bridge.cas.answers import read
from tests.lms_bridge.cas.listeners import Listener

WWWROOT = "https://moodle.example/moodle"
MOODLE = f"{WWWROOT}/login/index.php"


@pytest.fixture
def services() -> list[dict[str, Any]]:
    return [
        {"name": "app", "label": {"fr": "Appli"}, "url": APP},
        {"name": "moodle", "label": {"fr": "UPdago"}, "url": MOODLE, "logout_urls": [WWWROOT]},
    ]


@pytest.fixture
def ada(bridge: BridgeUnderTest) -> Browser:
    bridge.add_account("ext.ada")
    browser = bridge.browser()
    browser.sign_in("ext.ada")
    return browser


def test_interoperability_3_whoever_registers_a_phpcas_application_is_told_whom_it_believes() -> None:
    """phpCAS takes the message only from the host whose name it finds for the sender's address."""
    guide = Path(__file__).parents[3] / "docs" / "guides" / "declarer-une-application.md"
    text = " ".join(guide.read_text(encoding="utf-8").split())
    assert "phpCAS::handleLogoutRequests(true, [" in text
    assert "d'où LMS Bridge sort" in text


@pytest.mark.parametrize("service", [MOODLE, f"{MOODLE}?authCAS=CAS", f"{MOODLE}?authCAS=CAS&lang=en&foo=b%20r"])
def test_interoperability_6_moodle_enters_with_the_address_of_its_sign_in_page(
    bridge: BridgeUnderTest, ada: Browser, service: str
) -> None:
    """Moodle asks with `gateway=true` first, and validates with the address it was called by, without the ticket."""
    answer = ada.get(f"/cas/login?service={quote(service, safe='')}&gateway=true", follow=False)
    arrived = re.sub(r"[?&]ticket=[^&]+", "", answer.headers["Location"])
    assert arrived == service
    assert read(bridge.validate(ticket_in(answer), arrived, path="/cas/serviceValidate")).user == "ext.ada"


@pytest.mark.parametrize("back", [WWWROOT, WWWROOT + "/", f"{WWWROOT}/login/logout.php?x=1"])
def test_interoperability_6_moodles_logout_comes_back_to_moodle(ada: Browser, back: str) -> None:
    answer = ada.get(f"/cas/logout?service={quote(back, safe='')}", follow=False)
    assert answer.headers["Location"] == back


@pytest.mark.parametrize("path", ["/cas/validate", "/cas/serviceValidate", "/cas/p3/serviceValidate"])
def test_interoperability_7_whatever_version_moodle_was_set_to_works(
    bridge: BridgeUnderTest, ada: Browser, path: str
) -> None:
    """auth_cas lets its administrator choose 1.0, 2.0 or 3.0, and compares names lower-cased and trimmed."""
    answer = bridge.validate(ada.ticket(MOODLE), MOODLE, path=path)
    found = re.search(r"^yes\n(.*)\n|<cas:user>(.*?)</cas:user>", answer.text)
    assert found
    assert (found.group(1) or found.group(2)) == "ext.ada"


def test_interoperability_6_a_name_is_asserted_lower_case_however_it_was_typed(bridge: BridgeUnderTest) -> None:
    bridge.add_account("ext.ada")
    browser = bridge.browser()
    ticket = ticket_in(browser.sign_in(" Ext.ADA ", service=APP))
    assert read(bridge.validate(ticket)).user == "ext.ada"


# --- The bridge as a client of the university's CAS ---


@pytest.fixture
def university() -> Iterator[Listener]:
    """A university's CAS that answers every validation as `behaviour` says."""
    with Listener() as listener:
        yield listener


@pytest.fixture
def door(tmp_path: Path, university: Listener) -> Iterator[BridgeUnderTest]:
    upstream = {
        "issuer": "sel",
        "cas_url": university.url,
        "trusted_domains": ["univ.example"],
        "keep": ["groups"],
        "read_timeout": 0.5,
    }
    service = {"name": "app", "label": {"fr": "Appli"}, "url": APP, "attributes": {"mail": "mail", "groups": "groups"}}
    with running_bridge(tmp_path, upstreams=[upstream], services=[service]) as running:
        yield running


def answers(xml: str) -> listeners.Behaviour:
    body = xml.encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return lambda connection, _over: connection.sendall(head.encode() + body)


def come_back(bridge: BridgeUnderTest, university: Listener, behaviour: listeners.Behaviour) -> Any:
    """Leave for the university's CAS, which answers, and come back with a ticket, on which it does what it does."""
    browser = bridge.browser()
    leaving = browser.get(f"/signin/sel?service={quote(APP, safe='')}", follow=False).headers["Location"]
    (callback,) = parse_qs(urlsplit(leaving).query)["service"]
    university.behaviour = behaviour
    return browser.get(f"{callback}&ticket=ST-1", follow=False)


def test_interoperability_8_a_university_that_never_answers_is_given_up(
    door: BridgeUnderTest, university: Listener
) -> None:
    """python-cas sets no time-out of its own."""
    started = time.monotonic()
    page = come_back(door, university, listeners.hangs)
    assert page.status_code == 503
    assert heading(page)
    assert time.monotonic() - started < 5


def test_interoperability_8_the_universitys_own_code_is_in_the_audit_trail(
    door: BridgeUnderTest, university: Listener
) -> None:
    """python-cas says "no user" for every refusal."""
    refusal = answers(
        '<cas:serviceResponse xmlns:cas="http://www.yale.edu/tp/cas">'
        '<cas:authenticationFailure code="INVALID_SERVICE">no</cas:authenticationFailure></cas:serviceResponse>'
    )
    assert come_back(door, university, refusal).status_code == 403
    with door.runtime.database.read() as session:
        events = session.scalars(select(AuditEvent).where(AuditEvent.event == "signin.cas")).all()
    assert [(event.outcome, "INVALID_SERVICE" in str(event.details)) for event in events] == [("refused", True)]


def test_interoperability_9_an_upstream_attribute_named_like_ours_replaces_nothing(
    door: BridgeUnderTest, university: Listener
) -> None:
    """python-cas takes the root's name space from the answer and knows attributes by their local names alone."""
    success = answers(
        '<cas:serviceResponse xmlns:cas="http://www.yale.edu/tp/cas" xmlns:x="urn:x"><cas:authenticationSuccess>'
        "<cas:user>mdurand</cas:user><cas:attributes><cas:mail>m.durand@univ.example</cas:mail>"
        "<x:user>admin</x:user><cas:username>admin</cas:username><cas:profile>admin</cas:profile>"
        "<cas:isFromNewLogin>false</cas:isFromNewLogin><cas:groups>staff</cas:groups>"
        "</cas:attributes></cas:authenticationSuccess></cas:serviceResponse>"
    )
    told = read(door.validate(ticket_in(come_back(door, university, success))))
    assert told.user == "mdurand"
    assert told.attributes["mail"] == ["m.durand@univ.example"]
    assert told.attributes["groups"] == ["staff"]
    assert set(told.attributes) == {
        *("authenticationDate", "longTermAuthenticationRequestTokenUsed", "isFromNewLogin", "mail", "groups")
    }


def test_interoperability_10_a_service_address_built_from_a_forged_host_is_refused(ada: Browser) -> None:
    """phpCAS before 1.6 believed the Host header about its own address (CVE-2022-39369)."""
    forged = MOODLE.replace("moodle.example", "evil.example")
    assert ada.get(f"/cas/login?service={quote(forged, safe='')}", follow=False).status_code == 403
