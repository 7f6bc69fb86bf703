"""A bridge that takes registrations, its mailbox, and the people on both sides of a request."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import select

from external_accounts.schema import Account, Proof, Registration
from lms_bridge.demo.mail_sink import Mail
from tests.bridge_under_test import APP, PASSWORD, BridgeUnderTest, Browser, Clock
from tests.lms_bridge.mailing import Mailbox, mailing_bridge

ADA = {"given_name": "Ada", "family_name": "Lovelace", "email": "ada@mail.example"}
NEW_PASSWORD = "seven green kettles sing"
SITE = {"name": "updago", "url": "http://127.0.0.1:9", "token": "0123456789abcdef", "registration": "moderated"}
LINK = re.compile(r"https?://\S+/account/register/\S+")
UPSTREAM = {"issuer": "sel", "cas_url": "https://cas.univ.example/cas", "trusted_domains": ["univ.example"]}


def link_in(mail: Mail) -> str:
    found = LINK.search(mail.text)
    assert found, mail.text
    return found.group(0)


@dataclass
class Office:
    """The bridge, its mailbox, and what people do with them."""

    bridge: BridgeUnderTest
    mailbox: Mailbox

    def browser(self) -> Browser:
        return self.bridge.browser()

    def ask(self, service: str | None = None, **fields: str) -> tuple[Browser, requests.Response]:
        """Somebody fills in the form: their browser, and the page they get."""
        browser = self.browser()
        browser.get("/account/register", params={"service": service} if service else None)
        return browser, browser.submit(**(ADA | fields))

    def mails_to(self, email: str) -> list[Mail]:
        return [mail for mail in self.mailbox.all() if mail.to == email]

    def newest_to(self, email: str) -> Mail:
        return self.mails_to(email)[-1]

    def proved(self, email: str = ADA["email"], service: str | None = None, **fields: str) -> Browser:
        """Somebody asks and opens the link they were sent: their browser, on the page that says where they stand."""
        browser, _page = self.ask(service, email=email, **fields)
        browser.get(link_in(self.newest_to(email)))
        browser.submit()
        return browser

    def helper(self, username: str = "ext.desk", email: str | None = None) -> Browser:
        """Somebody of the help desk, or a sponsor, signed in."""
        browser = self.browser()
        browser.sign_in(username)
        return browser

    def number(self, email: str = ADA["email"]) -> int:
        """The number of the registration for the address that was made last."""
        with self.bridge.runtime.database.read() as session:
            query = select(Registration.id).where(Registration.email_key == email.lower())
            found = session.scalars(query.order_by(Registration.id.desc())).first()
            assert found is not None
            return found

    def decide(self, decision: str = "accept", email: str = ADA["email"], **fields: str) -> requests.Response:
        helper = self.helper()
        helper.get(f"/helpdesk/registrations/{self.number(email)}")
        return helper.submit(decision=decision, **fields)

    def accepted(self, email: str = ADA["email"], service: str | None = None, **fields: str) -> str:
        """Somebody asked and was accepted: the link of the last step."""
        self.proved(email, service)
        self.decide(email=email, **fields)
        return link_in(self.newest_to(email))

    def finish(self, link: str, **fields: str) -> requests.Response:
        """Open the link of the last step and fill it in; what the page proposes stays unless told otherwise."""
        browser = self.browser()
        page = browser.get(link)
        if page.status_code != 200 or "password_again" not in page.text:
            return page
        return browser.submit(**(proposed(page) | {"password": NEW_PASSWORD, "password_again": NEW_PASSWORD} | fields))

    def account(self, username: str) -> Account | None:
        with self.bridge.runtime.database.read() as session:
            found = session.scalar(select(Account).where(Account.username == username))
            if found is not None:
                _ = found.addresses
                session.expunge_all()
            return found

    def accounts(self) -> list[str]:
        with self.bridge.runtime.database.read() as session:
            return list(session.scalars(select(Account.username).order_by(Account.id)))

    def rows(self) -> tuple[int, int]:
        """How many registrations and proofs of theirs there are."""
        with self.bridge.runtime.database.read() as session:
            registrations = len(session.scalars(select(Registration.id)).all())
            proofs = len(session.scalars(select(Proof.id).where(Proof.registration_id.is_not(None))).all())
            return registrations, proofs

    def state(self, email: str = ADA["email"]) -> str:
        with self.bridge.runtime.database.read() as session:
            return session.get_one(Registration, self.number(email)).state


def proposed(page: requests.Response) -> dict[str, str]:
    """What the last step's fields hold."""
    return dict(re.findall(r'name="(given_name|family_name|username)" value="([^"]*)"', page.text))


@contextmanager
def office(folder: Path, *, clock: Clock | None = None, **changes: Any) -> Iterator[Office]:
    settings: dict[str, Any] = {
        "sites": [SITE],
        "help_desk": {"members": [{"role": "administrator", "usernames": ["ext.desk"]}]},
        "registration": {"sponsors": ["teacher"]},
        "upstreams": [UPSTREAM],
    }
    with mailing_bridge(folder, clock=clock, **(settings | changes)) as (bridge, mailbox):
        bridge.add_account("ext.desk", email="desk@mail.example")
        yield Office(bridge, mailbox)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path) as running:
        yield running


__all__ = ["APP", "PASSWORD"]
