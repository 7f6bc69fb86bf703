"""A Django application with django-cas-ng: its own login view, callback and single logout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.bridge_under_test import APP, PASSWORD, SERVICES, BridgeUnderTest, Browser, running_bridge
from tests.peers.django_projects import running_django_application
from tests.peers.programs import reserved_port

pytestmark = pytest.mark.xdist_group("django-cas-ng")

VERSIONS = ["2", "3", "CAS_2_SAML_1_0"]


@dataclass
class DjangoApplication:
    """A running application and the bridge it asks."""

    url: str
    bridge: BridgeUnderTest
    version: str

    def who(self, browser: Browser) -> dict[str, str]:
        """What the application's own session says."""
        known: dict[str, str] = browser.get(self.url + "/").json()
        return known

    def enter(self, browser: Browser) -> None:
        """Ask for the private page and sign in on the way."""
        browser.get(self.url + "/private")
        page = browser.submit(identifier="ext.ada", password=PASSWORD)
        assert page.url.startswith(self.url + "/private"), page.text[:500]


@pytest.fixture(scope="module", params=VERSIONS)
def application(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DjangoApplication]:
    folder = tmp_path_factory.mktemp("django")
    with reserved_port() as port:
        url = f"http://127.0.0.1:{port}"
        service = {
            "name": "django",
            "label": {"fr": "Appli Django", "en": "Django app"},
            "url": url + "/",
            "attributes": {"mail": "mail", "sn": "familyName"},
        }
        with (
            running_bridge(folder, services=[service, *SERVICES]) as bridge,
            running_django_application(folder / "django", port, cas_url=bridge.url + "/cas/", version=request.param),
        ):
            bridge.add_account("ext.ada")
            yield DjangoApplication(url, bridge, request.param)


def test_django_cas_ng_signs_a_person_in_on_the_page_asked_for(application: DjangoApplication) -> None:
    browser = application.bridge.browser()
    assert application.who(browser)["user"] is None
    application.enter(browser)
    assert application.who(browser)["user"] == "ext.ada"


def test_django_cas_ng_fills_its_user_from_the_attributes(application: DjangoApplication) -> None:
    browser = application.bridge.browser()
    application.enter(browser)
    known = application.who(browser)
    with_attributes = application.version != "2"
    assert known["email"] == ("ext.ada@mail.example" if with_attributes else "")
    assert known["last_name"] == ("Lovelace" if with_attributes else "")


def test_cas_18_django_cas_ng_refuses_a_ticket_of_another_service(application: DjangoApplication) -> None:
    browser = application.bridge.browser()
    browser.sign_in()
    stolen = browser.ticket(APP)
    stranger = application.bridge.browser()
    assert stranger.get(f"{application.url}/login?ticket={stolen}").status_code == 403
    assert application.who(stranger)["user"] is None


def test_cas_11_single_logout_ends_the_session_in_django_cas_ng(application: DjangoApplication) -> None:
    leaving, staying = application.bridge.browser(), application.bridge.browser()
    application.enter(leaving)
    application.enter(staying)
    leaving.get(application.bridge.url + "/cas/logout")
    application.bridge.runner.run_once()
    ended = application.who(leaving)["user"] is None
    # Of the three, python-cas reads logout messages in CAS 3 and SAML only.
    assert ended == (application.version != "2")
    assert application.who(staying)["user"] == "ext.ada"


def test_cas_10_signing_out_of_django_cas_ng_signs_out_of_cas(application: DjangoApplication) -> None:
    browser = application.bridge.browser()
    application.enter(browser)
    browser.get(application.url + "/logout")
    assert application.who(browser)["user"] is None
    page = browser.get(application.url + "/private")
    assert page.url.startswith(application.bridge.url)
