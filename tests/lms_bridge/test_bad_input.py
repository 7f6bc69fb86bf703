"""Every page of the bridge, asked in every wrong way: the right status, a page that says what to do, never an error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from lms_bridge.app import create_app
from lms_bridge.runtime import build_runtime
from lms_bridge.settings import build
from tests.bridge_under_test import APP, BridgeUnderTest, Browser, forms, running_bridge, settings_values

CHARTER = {"version": "1", "url": "https://univ.example/charte"}
SEL = {"issuer": "sel", "cas_url": "http://127.0.0.1:9/cas"}
GARBAGE = ["%00", "%ff%fe", "%0d%0aX-Forged:%201", "%F0%9F%92%A9", "x" * 3000, "..%2f..%2fetc", "%3Cscript%3E"]


def routes() -> dict[str, frozenset[str]]:
    """The addresses of all pages with their methods, their variable parts filled in with something harmless."""
    runtime = build_runtime(build(settings_values(Path("/nonexistent"), charter=CHARTER, upstreams=[SEL])))
    app = create_app(runtime)
    found: dict[str, set[str]] = {}
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?issuer>", "sel", rule.rule)
        path = re.sub(r"<[^>]+>", "token", re.sub(r"<int:[^>]+>", "1", path))
        found.setdefault(path, set()).update(rule.methods or ())
    runtime.close()
    return {path: frozenset(methods) for path, methods in sorted(found.items())}


ROUTES = routes()
POSTED = [path for path, methods in ROUTES.items() if "POST" in methods]
FORMS = [path for path in POSTED if not path.startswith("/api/")]
READ = [path for path, methods in ROUTES.items() if "GET" in methods]


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BridgeUnderTest]:
    folder = tmp_path_factory.mktemp("bad-input")
    with running_bridge(folder, charter=CHARTER, upstreams=[SEL]) as running:
        running.add_account("ext.ada", confirmed=False)
        yield running


@pytest.fixture(scope="module")
def ada(bridge: BridgeUnderTest) -> Browser:
    """Signed in, and before the gate."""
    browser = bridge.browser()
    browser.sign_in("ext.ada")
    return browser


def no_accident(answer: requests.Response) -> None:
    """Not an error of ours, and nothing that was sent came back as markup or header."""
    # 503 is said where the university's CAS does not answer, which in these tests it never does.
    assert answer.status_code < 500 or answer.status_code == 503, answer.text[:300]
    assert "X-Forged" not in answer.headers
    assert "<script>" not in answer.text
    html = answer.headers.get("Content-Type", "").startswith("text/html")
    if answer.status_code >= 400 and html and answer.request.method != "HEAD":
        assert "<h1>" in answer.text
        assert "Traceback" not in answer.text


def test_the_list_of_pages_is_the_real_one() -> None:
    assert {"/", "/signin/local", "/cas/login", "/account/confirm", "/account/charter", "/healthz"} <= set(READ)
    assert {"/signin/local", "/signin/sel/callback", "/account/confirm/token/resend"} <= set(POSTED)


METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "NONSENSE")


@pytest.mark.parametrize(
    ("path", "method"), [(path, method) for path in ROUTES for method in METHODS if method not in ROUTES[path]]
)
def test_a_wrong_method_is_refused_and_the_right_ones_are_named(
    bridge: BridgeUnderTest, path: str, method: str
) -> None:
    answer = requests.request(method, bridge.url + path, timeout=20, allow_redirects=False)
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].replace(" ", "").split(",")) == ROUTES[path]
    no_accident(answer)


@pytest.mark.parametrize("path", READ)
def test_head_answers_as_get_without_a_body_and_changes_nothing_i11(bridge: BridgeUnderTest, path: str) -> None:
    answer = requests.head(bridge.url + path, timeout=20, allow_redirects=False)
    no_accident(answer)
    assert answer.content == b""


@pytest.mark.parametrize("path", READ)
def test_no_query_of_any_kind_breaks_a_page(ada: Browser, bridge: BridgeUnderTest, path: str) -> None:
    names = ["service", "renew", "gateway", "method", "lang", "state", "ticket", "url", "x"]
    queries = [f"{name}={value}" for name in names for value in (*GARBAGE, "a&" + name + "=b")]
    queries += ["&".join(f"p{number}=1" for number in range(60)), "%", "=", "&&&", "lang=fr&lang=en", "%ff=%ff"]
    for query in queries:
        if path == "/cas/logout":  # it would sign Ada out: that is its job
            answer = requests.get(f"{bridge.url}{path}?{query}", timeout=20, allow_redirects=False)
        else:
            answer = ada.session.get(f"{bridge.url}{path}?{query}", timeout=20, allow_redirects=False)
        no_accident(answer)


BODIES: dict[str, Any] = {
    "nothing": b"",
    "no form": b"\x00\xff\xfe\x80",
    "invalid UTF-8": b"identifier=%ff%fe&password=%80&code=%c3%28&charter=%ff&service=%ff&email=%ff",
    "NUL": b"identifier=a%00b&password=a%00b&code=%00&charter=%00&service=%00&email=a%00@b.example",
    "line breaks": b"identifier=a%0d%0ab&password=x&code=a%0d%0ab&charter=1&service=a%0d%0ab&email=a%0d%0ab@c.example",
    "twice": b"identifier=a&identifier=b&password=a&password=b&code=a&code=b&charter=1&charter=2&service=x&service=y",
    "many": b"&".join(b"f%d=1" % number for number in range(3000)),
    "long": b"identifier=" + b"x" * 60_000,
}


@pytest.mark.parametrize("path", POSTED)
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"])
def test_no_body_of_any_kind_breaks_a_form(ada: Browser, path: str, body: str, kind: str) -> None:
    token = forms(ada.get("/signin/local?renew=true"))[0][2]["csrf_token"]
    for data in (BODIES[body], BODIES[body] + b"&csrf_token=" + token.encode()):
        answer = ada.session.post(
            ada.base + path, data=data, headers={"Content-Type": kind}, timeout=20, allow_redirects=False
        )
        no_accident(answer)
        if path == "/account/sign-out" and answer.status_code == 303:
            ada.sign_in("ext.ada")


@pytest.mark.parametrize("path", FORMS)
def test_a_huge_body_is_refused_as_too_much(bridge: BridgeUnderTest, path: str) -> None:
    answer = requests.post(bridge.url + path, data=b"x=" + b"y" * 200_000, timeout=20, allow_redirects=False)
    assert answer.status_code in (400, 413)
    no_accident(answer)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = requests.post(
        bridge.url + path, data=b"x=" + b"y" * 200_000, headers=form, timeout=20, allow_redirects=False
    )
    assert answer.status_code == 413
    assert "<h1>" in answer.text


@pytest.mark.parametrize("path", sorted(set(POSTED) - set(FORMS)))
def test_a_program_without_a_key_gets_a_short_answer_however_much_it_sends(bridge: BridgeUnderTest, path: str) -> None:
    answer = requests.post(bridge.url + path, data=b"x=" + b"y" * 200_000, timeout=20, allow_redirects=False)
    no_accident(answer)
    assert answer.status_code in (401, 404, 405, 413, 429)  # 429: the tests before it knocked without a key as well
    assert answer.headers["Content-Type"] == "application/problem+json"


# The callback is posted by the university's CAS: the ticket it names is its secret.
@pytest.mark.parametrize("path", [path for path in FORMS if path != "/signin/sel/callback"])
def test_a_form_without_its_token_leads_to_a_page_that_exists(bridge: BridgeUnderTest, path: str) -> None:
    answer = requests.post(bridge.url + path, data={"service": APP}, timeout=20, allow_redirects=False)
    assert answer.status_code == 400
    found = re.search(r'class="btn btn-primary" href="([^"]+)"', answer.text)
    assert found
    back = found.group(1).replace("&amp;", "&")
    assert "service=https%3A%2F%2Fapp.example" in back or "token" in back
    again = requests.get(bridge.url + back, timeout=20, allow_redirects=False)
    assert again.status_code in (200, 303, 403, 404)  # 403: registration is closed here


@pytest.mark.parametrize(
    "path", ["/nowhere", "/signin", "/signin/other", "/accounts", "/static/../app.py", "//evil.example"]
)
@pytest.mark.parametrize("tail", ["", "/", "?x=1", "/%00", "/%ff"])
def test_a_page_that_does_not_exist_says_so(bridge: BridgeUnderTest, path: str, tail: str) -> None:
    answer = requests.get(bridge.url + path + tail, timeout=20, allow_redirects=False)
    assert answer.status_code in (404, 308)
    location = answer.headers.get("Location", "")
    assert not location or (location.startswith((bridge.url, "/")) and not location.startswith("//"))
    no_accident(answer)


def test_too_long_a_query_is_refused_with_a_page(bridge: BridgeUnderTest) -> None:
    answer = requests.get(f"{bridge.url}/cas/login?service={'x' * 20_000}", timeout=20)
    assert answer.status_code == 400
    assert "<h1>" in answer.text


@pytest.mark.parametrize(
    "header",
    [{"Accept-Language": "\xff,;q=x"}, {"User-Agent": "\x80" * 900}, {"X-Forwarded-For": "x"}, {"Cookie": "="}],
)
def test_odd_headers_change_nothing(bridge: BridgeUnderTest, header: dict[str, str]) -> None:
    raw = {name: value.encode("latin-1") for name, value in header.items()}
    assert requests.get(f"{bridge.url}/signin/local", headers=raw, timeout=20).status_code == 200


def test_a_database_that_is_gone_is_a_page_that_says_come_back(tmp_path: Path) -> None:
    with running_bridge(tmp_path) as bridge:
        bridge.add_account("ext.ada")
        browser = bridge.browser()
        browser.sign_in("ext.ada")
        with bridge.runtime.database.begin() as session:
            session.connection().exec_driver_sql("ALTER TABLE sso_sessions RENAME TO gone")
        answer = browser.get("/")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert "<h1>" in answer.text
