"""A bridge with a mailbox: a person whose address is not confirmed, and a town of people who forget passwords."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from sqlalchemy import delete

from external_accounts import audit
from external_accounts.accounts import Person, create_account, suspend
from external_accounts.addresses import parse_address, set_primary_address
from external_accounts.schema import Account, Address, SignInIdentity
from lms_bridge.demo.mail_sink import Mail
from tests.bridge_under_test import APP, BridgeUnderTest, Browser
from tests.lms_bridge.mailing import Mailbox, mailing_bridge
from tests.lms_bridge.selfservice.forgetting import SEL, Town
from tests.lms_bridge.selfservice.losing import SETTINGS as UNIVERSITY
from tests.lms_bridge.selfservice.losing import University


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


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with mailing_bridge(tmp_path, upstreams=[SEL]) as (bridge, mailbox):
        yield Town(bridge, mailbox)


@pytest.fixture
def university(tmp_path: Path) -> Iterator[University]:
    with mailing_bridge(tmp_path, **UNIVERSITY) as (bridge, mailbox):
        yield University(bridge, mailbox)


@pytest.fixture
def crowd(town: Town) -> Town:
    """A suspended Bob, an erased Dan, an unconfirmed Eve, and a member who comes by the university's CAS."""
    bob = town.bridge.add_account("ext.bob")
    dan = town.bridge.add_account("ext.dan")
    town.bridge.add_account("ext.eve", confirmed=False)
    now = town.bridge.clock()
    with town.bridge.runtime.database.begin() as session:
        suspend(session, session.get_one(Account, bob), reason="x", until=None, now=now, origin=audit.SYSTEM)
        session.get_one(Account, dan).erased_at = now
        member = create_account(
            session, username="jdupont", profile="staff", person=Person("Jean"), activated=True, now=now
        )
        member.identities.append(
            SignInIdentity(issuer="sel", subject="jdupont", attributes={}, created_at=now, refreshed_at=now)
        )
        set_primary_address(session, member, parse_address("jean@univ.example"), role="institutional", now=now)
    return town
