"""A bridge with a mailbox, and a person who stands before the gate because their address is not confirmed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from sqlalchemy import delete

from external_accounts.addresses import parse_address, set_primary_address
from external_accounts.schema import Account, Address
from lms_bridge.demo.mail_sink import Mail
from tests.bridge_under_test import APP, BridgeUnderTest, Browser
from tests.lms_bridge.mailing import Mailbox, mailing_bridge


@dataclass
class Scene:
    """The bridge, its mailbox, and Ada's browser."""

    bridge: BridgeUnderTest
    mailbox: Mailbox
    ada: Browser
    account_id: int

    def ask(self, service: str | None = APP) -> requests.Response:
        """Ada signs in, meets the obstacle, and asks for the message: the waiting page."""
        self.ada.sign_in("ext.ada", service=service)
        if service is None:
            self.ada.get("/")
        return self.ada.submit()

    def asked(self, service: str | None = APP) -> Mail:
        """As `ask`; returns the mail."""
        self.ask(service)
        return self.mailbox.newest()

    def change_address(self, email: str) -> None:
        """The account's address becomes another one, as when the university's CAS names a new one."""
        with self.bridge.runtime.database.begin() as session:
            account = session.get_one(Account, self.account_id)
            set_primary_address(session, account, parse_address(email), role="contact", now=self.bridge.clock())

    def remove_address(self) -> None:
        with self.bridge.runtime.database.begin() as session:
            session.execute(delete(Address).where(Address.account_id == self.account_id))

    def confirmed(self) -> bool:
        """Whether the gate lets Ada in now: she asks for a ticket."""
        answer = self.ada.get("/cas/login", params={"service": APP}, follow=False)
        return answer.status_code == 302 and "ticket=ST-" in answer.headers["Location"]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with mailing_bridge(tmp_path) as (bridge, mailbox):
        account_id = bridge.add_account("ext.ada", confirmed=False, email="ada@mail.example")
        yield Scene(bridge, mailbox, bridge.browser(), account_id)
