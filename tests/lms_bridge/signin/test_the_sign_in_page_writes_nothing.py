"""A lecture hall that opens the sign-in page costs the database nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import requests

from tests.bridge_under_test import APP, BridgeUnderTest


@pytest.mark.parametrize("path", ["/", "/cas/login", "/signin/local"])
def test_an_anonymous_sign_in_page_commits_nothing(bridge: BridgeUnderTest, tmp_path: Path, path: str) -> None:
    with sqlite3.connect(tmp_path / "bridge.db") as observer:
        # SQLite's own count of what other connections have committed
        before = observer.execute("PRAGMA data_version").fetchone()
        page = requests.get(bridge.url + path, params={"service": APP}, timeout=20)
        after = observer.execute("PRAGMA data_version").fetchone()
        bridge.add_account("ext.ada")
        assert observer.execute("PRAGMA data_version").fetchone() != after, "the count does count"
    assert page.status_code == 200
    assert after == before
