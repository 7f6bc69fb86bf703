"""A bridge with an agent of the help desk, its mailbox, and people who may have two accounts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import select

from external_accounts.linking_schema import LikelyPair
from external_accounts.schema import Account
from lms_bridge.jobs.duplicates import seek_pairs
from tests.bridge_under_test import BridgeUnderTest, Browser, forms
from tests.lms_bridge.mailing import Mailbox, mailing_bridge

DESK = "/helpdesk/duplicates"
SITE = {"name": "updago", "url": "http://127.0.0.1:9", "token": "0123456789abcdef", "registration": "moderated"}


@dataclass
class Radar:
    """The bridge, its mailbox, and the agent's browser."""

    bridge: BridgeUnderTest
    mailbox: Mailbox
    agent: Browser

    def add(self, username: str, given: str = "Ada", family: str = "Lovelace", **more: Any) -> int:
        """A local account with a confirmed address of its own, or `email`; the rest are columns."""
        confirmed, email = more.pop("confirmed", True), more.pop("email", None)
        number = self.bridge.add_account(username, confirmed=confirmed, email=email)
        with self.bridge.runtime.database.begin() as session:
            account = session.get_one(Account, number)
            account.given_name, account.family_name = given, family
            for name, value in more.items():
                setattr(account, name, value)
        return number

    def seek(self) -> None:
        """Let the background work look at everybody who waits."""
        while seek_pairs(self.bridge.runtime):
            pass

    def pair(self) -> LikelyPair:
        """The only pair there is."""
        with self.bridge.runtime.database.read() as session:
            found = session.scalars(select(LikelyPair)).one()
            session.expunge(found)
            return found

    def open(self) -> requests.Response:
        """The agent opens the only pair."""
        return self.agent.get(f"{DESK}/{self.pair().id}")

    def press(self, ending: str, **fields: str) -> requests.Response:
        """Submit the form of the agent's page whose address ends so."""
        actions = [action for action, _method, _hidden in forms(self.agent.page)]
        number = next(index for index, action in enumerate(actions) if action.endswith(ending))
        return self.agent.submit(number, **fields)

    def mails(self) -> list[tuple[str, str]]:
        """To whom, and about what."""
        return sorted((mail.to, mail.subject) for mail in self.mailbox.all())

    def signed_in(self, username: str) -> Browser:
        browser = self.bridge.browser()
        browser.sign_in(username)
        return browser


@pytest.fixture
def radar(tmp_path: Path) -> Iterator[Radar]:
    settings = {
        "sites": [SITE],
        "help_desk": {"members": [{"role": "administrator", "usernames": ["ext.desk"]}]},
        "registration": {"sponsors": ["teacher"]},
    }
    with mailing_bridge(tmp_path, **settings) as (bridge, mailbox):
        running = Radar(bridge, mailbox, bridge.browser())
        running.add("ext.desk", "Hélène", "Bernard")
        running.agent.sign_in("ext.desk")
        mailbox.all()
        yield running
