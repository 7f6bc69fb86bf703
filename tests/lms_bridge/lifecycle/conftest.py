"""A bridge whose profiles have an end of life, its mailbox, and its people."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import select

from external_accounts.institution_schema import Handover, LifecycleNotice
from external_accounts.schema import Account
from lms_bridge.demo.mail_sink import Mail
from lms_bridge.lifecycle import runs
from tests.bridge_under_test import BridgeUnderTest, Browser, Clock
from tests.lms_bridge.mailing import Mailbox, mailing_bridge

LABEL = {"fr": "Profil", "en": "Profile"}
PROFILES: list[dict[str, Any]] = [
    {"name": "vacataire", "label": LABEL, "retention_months": 6, "extension_months": 6},
    {"name": "staff", "label": LABEL, "retention_months": 12, "extension_months": 12},
    {"name": "learner", "label": LABEL, "whom_to_see": {"fr": "la formation continue", "en": "continuing education"}},
]
LINK = re.compile(r"https?://\S+/extension/\S+")


@dataclass
class Town:
    """The bridge, its mailbox, its clock, and what people do."""

    bridge: BridgeUnderTest
    mailbox: Mailbox

    @property
    def clock(self) -> Clock:
        return self.bridge.clock

    def person(self, username: str = "ext.ada", *, profile: str = "vacataire", **columns: Any) -> int:
        number = self.bridge.add_account(username)
        self.change(number, profile=profile, **columns)
        return number

    def change(self, number: int, **columns: Any) -> None:
        with self.bridge.runtime.database.begin() as session:
            account = session.get_one(Account, number)
            for name, value in columns.items():
                setattr(account, name, value)
            account.note_change()

    def account(self, number: int) -> Account:
        with self.bridge.runtime.database.read() as session:
            return session.get_one(Account, number)

    def browser(self, username: str) -> Browser:
        browser = self.bridge.browser()
        browser.sign_in(username)
        return browser

    def run(self) -> dict[str, int]:
        """A run of the life cycle, as the command does it."""
        return {step.value: count for step, count in runs.run(self.bridge.runtime, actor="test").done.items()}

    def at(self, moment: datetime) -> Town:
        self.clock.moment = moment
        return self

    def mails_to(self, email: str) -> list[Mail]:
        return [mail for mail in self.mailbox.all() if mail.to == email]

    def link(self, email: str) -> str:
        found = LINK.search(self.mails_to(email)[-1].text)
        assert found
        return found.group(0)

    def handovers(self) -> list[str]:
        with self.bridge.runtime.database.read() as session:
            return list(session.scalars(select(Handover.event).order_by(Handover.id)))

    def notices(self) -> list[str]:
        with self.bridge.runtime.database.read() as session:
            return list(session.scalars(select(LifecycleNotice.kind).order_by(LifecycleNotice.id)))


@contextmanager
def town_with(folder: Path, **changes: Any) -> Iterator[Town]:
    settings: dict[str, Any] = {
        "profiles": PROFILES,
        "help_desk": {"members": [{"role": "administrator", "usernames": ["ext.desk"]}]},
        "registration": {"sponsors": ["staff"]},
    }
    with mailing_bridge(folder, **(settings | changes)) as (bridge, mailbox):
        town = Town(bridge, mailbox)
        town.person("ext.desk", profile="staff")
        town.person("ext.turing", profile="staff")
        yield town


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with town_with(tmp_path) as running:
        yield running


def words(page: requests.Response) -> str:
    """The page's text, blanks folded."""
    return " ".join(re.sub(r"<[^>]+>", " ", page.text).replace("&#39;", "'").split())
