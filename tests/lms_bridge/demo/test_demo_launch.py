"""The demo as a command: what it prints, what it serves, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.bridge_under_test import Browser, heading
from tests.running_demo import (
    COMMAND,
    DemoEnded,
    RunningDemo,
    eventually,
    free_ports,
    running_demo,
    start,
    stop,
)

pytestmark = pytest.mark.xdist_group("demo launch")

CASES = {
    "teacher": "sel",
    "student": "sel",
    "vacataire": "sel",
    "helpdesk": "sel",
    "helpdesk_second": "sel",
    "library_reader": "local",
    "technical": "sel",
    "not_activated": "sel",
    "learner_confirmed": "local",
    "learner_unconfirmed": "local",
    "learner_suspended": "local",
    "learner_ending": "local",
    "learner_bounced": "local",
    "learner_ended": "local",
    "student_before": "local",
    "sponsor": "local",
}


@pytest.fixture(scope="module")
def demo() -> Iterator[RunningDemo]:
    with running_demo() as demo:
        yield demo


def lms_bridge(demo: RunningDemo, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Another command on the demo's settings."""
    command = [COMMAND, "--config", demo.folder / "lms-bridge.toml", *arguments]
    return subprocess.run(command, input=typed, capture_output=True, text=True, timeout=60, check=False)


def is_alive(group: int) -> bool:
    """Whether any process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def in_use(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# --- What it says ---


def test_it_prints_the_four_addresses_the_accounts_and_one_line_ready(demo: RunningDemo) -> None:
    text = "\n".join(demo.printed)
    assert all(url in text for url in demo.document["urls"].values())
    for account in demo.document["accounts"]:
        line = next(line for line in demo.printed if account["case"] in line.split())
        assert account["identifier"] in line
        assert account["password"] in line
    assert demo.printed.count("ready") == 1
    assert demo.printed[-1] == "ready"


def test_the_four_addresses_are_neighbours_on_loopback(demo: RunningDemo) -> None:
    urls = demo.document["urls"]
    assert set(urls) == {"bridge", "moodle", "sel", "mailbox"}
    parts = [urlsplit(urls[name]) for name in ("bridge", "moodle", "sel", "mailbox")]
    assert {part.hostname for part in parts} == {"127.0.0.1"}
    first = parts[0].port or 0
    assert [part.port for part in parts] == [first, first + 1, first + 2, first + 3]


def test_all_four_answer_as_soon_as_it_says_ready(demo: RunningDemo) -> None:
    for url in demo.document["urls"].values():
        assert requests.get(url, timeout=10).status_code == 200


def test_the_document_shows_every_case_with_door_identifier_and_address(demo: RunningDemo) -> None:
    accounts = {account["case"]: account for account in demo.document["accounts"]}
    assert {case: account["door"] for case, account in accounts.items()} == CASES
    for account in accounts.values():
        assert set(account) == {"case", "door", "identifier", "password", "email"}
        assert account["identifier"]
        assert "@" in account["email"]
    assert {case for case, account in accounts.items() if not account["password"]} == {"not_activated"}


def test_the_document_holds_a_token_that_moodle_s_web_service_takes(demo: RunningDemo) -> None:
    form = {
        "wstoken": demo.document["moodle_token"],
        "wsfunction": "core_webservice_get_site_info",
        "moodlewsrestformat": "json",
    }
    answer = requests.post(f"{demo.moodle}/webservice/rest/server.php", data=form, timeout=10).json()
    assert answer["siteurl"] == demo.moodle


def test_json_instead_of_words_when_asked_for() -> None:
    port = free_ports()
    demo = start(port, ["--json"])
    try:
        assert json.loads(demo.printed[0]) == demo.document
        assert demo.printed[1:] == ["ready"]
    finally:
        stop(demo.process)


def test_the_base_port_comes_from_the_environment() -> None:
    port = free_ports()
    demo = start(None, [], LMS_BRIDGE_DEMO_PORT=str(port))
    try:
        assert demo.bridge == f"http://127.0.0.1:{port}"
    finally:
        stop(demo.process)


# --- What it serves ---


def test_whoami_names_nobody_at_first(demo: RunningDemo) -> None:
    answer = requests.get(f"{demo.moodle}/whoami.json", timeout=10)
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json() == {"username": None}


@pytest.mark.parametrize("path", ["/login/index.php", "/course/view.php?id=2"])
def test_updago_asks_for_sign_in_and_comes_back_to_the_page_asked_for(demo: RunningDemo, path: str) -> None:
    person = demo.account("learner_confirmed")
    browser = Browser(demo.bridge)
    browser.get(f"{demo.moodle}{path}")
    door = re.search(r'href="(/signin/local[^"]*)"', browser.page.text)
    assert door, browser.page.url
    browser.get(door.group(1).replace("&amp;", "&"))
    browser.submit(identifier=person["identifier"], password=person["password"])
    assert browser.page.url == demo.moodle + ("/my/" if "login" in path else path)
    assert browser.get(f"{demo.moodle}/whoami.json").json() == {"username": person["identifier"]}


@pytest.mark.parametrize("case", ["teacher", "student", "vacataire", "helpdesk"])
def test_the_people_of_sel_sign_in_with_username_and_password(demo: RunningDemo, case: str) -> None:
    person = demo.account(case)
    browser = Browser(demo.bridge)
    browser.get("/signin/sel")
    assert browser.page.url.startswith(f"{demo.sel}/cas/login")
    browser.submit(username=person["identifier"], password=person["password"])
    assert browser.page.url == f"{demo.bridge}/"
    assert heading(browser.page).startswith("Bonjour")


def test_messages_are_listed_oldest_first_with_their_six_fields(demo: RunningDemo) -> None:
    before = requests.get(f"{demo.mailbox}/api/messages", timeout=10).json()
    person = demo.account("learner_unconfirmed")
    browser = Browser(demo.bridge)
    browser.sign_in(person["identifier"], person["password"], service=demo.updago)
    browser.submit()
    mail = demo.mail("learner_unconfirmed")
    assert set(mail) == {"id", "to", "subject", "text", "html", "date"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", mail["date"])
    assert f"{demo.bridge}/account/confirm/" in mail["text"]
    assert f"{demo.bridge}/account/confirm/" in mail["html"]
    now = requests.get(f"{demo.mailbox}/api/messages", timeout=10).json()
    assert now[: len(before)] == before
    assert [each["date"] for each in now] == sorted(each["date"] for each in now)


def test_the_accounts_are_shown_on_the_demo_s_pages(demo: RunningDemo) -> None:
    mailbox = requests.get(demo.mailbox, timeout=10).text
    assert all(account["identifier"] in mailbox for account in demo.document["accounts"])
    sel = requests.get(f"{demo.sel}/cas/login", timeout=10).text
    assert all(a["identifier"] in sel for a in demo.document["accounts"] if a["door"] == "sel")


# --- Its folder ---


def test_other_commands_work_on_the_running_demo(demo: RunningDemo) -> None:
    checked = lms_bridge(demo, "config", "check")
    assert checked.returncode == 0, checked.stderr


def test_a_command_changes_the_running_demo(demo: RunningDemo) -> None:
    person = ["ext.new.comer", "--given-name", "New", "--family-name", "Comer", "--email", "new@courriel.example"]
    created = lms_bridge(demo, "accounts", "create", *person, typed="a password of mine\n")
    assert created.returncode == 0, created.stderr
    browser = Browser(demo.bridge)
    browser.sign_in("ext.new.comer", "a password of mine")
    assert heading(browser.page) == "Bonjour New Comer"


def test_the_settings_are_readable_by_their_owner_only(demo: RunningDemo) -> None:
    assert (demo.folder / "lms-bridge.toml").stat().st_mode & 0o077 == 0


def test_data_keeps_the_folder_and_a_second_run_starts_afresh(tmp_path: Path) -> None:
    folder = tmp_path / "kept here"
    with running_demo(folder) as demo:
        assert demo.folder == folder.resolve(), "the command it prints can be pasted"
        browser = Browser(demo.bridge)
        browser.sign_in("ext.alice.moreau", "learner-demo-1")
        assert heading(browser.page) == "Bonjour Alice Moreau"
    assert (folder / "lms-bridge.toml").is_file()
    assert (folder / "lms-bridge.db").is_file()
    with running_demo(folder) as again:
        browser.base = again.bridge
        browser.sign_in("ext.alice.moreau", "learner-demo-1")
        assert heading(browser.page) == "Bonjour Alice Moreau"


# --- Its end ---


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_it_ends_within_seconds_and_leaves_no_file_process_or_port(number: signal.Signals) -> None:
    with running_demo() as demo:
        ports = [urlsplit(url).port or 0 for url in demo.document["urls"].values()]
        folder = demo.folder
        assert folder.is_dir()
        with requests.Session() as idle:  # a browser keeps its connections open
            for url in demo.document["urls"].values():
                idle.get(url, timeout=10)
            assert stop(demo.process, number) == 0
        assert not folder.exists()
        assert not any(map(in_use, ports))
        assert not is_alive(demo.process.pid)


def test_it_ends_while_mail_is_on_its_way() -> None:
    with running_demo() as demo:
        person = demo.account("learner_unconfirmed")
        browser = Browser(demo.bridge)
        browser.sign_in(person["identifier"], person["password"])
        browser.submit()
        assert stop(demo.process) == 0
        assert not demo.folder.exists()


@pytest.mark.parametrize("offset", [0, 1, 2, 3])
def test_a_port_in_use_is_named_with_the_way_out_and_nothing_is_left(offset: int, tmp_path: Path) -> None:
    first = free_ports()
    with socket.create_server(("127.0.0.1", first + offset)):
        with pytest.raises(DemoEnded) as ended:
            start(first, [], TMPDIR=str(tmp_path))
        assert f"Port {first + offset} is in use" in str(ended.value)
        assert "LMS_BRIDGE_DEMO_PORT" in str(ended.value)
        assert "Traceback" not in str(ended.value)
        assert not any(in_use(port) for port in range(first, first + 4) if port != first + offset)
    assert list(tmp_path.iterdir()) == []


# --- Two at once ---


def test_two_demos_side_by_side_share_a_cookie_jar_without_mixing_people(demo: RunningDemo) -> None:
    with running_demo() as other:
        browser = Browser(demo.bridge)
        for each, name in ((demo, "teacher"), (other, "student")):
            browser.base = each.bridge
            browser.get(f"/signin/sel?service={each.updago}")
            person = each.account(name)
            browser.submit(username=person["identifier"], password=person["password"])
            assert browser.page.url == f"{each.moodle}/my/"
        names = [browser.get(f"{each.moodle}/whoami.json").json()["username"] for each in (demo, other)]
        assert names == ["tmartin", "sdiallo"]
        browser.get(f"{other.bridge}/cas/logout")
        browser.get(f"{demo.bridge}/")
        assert heading(browser.page) == "Bonjour Théo Martin"
        assert browser.get(f"{other.sel}/cas/login").status_code == 200
        eventually(lambda: browser.get(f"{demo.moodle}/whoami.json").json() == {"username": "tmartin"})
