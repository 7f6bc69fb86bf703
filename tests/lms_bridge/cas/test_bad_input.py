"""Bad input at every CAS address: a clear page or a protocol answer with the right status, and never a 500."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from typing import Any
from urllib.parse import quote, quote_from_bytes, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.bridge_under_test import APP, BridgeUnderTest, Browser, running_bridge
from tests.lms_bridge.cas.answers import SCHEMA
from tests.postgresql_server import PostgresqlServer

XML = ("/cas/serviceValidate", "/cas/proxyValidate", "/cas/p3/serviceValidate", "/cas/p3/proxyValidate", "/cas/proxy")
PAGES = ("/cas/login", "/cas/logout")
PLAIN, SAML = "/cas/validate", "/cas/samlValidate"
EVERYWHERE = (*PAGES, PLAIN, SAML, *XML)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def bridge(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BridgeUnderTest]:
    """On both databases: what one of them takes, such as a NUL, the other may refuse."""
    changes: dict[str, Any] = {}
    if request.param == "postgresql":
        server: PostgresqlServer = request.getfixturevalue("postgresql")
        changes["database_url"] = server.create_database(like=request.getfixturevalue("migrated_database"))
    with running_bridge(tmp_path_factory.mktemp("bad-input"), **changes) as running:
        running.add_account("ext.ada")
        yield running


@pytest.fixture(scope="module")
def cookie(bridge: BridgeUnderTest) -> str:
    """The cookie of somebody signed in."""
    browser: Browser = bridge.browser()
    browser.sign_in("ext.ada")
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.session.cookies)


class Answered:
    """An answer to a request made of bytes."""

    def __init__(self, bridge: BridgeUnderTest, request: bytes) -> None:
        with socket.create_connection(("127.0.0.1", urlsplit(bridge.url).port or 80), timeout=20) as connection:
            connection.sendall(request)
            answer = HTTPResponse(connection)
            answer.begin()
            self.status, self.headers, self.body = answer.status, answer.headers, answer.read()


def ask(bridge: BridgeUnderTest, target: str, *, method: str = "GET", body: bytes = b"", headers: str = "") -> Answered:
    """Send a request whose target and headers are given as they go over the wire (Latin-1)."""
    head = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    return Answered(bridge, (head + headers + "\r\n").encode("latin-1") + body)


def is_protocol_answer(path: str, answer: Answered) -> None:
    """Fails unless this is what the protocol, or a clear page, may say."""
    content_type = answer.headers.get("Content-Type", "")
    if answer.status in (405, 413):
        return
    if path in PAGES:
        assert answer.status in (200, 302, 303, 400, 403)
        if answer.status in (200, 400, 403):
            assert content_type == "text/html; charset=utf-8"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        return
    assert answer.status == 200, answer.body[:300]
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    if path == PLAIN:
        assert answer.body.startswith((b"no\n", b"yes\n"))
    elif content_type.startswith("application/json"):
        assert b"Failure" in answer.body or b"Success" in answer.body
    elif path == SAML:
        assert etree.fromstring(answer.body) is not None
    else:
        SCHEMA.assertValid(etree.fromstring(answer.body))


BAD_QUERIES = {
    "invalid UTF-8": "service=%ff%fe&ticket=%c3%28&pgt=%ff&targetService=%ff&TARGET=%ff",
    "Latin-1 bytes": "service=\xe9\xe8&ticket=\xe9",
    "NUL": "service=%00&ticket=ST-%00&pgt=%00&TARGET=%00",
    "line ends": "service=https://app.example/landing%0d%0aX-Evil:%201&ticket=ST-1%0d%0a&renew=%0d%0a",
    "overlong service": "service=" + quote(APP + "/" + "x" * 6000, safe=""),
    "overlong query": "x=" + "y" * 30_000,
    "many parameters": "&".join(f"p{number}=1" for number in range(500)),
    "doubled": f"service={APP}&service=https://open.example/&ticket=ST-1&ticket=ST-2&format=XML&format=JSON",
    "half escapes": "service=%&ticket=%4&pgt=%zz",
    "no names": "=&=x&&&==&?",
    "semicolons": f"service={APP};ticket=ST-1",
    "surrogates": "service=%ed%a0%80&ticket=%ed%a0%80",
    "arrays": f"service[]={APP}&ticket[]=ST-1&pgtUrl[]=x",
    "template": "service={{7919*7927}}&ticket=${jndi:ldap://x}",
}


@pytest.mark.parametrize("kind", BAD_QUERIES)
def test_bad_queries_get_a_clear_answer_at_every_address(bridge: BridgeUnderTest, cookie: str, kind: str) -> None:
    for path in EVERYWHERE:
        for headers in ("", f"Cookie: {cookie}\r\n") if path == "/cas/login" else ("",):
            method = "POST" if path == SAML else "GET"
            answer = ask(bridge, f"{path}?{BAD_QUERIES[kind]}", method=method, headers=headers)
            is_protocol_answer(path, answer)
            assert "X-Evil" not in answer.headers
            assert b"62773913" not in answer.body  # nobody calculated the "template"


@pytest.mark.parametrize("path", EVERYWHERE)
def test_wrong_methods_are_told_the_right_one(bridge: BridgeUnderTest, path: str) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"):
        if (path, method) == (SAML, "POST"):
            continue
        answer = ask(bridge, path, method=method)
        assert answer.status == 405, method
        assert ("POST" if path == SAML else "GET") in answer.headers["Allow"]


BAD_COOKIES = [
    "a" * 4000,
    '"; DROP TABLE sso_sessions',
    "\x01\x02",
    "\xff\xfe",
    "%00",
    "; =; ;;",
    "é",
    "0" * 64,
]


@pytest.mark.parametrize("value", BAD_COOKIES)
def test_cookies_that_are_not_ours_are_nobodys(bridge: BridgeUnderTest, value: str) -> None:
    port = urlsplit(bridge.url).port
    for name in ("session", "form", "language", "door", "loop", "username", "device", "browser"):
        header = f"Cookie: lms-bridge-{name}-{port}={value}\r\n"
        answer = ask(bridge, f"/cas/login?service={quote(APP, safe='')}", headers=header)
        assert answer.status in (200, 303)
        assert "ticket=" not in (answer.headers["Location"] or "")
        assert ask(bridge, "/signin/local", headers=header).status == 200


@pytest.mark.parametrize("length", ["-1", "99999999999999999999", "x", "1_0", "٣".encode().decode("latin-1")])
def test_a_saml_request_of_a_nonsense_length_is_refused(bridge: BridgeUnderTest, length: str) -> None:
    head = f"POST {SAML}?TARGET=x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    assert Answered(bridge, head.encode("latin-1")).status in (400, 413)


def test_a_foreign_host_header_changes_no_link(bridge: BridgeUnderTest) -> None:
    """Interoperability 10 and TOK-07: addresses are built from the settings alone."""
    for path in ("/cas/login", "/cas/logout", "/"):
        request = f"GET {path} HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\nConnection: close"
        answer = Answered(bridge, request.encode() + b"\r\n\r\n")
        assert b"evil.example" not in answer.body
        assert "evil.example" not in (answer.headers["Location"] or "")


# --- The fuzz: bounded by its number of requests ---

NAMES = st.sampled_from(
    [
        *("service", "ticket", "renew", "gateway", "method", "format", "pgtUrl", "pgt", "targetService", "TARGET"),
        *("url", "lang", "Service", "service[]", "", "warn", "state", "\x00"),
    ]
)
VALUES = st.one_of(
    st.sampled_from(
        [
            *(APP, "https://open.example/", "https://evil.example/", "true", "false", "POST", "HEADER", "JSON", "xml"),
            *("ST-" + "a" * 29, "PT-x", "PGT-x", "fr", "en", "xx", "", "\x00", "\r\n", "%", "../..", "' OR 1=1"),
        ]
    ),
    st.text(max_size=30),
).map(lambda text: quote(text, safe="", errors="surrogatepass"))
RAW = st.binary(max_size=12).map(lambda data: quote_from_bytes(data, safe=""))
QUERIES = st.lists(
    st.tuples(NAMES.map(quote), VALUES | RAW).map("=".join) | st.from_regex(r"[!-~]{0,10}", fullmatch=True), max_size=6
).map("&".join)
BODIES = st.one_of(
    st.just(b""),
    st.binary(max_size=60),
    st.sampled_from(["<a/>", "<a>", "<!DOCTYPE a []><a/>", "service=x"]).map(str.encode),
)


@given(
    path=st.sampled_from(EVERYWHERE),
    method=st.sampled_from(["GET"] * 6 + ["POST", "HEAD", "PUT", "OPTIONS"]),
    query=QUERIES,
    body=BODIES,
    signed_in=st.booleans(),
)
@settings(max_examples=200)
def test_fuzzed_requests_never_break_a_cas_address(
    bridge: BridgeUnderTest, cookie: str, path: str, method: str, query: str, body: bytes, signed_in: bool
) -> None:
    if path == "/cas/logout" and signed_in:
        return  # it would end the session that the other requests live on
    method = "POST" if path == SAML and method == "GET" else method
    headers = f"Cookie: {cookie}\r\n" if signed_in else ""
    target = f"{path}?{query}".replace("#", "%23").replace(" ", "+")
    answer = ask(bridge, target, method=method, body=body, headers=headers)
    assert answer.status < 500, answer.body[:500]
    location = answer.headers["Location"] or ""
    assert location.startswith(("/", APP, "https://open.example/")) or not location, location
    if method in ("GET", "POST"):
        is_protocol_answer(path, answer)
