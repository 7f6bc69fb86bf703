"""`lms-bridge duplicates …` beside a running bridge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lms_bridge.cli import main
from tests.lms_bridge.duplicates.conftest import SITE, Radar, radar
from tests.served_bridge import to_toml

__all__ = ["radar"]


def run(radar: Radar, folder: Path, *arguments: str, **changes: Any) -> Result:
    settings = radar.bridge.runtime.settings
    values = {
        "public_url": settings.public_url,
        "secret_keys": [key.get_secret_value() for key in settings.secret_keys],
        "database_url": settings.database_url,
        "institution": {"help_email": "aide@univ.example"},
        "mail": {"host": "127.0.0.1", "sender": "noreply@univ.example"},
        "sites": [SITE],
    }
    path = folder / "operator.toml"
    path.write_text(to_toml(values | changes), encoding="utf-8")
    return CliRunner().invoke(main, ["--config", str(path), "duplicates", *arguments], catch_exceptions=False)


def test_a_scan_says_what_it_found_and_the_list_names_the_pair(radar: Radar, tmp_path: Path) -> None:
    radar.add("ext.ada", email="ada@mail.example")
    radar.add("ext.augusta", "Augusta", "King", email="ada@mail.example")
    found = json.loads(run(radar, tmp_path, "scan", "--json").stdout)
    assert found["opened"] == 1
    assert found["left"] == 0
    again = run(radar, tmp_path, "scan", "--all")
    assert "3 accounts, 0 new pairs, 0 gone, 0 left." in again.stdout
    assert "ext.ada / ext.augusta" in run(radar, tmp_path, "list").stdout
    (row,) = json.loads(run(radar, tmp_path, "list", "--json").stdout)
    assert (row["points"], row["facts"], row["state"]) == (60, ["same_confirmed_address"], "open")
    assert [one["username"] for one in row["accounts"]] == ["ext.ada", "ext.augusta"]
    assert json.loads(run(radar, tmp_path, "list", "--points", "61", "--json").stdout) == []
    assert "No pair is dismissed." in run(radar, tmp_path, "list", "--state", "dismissed").stdout


@pytest.mark.parametrize(
    ("duplicates", "said"),
    [
        ({"person_key_attributes": ["supannEmpId"]}, "supannEmpId among its `keep`"),
        ({"staff_office_attribute": "supannEmpId"}, "must be one of `person_key_attributes`"),
    ],
)
def test_settings_that_name_no_attribute_there_is_are_refused(
    radar: Radar, tmp_path: Path, duplicates: dict[str, Any], said: str
) -> None:
    refused = run(radar, tmp_path, "scan", duplicates=duplicates)
    assert refused.exit_code == 5
    assert said in refused.stderr
