"""`lms-bridge api-keys …`"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner, Result

from lms_bridge.cli import main
from tests.bridge_under_test import BridgeUnderTest, running_bridge, settings_values
from tests.served_bridge import to_toml

Run = Callable[..., Result]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[BridgeUnderTest]:
    with running_bridge(tmp_path) as running:
        yield running


@pytest.fixture
def run(served: BridgeUnderTest, tmp_path: Path) -> Run:
    path = tmp_path / "operator.toml"
    path.write_text(to_toml(settings_values(tmp_path)), encoding="utf-8")
    return lambda *words: CliRunner().invoke(main, ["--config", str(path), "api-keys", *words])


def test_a_key_is_made_shown_once_listed_and_revoked(run: Run, served: BridgeUnderTest) -> None:
    made = run("create", "rh", "--scope", "accounts:read", "--scope", "accounts:end", "--json")
    key = json.loads(made.stdout)["key"]

    def ask() -> int:
        url = f"{served.url}/api/v1/accounts/V1"
        return requests.get(url, headers={"Authorization": f"Bearer {key}"}, timeout=20).status_code

    assert ask() == 404
    (row,) = json.loads(run("list", "--json").stdout)
    assert (row["name"], row["scopes"], row["state"]) == ("rh", ["accounts:end", "accounts:read"], "good")
    assert row["last_used_at"]
    shown = run("list").stdout
    assert row["prefix"] in shown
    assert key not in shown
    assert run("revoke", "rh").exit_code == 0
    assert ask() == 401
    assert json.loads(run("list", "--json").stdout)[0]["state"] == "revoked"
    assert run("revoke", "rh").exit_code == 2


def test_wrong_words_are_refused(run: Run) -> None:
    assert "no key" in run("list").stdout
    assert "characters" in run("create", "R H", "--scope", "accounts:read").stderr
    assert "no date" in run("create", "rh", "--scope", "accounts:read", "--until", "tomorrow").stderr
    assert run("create", "rh", "--scope", "everything").exit_code == 2
    assert run("create", "rh", "--scope", "accounts:read", "--until", "2020-01-01").exit_code == 0
    assert json.loads(run("list", "--json").stdout)[0]["state"] == "expired"
    assert "another name" in run("create", "rh", "--scope", "accounts:read").stderr
