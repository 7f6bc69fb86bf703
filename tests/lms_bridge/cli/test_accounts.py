"""`lms-bridge accounts …` on a bridge that is running."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bridge_under_test import APP, heading, ticket_in
from tests.lms_bridge.sync.conftest import World

Command = Callable[..., subprocess.CompletedProcess[str]]
LMS_BRIDGE = Path(sys.executable).parent / "lms-bridge"


@pytest.fixture
def run(world: World, tmp_path: Path) -> Command:
    """Run a command with the settings of the running bridge, as an operator beside it would."""
    settings = world.bridge.runtime.settings
    config = tmp_path / "operator.toml"
    site = settings.sites[0]
    config.write_text(
        f'public_url = {json.dumps(settings.public_url)}\nsecret_keys = ["{"k" * 32}"]\n'
        f"database_url = {json.dumps(settings.database_url)}\n"
        '[institution]\nhelp_email = "aide@univ.example"\n[mail]\nhost = "127.0.0.1"\nsender = "noreply@univ.example"\n'
        f'[[sites]]\nname = "updago"\nurl = "{site.url}"\ntoken = "{site.token.get_secret_value()}"\n',
        encoding="utf-8",
    )

    def command(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [LMS_BRIDGE, "--config", config, *words],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return command


def test_a_suspended_account_is_told_so_and_a_readmitted_one_enters_again(world: World, run: Command) -> None:
    assert run("accounts", "suspend", "ext.ada", "--reason", "lost badge").returncode == 0
    assert heading(world.bridge.browser().sign_in(service=APP)) == "Votre compte est suspendu"
    readmitted = run("accounts", "readmit", "ext.ada")
    assert (readmitted.returncode, readmitted.stdout) == (0, "Readmitted ext.ada.\n")
    assert ticket_in(world.bridge.browser().sign_in(service=APP))


def test_readmitting_somebody_who_is_not_suspended_says_so(world: World, run: Command) -> None:
    answer = run("accounts", "readmit", "ext.ada")
    assert (answer.returncode, answer.stderr) == (2, "`ext.ada` is not suspended.\n")


def test_looking_again_settles_a_conflict_that_was_settled_in_moodle(world: World, run: Command) -> None:
    world.ticket()
    world.user().auth = "manual"
    assert world.enter().status_code == 403
    world.user().auth = "cas"
    assert run("accounts", "look-again", "ext.ada", "--site", "updago").returncode == 0
    assert world.ticket()


def test_an_account_created_on_the_command_line_signs_in_and_confirms_its_address(world: World, run: Command) -> None:
    person = ["--email", "grace@mail.example", "--given-name", "Grace", "--family-name", "Hopper"]
    made = run("accounts", "create", "ext.grace", *person, stdin="a long enough secret\n")
    assert made.returncode == 0, made.stderr
    page = world.bridge.browser().sign_in("ext.grace", "a long enough secret", service=APP)
    assert heading(page) == "E-mail non confirmé"


def test_a_first_password_is_judged_like_any_other_and_the_reason_given_pwd_04(world: World, run: Command) -> None:
    person = ["--email", "grace@mail.example", "--given-name", "Grace", "--family-name", "Hopper"]
    refused = run("accounts", "create", "ext.grace", *person, stdin="hopper1906\n")
    assert refused.returncode == 2
    assert refused.stderr == (
        "This password is too short: at least 12 characters.\n"
        "This password contains “Hopper”, which others know of you or the university.\n"
    )
    assert "no account" in run("accounts", "suspend", "ext.grace", "--reason", "x").stderr


@pytest.mark.parametrize("words", [("suspend", "nobody", "--reason", "x"), ("readmit", "nobody")])
def test_an_unknown_user_name_is_said_to_be_unknown(world: World, run: Command, words: tuple[str, ...]) -> None:
    answer = run("accounts", *words)
    assert (answer.returncode, answer.stderr) == (2, "There is no account called `nobody`.\n")
