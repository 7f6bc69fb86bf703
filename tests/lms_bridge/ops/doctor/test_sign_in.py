"""The way from Moodle's login page to the bridge: each possible mismatch, on the simulated plugin."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote, urlsplit

import pytest

from lms_bridge.cas.services import ServiceRegistry
from lms_bridge.i18n import use_locale
from lms_bridge.ops.doctor import sign_in_checks
from lms_bridge.ops.doctor.findings import Finding, Verdict
from lms_bridge.settings.sections import Service
from moodle_ws.simulator.options import AUTH_CAS, AUTH_CASATTRAS
from tests.lms_bridge.ops.doctor.conftest import Clinic, healthy_site

PUBLIC = "https://connexion.univ.example"
ASKED = "https://m.example/login/index.php"


def led_to(location: str) -> list[Finding]:
    """The findings for a login page that sends people to `location`."""
    facts = healthy_site()
    moved = replace(facts.login, status=302, headers={"Location": location})
    label = {"fr": "UPdago", "en": "UPdago"}
    service = Service(name="updago", label=label, url=ASKED, site="updago")
    registry = ServiceRegistry([service], site_urls={"updago": "https://m.example"})
    with use_locale("en"):
        return list(sign_in_checks.check(healthy_site(button=moved, login=moved), registry, PUBLIC))


def test_one_redirect_proves_plugin_address_and_registration(clinic: Clinic) -> None:
    report = clinic.examine()
    assert report.line("cas_plugin")["seen"] == f"Moodle sends people to {clinic.settings['public_url']}/cas/login"
    assert report.line("cas_service")["seen"].endswith("/login/index.php?authCAS=CAS, registered as updago")
    assert "gateway=true" in report.line("gateway")["seen"]
    assert "multiauth = No" in report.line("login_page")["seen"]


def test_a_login_page_with_a_button_is_as_good(clinic: Clinic) -> None:
    clinic.moodle(multiauth=True)
    report = clinic.examine()
    assert report.verdict("cas_plugin") == "ok"
    assert "multiauth = Yes" in report.line("login_page")["seen"]


def test_a_moodle_without_the_plugin_shows_its_own_form(clinic: Clinic) -> None:
    clinic.moodle(cas_url=None)
    line = clinic.examine().line("cas_plugin")
    assert (line["verdict"], line["seen"]) == ("problem", "Moodle's own form instead of a redirect")
    assert "auth_cas" in line["fix"]


def test_the_other_plugins_button_is_recognised(clinic: Clinic) -> None:
    clinic.moodle(multiauth=True, cas_plugin=AUTH_CASATTRAS)
    line = clinic.examine().line("cas_plugin")
    assert (line["verdict"], line["where"]) == ("problem", "sites.updago.plugin")
    assert line["fix"] == 'Write plugin = "casattras" for this site.'


def test_casattras_needs_its_own_way_to_sign_out(clinic: Clinic) -> None:
    clinic.moodle(cas_plugin=AUTH_CASATTRAS)
    clinic.site["plugin"] = "casattras"
    clinic.canary.auth = "casattras"
    assert clinic.examine().verdict("cas_service") == "warning"
    clinic.service["logout_parameter"] = "url"
    report = clinic.examine()
    assert report.verdict("cas_service") == "ok"
    assert report.verdict("auth_method") == "ok"


@pytest.mark.parametrize(
    ("cas_url", "fix"),
    [
        ("http://127.0.0.1:1/cas", "Set: port = "),
        ("{public}/realm/cas", "Set: baseuri = cas"),
        ("http://cas.univ.example/cas", "Set: hostname = 127.0.0.1, port = "),
    ],
)
def test_a_plugin_that_points_elsewhere_is_told_what_to_set(clinic: Clinic, cas_url: str, fix: str) -> None:
    clinic.moodle(cas_url=cas_url.format(public=clinic.settings["public_url"]))
    line = clinic.examine().line("cas_plugin")
    assert line["verdict"] == "problem"
    assert line["fix"].startswith(fix)
    assert line["where"].endswith("CAS server (SSO)")


def test_only_the_scheme_being_wrong_is_explained() -> None:
    [line] = led_to(f"http://connexion.univ.example:443/cas/login?service={quote(ASKED, safe='')}")
    assert line.verdict is Verdict.PROBLEM
    assert "https only" in line.fix


def test_an_alternate_login_page_is_no_cas_server(clinic: Clinic) -> None:
    clinic.moodle(cas_url=None, alternateloginurl="https://www.univ.example/entrer")
    line = clinic.examine().line("cas_plugin")
    assert line["verdict"] == "problem"
    assert "alternateloginurl" in line["where"]


def test_an_alternate_login_page_beside_the_button_is_noticed(clinic: Clinic) -> None:
    clinic.moodle(multiauth=True, alternateloginurl="https://www.univ.example/entrer")
    report = clinic.examine()
    assert report.verdict("cas_plugin") == "ok"
    assert report.verdict("login_page") == "warning"


def test_a_moodle_that_corrects_its_address_is_noticed(clinic: Clinic) -> None:
    port = urlsplit(clinic.site["url"]).port
    clinic.world.moodle.site.wwwroot = f"http://localhost:{port}"
    clinic.site["url"] = f"http://127.0.0.1:{port}"
    assert clinic.examine().verdict("cas_plugin") == "problem"


def test_an_error_page_instead_of_the_redirect_is_a_problem(clinic: Clinic) -> None:
    clinic.site["url"] = f"{clinic.site['url']}/elsewhere"
    assert clinic.examine().line("cas_plugin")["seen"] == "HTTP 404 without a redirect one can follow"


def test_a_blank_page_points_at_certificate_path_and_hostname() -> None:
    facts = healthy_site()
    blank = replace(facts.login, body=b"")
    line = sign_in_checks.no_redirect(facts, blank)
    assert line.verdict is Verdict.PROBLEM
    assert "certificate_path" in line.fix
    assert "hostname" in line.fix


def test_an_unregistered_address_is_told_how_to_be_registered(clinic: Clinic) -> None:
    clinic.settings["services"] = clinic.settings["services"][1:]
    line = clinic.examine().line("cas_service")
    assert (line["verdict"], line["where"]) == ("problem", "services.url")
    assert f'url = "{clinic.site["url"]}/login/index.php", site = "updago"' in line["fix"]


def test_a_service_that_does_not_name_the_site_is_a_problem(clinic: Clinic) -> None:
    del clinic.service["site"]
    line = clinic.examine().line("cas_service")
    assert (line["verdict"], line["where"]) == ("problem", "services.updago.site")


def test_a_plugin_that_does_not_ask_with_gateway_is_fine() -> None:
    lines = {line.check: line for line in led_to(f"{PUBLIC}/cas/login?service={quote(ASKED, safe='')}")}
    assert lines["gateway"].verdict is Verdict.OK
    assert "without gateway" in lines["gateway"].seen
    assert lines["cas_service"].verdict is Verdict.OK


@pytest.mark.parametrize("location", ["", "/login/index.php?x=1", "http://[", "https://:99999/cas/login"])
def test_a_redirect_that_leads_nowhere_is_a_problem(location: str) -> None:
    [line] = led_to(location)
    assert line.verdict is Verdict.PROBLEM


def test_the_buttons_of_the_doctor_are_those_of_the_plugins() -> None:
    for plugin in (AUTH_CAS, AUTH_CASATTRAS):
        assert sign_in_checks.BUTTONS[plugin.auth] == "=".join(plugin.button)
