"""CAS-28: `/cas/samlValidate`, SAML 1.1 in a SOAP envelope (CAS 3.0.3, 4.2)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import requests
from lxml import etree

from tests.bridge_under_test import APP, BridgeUnderTest, Browser, ticket_in
from tests.lms_bridge.cas.answers import read
from tests.lms_bridge.cas.conftest import ON_BOTH_DATABASES

NAMES = {
    "soap": "http://schemas.xmlsoap.org/soap/envelope/",
    "samlp": "urn:oasis:names:tc:SAML:1.0:protocol",
    "saml": "urn:oasis:names:tc:SAML:1.0:assertion",
}
ENVELOPE = (
    '<?xml version="1.0"?><SOAP-ENV:Envelope xmlns:SOAP-ENV="http://schemas.xmlsoap.org/soap/envelope/">'
    '<SOAP-ENV:Header/><SOAP-ENV:Body><samlp:Request xmlns:samlp="urn:oasis:names:tc:SAML:1.0:protocol" '
    'MajorVersion="1" MinorVersion="1" RequestID="_192.168.16.51.1024506224022" '
    'IssueInstant="2026-11-22T11:00:00.000Z"><samlp:AssertionArtifact>{ticket}</samlp:AssertionArtifact>'
    "</samlp:Request></SOAP-ENV:Body></SOAP-ENV:Envelope>"
)


@pytest.fixture
def ada(bridge: BridgeUnderTest) -> Browser:
    bridge.add_account("ext.ada")
    browser = bridge.browser()
    browser.sign_in("ext.ada")
    return browser


def ask(bridge: BridgeUnderTest, ticket: str, target: str | list[str] = APP, **more: str) -> requests.Response:
    return send(bridge, ENVELOPE.format(ticket=ticket).encode(), {"TARGET": target, **more})


def send(bridge: BridgeUnderTest, body: bytes, query: dict[str, Any]) -> requests.Response:
    return requests.post(
        f"{bridge.url}/cas/samlValidate", params=query, data=body, headers={"Content-Type": "text/xml"}, timeout=20
    )


def find(answer: requests.Response, path: str) -> Any:
    """What an XPath finds in the answer's SAML response."""
    assert answer.status_code == 200
    return etree.fromstring(answer.content).xpath(f"/soap:Envelope/soap:Body/samlp:Response{path}", namespaces=NAMES)


def status(answer: requests.Response) -> str:
    (value,) = find(answer, "/samlp:Status/samlp:StatusCode/@Value")
    return str(value)


@ON_BOTH_DATABASES
def test_cas_28_a_ticket_gives_an_assertion_about_the_person(bridge: BridgeUnderTest, ada: Browser) -> None:
    answer = ask(bridge, ada.ticket())
    assert status(answer) == "samlp:Success"
    assert find(answer, "/saml:Assertion/saml:AuthenticationStatement//saml:NameIdentifier/text()") == ["ext.ada"]
    assert find(answer, "/@InResponseTo") == ["_192.168.16.51.1024506224022"]
    assert find(answer, "/@Recipient") == [APP]
    assert find(answer, "//saml:Audience/text()") == [APP]


def test_cas_28_the_assertion_carries_the_attributes_released_to_the_service(
    bridge: BridgeUnderTest, ada: Browser
) -> None:
    answer = ask(bridge, ada.ticket())
    attributes = {
        attribute.get("AttributeName"): [value.text for value in attribute]
        for attribute in find(answer, "//saml:Attribute")
    }
    assert attributes == {
        "isFromNewLogin": ["false"],
        "mail": ["ext.ada@mail.example"],
        "displayName": ["Ada Lovelace"],
        "profile": ["learner"],
    }


def test_cas_28_the_assertion_is_good_for_a_short_time_from_now(bridge: BridgeUnderTest, ada: Browser) -> None:
    answer = ask(bridge, ada.ticket())
    (begins,), (ends,) = find(answer, "//saml:Conditions/@NotBefore"), find(answer, "//saml:Conditions/@NotOnOrAfter")
    assert datetime.fromisoformat(begins) <= bridge.clock() < datetime.fromisoformat(ends)
    assert datetime.fromisoformat(ends) - datetime.fromisoformat(begins) <= timedelta(minutes=5)


def test_cas_28_every_answer_has_ids_of_its_own(bridge: BridgeUnderTest, ada: Browser) -> None:
    answers = [ask(bridge, ada.ticket()) for _ in range(2)]
    ids = [one for answer in answers for one in find(answer, "/@ResponseID | .//@AssertionID")]
    ids += [one for answer in answers for one in find(answer, "/saml:Assertion/@AssertionID")]
    assert len(set(ids)) == 4


@ON_BOTH_DATABASES
def test_cas_19_a_ticket_validated_once_is_spent_for_saml_too(bridge: BridgeUnderTest, ada: Browser) -> None:
    ticket = ada.ticket()
    assert status(ask(bridge, ticket)) == "samlp:Success"
    assert status(ask(bridge, ticket)) == "samlp:RequestDenied"
    assert read(bridge.validate(ticket)).code == "INVALID_TICKET"


def test_cas_18_another_target_is_refused_and_the_ticket_is_dead(bridge: BridgeUnderTest, ada: Browser) -> None:
    ticket = ada.ticket()
    answer = ask(bridge, ticket, "https://open.example/")
    assert "INVALID_SERVICE" in find(answer, "/samlp:Status/samlp:StatusMessage/text()")[0]
    assert not find(answer, "/saml:Assertion")
    assert status(ask(bridge, ticket)) == "samlp:RequestDenied"


def test_cas_15_saml_keeps_to_renew(bridge: BridgeUnderTest, ada: Browser) -> None:
    """phpCAS adds `renew=true` to the address; ignoring it would break its promise to the application."""
    assert status(ask(bridge, ada.ticket(), renew="true")) == "samlp:RequestDenied"
    fresh = ticket_in(bridge.browser().sign_in("ext.ada", service=APP))
    assert status(ask(bridge, fresh, renew="true")) == "samlp:Success"


@pytest.mark.parametrize("target", ["", [APP, APP], [APP, "https://open.example/"]])
def test_cas_14_the_target_is_required_once(bridge: BridgeUnderTest, ada: Browser, target: Any) -> None:
    ticket = ada.ticket()
    answer = ask(bridge, ticket, target)
    assert "INVALID_REQUEST" in find(answer, "/samlp:Status/samlp:StatusMessage/text()")[0]
    assert status(ask(bridge, ticket)) == "samlp:Success", "nothing was spent"


ENTITY = '<!DOCTYPE x [<!ENTITY t "{ticket}">]>' + ENVELOPE.partition("?>")[2].replace("{ticket}", "&t;")
LAUGHS = "<!DOCTYPE x [<!ENTITY a 'ha'>{}]><x>&i;</x>".format(
    "".join(f"<!ENTITY {new} '{f'&{old};' * 10}'>" for old, new in zip("abcdefgh", "bcdefghi", strict=True))
)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "not xml",
        "<x/>",
        "\x00",
        "<a>" * 5000,
        ENTITY,
        LAUGHS,
        ENVELOPE.replace("{ticket}", ""),
        ENVELOPE.replace("{ticket}", "ST-{ticket}</samlp:AssertionArtifact><samlp:AssertionArtifact>ST-2"),
        '<?xml version="1.0" encoding="utf-7"?><x/>',
        '<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>',
    ],
    ids=["empty", "text", "other", "nul", "deep", "entity", "laughs", "no ticket", "two tickets", "encoding", "file"],
)
def test_cas_28_an_envelope_that_cannot_be_read_is_refused_and_spends_nothing(
    bridge: BridgeUnderTest, ada: Browser, body: str
) -> None:
    ticket = ada.ticket()
    answer = send(bridge, body.replace("{ticket}", ticket).encode(), {"TARGET": APP})
    assert status(answer) == "samlp:RequestDenied"
    assert "INVALID_REQUEST" in find(answer, "/samlp:Status/samlp:StatusMessage/text()")[0]
    assert status(ask(bridge, ticket)) == "samlp:Success"


def test_cas_28_an_envelope_beyond_all_measure_is_refused_unread(bridge: BridgeUnderTest) -> None:
    answer = send(bridge, b" " * 70_000, {"TARGET": APP})
    assert answer.status_code == 413


def test_cas_28_saml_is_a_post(bridge: BridgeUnderTest) -> None:
    answer = requests.get(f"{bridge.url}/cas/samlValidate", params={"TARGET": APP}, timeout=20)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
