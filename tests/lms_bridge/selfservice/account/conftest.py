"""A bridge with a mailbox, and Ada, who is signed in and reads her mails."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from sqlalchemy import select

from external_accounts.schema import Address
from lms_bridge.demo.mail_sink import Mail
from tests.bridge_under_test import PASSWORD, SERVICES, BridgeUnderTest, Browser, forms
from tests.lms_bridge.mailing import Mailbox, mailing_bridge

CHARTER = {"version": "2026-09", "url": "https://univ.example/charte"}


@dataclass
class Home:
    """The bridge, its mailbox, Ada's browser and her account."""

    bridge: BridgeUnderTest
    mailbox: Mailbox
    ada: Browser
    account_id: int

    def addresses(self) -> dict[str, tuple[bool, bool, str]]:
        """E-mail → (main one, confirmed, role), as the database has it."""
        with self.bridge.runtime.database.read() as session:
            rows = session.scalars(select(Address).where(Address.account_id == self.account_id)).all()
        return {row.email: (row.is_primary, row.confirmed_at is not None, row.role) for row in rows}

    def mails_to(self, email: str) -> list[Mail]:
        return [mail for mail in self.mailbox.all() if mail.to == email]

    def press(self, path: str, **fields: str) -> requests.Response:
        """Press the button of this page whose form goes to `path`."""
        for number, (action, _method, _hidden) in enumerate(forms(self.ada.page)):
            if action == path:
                return self.ada.submit(number, **fields)
        raise AssertionError(f"no form to {path}: {[form[0] for form in forms(self.ada.page)]}")

    def address_id(self, email: str) -> int:
        with self.bridge.runtime.database.read() as session:
            return session.scalars(
                select(Address.id).where(Address.account_id == self.account_id, Address.email == email)
            ).one()

    def add(self, email: str, *, confirm: bool = True, **fields: str) -> requests.Response:
        """Add an address on the page, and confirm it by the link of its mail."""
        self.ada.get("/account/addresses")
        answer = self.press("/account/addresses", email=email, **fields)
        if confirm:
            link = mail_link(self.mails_to(email)[-1], "confirm")
            self.ada.get(link)
            answer = self.ada.submit()
        return answer

    def change(self, email: str, what: str) -> requests.Response:
        """Press one of the buttons of an address."""
        self.ada.get("/account/addresses")
        return self.press(f"/account/addresses/{self.address_id(email)}/{what}")

    def later(self, **delta: float) -> None:
        self.bridge.clock.forward(**delta)

    def sign_in_again(self) -> None:
        self.ada = self.bridge.browser()
        self.ada.sign_in("ext.ada", PASSWORD)


def mail_link(mail: Mail, family: str) -> str:
    """The path of the link of a mail: `confirm`, `undo`, `keep`."""
    found = re.search(rf"https?://\S+/account/{family}/\S+", mail.text)
    assert found, mail.text
    return urlsplit(found.group(0)).path


def words(page: requests.Response) -> str:
    """The text of the page's main part, tags dropped and blanks folded."""
    main = page.text.partition("<main")[2].partition("</main>")[0]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", main)).split())


def settings(**changes: Any) -> dict[str, Any]:
    return {"charter": CHARTER, "services": [*SERVICES], **changes}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with mailing_bridge(tmp_path, **settings()) as (bridge, mailbox):
        account_id = bridge.add_account("ext.ada", email="ada@mail.example")
        ada = bridge.browser()
        ada.sign_in("ext.ada", PASSWORD)
        yield Home(bridge, mailbox, ada, account_id)
