"""phpCAS, the library inside Moodle's CAS plugin, as a client: in every protocol version it speaks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.bridge_under_test import APP, PASSWORD, SERVICES, Browser
from tests.outside_programs import require, require_program
from tests.peers.conftest import TlsBridge, running_tls_bridge
from tests.peers.programs import reserved_port, running_program
from tests.peers.tls import Authority

pytestmark = pytest.mark.xdist_group("phpcas")

VERSIONS = ["CAS_VERSION_1_0", "CAS_VERSION_2_0", "CAS_VERSION_3_0", "SAML_VERSION_1_1"]
WITH_ATTRIBUTES = ["CAS_VERSION_3_0", "SAML_VERSION_1_1"]


@dataclass
class Application:
    """A PHP application and the bridge it asks."""

    url: str
    bridge: TlsBridge
    sessions: Path

    def person(self) -> Browser:
        """Ada's browser, not signed in."""
        return self.bridge.browser()


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Application]:
    php = require_program("PHP (php-cli)", "php")
    library = require("phpCAS (php-cas)", "/usr/share/php/CAS.php")
    folder = tmp_path_factory.mktemp("phpcas")
    sessions, config = folder / "sessions", folder / "client.json"
    sessions.mkdir()
    script = Path(__file__).parent / "phpcas_application.php"
    with reserved_port() as port:
        url = f"http://127.0.0.1:{port}"
        service = {
            "name": "php",
            "label": {"fr": "Appli PHP", "en": "PHP app"},
            "url": url + "/",
            "attributes": {"mail": "mail", "displayName": "displayName", "profile": "affiliation"},
        }
        with (
            running_tls_bridge(folder, authority, services=[service, *SERVICES]) as bridge,
            running_program(
                [php, "-S", f"127.0.0.1:{port}", script],
                port=port,
                folder=folder,
                environment={"CAS_CLIENT_CONFIG": str(config)},
            ),
        ):
            settings = {
                "library": str(library),
                "cas_port": bridge.port,
                "base_url": url,
                "ca_file": str(authority.ca_file),
                "sessions": str(sessions),
            }
            config.write_text(json.dumps(settings), encoding="utf-8")
            bridge.inner.add_account("ext.ada")
            yield Application(url, bridge, sessions)


def sign_in_when_asked(browser: Browser) -> requests.Response:
    """On the bridge's sign-in page: name and password."""
    assert "identifier" in browser.page.text, (browser.page.status_code, browser.page.text[:500])
    return browser.submit(identifier="ext.ada", password=PASSWORD)


def enter(application: Application, browser: Browser, version: str, page: str = "private") -> dict[str, Any]:
    """Open the application's page, sign in on the way; returns what the application knows."""
    browser.get(f"{application.url}/{version}/{page}")
    answer = sign_in_when_asked(browser)
    assert answer.url.startswith(application.url), answer.text[:500]
    known: dict[str, Any] = answer.json()
    return known


def look(application: Application, browser: Browser, version: str) -> str | None:
    """Who the application's own session says is there."""
    user: str | None = browser.get(f"{application.url}/{version}/look").json()["user"]
    return user


@pytest.mark.parametrize("version", VERSIONS)
def test_phpcas_signs_a_person_in(application: Application, version: str) -> None:
    assert enter(application, application.person(), version)["user"] == "ext.ada"


@pytest.mark.parametrize("version", WITH_ATTRIBUTES)
def test_phpcas_reads_the_attributes_released_to_its_service(application: Application, version: str) -> None:
    known = enter(application, application.person(), version)["attributes"]
    assert known["mail"] == "ext.ada@mail.example"
    assert known["displayName"] == "Ada Lovelace"
    assert known["affiliation"] == "learner"


@pytest.mark.parametrize(
    "query",
    [
        "x=1&y=2",
        "q=%C3%A9t%C3%A9",
        "q=a+b%20c",
        "q",
        "q=&r=",
        "a%5B%5D=1&a%5B%5D=2",
        "next=%2Fthere%3Fticket%3DST-1%26x%3D1",
        "&&x=1&",
        "q=%7e%27%28%29%2a",
        "q=a/b?c:d@e",
    ],
)
def test_cas_07_a_page_with_any_query_is_come_back_to(application: Application, query: str) -> None:
    browser = application.person()
    address = f"{application.url}/CAS_VERSION_3_0/private?{query}"
    browser.get(address)
    answer = sign_in_when_asked(browser)
    assert answer.json()["user"] == "ext.ada", answer.url


def test_phpcas_gets_no_attributes_in_cas_2(application: Application) -> None:
    assert enter(application, application.person(), "CAS_VERSION_2_0")["attributes"] == []


@pytest.mark.parametrize("version", VERSIONS)
def test_phpcas_refuses_a_ticket_made_up(application: Application, version: str) -> None:
    browser = application.person()
    answer = browser.get(f"{application.url}/{version}/private?ticket=ST-{'A' * 29}")
    assert answer.status_code == 401
    assert look(application, browser, version) is None


@pytest.mark.parametrize("version", VERSIONS)
def test_cas_18_phpcas_refuses_a_ticket_of_another_service(application: Application, version: str) -> None:
    browser = application.person()
    browser.sign_in()
    stolen = browser.ticket(APP)
    answer = application.person().get(f"{application.url}/{version}/private?ticket={stolen}")
    assert answer.status_code == 401
    assert "INVALID_TICKET" in application.bridge.inner.validate(stolen).text


@pytest.mark.parametrize("version", VERSIONS)
def test_cas_11_single_logout_ends_the_session_in_phpcas(application: Application, version: str) -> None:
    browser = application.person()
    enter(application, browser, version)
    assert look(application, browser, version) == "ext.ada"
    browser.get(application.bridge.url + "/cas/logout")
    application.bridge.inner.runner.run_once()
    assert look(application, browser, version) is None


def test_cas_11_single_logout_spares_other_peoples_sessions(application: Application) -> None:
    leaving, staying = application.person(), application.person()
    enter(application, leaving, "CAS_VERSION_3_0")
    enter(application, staying, "CAS_VERSION_3_0")
    leaving.get(application.bridge.url + "/cas/logout")
    application.bridge.inner.runner.run_once()
    assert look(application, leaving, "CAS_VERSION_3_0") is None
    assert look(application, staying, "CAS_VERSION_3_0") == "ext.ada"


def test_cas_04_gateway_comes_back_without_a_person_when_nobody_is_signed_in(application: Application) -> None:
    browser = application.person()
    answer = browser.get(f"{application.url}/CAS_VERSION_3_0/open")
    assert answer.url.startswith(application.url)
    assert answer.json()["user"] is None


def test_cas_04_gateway_brings_the_person_who_is_signed_in(application: Application) -> None:
    browser = application.person()
    browser.sign_in()
    assert browser.get(f"{application.url}/CAS_VERSION_3_0/open").json()["user"] == "ext.ada"


@pytest.mark.parametrize("version", VERSIONS)
def test_cas_03_renew_asks_for_the_password_again(application: Application, version: str) -> None:
    browser = application.person()
    browser.sign_in()
    assert enter(application, browser, version, "again")["user"] == "ext.ada"


def test_cas_10_phpcas_signs_out_through_cas_and_comes_back(application: Application) -> None:
    browser = application.person()
    enter(application, browser, "CAS_VERSION_3_0")
    answer = browser.get(f"{application.url}/CAS_VERSION_3_0/leave")
    assert urlsplit(answer.url).path == "/CAS_VERSION_3_0/look"
    assert answer.json()["user"] is None
    assert "identifier" in browser.get(application.bridge.url + "/signin/local").text
