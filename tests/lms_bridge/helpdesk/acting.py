"""A bridge with a help desk of two, its mailbox, and the people whose accounts they act on."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import select

from external_accounts.schema import Account, Address, AuditEvent
from lms_bridge.demo.mail_sink import Mail
from lms_bridge.helpdesk.acting import PATH
from lms_bridge.schema import SsoSession
from tests.bridge_under_test import PASSWORD, BridgeUnderTest, Browser, Clock
from tests.lms_bridge.mailing import Mailbox, mailing_bridge

LABEL = {"fr": "Profil", "en": "Profile"}
PROFILES: list[dict[str, Any]] = [
    {"name": "learner", "label": LABEL, "retention_months": 6, "extension_months": 6},
    {"name": "staff", "label": LABEL},
    {"name": "vacataire", "label": LABEL, "issuer": "sel", "directory": "sel"},
]
HELP_DESK = {"members": [{"role": "administrator", "usernames": ["ext.desk", "ext.second"]}]}
DESK, SECOND = "ext.desk", "ext.second"


@dataclass
class Office:
    """The running bridge and what its help desk does."""

    bridge: BridgeUnderTest
    mailbox: Mailbox

    @property
    def clock(self) -> Clock:
        return self.bridge.clock

    def browser(self, username: str = DESK) -> Browser:
        """Somebody signed in a moment ago."""
        browser = self.bridge.browser()
        browser.sign_in(username)
        return browser

    def person(self, username: str = "ext.ada", *, confirmed: bool = True, **columns: Any) -> int:
        number = self.bridge.add_account(username, confirmed=confirmed)
        self.change(number, **columns)
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

    def addresses(self, number: int) -> list[Address]:
        with self.bridge.runtime.database.read() as session:
            return list(session.scalars(select(Address).where(Address.account_id == number).order_by(Address.id)))

    def act(self, name: str, number: int, *, by: Browser | None = None, **fields: str) -> requests.Response:
        """Open the page of an act, fill it in and press its button; follows nothing."""
        browser = by or self.browser()
        browser.get(f"{PATH}/{number}/{name}")
        return browser.submit(follow=False, **fields)

    def events(self, number: int, event: str) -> list[AuditEvent]:
        with self.bridge.runtime.database.read() as session:
            query = select(AuditEvent).where(AuditEvent.account_id == number, AuditEvent.event == event)
            return list(session.scalars(query.order_by(AuditEvent.id)))

    def open_sessions(self, number: int) -> int:
        with self.bridge.runtime.database.read() as session:
            query = select(SsoSession.id).where(SsoSession.account_id == number, SsoSession.ended_at.is_(None))
            return len(session.scalars(query).all())

    def mails_to(self, email: str) -> list[Mail]:
        return [mail for mail in self.mailbox.all() if mail.to == email]


@contextmanager
def office(folder: Path, **changes: Any) -> Iterator[Office]:
    settings: dict[str, Any] = {
        "profiles": PROFILES,
        "help_desk": HELP_DESK,
        "directories": [{"name": "sel", "kind": "embedded"}],
        "upstreams": [{"issuer": "sel", "cas_url": "https://cas.univ.example/cas"}],
    }
    with mailing_bridge(folder, **(settings | changes)) as (bridge, mailbox):
        running = Office(bridge, mailbox)
        for name in (DESK, SECOND):
            running.person(name, profile="staff")
        yield running


def words(page: requests.Response) -> str:
    """The page's text, blanks folded."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page.text)).split())


def done(answer: requests.Response, number: int, name: str) -> bool:
    """Whether the act was done: back to the account."""
    return answer.status_code == 303 and answer.headers["Location"].endswith(f"{PATH}/{number}?done={name}")


__all__ = ["DESK", "PASSWORD", "PATH", "SECOND", "Office", "done", "office", "words"]
