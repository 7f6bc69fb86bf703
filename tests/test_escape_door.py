"""The escape door of the guide: each address it gives shows Moodle's own form, which lets a local account in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from moodle_ws.simulator import SimulatedMoodle, SimulatorOptions
from moodle_ws.simulator.flavours import Version

GUIDE = Path(__file__).resolve().parent.parent / "docs" / "guides" / "porte-de-secours.md"
ELSEWHERE = "https://www.univ.example/entrer"
# The bridge is down: nothing listens there.
DOWN = "https://127.0.0.1:1/cas"


def addresses() -> Iterator[Any]:
    """The rows of the guide's table: settings, version, address (None: no form, send it yourself)."""
    rows = re.findall(
        r"^\| `multiauth` (\w+), `alternateloginurl` (\w+) \| (.*?) \| (.*?) \|$", GUIDE.read_text("utf-8"), re.M
    )
    assert len(rows) == 4
    before = None
    for multiauth, alternate, older, newer in rows:
        options = {"multiauth": multiauth == "Oui", "alternateloginurl": ELSEWHERE if alternate == "rempli" else ""}
        for version, cell in ((Version.V4_4, older), (Version.V4_5, newer), (Version.V5_2, newer)):
            found = re.match(r"`([^`]+)`", cell)
            before = found[1] if found else None if "aucun formulaire" in cell else before
            yield pytest.param(options | {"version": version}, before, id=f"{multiauth}-{alternate}-{version}")


@pytest.mark.parametrize(("options", "address"), list(addresses()))
def test_an_administrator_gets_in_while_the_bridge_is_down(options: dict[str, Any], address: str | None) -> None:
    moodle = SimulatedMoodle(SimulatorOptions(cas_url=DOWN, **options))
    admin = moodle.site.user("admin")
    assert admin is not None
    admin.password = "in-the-envelope"
    with moodle.serve() as handle, requests.Session() as browser:
        fields = {"username": "admin", "password": "in-the-envelope"}
        if address is not None:
            page = browser.get(handle.url + address, allow_redirects=False, timeout=10)
            token = re.search(r'name="logintoken" value="(\w+)"', page.text)
            assert token, f"no form at {address}: {page.status_code} {page.headers.get('Location')}"
            fields["logintoken"] = token[1]
        browser.post(f"{handle.url}/login/index.php", data=fields, timeout=10)
        assert browser.get(f"{handle.url}/whoami.json", timeout=10).json() == {"username": "admin"}
