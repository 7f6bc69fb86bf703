"""The first accounts of a new bridge: there are none, and the command line makes them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

NEW = ("accounts", "create", "ext.ada", "--email", "ada@mail.example", "--given-name", "Ada", "--family-name", "L")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The settings of a bridge whose database was just made."""
    path = tmp_path / "lms-bridge.toml"
    path.write_text(
        f"""
        public_url = "http://127.0.0.1:8000"
        secret_keys = ["{"0" * 64}"]
        database_url = "sqlite:///{tmp_path}/bridge.db"
        [institution]
        help_email = "aide@univ.example"
        [mail]
        host = "127.0.0.1"
        sender = "noreply@univ.example"
        """,
        "utf-8",
    )
    assert lms_bridge(path, "db", "upgrade").returncode == 0
    return path


def lms_bridge(config: Path, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from lms_bridge.cli import main; main()", "--config", str(config), *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LMS_BRIDGE_")}
    return subprocess.run(
        command, input=typed, capture_output=True, text=True, timeout=60, check=False, env=environment
    )


def accounts(config: Path) -> int:
    engine = create_engine(f"sqlite:///{config.parent}/bridge.db")
    with engine.connect() as connection:
        found = connection.scalar(text("SELECT count(*) FROM accounts"))
    engine.dispose()
    return int(found or 0)


def test_pwd_08_a_new_bridge_has_no_account_at_all(config: Path) -> None:
    assert accounts(config) == 0


def test_pwd_01_eleven_characters_are_too_few(config: Path) -> None:
    refused = lms_bridge(config, *NEW, typed="elevenchars\n")
    assert refused.returncode == 2
    assert "12 characters" in refused.stderr
    assert accounts(config) == 0


def test_pwd_03_twelve_characters_of_one_kind_are_enough(config: Path) -> None:
    made = lms_bridge(config, *NEW, typed="twelveletter\n")
    assert made.returncode == 0, made.stderr
    assert accounts(config) == 1
