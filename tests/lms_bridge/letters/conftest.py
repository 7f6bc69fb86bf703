"""A university whose help desk prints account letters, and people who hold them."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pypdf
import pytest
import requests

from tests.bridge_under_test import Browser
from tests.lms_bridge.mailing import mailing_bridge
from tests.lms_bridge.selfservice.activation.town import SETTINGS, Town

AGENT = {"members": [{"role": "agent", "usernames": ["ext.desk"]}]}
CODE = re.compile(r"\b([A-Z0-9]{4}-[A-Z0-9]{4}-[A-Z0-9]{4})\b")


@dataclass
class Desk(Town):
    """The town, with its help desk."""

    def agent(self) -> Browser:
        browser = self.bridge.browser()
        browser.sign_in("ext.desk")
        return browser

    def look(self, identifiers: str, browser: Browser | None = None) -> Browser:
        browser = browser or self.agent()
        browser.get("/helpdesk/letters")
        browser.submit(identifiers=identifiers)
        return browser

    def print_for(self, identifiers: str) -> list[str]:
        """Print; the text of each sheet."""
        return sheets(self.look(identifiers).submit())

    def code_for(self, username: str = "nlopez") -> str:
        found = CODE.search(self.print_for(username)[0])
        assert found
        return found[1]

    def enter(self, code: str, identifier: str = "nlopez") -> Browser:
        browser = self.bridge.browser()
        browser.get("/account/activate/letter")
        browser.submit(identifier=identifier, code=code)
        return browser


def sheets(answer: requests.Response) -> list[str]:
    assert answer.headers["Content-Type"] == "application/pdf", answer.text[:500]
    return [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(answer.content)).pages]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    pytest.importorskip("weasyprint")
    with mailing_bridge(tmp_path, **SETTINGS, help_desk=AGENT) as (bridge, mailbox):
        bridge.add_account("ext.desk")
        yield Desk(bridge, mailbox)
