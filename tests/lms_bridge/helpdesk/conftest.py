"""A help desk with every role, and people of several units."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from external_accounts.schema import Account
from tests.bridge_under_test import BridgeUnderTest, Browser
from tests.lms_bridge.mailing import Mailbox, mailing_bridge

ARTS, LAW = "UFR Lettres", "Faculté de droit"
MEMBERS: list[dict[str, Any]] = [
    {"role": "viewer", "usernames": ["ext.viewer"]},
    {"role": "agent", "usernames": ["ext.agent"]},
    {"role": "administrator", "usernames": ["ext.admin"]},
    {"role": "viewer", "usernames": ["ext.arts", "ext.both"], "units": [ARTS]},
    {"role": "agent", "usernames": ["ext.both", "ext.lawyer"], "units": [LAW]},
]
STAFF = ("ext.viewer", "ext.agent", "ext.admin", "ext.arts", "ext.both", "ext.lawyer")


@dataclass
class Console:
    """The bridge, its mailbox, its people."""

    bridge: BridgeUnderTest
    mailbox: Mailbox

    def person(self, username: str, *, confirmed: bool = True, email: str | None = None, **columns: Any) -> int:
        number = self.bridge.add_account(username, confirmed=confirmed, email=email)
        self.change(number, **columns)
        return number

    def change(self, number: int, **columns: Any) -> None:
        with self.bridge.runtime.database.begin() as session:
            account = session.get_one(Account, number)
            for name, value in columns.items():
                setattr(account, name, value)
            account.note_change()

    def as_(self, username: str) -> Browser:
        browser = self.bridge.browser()
        browser.sign_in(username)
        return browser


@contextmanager
def console_with(folder: Path, **changes: Any) -> Iterator[Console]:
    settings: dict[str, Any] = {"help_desk": {"members": MEMBERS}, "registration": {"sponsors": ["teacher"]}}
    with mailing_bridge(folder, **(settings | changes)) as (bridge, mailbox):
        console = Console(bridge, mailbox)
        for username in STAFF:
            console.person(username)
        yield console


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    with console_with(tmp_path) as running:
        yield running
