"""CAS-15 through the CAS door: `renew` means a password typed for this very ticket, at the university's CAS too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import requests

from lms_bridge.demo.sel import SelDirectory, SelUser, SimulatedSel
from lms_bridge.demo.server import LoopbackServer
from tests.bridge_under_test import APP, BridgeUnderTest, Browser, running_bridge, ticket_in
from tests.lms_bridge.cas.answers import read

OPEN = "https://open.example/"


@pytest.fixture
def sel() -> Iterator[str]:
    """The address of a university's CAS that knows `mdurand`."""
    directory = SelDirectory()
    directory.add(SelUser("mdurand", "secret", {"mail": "m@univ.example"}))
    late: dict[str, SimulatedSel] = {}
    # The port must be known before the CAS.
    server = LoopbackServer(lambda environ, start: late["sel"].wsgi_app(environ, start), 0)  # noqa: PLW0108
    late["sel"] = SimulatedSel(directory, server.url)
    server.start()
    yield server.url
    server.stop()


@pytest.fixture
def bridge(tmp_path: Path, sel: str) -> Iterator[BridgeUnderTest]:
    upstream = {"issuer": "sel", "cas_url": f"{sel}/cas", "trusted_domains": ["univ.example"]}
    with running_bridge(tmp_path, upstreams=[upstream]) as running:
        yield running


def type_password(browser: Browser) -> requests.Response:
    return browser.submit(username="mdurand", password="secret")


def test_cas_15_renew_at_the_universitys_cas_counts_when_the_password_was_typed(bridge: BridgeUnderTest) -> None:
    browser = bridge.browser()
    browser.get(f"/signin/sel?renew=true&service={quote(APP, safe='')}")
    assert read(bridge.validate(ticket_in(type_password(browser)), renew="true")).user == "mdurand"


def test_cas_15_a_session_at_the_universitys_cas_is_no_typed_password(bridge: BridgeUnderTest) -> None:
    browser = bridge.browser()
    browser.get("/signin/sel")
    type_password(browser)
    browser.session.cookies.clear(domain="127.0.0.1", path="/", name=f"lms-bridge-session-{bridge.url[-5:]}")
    ticket = ticket_in(browser.get(f"/signin/sel?service={quote(APP, safe='')}"))
    assert read(bridge.validate(ticket, renew="true")).code == "INVALID_TICKET"


def test_cas_15_renew_taken_out_of_the_universitys_login_address_is_noticed(bridge: BridgeUnderTest) -> None:
    """Somebody at an unlocked computer edits the address so that the university's CAS does not ask."""
    browser = bridge.browser()
    browser.get("/signin/sel")
    type_password(browser)
    leaving = browser.get(f"/signin/sel?renew=true&service={quote(APP, safe='')}", follow=False).headers["Location"]
    assert "renew=true" in leaving
    answer = browser.get(leaving.replace("&renew=true", ""))
    assert answer.status_code == 403
    assert "ticket=" not in answer.url.partition("callback")[0]
