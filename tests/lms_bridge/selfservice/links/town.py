"""A bridge with the university's CAS and a mailbox, and people who have two accounts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from sqlalchemy import select

from external_accounts.database import Base
from external_accounts.linking_schema import AccountLink
from external_accounts.schema import Account, Address, SignInIdentity
from lms_bridge.demo.mail_sink import Mail
from lms_bridge.demo.sel import SelDirectory, SelUser, SimulatedSel
from lms_bridge.demo.server import LoopbackServer
from tests.bridge_under_test import PASSWORD, SERVICES, BridgeUnderTest, Browser, forms
from tests.lms_bridge.mailing import Mailbox, code_in, mailing_bridge

LINKS = "/account/links"
SEL_PASSWORD = "sel-password-1"
DOMAIN = "univ.example"


@dataclass
class Links:
    """The bridge, its mailbox and the CAS; and what people do."""

    bridge: BridgeUnderTest
    mailbox: Mailbox
    directory: SelDirectory
    sel: SimulatedSel

    # --- people ---

    def member(self, username: str, *, domain: str = DOMAIN, **more: str) -> None:
        """Somebody whom the CAS knows."""
        attributes = {"mail": f"{username}@{domain}", "givenName": "Ada", "sn": "Lovelace", **more}
        self.directory.add(SelUser(username, SEL_PASSWORD, attributes))

    def learner(self, username: str = "ext.ada", **more: Any) -> int:
        return self.bridge.add_account(username, **more)

    def by_cas(self, username: str, browser: Browser | None = None) -> Browser:
        """Come in by the CAS, with the password typed."""
        browser = browser or self.bridge.browser()
        browser.get("/signin/sel?renew=true")
        self.type_at_cas(browser, username)
        return browser

    def by_password(self, username: str, password: str = PASSWORD) -> Browser:
        browser = self.bridge.browser()
        browser.sign_in(username, password)
        return browser

    @staticmethod
    def type_at_cas(browser: Browser, username: str, password: str = SEL_PASSWORD) -> requests.Response:
        """Fill the CAS's own form, where the browser stands."""
        return browser.submit(username=username, password=password)

    # --- the ceremony ---

    def begin(self, browser: Browser, password: str = PASSWORD, cas: str = "") -> str:
        """Begin the ceremony, showing once more who one is when that is asked; the address of its page."""
        browser.get(LINKS)
        press(browser, f"{LINKS}/begin")
        if 'name="to"' in browser.page.text:
            if cas:
                browser.submit()
                self.type_at_cas(browser, cas)
                browser.submit()
            else:
                browser.submit(password=password)
        assert re.fullmatch(rf"{LINKS}/ceremony/[0-9a-f]{{32}}", path(browser)), (
            path(browser),
            browser.page.text[:800],
        )
        return path(browser)

    def show_cas(self, browser: Browser, username: str) -> requests.Response:
        """Show the other side at the CAS."""
        press(browser, f"{path(browser)}/cas/sel")
        return self.type_at_cas(browser, username)

    def show_password(self, browser: Browser, username: str, password: str = PASSWORD) -> requests.Response:
        return press(browser, f"{path(browser)}/local", identifier=username, password=password)

    def show_mail(self, browser: Browser, email: str) -> requests.Response:
        """Use the link of the message, in the same browser."""
        browser.get(link_of(self.mails_to(email)[-1], "proof"))
        return browser.submit()

    def show_code(self, browser: Browser, email: str) -> requests.Response:
        return browser.submit(code=code_in(self.mails_to(email)[-1]))

    def show_local(self, browser: Browser, username: str, email: str) -> requests.Response:
        self.show_password(browser, username)
        return self.show_mail(browser, email)

    def confirm(self, browser: Browser, keep: str = "this") -> requests.Response:
        return press(browser, f"{path(browser)}/confirm", keep=keep)

    def undo(self, email: str, *, number: int = -1) -> requests.Response:
        """Somebody who reads `email` presses the button behind the link of one of its notices."""
        notices = [mail for mail in self.mails_to(email) if f"{LINKS}/undo/" in mail.text]
        reader = self.bridge.browser()
        page = reader.get(link_of(notices[number], "undo"))
        return reader.submit() if page.status_code == 200 else page

    # --- what there is ---

    def mails_to(self, email: str) -> list[Mail]:
        return [mail for mail in self.mailbox.all() if mail.to == email]

    def identities(self) -> dict[tuple[str, str], int]:
        with self.bridge.runtime.database.read() as session:
            rows = session.scalars(select(SignInIdentity)).all()
        return {(row.issuer, row.subject): row.account_id for row in rows}

    def usernames(self) -> dict[str, int]:
        """User name → account, of those that are not joined to another."""
        with self.bridge.runtime.database.read() as session:
            query = select(Account.username, Account.id).where(Account.merged_into_id.is_(None))
            return dict(session.execute(query).all())

    def addresses(self, account_id: int) -> dict[str, tuple[bool, bool]]:
        """E-mail → (main one, confirmed)."""
        with self.bridge.runtime.database.read() as session:
            rows = session.scalars(select(Address).where(Address.account_id == account_id)).all()
        return {row.email: (row.is_primary, row.confirmed_at is not None) for row in rows}

    def links(self) -> list[AccountLink]:
        with self.bridge.runtime.database.read() as session:
            return list(session.scalars(select(AccountLink).where(AccountLink.undone_at.is_(None))))

    def dump(self, *tables: type[Base], without: frozenset[str] = frozenset({"version"})) -> dict[str, list[Any]]:
        """Every row of these tables, to compare."""
        with self.bridge.runtime.database.read() as session:
            return {
                table.__tablename__: sorted(
                    repr([(c.key, getattr(row, c.key)) for c in table.__table__.columns if c.key not in without])
                    for row in session.scalars(select(table))
                )
                for table in tables
            }


def path(browser: Browser) -> str:
    return urlsplit(browser.page.url).path


def press(browser: Browser, action: str, **fields: str) -> requests.Response:
    """Press the button of this page whose form goes to `action`."""
    for number, (to, _method, _hidden) in enumerate(forms(browser.page)):
        if to == action:
            return browser.submit(number, **fields)
    raise AssertionError(f"no form to {action}: {[form[0] for form in forms(browser.page)]}\n{browser.page.text[:600]}")


def link_of(mail: Mail, what: str) -> str:
    """The path of the link of a mail: `proof` or `undo`."""
    found = re.search(rf"https?://\S+{LINKS}/{what}/\S+", mail.text)
    assert found, mail.text
    return urlsplit(found.group(0)).path


@contextmanager
def linking_bridge(folder: Path, **changes: Any) -> Iterator[Links]:
    """A running bridge whose door `sel` leads to a real CAS."""
    late: dict[str, Any] = {}
    server = LoopbackServer(lambda environ, start: late["sel"](environ, start), 0)  # noqa: PLW0108
    upstream = {
        "issuer": "sel",
        "cas_url": f"{server.url}/cas",
        "title": {"fr": "Compte SEL", "en": "SEL account"},
        "trusted_domains": [DOMAIN],
    }
    server.start()
    try:
        values = {"upstreams": [upstream], "services": SERVICES, **changes}
        with mailing_bridge(folder, **values) as (bridge, mailbox):
            directory = SelDirectory()
            sel = SimulatedSel(directory, server.url, now=bridge.clock)
            late["sel"] = sel.wsgi_app
            yield Links(bridge, mailbox, directory, sel)
    finally:
        server.stop()
