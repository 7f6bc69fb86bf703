"""The directories that hold passwords, as the doctor sees them: a real slapd, and one fault at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from external_accounts.accounts import Person, create_account
from external_accounts.directory import Entry
from external_accounts.directory.ldap import LdapDirectory
from external_accounts.institution_schema import DirectoryWrite
from lms_bridge.settings.directories import Directory
from tests.directory_server import BASE, PEOPLE, SERVICE, SERVICE_PASSWORD, DirectoryServer
from tests.lms_bridge.ops.doctor.conftest import Clinic, Report
from tests.peers.programs import reserved_port
from tests.peers.tls import new_authority

AREA = "directory:people"


@pytest.fixture
def ldap(clinic: Clinic, slapd: DirectoryServer) -> dict[str, Any]:
    """The settings of a healthy directory with somebody in it; a test spoils one thing."""
    settings: dict[str, Any] = {
        "name": "people",
        "kind": "ldap",
        "urls": [slapd.url, slapd.tls_url],
        "start_tls": True,
        "ca_file": str(slapd.authority.ca_file),
        "timeout_seconds": 2,
        "bind_dn": SERVICE,
        "bind_password": SERVICE_PASSWORD,
        "base": PEOPLE,
        "create": True,
    }
    clinic.settings["directories"] = [settings]
    LdapDirectory("people", Directory(**settings).ldap).save(Entry("ada", "Ada", "Lovelace"))
    return settings


def examine(clinic: Clinic) -> Report:
    report = clinic.examine()
    assert SERVICE_PASSWORD not in report.output + report.errors
    return report


def reached(report: Report) -> list[dict[str, str]]:
    return [line for line in report.lines if (line["area"], line["check"]) == (AREA, "reachable")]


def test_a_healthy_directory_is_ok_at_every_address(
    clinic: Clinic, ldap: dict[str, Any], slapd: DirectoryServer
) -> None:
    before = slapd.entry("ada")
    report = examine(clinic)
    assert [line["verdict"] for line in reached(report)] == ["ok", "ok"]
    verdicts = {check: report.verdict(check, AREA) for check in ("people", "password_modify", "writes", "entries")}
    assert verdicts == {"people": "ok", "password_modify": "ok", "writes": "unseen", "entries": "ok"}
    assert slapd.entry("ada") == before


@pytest.mark.parametrize(
    ("change", "seen", "fix"),
    [
        ({"bind_password": "not it"}, "the service account is not let in", "bind_password"),
        ({"start_tls": False}, "", ""),
    ],
)
def test_one_address_with_a_fault(
    clinic: Clinic, ldap: dict[str, Any], slapd: DirectoryServer, change: dict[str, Any], seen: str, fix: str
) -> None:
    ldap.update(change, urls=[slapd.url])
    (line,) = reached(examine(clinic))
    assert line["verdict"] == ("problem" if seen else "ok")
    assert seen in line["seen"]
    assert fix in line["fix"]


def test_a_certificate_nobody_vouches_for_is_a_problem(clinic: Clinic, ldap: dict[str, Any], tmp_path: Path) -> None:
    ldap["ca_file"] = str(new_authority(tmp_path / "other").ca_file)
    for line in reached(examine(clinic)):
        assert line["verdict"] == "problem"
        assert "self-signed certificate" in line["seen"]
        assert "ca_file" in line["fix"]


def test_an_address_that_does_not_answer_is_named_and_the_other_is_looked_at(
    clinic: Clinic, ldap: dict[str, Any], slapd: DirectoryServer
) -> None:
    with reserved_port() as nobody:
        ldap["urls"] = [f"ldap://127.0.0.1:{nobody}", slapd.url]
        report = examine(clinic)
    assert [line["verdict"] for line in reached(report)] == ["problem", "ok"]
    assert report.verdict("people", AREA) == "ok"


def test_a_base_that_is_not_there_is_a_problem(clinic: Clinic, ldap: dict[str, Any]) -> None:
    ldap["base"] = f"ou=nowhere,{BASE}"
    line = examine(clinic).line("people", AREA)
    assert (line["verdict"], ldap["base"] in line["seen"]) == ("problem", True)


def test_an_empty_directory_is_a_warning(clinic: Clinic, ldap: dict[str, Any], slapd: DirectoryServer) -> None:
    slapd.empty()
    assert examine(clinic).verdict("people", AREA) == "warning"


def test_entries_that_wait_in_vain_are_counted(clinic: Clinic, ldap: dict[str, Any]) -> None:
    runtime = clinic.world.bridge.runtime
    with runtime.database.begin() as session:
        for number in range(3):
            account = create_account(
                session,
                username=f"v{number}",
                profile="vacataire",
                person=Person(),
                activated=False,
                now=runtime.clock(),
            )
            account.directory = "people"
    line = examine(clinic).line("entries", AREA)
    assert (line["verdict"], line["seen"]) == ("ok", "3 entries wait")
    with runtime.database.begin() as session:
        session.add(
            DirectoryWrite(account_id=account.id, attempts=4, last_error="EntryMissing: none is made from here")
        )
    line = examine(clinic).line("entries", AREA)
    assert line["verdict"] == "warning"
    assert line["seen"] == "3 entries wait, 1 of them tried in vain: EntryMissing: none is made from here"


def test_a_directory_kept_here_has_the_line_about_entries_alone(clinic: Clinic) -> None:
    clinic.settings["directories"] = [{"name": "people", "kind": "embedded"}]
    lines = [line["check"] for line in clinic.examine().lines if line["area"] == AREA]
    assert lines == ["entries"]
