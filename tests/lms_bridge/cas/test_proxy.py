"""Proxy tickets (CAS 3.0.3, 2.5.4, 2.6, 2.7): a portal that asks in a person's name, and its callback."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import unquote_plus

import pytest
import requests
from sqlalchemy import text

from external_accounts import audit
from external_accounts.accounts import suspend
from external_accounts.schema import Account
from tests.bridge_under_test import APP, SERVICES, BridgeUnderTest, Browser
from tests.lms_bridge.cas import listeners
from tests.lms_bridge.cas.answers import Told, read
from tests.lms_bridge.cas.conftest import ON_BOTH_DATABASES
from tests.lms_bridge.cas.listeners import Listener

PORTAL = "https://portal.example/"
BACK = "https://back.example/api"


@pytest.fixture
def callback() -> Iterator[Listener]:
    """The portal's callback."""
    with Listener() as listener:
        yield listener


@pytest.fixture
def services(callback: Listener) -> list[dict[str, Any]]:
    return [
        *SERVICES,
        {"name": "portal", "label": {"fr": "Portail"}, "url": PORTAL, "proxy": True, "proxy_callbacks": [callback.url]},
        {"name": "back", "label": {"fr": "Fond"}, "url": BACK, "proxy": True, "proxy_callbacks": [callback.url]},
        {"name": "deep", "label": {"fr": "Au fond"}, "url": f"{callback.url}/deep"},
        {"name": "plain", "label": {"fr": "Sans"}, "url": "https://plain.example/", "proxy_callbacks": [callback.url]},
    ]


@pytest.fixture
def ada(bridge: BridgeUnderTest) -> Browser:
    bridge.add_account("ext.ada")
    browser = bridge.browser()
    browser.sign_in("ext.ada")
    return browser


def granted(bridge: BridgeUnderTest, ada: Browser, callback: Listener) -> str:
    """A proxy-granting ticket, fetched the way a portal does: by its callback, matched by the IOU."""
    told = read(bridge.validate(ada.ticket(PORTAL), PORTAL, pgtUrl=callback.url))
    query = callback.received[-1].query
    assert query["pgtIou"] == [told.grant_iou]
    (grant,) = query["pgtId"]
    return grant


def ask_proxy(bridge: BridgeUnderTest, grant: str, target: str = BACK, **more: str) -> Told:
    return read(ask_proxy_raw(bridge, grant, target, **more))


def ask_proxy_raw(bridge: BridgeUnderTest, grant: str, target: str = BACK, **more: str) -> requests.Response:
    return requests.get(f"{bridge.url}/cas/proxy", params={"pgt": grant, "targetService": target, **more}, timeout=20)


@ON_BOTH_DATABASES
def test_cas_26_a_portal_gets_a_proxy_ticket_that_its_back_end_validates(
    bridge: BridgeUnderTest, ada: Browser, callback: Listener
) -> None:
    ticket = ask_proxy(bridge, granted(bridge, ada, callback)).proxy_ticket
    assert ticket is not None
    assert ticket.startswith("PT-")
    assert len(ticket) == 32
    told = read(bridge.validate(ticket, BACK, path="/cas/p3/proxyValidate"))
    assert (told.user, told.proxies) == ("ext.ada", [callback.url])
    assert read(bridge.validate(ticket, BACK, path="/cas/p3/proxyValidate")).code == "INVALID_TICKET"


def test_cas_26_the_callback_gets_tickets_of_the_protocols_form(
    bridge: BridgeUnderTest, ada: Browser, callback: Listener
) -> None:
    told = read(bridge.validate(ada.ticket(PORTAL), PORTAL, pgtUrl=callback.url))
    (request,) = callback.received
    assert request.method == "GET"
    assert request.query["pgtId"][0].startswith("PGT-")
    assert str(told.grant_iou).startswith("PGTIOU-")
    assert request.query["pgtId"][0] not in (told.grant_iou or "")


def test_cas_26_the_callbacks_own_query_is_kept(bridge: BridgeUnderTest, ada: Browser, callback: Listener) -> None:
    url = f"{callback.url}/store?site=1&x=%20y"
    read(bridge.validate(ada.ticket(PORTAL), PORTAL, pgtUrl=url))
    assert callback.received[0].target.startswith("/app/store?site=1&x=%20y&pgtId=")


@pytest.mark.parametrize("path", ["/cas/serviceValidate", "/cas/p3/serviceValidate"])
def test_cas_26_service_validate_never_accepts_a_proxy_ticket(
    bridge: BridgeUnderTest, ada: Browser, callback: Listener, path: str
) -> None:
    ticket = ask_proxy(bridge, granted(bridge, ada, callback)).proxy_ticket or ""
    assert read(bridge.validate(ticket, BACK, path=path)).code == "INVALID_TICKET_SPEC"
    assert read(bridge.validate(ticket, BACK, path="/cas/proxyValidate")).code == "INVALID_TICKET"


def test_cas_13_validate_refuses_a_proxy_ticket(bridge: BridgeUnderTest, ada: Browser, callback: Listener) -> None:
    ticket = ask_proxy(bridge, granted(bridge, ada, callback)).proxy_ticket or ""
    assert bridge.validate(ticket, BACK, path="/cas/validate").text == "no\n"


def test_cas_13_validate_knows_no_proxy_callback(bridge: BridgeUnderTest, ada: Browser, callback: Listener) -> None:
    answer = bridge.validate(ada.ticket(PORTAL), PORTAL, path="/cas/validate", pgtUrl=callback.url)
    assert answer.text == "yes\next.ada\n"
    assert not callback.received


def test_cas_26_proxy_validate_accepts_a_service_ticket_without_proxies(bridge: BridgeUnderTest, ada: Browser) -> None:
    told = read(bridge.validate(ada.ticket(), path="/cas/proxyValidate"))
    assert (told.user, told.proxies) == ("ext.ada", [])


def test_cas_26_a_chain_of_proxies_names_the_latest_first(
    bridge: BridgeUnderTest, ada: Browser, callback: Listener
) -> None:
    ticket = ask_proxy(bridge, granted(bridge, ada, callback)).proxy_ticket or ""
    told = read(bridge.validate(ticket, BACK, path="/cas/proxyValidate", pgtUrl=callback.url + "/2"))
    assert told.proxies == [callback.url]
    (second,) = callback.received[-1].query["pgtId"]
    last = ask_proxy(bridge, second, PORTAL).proxy_ticket or ""
    assert read(bridge.validate(last, PORTAL, path="/cas/proxyValidate")).proxies == [callback.url + "/2", callback.url]


@pytest.mark.parametrize("url", ["https://evil.example/", "http://127.0.0.1:1/", "not a url", "file:///etc/passwd"])
def test_cas_26_a_callback_that_is_not_registered_is_never_called(
    bridge: BridgeUnderTest, ada: Browser, callback: Listener, url: str
) -> None:
    assert read(bridge.validate(ada.ticket(PORTAL), PORTAL, pgtUrl=url)).code == "UNAUTHORIZED_SERVICE_PROXY"


@pytest.mark.parametrize("service", [APP, "https://plain.example/"])
def test_cas_17_a_service_that_may_not_proxy_is_told_so(
    bridge: BridgeUnderTest, ada: Browser, callback: Listener, service: str
) -> None:
    told = read(bridge.validate(ada.ticket(service), service, pgtUrl=callback.url))
    assert (told.code, told.grant_iou) == ("UNAUTHORIZED_SERVICE_PROXY", None)
    assert not callback.received


@pytest.mark.parametrize(
    "behaviour",
    [
        listeners.says("500 Internal Server Error"),
        listeners.says("404 Not Found"),
        listeners.says("302 Found", "Location: http://127.0.0.1:1/elsewhere"),
        listeners.hangs_up,
        listeners.babbles,
    ],
    ids=["500", "404", "redirect", "hangs up", "babbles"],
)
def test_cas_17_a_callback_that_does_not_accept_gives_no_grant(
    bridge: BridgeUnderTest, ada: Browser, callback: Listener, behaviour: listeners.Behaviour
) -> None:
    callback.behaviour = behaviour
    told = read(bridge.validate(ada.ticket(PORTAL), PORTAL, pgtUrl=callback.url))
    assert (told.code, told.grant_iou) == ("INVALID_PROXY_CALLBACK", None)
    (grant,) = callback.received[0].query["pgtId"]
    assert ask_proxy(bridge, grant).code == "INVALID_TICKET", "what was sent and not accepted is worth nothing"


@pytest.mark.parametrize("behaviour", [listeners.hangs, listeners.trickles], ids=["hangs", "trickles"])
def test_cas_26_a_callback_that_never_ends_its_answer_is_given_up_in_time(
    bridge: BridgeUnderTest, ada: Browser, callback: Listener, behaviour: listeners.Behaviour
) -> None:
    """Moodle's client has no time-out: validation answers or fails within 2 seconds."""
    callback.behaviour = behaviour
    ticket = ada.ticket(PORTAL)
    started = time.monotonic()
    told = read(bridge.validate(ticket, PORTAL, pgtUrl=callback.url))
    assert told.code == "INVALID_PROXY_CALLBACK"
    assert time.monotonic() - started < 2


def test_cas_26_a_callbacks_endless_body_is_not_read(bridge: BridgeUnderTest, ada: Browser, callback: Listener) -> None:
    callback.behaviour = listeners.floods
    ticket = ada.ticket(PORTAL)
    started = time.monotonic()
    assert read(bridge.validate(ticket, PORTAL, pgtUrl=callback.url)).grant_iou
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("missing", ["pgt", "targetService"])
def test_cas_14_proxy_requires_grant_and_target(bridge: BridgeUnderTest, missing: str) -> None:
    values = {"pgt": "PGT-x", "targetService": BACK}
    del values[missing]
    answer = requests.get(f"{bridge.url}/cas/proxy", params=values, timeout=20)
    assert read(answer).code == "INVALID_REQUEST"


@pytest.mark.parametrize("grant", ["PGT-unknown", "ST-unknown", "x" * 5000, "\x00", "é"])
def test_cas_17_an_unknown_grant_is_refused(bridge: BridgeUnderTest, grant: str) -> None:
    assert ask_proxy(bridge, grant).code == "INVALID_TICKET"


def test_cas_17_an_unregistered_target_is_refused(bridge: BridgeUnderTest, ada: Browser, callback: Listener) -> None:
    assert ask_proxy(bridge, granted(bridge, ada, callback), "https://evil.example/").code == "UNAUTHORIZED_SERVICE"


def test_cas_16_proxy_speaks_json_too(bridge: BridgeUnderTest, ada: Browser, callback: Listener) -> None:
    grant = granted(bridge, ada, callback)
    won = ask_proxy_raw(bridge, grant, format="JSON").json()
    lost = ask_proxy_raw(bridge, "PGT-unknown", format="JSON").json()
    assert won["serviceResponse"]["proxySuccess"]["proxyTicket"].startswith("PT-")
    assert lost["serviceResponse"]["proxyFailure"]["code"] == "INVALID_TICKET"


def test_cas_17_proxy_with_a_database_in_trouble_is_an_internal_error(
    bridge: BridgeUnderTest, ada: Browser, callback: Listener
) -> None:
    grant = granted(bridge, ada, callback)
    with bridge.runtime.database.begin() as session:
        session.execute(text("ALTER TABLE proxy_grants RENAME TO proxy_grants_gone"))
    assert ask_proxy(bridge, grant).code == "INTERNAL_ERROR"


@ON_BOTH_DATABASES
def test_cas_24_grants_die_with_their_session(bridge: BridgeUnderTest, ada: Browser, callback: Listener) -> None:
    grant = granted(bridge, ada, callback)
    waiting = ask_proxy(bridge, grant).proxy_ticket or ""
    ada.get("/cas/logout")
    assert ask_proxy(bridge, grant).code == "INVALID_TICKET"
    assert read(bridge.validate(waiting, BACK, path="/cas/proxyValidate")).code == "INVALID_TICKET"


def test_cas_20_grants_and_proxy_tickets_expire(bridge: BridgeUnderTest, ada: Browser, callback: Listener) -> None:
    grant = granted(bridge, ada, callback)
    ticket = ask_proxy(bridge, grant).proxy_ticket or ""
    bridge.clock.forward(seconds=60)
    assert read(bridge.validate(ticket, BACK, path="/cas/proxyValidate")).code == "INVALID_TICKET"
    assert ask_proxy(bridge, grant).proxy_ticket
    bridge.clock.forward(hours=2)
    assert ask_proxy(bridge, grant).code == "INVALID_TICKET"


def test_cas_15_a_proxy_ticket_is_never_of_a_fresh_password(
    bridge: BridgeUnderTest, ada: Browser, callback: Listener
) -> None:
    ticket = ask_proxy(bridge, granted(bridge, ada, callback)).proxy_ticket or ""
    told = read(bridge.validate(ticket, BACK, path="/cas/proxyValidate", renew="true"))
    assert told.code == "INVALID_TICKET"


@ON_BOTH_DATABASES
def test_i1_a_person_suspended_meanwhile_is_refused_by_proxy_too(
    bridge: BridgeUnderTest, ada: Browser, callback: Listener
) -> None:
    grant = granted(bridge, ada, callback)
    ticket = ask_proxy(bridge, grant).proxy_ticket or ""
    with bridge.runtime.database.begin() as session:
        until = bridge.clock() + timedelta(hours=1)
        suspend(session, session.query(Account).one(), reason="x", until=until, now=bridge.clock(), origin=audit.SYSTEM)
    assert ask_proxy(bridge, grant).code == "INVALID_TICKET"
    assert read(bridge.validate(ticket, BACK, path="/cas/proxyValidate")).code == "INVALID_TICKET"


def test_ses_05_one_applications_cookies_are_not_kept_for_the_next(
    bridge: BridgeUnderTest, ada: Browser, callback: Listener
) -> None:
    callback.behaviour = listeners.says("200 OK", "Set-Cookie: whose=first; Path=/")
    granted(bridge, ada, callback)
    granted(bridge, ada, callback)
    assert "cookie" not in callback.received[1].headers


def test_cas_11_a_back_end_that_accepted_a_proxy_ticket_is_told_of_the_sign_out(
    bridge: BridgeUnderTest, ada: Browser, callback: Listener
) -> None:
    deep = f"{callback.url}/deep"
    ticket = ask_proxy(bridge, granted(bridge, ada, callback), deep).proxy_ticket or ""
    assert read(bridge.validate(ticket, deep, path="/cas/proxyValidate")).user
    ada.get("/cas/logout")
    bridge.runner.run_once()
    (told,) = [request for request in callback.received if request.method == "POST"]
    assert ticket in unquote_plus(told.body.decode())
