"""People of the university who lose their identifiers, and the ways to ask for them."""

from __future__ import annotations

import re
from typing import Any

import requests

from external_accounts.accounts import Person, create_account
from external_accounts.addresses import parse_address, set_primary_address
from external_accounts.directory import Entry
from external_accounts.schema import Account, SignInIdentity
from lms_bridge.demo.mail_sink import Mail
from tests.bridge_under_test import BridgeUnderTest, Browser
from tests.lms_bridge.mailing import Mailbox
from tests.lms_bridge.selfservice.forgetting import NEW, SEL

OLD = "vingt quatre chevaux blancs"
SETTINGS: dict[str, Any] = {
    "upstreams": [SEL | {"trusted_domains": ["univ.example"]}],
    "directories": [{"name": "sel", "kind": "embedded"}],
    "profiles": [
        {"name": "vacataire", "label": {"fr": "Vacataire"}, "issuer": "sel", "directory": "sel"},
        {"name": "library_reader", "label": {"fr": "Lecteur"}},
        {"name": "technical", "label": {"fr": "Compte technique"}, "issuer": "sel", "directory": "sel"},
        {"name": "staff", "label": {"fr": "Personnel"}, "issuer": "sel"},
    ],
}


class University:
    """A bridge with people of the university, their private mailboxes, and those who answer for technical accounts."""

    def __init__(self, bridge: BridgeUnderTest, mailbox: Mailbox) -> None:
        self.bridge, self.mailbox = bridge, mailbox
        self.directory = bridge.runtime.directories["sel"]

    def add(
        self,
        username: str,
        *,
        profile: str = "vacataire",
        institutional: str | None = None,
        private: str | None = None,
        confirmed: bool = True,
        activated: bool = True,
        sponsor: str | None = None,
    ) -> int:
        """An account that signs in by the SEL; where its profile has a directory, with `OLD` as password there."""
        runtime, now = self.bridge.runtime, self.bridge.clock()
        with runtime.database.begin() as session:
            account = create_account(
                session,
                username=username,
                profile=profile,
                person=Person("Nora", "Lopez"),
                activated=activated,
                now=now,
            )
            account.identities.append(
                SignInIdentity(issuer="sel", subject=username, attributes={}, created_at=now, refreshed_at=now)
            )
            if sponsor:
                account.sponsor_id = session.query(Account).filter_by(username=sponsor).one().id
            for email, role in ((private, "recovery"), (institutional, "institutional")):
                if email:
                    set_primary_address(session, account, parse_address(email), role=role, now=now)
                    if confirmed:
                        self.bridge.confirm(session, account)
            account_id = account.id
        if runtime.settings.profile(profile).directory:
            self.directory.save(Entry(username))
            if activated:
                self.directory.set_password(username, OLD)
        return account_id

    def ask(self, profile: str, email: str, browser: Browser | None = None) -> Browser:
        """Fill the page in: the page that waits."""
        browser = browser or self.bridge.browser()
        browser.get("/perte-identifiant")
        browser.submit(profile=profile, email=email)
        return browser

    def mails(self, profile: str, email: str) -> list[Mail]:
        """What is mailed for one request."""
        before = len(self.mailbox.all())
        self.ask(profile, email)
        return self.mailbox.all()[before:]

    def choose(self, link: str, password: str = NEW, **fields: str) -> requests.Response:
        browser = self.bridge.browser()
        browser.get(link)
        return browser.submit(password=password, password_again=password, **fields)


def link_in(mail: Mail) -> str:
    """The link of a mail about lost identifiers, whole."""
    found = re.search(r"https?://\S+/perte-identifiant/\S+", mail.text)
    assert found, mail.text
    return found.group(0)
