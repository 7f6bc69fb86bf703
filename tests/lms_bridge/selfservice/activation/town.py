"""A university that announces accounts: adjunct teachers and students behind a directory, readers kept here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import requests

from external_accounts.accounts import Person, create_account
from external_accounts.addresses import parse_address
from external_accounts.database import note_waiting
from external_accounts.directory import Directory
from external_accounts.schema import Account, Address, SignInIdentity
from lms_bridge.demo.mail_sink import Mail
from tests.bridge_under_test import BridgeUnderTest, Browser, heading
from tests.lms_bridge.mailing import Mailbox, in_french, link_in

CHOSEN = "quatre mots au hasard 27"
PRIVATE = "nora@mail.example"
SETTINGS: dict[str, Any] = {
    "charter": {"version": "2026-09", "url": "https://univ.example/charte"},
    "upstreams": [
        {"issuer": "sel", "cas_url": "https://sel.univ.example/cas", "trusted_domains": ["univ.example"]},
    ],
    "directories": [{"name": "sel", "kind": "embedded"}],
    "profiles": [
        {
            "name": "vacataire",
            "label": {"fr": "Vacataire", "en": "Adjunct teacher"},
            "issuer": "sel",
            "directory": "sel",
            "whom_to_see": {"fr": "le service des ressources humaines", "en": "the staff office"},
        },
        {
            "name": "student",
            "label": {"fr": "Étudiant·e", "en": "Student"},
            "issuer": "sel",
            "directory": "sel",
            "mailbox": "forward",
            "listing": False,
            "first_link": "hours:48",
            "whom_to_see": {"fr": "la scolarité", "en": "the student office"},
        },
        {"name": "library_reader", "label": {"fr": "Lecteur·rice", "en": "Library reader"}},
        {"name": "staff", "label": {"fr": "Personnel", "en": "Staff"}, "issuer": "sel"},
    ],
    "local": {"username_pattern": r"ext\.[a-z0-9._-]{1,90}"},
}


@dataclass
class Town:
    """The bridge, its mailbox, and what people do with them."""

    bridge: BridgeUnderTest
    mailbox: Mailbox

    def announce(
        self,
        username: str = "nlopez",
        *,
        profile: str = "vacataire",
        private: str | None = PRIVATE,
        mail: bool = True,
        **changes: Any,
    ) -> int:
        """The staff office has an account made; returns its id. `private` None: it knows no address."""
        runtime, now = self.bridge.runtime, self.bridge.clock()
        with runtime.database.begin() as session:
            account = create_account(
                session,
                username=username,
                profile=profile,
                person=Person("Nora", "Lopez"),
                activated=False,
                now=now,
            )
            if profile != "library_reader":
                account.identities.append(
                    SignInIdentity(issuer="sel", subject=username, attributes={}, created_at=now, refreshed_at=now)
                )
                account.addresses.append(_address(f"{username}@univ.example", "institutional", now))
            if private is not None:
                account.addresses.append(_address(private, "recovery", now, primary=True))
            if mail:
                account.activation_mail_due_at = now
                note_waiting(session, Account)
            for name, value in changes.items():
                setattr(account, name, value)
            return account.id

    def change(self, account_id: int, **changes: Any) -> None:
        with self.bridge.runtime.database.begin() as session:
            account = session.get_one(Account, account_id)
            for name, value in changes.items():
                setattr(account, name, value)

    def account(self, account_id: int) -> Account:
        """With addresses and identities."""
        with self.bridge.runtime.database.read() as session:
            account = session.get_one(Account, account_id)
            _ = account.addresses, account.identities
            return account

    def first_link(self, **announced: Any) -> str:
        self.announce(**announced)
        return link_in(self.mailbox.newest())

    def ask(self, identifier: str = "nlopez") -> Browser:
        """“First sign-in or trouble signing in?”: the page that waits."""
        browser = self.bridge.browser()
        browser.get("/account/activate")
        browser.submit(identifier=identifier)
        return browser

    def asked_link(self, identifier: str = "nlopez") -> str:
        self.ask(identifier)
        return link_in(self.mailbox.newest())

    def mails_to(self, address: str = PRIVATE) -> list[Mail]:
        return [mail for mail in self.mailbox.all() if mail.to == address]

    def open(self, link: str) -> Browser:
        browser = self.bridge.browser()
        browser.get(link)
        return browser

    def up_to_password(self, link: str, **answers: str) -> Browser:
        """Through the steps to the last one; `answers` are sent wherever a page asks."""
        browser = self.open(link)
        given = {"charter": "1", "directory": "no", "forward": "no"} | answers
        for _ in range(6):
            if heading(browser.page) == LAST:
                return browser
            browser.submit(**given)
        raise AssertionError(heading(browser.page))

    def finish(self, link: str, *, password: str = CHOSEN, **answers: str) -> Browser:
        """All the steps; the page that follows the last one."""
        browser = self.up_to_password(link, **answers)
        browser.submit(password=password, password_again=password)
        return browser

    @property
    def directory(self) -> Directory:
        return self.bridge.runtime.directories["sel"]


def _address(email: str, role: str, now: datetime, *, primary: bool = False) -> Address:
    parsed = parse_address(email)
    return Address(email=parsed.email, email_key=parsed.key, role=role, is_primary=primary, created_at=now)


def at_paris(town: Town, text: str) -> None:
    """Set the clock to this time on the wall in Paris."""
    zone = town.bridge.runtime.settings.zone
    town.bridge.clock.moment = datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


def plain(page: requests.Response) -> str:
    """The page's text, tags and folds removed."""
    return " ".join(re.sub(r"<[^>]+>", " ", page.text).split())


LAST = in_french("Choose your password")
DONE = in_french("Your account is activated")
EXPIRED = in_french("This link is too old")
WAITING = in_french("Look in your private mailbox")
SECOND = timedelta(seconds=1)
