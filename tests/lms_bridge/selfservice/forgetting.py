"""A town with people who forget their passwords, and the ways to ask for a new one."""

from __future__ import annotations

import html

import requests
from sqlalchemy import delete, update

from external_accounts import audit
from external_accounts.addresses import parse_address, set_primary_address
from external_accounts.schema import Account, Address, Proof
from tests.bridge_under_test import APP, BridgeUnderTest, Browser
from tests.lms_bridge.mailing import Mailbox, in_french, link_in

NEW = "une lampe dans le grenier"
WAITING = in_french("Look in your mailbox")
CHOOSE = in_french("Choose a new password")
DONE = in_french("Your new password is set")
USED = in_french("This link has been used")
EXPIRED = in_french("This link is too old")
INVALID = in_french("This link does not work")
CODE_REFUSED = in_french("This code does not work. Use the link, or ask for a new message.")

SEL = {
    "issuer": "sel",
    "cas_url": "https://cas.univ.example/cas",
    "title": {"fr": "Compte SEL", "en": "SEL account"},
    "recovery_url": "https://sel.univ.example/oubli",
}


class Town:
    """A bridge with Ada, and the ways to ask."""

    def __init__(self, bridge: BridgeUnderTest, mailbox: Mailbox) -> None:
        self.bridge, self.mailbox = bridge, mailbox
        self.ada_id = bridge.add_account("ext.ada", email="Ada@mail.example")

    def search(self, browser: Browser | None = None, service: str | None = APP, **typed: str) -> Browser:
        """Open the page, search by one of the two forms: the page that waits."""
        browser = browser or self.bridge.browser()
        browser.get("/account/forgot", params={"service": service} if service else {})
        browser.submit(1 if "email" in typed else 0, **typed)
        return browser

    def mailed(self, **typed: str) -> str:
        """Search; the link of the mail."""
        self.search(**typed)
        return link_in(self.mailbox.newest())

    def reset(self, link: str, password: str = NEW, **fields: str) -> requests.Response:
        browser = self.bridge.browser()
        browser.get(link)
        return browser.submit(password=password, password_again=password, **fields)

    def signs_in(self, username: str = "ext.ada", password: str = NEW) -> bool:
        return self.bridge.browser().sign_in(username, password, service=APP, follow=False).status_code == 303

    def add_address(self, email: str, *, confirmed: bool = True) -> None:
        """A further address for Ada, from now on her primary one."""
        with self.bridge.runtime.database.begin() as session:
            account = session.get_one(Account, self.ada_id)
            set_primary_address(session, account, parse_address(email), role="contact", now=self.bridge.clock())
            if confirmed:
                self.bridge.confirm(session, account)

    def move(self, email: str) -> None:
        """Ada's only address is another one from now on."""
        self.add_address(email)
        with self.bridge.runtime.database.begin() as session:
            session.execute(update(Proof).values(address_id=None))
            session.execute(delete(Address).where(Address.account_id == self.ada_id, Address.email != email))


def plain(text: str) -> str:
    return " ".join(html.unescape(text).split())


def audited(town: Town, event: str) -> list[str]:
    with town.bridge.runtime.database.read() as session:
        rows = session.query(audit.AuditEvent).filter_by(event=event).order_by(audit.AuditEvent.id)
        return [row.outcome for row in rows]
