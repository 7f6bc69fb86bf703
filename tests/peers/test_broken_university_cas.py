"""The university's CAS on its bad days: every time a clear page within bounded time, and the other door still open."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.bridge_under_test import APP, BridgeUnderTest, Browser, heading, running_bridge, ticket_in
from tests.peers.audit_trail import audit_details
from tests.peers.broken_servers import HEAD, answering, broken_server, dripping, silent_after
from tests.peers.programs import reserved_port

READ_TIMEOUT = 1
BOUND = 6
"""Seconds: connecting, reading, and a busy machine."""

XMLNS = 'xmlns:cas="http://www.yale.edu/tp/cas"'
SUCCESS = f"""<cas:serviceResponse {XMLNS}><cas:authenticationSuccess><cas:user>cmartin</cas:user>
<cas:attributes><cas:mail>c.martin@univ.example</cas:mail></cas:attributes>
</cas:authenticationSuccess></cas:serviceResponse>""".encode()
FAILURE = f"""<cas:serviceResponse {XMLNS}><cas:authenticationFailure code="INVALID_TICKET">no
</cas:authenticationFailure></cas:serviceResponse>""".encode()
BILLION_LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<cas:serviceResponse xmlns:cas="http://www.yale.edu/tp/cas"><cas:authenticationSuccess><cas:user>&b;</cas:user>
</cas:authenticationSuccess></cas:serviceResponse>"""

GARBAGE: dict[str, Any] = {
    "nothing": answering(b""),
    "a page": answering(b"<html><body>Maintenance</body></html>"),
    "not text": answering(bytes(range(256))),
    "a truncated answer": answering(SUCCESS[:-40]),
    "an error of the server": answering(SUCCESS, "500 Internal Server Error"),
    "an answer without a person": answering(SUCCESS.replace(b"<cas:user>cmartin</cas:user>", b"")),
    "an empty name": answering(SUCCESS.replace(b"cmartin", b"")),
    "another namespace": answering(
        b"<serviceResponse><authenticationSuccess><user>x</user></authenticationSuccess></serviceResponse>"
    ),
    "a success alone": answering(SUCCESS[SUCCESS.index(b"<cas:auth") : SUCCESS.index(b"</cas:serviceR")]),
    "a success that holds nothing": answering(b"<authenticationSuccess/>"),
    "yes and no at once": answering(SUCCESS.replace(b"</cas:serviceResponse>", FAILURE[FAILURE.index(b"<cas:auth") :])),
    "entities": answering(BILLION_LAUGHS),
    "too much": answering(SUCCESS.replace(b"cmartin", b"c" * 400_000)),
    "half an answer": silent_after(HEAD + b"Content-Length: 1000\r\n\r\n<cas:"),
    "a broken encoding": answering(b"\x1f\x8bnot really", "200 OK", "Content-Encoding: gzip"),
    "a broken chunk": silent_after(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "silence": silent_after(b""),
    "one byte at a time": dripping(SUCCESS, READ_TIMEOUT * 0.4),
    "no HTTP": silent_after(b"220 smtp.example ESMTP\r\n"),
}


def university(cas_url: str, **more: Any) -> dict[str, Any]:
    return {"issuer": "sel", "cas_url": cas_url, "connect_timeout": 1, "read_timeout": READ_TIMEOUT, **more}


def come_back(bridge: BridgeUnderTest, browser: Browser) -> requests.Response:
    """As if the CAS had sent the browser back: its own state, and some ticket."""
    with_state = browser.get("/signin/sel", params={"service": APP}, follow=False)
    callback = parse_qs(urlsplit(with_state.headers["Location"]).query)["service"][0]
    return browser.get(callback + "&ticket=ST-1", follow=False)


@pytest.mark.parametrize("behaviour", GARBAGE.values(), ids=GARBAGE.keys())
def test_a_cas_that_answers_garbage_gets_a_clear_page_in_bounded_time(
    tmp_path: Path, behaviour: Callable[..., None]
) -> None:
    with broken_server(behaviour) as cas, running_bridge(tmp_path, upstreams=[university(cas)]) as bridge:
        started = time.monotonic()
        page = come_back(bridge, bridge.browser())
        took = time.monotonic() - started
        assert page.status_code == 503
        assert "ne répond pas" in heading(page)
        assert "Extérieurs" in page.text
        assert took < BOUND
        assert len(audit_details(bridge, "signin.cas", "unreachable")) == 1


def test_a_cas_that_redirects_the_validation_is_not_followed(tmp_path: Path) -> None:
    with broken_server(answering(SUCCESS)) as elsewhere:
        away = answering(b"", "302 Found", f"Location: {elsewhere}/?ticket=ST-1")
        with broken_server(away) as cas, running_bridge(tmp_path, upstreams=[university(cas)]) as bridge:
            assert come_back(bridge, bridge.browser()).status_code == 503


def test_a_cas_that_says_blanks_before_its_answer_is_understood(tmp_path: Path) -> None:
    padded = answering(b"\n\n  " + SUCCESS + b"\n")
    with broken_server(padded) as cas, running_bridge(
        tmp_path, upstreams=[university(cas, trusted_domains=["univ.example"])]
    ) as bridge:  # fmt: skip
        ticket = ticket_in(come_back(bridge, bridge.browser()))
        assert "<cas:user>cmartin</cas:user>" in bridge.validate(ticket).text


def test_a_refusal_keeps_the_error_code_of_the_cas_in_the_audit_trail(tmp_path: Path) -> None:
    odd = answering(FAILURE.replace(b"INVALID_TICKET", b"ACCOUNT_LOCKED_BY_MONKEYS"))
    with broken_server(odd) as cas, running_bridge(tmp_path, upstreams=[university(cas)]) as bridge:
        page = come_back(bridge, bridge.browser())
        assert page.status_code == 403
        assert "Extérieurs" in page.text
        [details] = audit_details(bridge, "signin.cas", "refused")
        assert "ACCOUNT_LOCKED_BY_MONKEYS" in details["upstream_code"]


def test_a_cas_that_is_down_is_explained_at_the_door_and_the_other_door_stays_open(tmp_path: Path) -> None:
    with reserved_port() as port, running_bridge(
        tmp_path, upstreams=[university(f"http://127.0.0.1:{port}/cas")]
    ) as bridge:  # fmt: skip
        bridge.add_account("ext.ada")
        browser = bridge.browser()
        page = browser.get("/signin/sel", params={"service": APP})
        assert page.status_code == 503
        assert "ne répond pas" in heading(page)
        browser.get("/signin/local", params={"service": APP})
        ticket = ticket_in(browser.submit(identifier="ext.ada", password="correct horse battery"))
        assert "<cas:user>ext.ada</cas:user>" in bridge.validate(ticket).text


def test_a_cas_that_is_back_is_used_again_at_once_or_soon(tmp_path: Path) -> None:
    with reserved_port() as port:
        address = f"http://127.0.0.1:{port}"
        with running_bridge(tmp_path, upstreams=[university(address)]) as bridge:
            assert bridge.browser().get("/signin/sel", follow=False).status_code == 503
            with broken_server(answering(SUCCESS), port=port):
                bridge.clock.forward(seconds=10)
                answer = bridge.browser().get("/signin/sel", follow=False)
                assert answer.headers["Location"].startswith(address + "/login?")


@pytest.mark.parametrize("page", ["/cas/logout", "/account/sign-out"])
def test_signing_out_while_the_cas_is_down_ends_on_our_page(tmp_path: Path, page: str) -> None:
    with reserved_port() as port, running_bridge(
        tmp_path, upstreams=[university(f"http://127.0.0.1:{port}", trusted_domains=["univ.example"])]
    ) as bridge:  # fmt: skip
        browser = bridge.browser()
        with broken_server(answering(SUCCESS), port=port):
            assert ticket_in(come_back(bridge, browser))
        bridge.clock.forward(minutes=1)
        answer = browser.get(page)
        if page == "/account/sign-out":
            answer = browser.submit()
        else:
            assert f"127.0.0.1:{port}/logout?" in answer.text  # its session may be open still: said, with a link
        assert heading(answer) == "Vous êtes déconnecté·e"
        assert browser.get("/cas/login", params={"service": APP}, follow=False).status_code == 200
