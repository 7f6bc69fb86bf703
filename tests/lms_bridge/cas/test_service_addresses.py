"""CAS-05 and D50: nothing unregistered is ever redirected to, whatever tricks an address plays.

The oracle is a browser's: what counts is where a browser would go with the `Location` it gets, read with the WHATWG
rules that differ from Python's parser (backslashes are slashes, tabs and line ends vanish, user info is skipped …).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pytest
import requests
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lms_bridge.cas.services import ServiceRefused, ServiceRegistry, with_ticket
from lms_bridge.settings.sections import Service
from tests.bridge_under_test import APP, SERVICES, BridgeUnderTest, Browser, forms, running_bridge, ticket_in

EXACT = "https://exact.example/cas?x=1"
ALL: list[dict[str, Any]] = [
    *SERVICES,
    {"name": "exact", "label": {"fr": "Exact"}, "url": EXACT, "match": "exact"},
    {"name": "byurl", "label": {"fr": "Url"}, "url": "https://byurl.example/", "logout_parameter": "url"},
    {"name": "ported", "label": {"fr": "Port"}, "url": "https://ported.example:8443/app"},
]
REGISTRY = ServiceRegistry([Service.model_validate(entry) for entry in ALL], site_urls={})
HOSTS = ("app.example", "open.example", "exact.example", "byurl.example", "ported.example")

TRICKS = [
    "https://app.example@evil.example/landing",
    "https://app.example%40evil.example/landing",
    "https://app.example:pw@evil.example/landing",
    "https://evil.example@app.example/landing",
    "https://user:password@app.example/landing",
    "https://@app.example/landing",
    "https://evil.example#@app.example/landing",
    "https://evil.example\\@app.example/landing",
    "https://evil.example\\.app.example/landing",
    "https:\\\\app.example\\landing",
    "https:/app.example/landing",
    "https:app.example/landing",
    "https:///app.example/landing",
    "https:////evil.example/landing",
    "//app.example/landing",
    "/landing",
    "https://app.example.evil.example/landing",
    "https://evilapp.example/landing",
    "https://app.example./landing",
    "https://app.example:8443/landing",
    "https://app.example:443@evil.example/landing",
    "https://app.example:/landing@evil.example",
    "https://app.example/landing/../other",
    "https://app.example/landing/%2e%2e/other",
    "https://app.example/landing/.%2E/other",
    "https://app.example/landing/%252e%252e/other",
    "https://app.example/landing/..;x/other",
    "https://app.example/landing/..%3bx/other",
    "https://app.example/landing%2f..%2fother",
    "https://app.example/landing%5c..%5cother",
    "https://app.example/landing\\..\\other",
    "https://app.example//landing",
    "https://app.example/./landing",
    "https://app.example/landingother",
    "https://app.example/Landing",
    "https://app.example/other?/landing",
    "https://app.example/other#/landing",
    "https://app.example/landing\x00.evil.example",
    "https://app.example/landing%00",
    "https://app.example/landing%0d%0aLocation:%20https://evil.example",
    "https://app.example/landing\r\nLocation: https://evil.example",
    "https://app.ex\tample/landing",
    "ht\ntps://evil.example/landing",
    " https://evil.example/landing",
    "\x01https://evil.example/landing",
    "https://ａpp.example/landing",
    "https://app。example/landing",
    "https://app.example\u2044evil.example/landing",
    "https://app\u200b.example/landing",
    "https://аpp.example/landing",
    "https://[::1]/landing",
    "https://[app.example]/landing",
    "https://app.example:٤٤٣/landing",
    "https://app.example:443:444/landing",
    "https://app.example:99999/landing",
    "https://app.example:-1/landing",
    "http://app.example/landing",
    "ftp://app.example/landing",
    "javascript:alert(1)//app.example/landing",
    "javascript://app.example/landing%0aalert(1)",
    "data:text/html,https://app.example/landing",
    "https://exact.example/cas",
    "https://exact.example/cas?x=1&y=2",
    "https://exact.example/cas?y=2&x=1",
    "https://exact.example/cas/?x=1",
    "https://ported.example/app",
    "https://app.example/landing/" + "a" * 2000,
    "https://" + "a." * 900 + "app.example/landing",
    "https://" + "a" * 70 + ".example/landing",
]
FINE = [
    APP,
    APP + "/",
    APP + "?",
    APP + "/a/b;c=1?d=e#f",
    "HTTPS://APP.EXAMPLE/landing",
    "https://app.example:443/landing",
    "https://app.example:/landing",
    "https://app.example/landing?next=https://evil.example/../x",
    "https://app.example/landing?a[]=1&b={2}",
    "https://app.example/landing/%20%C3%A9/é",
    "https://open.example",
    "https://open.example?x",
    EXACT,
    EXACT + "#anything",
]


def browser_origin(location: str) -> tuple[str, str, int] | None:
    """Scheme, host and port where a browser goes with this `Location`; None for a path on the bridge itself."""
    text = re.sub(r"[\t\n\r]", "", location).strip("".join(map(chr, range(0x21))))
    if re.match(r"[\\/]{2}", text):
        text = "http:" + text
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):[\\/]*([^\\/?#]*)", text)
    if found is None:
        return None
    scheme, authority = found.group(1).lower(), found.group(2).rpartition("@")[2]
    host, _, port = authority.partition(":")
    return scheme, unquote(host).lower(), int(port) if port.isascii() and port.isdecimal() else 443


def is_home(location: str, bridge: BridgeUnderTest) -> bool:
    """Whether a browser stays on the bridge, or goes to a registered service."""
    where = browser_origin(location)
    own = urlsplit(bridge.url)
    if where is None or where == ("http", own.hostname, own.port):
        return True
    return where in {("https", host, 443) for host in HOSTS} | {("https", "ported.example", 8443)}


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BridgeUnderTest]:
    """One bridge for the whole module: nothing here changes it but the sessions of each test's own browser."""
    upstream = {"issuer": "sel", "cas_url": "https://cas.univ.example/cas"}
    with running_bridge(tmp_path_factory.mktemp("addresses"), services=ALL, upstreams=[upstream]) as running:
        running.add_account("ext.ada")
        yield running


@pytest.fixture(scope="module")
def ada(bridge: BridgeUnderTest) -> Browser:
    browser = bridge.browser()
    browser.sign_in("ext.ada")
    return browser


def everywhere(bridge: BridgeUnderTest, ada: Browser, service: str) -> Iterator[requests.Response]:
    """The answers of every address that takes a service, signed in and not."""
    quoted = quote(service, safe="", errors="surrogatepass")
    for query in ("", "&gateway=true", "&renew=true", "&method=POST"):
        yield ada.get(f"/cas/login?service={quoted}{query}", follow=False)
        yield bridge.browser().get(f"/cas/login?service={quoted}{query}", follow=False)
    for browser in (ada, bridge.browser()):
        yield browser.get(f"/signin/local?service={quoted}", follow=False)
        yield browser.get(f"/signin/sel?service={quoted}", follow=False)
    for name in ("service", "url"):
        yield bridge.browser().get(f"/cas/logout?{name}={quoted}", follow=False)


@pytest.mark.parametrize("service", TRICKS)
def test_cas_05_no_trick_gets_a_ticket_or_a_redirect(bridge: BridgeUnderTest, ada: Browser, service: str) -> None:
    for answer in everywhere(bridge, ada, service):
        assert answer.status_code in (200, 400, 403), (answer.status_code, answer.url)
        assert "Location" not in answer.headers
        assert "ST-" not in answer.text
        leads = [action for action, _, _ in forms(answer)] + re.findall(r'(?:href|url)="?([^">]*)', answer.text)
        assert all(is_home(html.unescape(lead), bridge) for lead in leads if not lead.startswith("mailto:")), leads


@pytest.mark.parametrize("service", FINE)
def test_cas_05_registered_addresses_work_in_every_spelling(ada: Browser, service: str) -> None:
    answer = ada.get(f"/cas/login?service={quote(service, safe='')}", follow=False)
    assert ticket_in(answer)


@pytest.mark.parametrize("door", ["/signin/local", "/signin/sel", "/signin/nobody", "/signin/nobody/callback"])
def test_cas_05_the_doors_refuse_unregistered_services_too(bridge: BridgeUnderTest, door: str) -> None:
    answer = bridge.browser().get(f"{door}?service={quote('https://evil.example/', safe='')}", follow=False)
    assert answer.status_code in (403, 404)
    assert "Location" not in answer.headers


def test_cas_05_a_sign_in_with_an_unregistered_service_leads_nowhere(bridge: BridgeUnderTest) -> None:
    browser = bridge.browser()
    hidden = forms(browser.get("/signin/local"))[0][2]
    answer = browser.session.post(
        f"{bridge.url}/signin/local?service=https%3A%2F%2Fevil.example%2F",
        data=hidden | {"identifier": "ext.ada", "password": "x"},
        allow_redirects=False,
        timeout=20,
    )
    assert answer.status_code == 403
    assert "Location" not in answer.headers


# --- Properties ---

_PIECES = st.sampled_from(
    [
        *("https:", "http:", "//", "/", "\\", "///", "@", ":", ":443", ":8443", "#", "?", ".", "..", "%2e", "%2E%2e"),
        *("%2f", "%5c", "%00", "%0d%0a", "\t", "\n", "\r", "\x00", " ", "%20", "%25", "%252e", ";", "&", "=", "[", "]"),
        *("app.example", "APP.EXAMPLE", "open.example", "exact.example", "byurl.example", "ported.example"),
        *(
            "evil.example",
            "landing",
            "cas",
            "x=1",
            "app",
            "é",
            "ａ",
            "。",
            "\u200d",
            "\u2028",
            "😀",
            "localhost",
            "127.0.0.1",
        ),
    ]
)
ADDRESSES = st.one_of(
    st.lists(_PIECES, max_size=10).map("".join),
    st.tuples(st.sampled_from([APP, "https://open.example/", EXACT]), st.lists(_PIECES, max_size=6)).map(
        lambda pair: pair[0] + "".join(pair[1])
    ),
    st.tuples(st.sampled_from([APP, "https://open.example"]), st.integers(0, 20), st.characters()).map(
        lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] :]
    ),
    st.text(max_size=60).map(lambda text: "https://open.example/" + text),
)


@given(ADDRESSES)
@settings(max_examples=80)
def test_cas_05_whatever_address_is_asked_for_the_browser_stays_with_the_registered(
    bridge: BridgeUnderTest, ada: Browser, service: str
) -> None:
    quoted = quote(service, safe="", errors="surrogatepass")
    for path in (f"/cas/login?gateway=true&service={quoted}", f"/cas/logout?service={quoted}&url={quoted}"):
        browser = ada if "login" in path else bridge.browser()
        answer = browser.get(path, follow=False)
        assert answer.status_code < 500
        if "Location" in answer.headers:
            assert is_home(answer.headers["Location"], bridge), answer.headers["Location"]
            assert answer.headers["Location"].isascii()


@given(ADDRESSES)
@settings(max_examples=600)
@example("https://app.example/landing?ticket=1&%74icket=2&a[]=%&b=#x#y")
def test_cas_07_the_service_gets_its_own_address_and_the_ticket(service: str) -> None:
    try:
        REGISTRY.find(service)
    except ServiceRefused:
        return
    location = with_ticket(service, "ST-1")
    before, after = urlsplit(service), urlsplit(location)
    assert location.isascii()
    assert not re.search(r"[\x00-\x20\x7f\"<>\\]", location)
    assert (after.scheme, after.hostname, after.port) == (before.scheme, before.hostname, before.port)
    assert unquote(after.path) == unquote(before.path)
    assert unquote(after.fragment) == unquote(before.fragment)
    # What the application reads: its own parameters in their order, and one ticket at the end.
    theirs = [pair for pair in parse_qsl(before.query, keep_blank_values=True) if pair[0] != "ticket"]
    assert parse_qsl(after.query, keep_blank_values=True) == [*theirs, ("ticket", "ST-1")]
    if service.isascii() and "ticket" not in unquote(before.query) and not re.search(r"[\"<>]", service):
        # Byte for byte: the application takes the ticket off and validates with what is left.
        address, mark, fragment = service.partition("#")
        address = address[:-1] if address.endswith("?") and address.count("?") == 1 else address
        assert re.sub(r"[?&]ticket=ST-1", "", location, count=1) == address + mark + fragment


@given(ADDRESSES)
@settings(max_examples=600)
def test_d50_what_the_register_lets_through_is_registered_for_a_browser_too(service: str) -> None:
    try:
        found = REGISTRY.find(service)
    except ServiceRefused:
        return
    where = browser_origin(with_ticket(service, "ST-1"))
    registered = urlsplit(found.url)
    assert where == (registered.scheme, registered.hostname, registered.port or 443)
    path = unquote(unquote(urlsplit(service).path)) or "/"
    base = registered.path.rstrip("/")
    assert path == base or path.startswith(base + "/")
    assert not {".", ".."} & set(path.replace("\\", "/").split("/"))
