"""python-cas as a client, in each protocol version it speaks: the library under most Python applications."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import requests
from cas import CASClient

from lms_bridge.demo.server import LoopbackServer
from tests.bridge_under_test import APP, PASSWORD, SERVICES, BridgeUnderTest, Browser, running_bridge, ticket_in

VERSIONS = [1, 2, 3, "CAS_2_SAML_1_0"]
WITH_ATTRIBUTES = [3, "CAS_2_SAML_1_0"]


def client(bridge: BridgeUnderTest, version: int | str, service: str = APP, **more: Any) -> Any:
    session = requests.Session()
    session.trust_env = False
    factory: Any = CASClient
    return factory(version=version, service_url=service, server_url=bridge.url + "/cas/", session=session, **more)


def person(bridge: BridgeUnderTest) -> Browser:
    """Ada's browser, signed in."""
    bridge.add_account("ext.ada")
    browser = bridge.browser()
    browser.sign_in()
    return browser


@pytest.mark.parametrize("version", VERSIONS)
def test_python_cas_signs_a_person_in(bridge: BridgeUnderTest, version: int | str) -> None:
    bridge.add_account("ext.ada")
    cas, browser = client(bridge, version), bridge.browser()
    browser.get(cas.get_login_url())
    browser.get("/signin/local", params={"service": APP})
    ticket = ticket_in(browser.submit(identifier="ext.ada", password=PASSWORD))
    assert cas.verify_ticket(ticket)[0] == "ext.ada"


@pytest.mark.parametrize("version", VERSIONS)
def test_cas_19_python_cas_is_refused_a_ticket_used_before(bridge: BridgeUnderTest, version: int | str) -> None:
    cas, ticket = client(bridge, version), person(bridge).ticket()
    assert cas.verify_ticket(ticket)[0] == "ext.ada"
    assert cas.verify_ticket(ticket)[0] is None


@pytest.mark.parametrize("version", VERSIONS)
def test_cas_18_python_cas_is_refused_a_ticket_of_another_service(bridge: BridgeUnderTest, version: int | str) -> None:
    ticket = person(bridge).ticket()
    assert client(bridge, version, "https://open.example/").verify_ticket(ticket)[0] is None
    assert client(bridge, version).verify_ticket(ticket)[0] is None


@pytest.mark.parametrize("version", WITH_ATTRIBUTES)
def test_python_cas_reads_the_attributes(bridge: BridgeUnderTest, version: int | str) -> None:
    _user, attributes, _grant = client(bridge, version).verify_ticket(person(bridge).ticket())
    assert attributes["mail"] == "ext.ada@mail.example"
    assert attributes["displayName"] == "Ada Lovelace"
    assert attributes["isFromNewLogin"] == "false"


def test_cas_16_python_cas_finds_no_attributes_in_cas_2(bridge: BridgeUnderTest) -> None:
    assert client(bridge, 2).verify_ticket(person(bridge).ticket())[1] is None


def test_cas_10_python_cas_sends_people_to_sign_out_and_back(bridge: BridgeUnderTest) -> None:
    browser = person(bridge)
    answer = browser.get(client(bridge, 3).get_logout_url("https://app.example/bye"), follow=False)
    assert answer.headers["Location"] == "https://app.example/bye"
    assert 'name="password"' in browser.get("/cas/login", params={"service": APP}).text


class Receiver:
    """An application that notes what is posted to it and which proxy grants it is given."""

    def __init__(self) -> None:
        self.posted: list[str] = []
        self.grants: dict[str, str] = {}
        self.lock = threading.Lock()
        self.server = LoopbackServer(self, 0)

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
        body = environ["wsgi.input"].read().decode()
        with self.lock:
            if "pgtIou" in query:
                self.grants[query["pgtIou"]] = query["pgtId"]
            if environ["REQUEST_METHOD"] == "POST":
                self.posted.append(body)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ok"]


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    receiver.server.start()
    try:
        yield receiver
    finally:
        receiver.server.stop()


def test_cas_12_python_cas_recognises_the_logout_message_of_its_ticket(tmp_path: Path) -> None:
    with receiving() as application:
        url = application.server.url + "/app"
        service = {"name": "here", "label": {"fr": "Ici"}, "url": url}
        with running_bridge(tmp_path, services=[service, *SERVICES]) as bridge:
            browser, cas = person(bridge), client(bridge, 3, url)
            ticket = browser.ticket(url)
            cas.verify_ticket(ticket)
            browser.get("/cas/logout")
            bridge.runner.run_once()
        [body] = application.posted
        assert body.startswith("logoutRequest=")  # mod_auth_cas looks there only
        [message] = parse_qs(body)["logoutRequest"]
        assert cas.verify_logout_request(message, ticket)
        assert not cas.verify_logout_request(message, ticket[:-1] + "x")


@pytest.mark.parametrize("version", [2, 3])
def test_cas_26_python_cas_as_a_proxy_reaches_a_service_behind(tmp_path: Path, version: int) -> None:
    with receiving() as application:
        url = application.server.url + "/app"
        callback = application.server.url + "/grant"
        service = {
            "name": "portal", "label": {"fr": "Portail"}, "url": url, "proxy": True, "proxy_callbacks": [callback],
        }  # fmt: skip
        with running_bridge(tmp_path, services=[service, *SERVICES]) as bridge:
            portal = client(bridge, version, url, proxy_callback=callback)
            user, _attributes, iou = portal.verify_ticket(person(bridge).ticket(url))
            assert user == "ext.ada"
            portal.service_url = APP  # python-cas asks for a proxy ticket for what it calls its service
            ticket = portal.get_proxy_ticket(application.grants[iou])
            refused = bridge.validate(ticket)
            assert "authenticationFailure" in refused.text  # serviceValidate never takes a proxy ticket
            again = portal.get_proxy_ticket(application.grants[iou])
            accepted = bridge.validate(again, path="/cas/p3/proxyValidate").text
            assert "<cas:user>ext.ada</cas:user>" in accepted
            assert f"<cas:proxy>{callback}</cas:proxy>" in accepted
