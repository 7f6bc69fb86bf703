"""`lms-bridge doctor` as a command: exit codes, languages, the JSON that machines read, and what it never does."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from moodle_ws.simulator import SimulatedMoodle, SimulatorOptions
from tests.lms_bridge.ops.doctor.conftest import KEY, Clinic
from tests.lms_bridge.sync.site_runs import run
from tests.peers.broken_servers import answering, broken_server
from tests.running_demo import running_demo

KEYS = ["area", "check", "verdict", "seen", "where", "fix"]


def test_when_all_is_well_nothing_is_wrong(clinic: Clinic) -> None:
    run(clinic.world)
    report = clinic.examine()
    assert (report.exit_code, report.problems()) == (0, [])
    # How fast it answers depends on who else is at work on this machine.
    assert [line["check"] for line in report.lines if line["verdict"] == "warning"] in ([], ["response_time"])


def test_the_demo_is_healthy() -> None:
    with running_demo() as demo:
        command = [Path(sys.executable).with_name("lms-bridge"), "--config", demo.folder / "lms-bridge.toml", "doctor"]
        answer = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 0, answer.stdout
    lines = json.loads(answer.stdout)
    assert {line["area"] for line in lines} == {
        "settings", "services", "database", "jobs", "mail", "upstream:sel", "directory:sel", "public_url",
        "site:updago",
    }  # fmt: skip
    assert [line["seen"] for line in lines if line["verdict"] == "problem"] == []


def test_the_json_has_its_six_keys_and_every_finding_says_what_to_do(clinic: Clinic) -> None:
    clinic.without("moodle/user:viewalldetails")
    for line in clinic.examine().lines:
        assert list(line) == KEYS
        assert line["verdict"] in {"ok", "warning", "problem", "unseen"}
        assert line["seen"]
        assert line["where"]
        assert bool(line["fix"]) == (line["verdict"] != "ok")


def test_each_check_has_one_line(clinic: Clinic) -> None:
    names = [(line["area"], line["check"]) for line in clinic.examine().lines]
    assert len(names) == len(set(names))


def test_names_of_checks_do_not_depend_on_the_language(clinic: Clinic) -> None:
    lines = [json.loads(clinic.run("--json", "--lang", lang).output) for lang in ("fr", "en")]
    assert [(line["area"], line["check"]) for line in lines[0]] == [(line["area"], line["check"]) for line in lines[1]]


def test_french_is_spoken_unless_english_is_asked_for(clinic: Clinic) -> None:
    clinic.without("moodle/site:viewuseridentity")
    french = clinic.run().output
    assert "problème · Capacité moodle/site:viewuseridentity\N{NO-BREAK SPACE}: les adresses de courriel" in french
    assert (
        "où\N{NO-BREAK SPACE}: Moodle\N{NO-BREAK SPACE}: Administration du site › Utilisateurs › Permissions" in french
    )
    english = clinic.run("--lang", "en").output
    assert "problem · Capability moodle/site:viewuseridentity: e-mail addresses are hidden" in english
    assert "where: Moodle: Site administration › Users › Permissions › Define roles" in english
    assert "do: Allow it in the role" in english


def test_a_problem_ends_with_exit_code_4(clinic: Clinic) -> None:
    clinic.without("moodle/user:viewalldetails")
    assert clinic.run().exit_code == 4


def test_settings_that_cannot_be_used_end_with_exit_code_5(clinic: Clinic) -> None:
    clinic.settings["public_url"] = "http://connexion.univ.example"
    report = clinic.run("--json")
    assert (report.exit_code, report.output) == (5, "")
    assert "public_url" in report.errors


def test_a_moodle_that_does_not_answer_and_nothing_else_ends_with_exit_code_6(clinic: Clinic) -> None:
    clinic.world.down()
    assert clinic.examine().exit_code == 6


def test_a_moodle_that_does_not_answer_does_not_hide_another_problem(clinic: Clinic) -> None:
    clinic.world.down()
    clinic.file.touch()
    clinic.file.chmod(0o644)
    assert clinic.examine().exit_code == 4


def test_only_the_site_asked_for_is_looked_at(clinic: Clinic) -> None:
    with SimulatedMoodle(SimulatorOptions()).serve() as other:
        clinic.settings["sites"].append({"name": "second", "url": other.url, "token": "another-token"})
        areas = {line["area"] for line in clinic.examine("--site", "updago").lines}
        assert "site:updago" in areas
        assert "site:second" not in areas
        assert {"site:updago", "site:second"} <= {line["area"] for line in clinic.examine().lines}


def test_an_unknown_site_is_said_to_be_unknown(clinic: Clinic) -> None:
    report = clinic.run("--site", "nowhere")
    assert report.exit_code == 2
    assert "There is no site called `nowhere`" in report.errors


def test_what_other_servers_say_cannot_reach_the_terminals_controls(clinic: Clinic) -> None:
    evil = "https://cas.example/cas/login?service=x"
    answer = answering(b"", "302 Found", f"Location: https://evil.example/\x1b[31m/cas/login?service={evil}")
    with broken_server(answer) as url:  # it behaves so when asked with `ticket=`, and this address has one
        clinic.site["url"] = f"{url}/ticket=/moodle"
        output = clinic.run("--lang", "en").output + clinic.run("--json").output
    assert "evil.example" in output
    assert "\x1b" not in output


def test_a_terminal_sees_progress_and_a_pipe_does_not(clinic: Clinic) -> None:
    assert clinic.run().errors == ""
    parent, child = pty.openpty()
    command = [
        Path(sys.executable).with_name("lms-bridge"),
        "--config",
        clinic.file,
        "doctor",
        "--json",
        "--lang",
        "en",
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=child, timeout=60, check=False)
    os.close(child)
    shown = os.read(parent, 65536).decode()
    os.close(parent)
    assert done.returncode == 0
    assert "Looking… 0 of 4" in shown
    json.loads(done.stdout)


def test_secrets_are_never_printed(clinic: Clinic) -> None:
    clinic.settings["mail"] |= {"username": "bridge", "password": "p4ssw0rd-of-smtp"}
    clinic.settings["database_url"] = "postgresql+psycopg://bridge:p4ssw0rd-of-sql@127.0.0.1:9/bridge"
    clinic.token.expired = True
    for words in ((), ("--json",), ("--lang", "en")):
        report = clinic.run(*words)
        for secret in (KEY, clinic.site["token"], "p4ssw0rd-of-smtp", "p4ssw0rd-of-sql"):
            assert secret not in report.output + report.errors


def test_nothing_is_left_in_the_database(clinic: Clinic) -> None:
    clinic.examine()
    with clinic.world.bridge.runtime.database.read() as session:
        connection = session.connection()
        assert connection.exec_driver_sql("SELECT count(*) FROM throttle_buckets").scalar() == 0


@pytest.mark.parametrize("name", ["LMS_BRIDGE_SECRET_KEYS"])
def test_settings_may_come_from_the_environment_alone(
    clinic: Clinic, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "fedcba9876543210" * 4
    monkeypatch.setenv(name, json.dumps([other, KEY]))
    report = clinic.run("--json", "--lang", "en")
    assert "2 keys" in report.output
    assert other not in report.output
