"""The site and its server: one fault each."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lms_bridge.i18n import use_locale
from lms_bridge.ops.doctor import gathering, site_checks, words
from lms_bridge.ops.doctor.findings import Subject, Verdict
from lms_bridge.ops.doctor.probes import NoAnswer, Page, Silence
from lms_bridge.ops.doctor.site_facts import RawCall
from moodle_ws.simulator.flavours import Version
from moodle_ws.simulator.options import Debug
from tests.lms_bridge.ops.doctor.conftest import SITE_INFO, Clinic, healthy_site
from tests.peers.broken_servers import answering, broken_server, dripping, silent_after

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SUBJECT = Subject("site:updago", "clock", "The site's clock", "somewhere")
PAGE = Page(200, {}, b"", 0.05, NOW)


def test_a_stopped_moodle_is_said_not_to_answer_and_the_rest_to_be_unseen(clinic: Clinic) -> None:
    clinic.site["url"] = "http://127.0.0.1:1"
    clinic.service["url"] = "http://127.0.0.1:1/login/index.php"
    report = clinic.examine()
    assert report.line("answers")["seen"] == "http://127.0.0.1:1: no connection"
    assert report.verdict("everything_else") == "unseen"
    assert report.exit_code == 6


def test_an_unknown_host_name_is_named_as_the_cause(clinic: Clinic) -> None:
    clinic.site["url"] = "https://moodle.invalid"
    clinic.service["url"] = "https://moodle.invalid/login/index.php"
    assert "host name is not known" in clinic.examine().line("answers")["seen"]


def test_maintenance_is_said_with_the_menu_where_it_ends(clinic: Clinic) -> None:
    clinic.world.down()
    line = clinic.examine().line("answers")
    assert line["verdict"] == "problem"
    assert "maintenance" in line["seen"]
    assert line["where"].endswith("Maintenance mode")


def test_maintenance_of_the_web_service_alone_counts_as_unreachable(clinic: Clinic) -> None:
    clinic.world.moodle.faults.next("", *["maintenance"] * 4)
    report = clinic.examine()
    assert report.line("web_service")["seen"] == "under maintenance"
    assert report.exit_code == 6


def test_a_moodle_that_goes_silent_costs_seconds_and_no_more(clinic: Clinic) -> None:
    with broken_server(silent_after(b"HTTP/1.1 200")) as url:
        clinic.site.update({"url": f"{url}/ticket=/", "read_timeout": 1})
        clinic.service["url"] = f"{url}/ticket=/login/index.php"
        began = datetime.now(UTC)
        report = clinic.examine()
    assert datetime.now(UTC) - began < timedelta(seconds=50)
    assert report.line("answers")["seen"].endswith("no answer in time")


def test_a_server_that_drips_is_given_up_within_the_limit_of_the_whole(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "LIMIT_SECONDS", 6.0)
    with broken_server(dripping(b" " * 1000, 0.2)) as url:
        clinic.site["url"] = f"{url}/ticket="
        clinic.service["url"] = f"{url}/ticket=/login/index.php"
        report = clinic.examine()
    assert "did not end" in report.line("answers")["seen"]
    assert report.verdict("everything_else") == "unseen"


def test_a_server_error_of_moodles_is_said(clinic: Clinic) -> None:
    with broken_server(answering(b"", "502 Bad Gateway")) as url:
        clinic.site["url"] = f"{url}/ticket="
        clinic.service["url"] = f"{url}/ticket=/login/index.php"
        report = clinic.examine()
    assert (report.line("answers")["seen"], report.exit_code) == ("HTTP 502", 6)


def test_an_address_that_is_no_moodle_is_said_to_be_wrong(clinic: Clinic) -> None:
    clinic.site["url"] = f"{clinic.site['url']}/moodle"
    line = clinic.examine().line("answers")
    assert (line["verdict"], line["seen"]) == ("problem", "HTTP 404 for the login page")
    assert "wwwroot" in line["fix"]


def test_web_services_that_are_switched_off_are_named(clinic: Clinic) -> None:
    clinic.world.moodle.site.web_services_enabled = False
    line = clinic.examine().line("web_service")
    assert line["verdict"] == "problem"
    assert line["where"].endswith("Web services › Overview")


def test_a_web_service_that_answers_with_a_page_is_a_problem(clinic: Clinic) -> None:
    clinic.world.moodle.faults.next(*["redirect"] * 4)
    assert clinic.examine().verdict("web_service") == "problem"


def test_another_wwwroot_than_the_one_configured_is_a_problem(clinic: Clinic) -> None:
    clinic.world.moodle.site.wwwroot = "https://updago.univ.example"
    line = clinic.examine().line("wwwroot")
    assert line["verdict"] == "problem"
    assert line["seen"] == "Moodle calls itself https://updago.univ.example"
    assert line["where"] == "sites.updago.url"


def test_http_instead_of_https_in_wwwroot_is_explained() -> None:
    line = site_checks.address(healthy_site(), replace(SITE_INFO, siteurl="http://m.example"))
    assert line.verdict is Verdict.PROBLEM
    assert "$CFG->wwwroot" in line.fix


@pytest.mark.parametrize(
    ("version", "verdict"), [(Version.V4_4, "warning"), (Version.V4_5, "ok"), (Version.V5_2, "ok")]
)
def test_releases_from_4_5_are_supported_and_older_ones_warned_of(
    clinic: Clinic, version: Version, verdict: str
) -> None:
    clinic.moodle(version=version)
    assert clinic.examine().verdict("release") == verdict


@pytest.mark.parametrize(
    ("release", "verdict"),
    [
        ("3.11.18", Verdict.PROBLEM),
        ("4.1.2", Verdict.WARNING),
        ("5.3dev", Verdict.WARNING),
        ("unreadable", Verdict.WARNING),
        (None, Verdict.WARNING),
    ],
)
def test_releases_nobody_recorded_are_judged_by_their_branch(release: str | None, verdict: Verdict) -> None:
    assert site_checks.release(healthy_site(), replace(SITE_INFO, release=release)).verdict is verdict


@pytest.mark.parametrize(("seconds", "verdict"), [(0.3, Verdict.OK), (1.5, Verdict.WARNING), (6.0, Verdict.PROBLEM)])
def test_a_slow_call_is_measured(seconds: float, verdict: Verdict) -> None:
    assert site_checks.response_time(healthy_site(raw=RawCall(replace(PAGE, elapsed=seconds)))).verdict is verdict


def test_the_time_of_a_call_is_the_one_that_was_taken(clinic: Clinic) -> None:
    clinic.world.moodle.faults.next("slow=1.2")
    line = clinic.examine().line("response_time")
    assert line["verdict"] != "ok"
    assert int(line["seen"].removesuffix(" ms")) >= 1200


def test_a_call_that_is_lost_now_and_then_is_a_warning(clinic: Clinic) -> None:
    clinic.world.moodle.faults.next("drop")
    assert clinic.examine().verdict("response_time") == "warning"


def test_php_warnings_before_the_answer_are_noticed(clinic: Clinic) -> None:
    clinic.world.moodle.faults.next("noise")
    report = clinic.examine()
    assert report.verdict("noise") == "warning"
    assert "Undefined variable" not in report.output
    assert report.errors == ""


def test_errors_that_carry_debug_information_are_noticed(clinic: Clinic) -> None:
    clinic.moodle(debug=Debug.NORMAL)
    line = clinic.examine().line("debugging")
    assert line["verdict"] == "warning"
    assert line["where"].endswith("Debugging")


@pytest.mark.parametrize(
    ("limit", "verdict", "seen"),
    [
        (500, "problem", "900 variables lost its end"),
        (1000, "ok", "900 variables arrived whole, one of 5000 did not"),
        (6000, "ok", "5000 variables arrived whole"),
    ],
)
def test_the_limit_of_form_variables_is_probed_by_reading(clinic: Clinic, limit: int, verdict: str, seen: str) -> None:
    clinic.moodle(max_input_vars=limit)
    line = clinic.examine().line("max_input_vars")
    assert line["verdict"] == verdict
    assert seen in line["seen"]


@pytest.mark.parametrize(
    ("ahead", "verdict", "seen"),
    [
        (0.0, Verdict.OK, "less than 2 s"),
        (-30.0, Verdict.WARNING, "30 s behind"),
        (500.0, Verdict.PROBLEM, "500 s ahead"),
        (None, Verdict.UNSEEN, "no date"),
    ],
)
def test_clocks_are_compared(ahead: float | None, verdict: Verdict, seen: str) -> None:
    with use_locale("en"):
        line = words.clock(SUBJECT, ahead)
    assert line.verdict is verdict
    assert seen in line.seen


def test_the_date_of_an_answer_is_compared_with_the_moment_it_was_asked() -> None:
    def page(date: str) -> Page:
        return Page(200, {"Date": date}, b"", 0.1, NOW)

    assert page("Tue, 24 Nov 2026 12:00:00 GMT").clock_ahead() == 0
    assert page("Tue, 24 Nov 2026 12:01:00 GMT").clock_ahead() == 60
    assert page("yesterday").clock_ahead() is None
    assert PAGE.clock_ahead() is None


@pytest.mark.parametrize(
    ("until", "verdict", "seen"),
    [
        (NOW + timedelta(days=80, hours=1), Verdict.OK, "80 days left"),
        (NOW + timedelta(days=5, hours=1), Verdict.WARNING, "5 days left"),
        (NoAnswer(Silence.CERTIFICATE, "certificate has expired"), Verdict.PROBLEM, "certificate has expired"),
    ],
)
def test_certificates_are_judged_by_chain_name_and_days_left(
    until: datetime | NoAnswer, verdict: Verdict, seen: str
) -> None:
    with use_locale("en"):
        [line] = words.certificate(SUBJECT, until, NOW)
    assert line.verdict is verdict
    assert seen in line.seen


def test_plain_http_has_no_certificate_to_speak_of() -> None:
    assert words.certificate(SUBJECT, None, NOW) == []
