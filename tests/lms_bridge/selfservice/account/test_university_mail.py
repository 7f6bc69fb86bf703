"""The institutional part of my account: forwarding, spam filter, directory entry, second factor, end of rights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from external_accounts import audit
from external_accounts import mailbox as choices
from external_accounts.confirmation import lose_confirmation
from external_accounts.engagements import LISTING
from external_accounts.handovers import LISTING_CHANGED, MAILBOX_CHANGED
from external_accounts.institution_schema import Handover, MailboxChoice
from external_accounts.schema import Account, AuditEvent, Engagement
from lms_bridge.jobs import people
from lms_bridge.signin.again import FRESH
from tests.bridge_under_test import PASSWORD, BridgeUnderTest, Browser, heading
from tests.lms_bridge.mailing import Mailbox, in_french, link_in, mailing_bridge
from tests.lms_bridge.selfservice.activation.town import plain

HOME = "ada@home.example"
PROFILES = [
    {"name": "hosted", "label": {"fr": "Hébergé", "en": "Hosted"}, "mailbox": "box", "listing": True, "antispam": True},
    {"name": "learner", "label": {"fr": "Apprenant", "en": "Learner"}},
]
LEVELS = [{"name": "strict", "label": {"fr": "Strict", "en": "Strict"}}]


@dataclass
class Ada:
    bridge: BridgeUnderTest
    mailbox: Mailbox
    browser: Browser
    account_id: int

    def handed_on(self) -> dict[str, str]:
        with self.bridge.runtime.database.read() as session:
            return dict(choices.handed_on(session, self.account_id))

    def events(self, event: str) -> int:
        with self.bridge.runtime.database.read() as session:
            return len(session.scalars(select(Handover).where(Handover.event == event)).all())

    def forward(self, to: str = HOME, **more: str) -> Browser:
        self.browser.get("/account/forwarding")
        self.browser.submit(forward="yes", forward_to=to, **more)
        return self.browser

    def mail_to(self, address: str) -> Any:
        return [mail for mail in self.mailbox.all() if mail.to == address][-1]

    def forwarded(self) -> str:
        """Ada forwards her mail and answers; returns the link of the notice that undoes it."""
        self.forward(keep_copy="yes")
        reader = self.bridge.browser()
        reader.get(link_in(self.mail_to(HOME)))
        reader.submit()
        notice = self.mail_to("ext.ada@mail.example")
        return next(word for word in notice.text.split() if "/account/undo/" in word)


@pytest.fixture
def ada(tmp_path: Path) -> Iterator[Ada]:
    settings = {"profiles": PROFILES, "mailbox": {"antispam_levels": LEVELS}, "mfa": {"text": {"fr": "Texte"}}}
    with mailing_bridge(tmp_path, **settings) as (bridge, mailbox):
        account_id = bridge.add_account("ext.ada")
        with bridge.runtime.database.begin() as session:
            session.get_one(Account, account_id).profile = "hosted"
        browser = bridge.browser()
        browser.sign_in("ext.ada")
        yield Ada(bridge, mailbox, browser, account_id)


def test_a_new_forwarding_address_counts_once_it_is_answered_and_is_told_d36(ada: Ada) -> None:
    ada.forward(keep_copy="yes")
    assert heading(ada.browser.page) == in_french("Look in your mailbox")
    assert ada.handed_on()["forward_to"] == ""
    ada.browser.get("/account/forwarding")
    assert in_french("Waits for an answer") in plain(ada.browser.page)
    mail = ada.mail_to(HOME)
    assert "Ada Lovelace" in mail.text
    reader = ada.bridge.browser()
    reader.get(link_in(mail))
    assert ada.handed_on()["forward_to"] == ""  # I11
    reader.submit()
    assert "/account/forwarding" in reader.page.text
    assert ada.handed_on() == {"listed": "no", "forward_to": HOME, "keep_copy": "yes", "antispam": ""}
    assert ada.events(MAILBOX_CHANGED) == 2
    ada.browser.get("/account")
    assert HOME in plain(ada.browser.page)


def test_d36_the_notice_undoes_it_for_seven_days(ada: Ada) -> None:
    undo = ada.forwarded()
    assert ada.handed_on()["forward_to"] == HOME
    victim = ada.bridge.browser()
    victim.get(undo)
    victim.submit()
    assert ada.handed_on()["forward_to"] == ""
    assert ada.events(MAILBOX_CHANGED) == 3


def test_taking_the_address_off_ends_the_forwarding(ada: Ada) -> None:
    ada.forwarded()
    ada.browser.get("/account/addresses")
    form = next(
        number
        for number, part in enumerate(ada.browser.page.text.split("<form")[1:])
        if "/remove" in part and HOME in part
    )
    ada.browser.submit(form)
    assert ada.handed_on()["forward_to"] == ""


def test_a_forwarding_address_that_bounces_is_in_force_no_more(ada: Ada) -> None:
    ada.forwarded()
    with ada.bridge.runtime.database.begin() as session:
        address = next(one for one in session.get_one(Account, ada.account_id).addresses if one.email == HOME)
        lose_confirmation(session, address, reason="bounce", now=ada.bridge.clock(), origin=audit.SYSTEM)
    assert ada.handed_on()["forward_to"] == ""
    assert ada.events(MAILBOX_CHANGED) == 3


def test_to_a_confirmed_address_or_off_again_needs_no_answer_and_is_told(ada: Ada) -> None:
    ada.forward("EXT.ADA@mail.example")
    assert in_french("The forwarding is changed. Your confirmed addresses have been told.") in plain(ada.browser.page)
    assert ada.handed_on()["forward_to"] == "ext.ada@mail.example"
    assert ada.handed_on()["keep_copy"] == "no"
    assert "est redirigé vers e•••@mail.example" in ada.mailbox.newest().text
    ada.browser.get("/account/forwarding")
    ada.browser.submit(forward="no")
    assert ada.handed_on()["keep_copy"] == "yes"
    assert "plus redirigé" in ada.mailbox.newest().text


def test_ses_03_changing_the_forwarding_asks_for_the_password_again_and_loses_nothing(ada: Ada) -> None:
    ada.bridge.clock.moment += FRESH + timedelta(seconds=1)
    ada.forward("ext.ada@mail.example")
    assert ada.handed_on()["forward_to"] == ""
    assert in_french("Change where my mail is forwarded") in plain(ada.browser.page)
    ada.browser.submit(password=PASSWORD)
    assert ada.handed_on()["forward_to"] == "ext.ada@mail.example"


def test_what_is_no_address_is_said_and_stays_on_the_page(ada: Ada) -> None:
    page = ada.forward("ada@nowhere").page
    assert page.status_code == 422
    assert 'value="ada@nowhere"' in page.text
    assert ada.events(MAILBOX_CHANGED) == 0


def test_the_level_of_the_spam_filter_is_handed_on(ada: Ada) -> None:
    ada.browser.get("/account/forwarding")
    ada.browser.submit(1, antispam="strict")
    assert ada.handed_on()["antispam"] == "strict"
    assert ada.events(MAILBOX_CHANGED) == 1
    ada.browser.submit(1, antispam="none of ours")
    assert ada.browser.page.status_code == 404
    assert ada.handed_on()["antispam"] == "strict"


def test_the_directory_entry_is_a_dated_consent_that_is_taken_back_as_easily(ada: Ada) -> None:
    ada.browser.get("/account/directory")
    assert 'value="no" checked' in ada.browser.page.text
    ada.browser.submit(directory="yes")
    assert ada.handed_on()["listed"] == "yes"
    ada.browser.get("/account/data/consents")
    assert in_french("Public directory") in plain(ada.browser.page)
    ada.browser.submit()
    assert ada.handed_on()["listed"] == "no"
    ada.browser.get("/account/directory")
    ada.browser.submit(directory="yes")
    ada.browser.submit(directory="no")
    ada.browser.submit(directory="no")
    assert ada.handed_on()["listed"] == "no"
    assert ada.events(LISTING_CHANGED) == 4
    with ada.bridge.runtime.database.read() as session:
        [engagement] = session.scalars(select(Engagement).where(Engagement.document == LISTING))
        trail = session.scalars(select(AuditEvent.event).where(AuditEvent.event.startswith("engagement."))).all()
    assert engagement.withdrawn_at is not None
    assert len(trail) == 4


@pytest.mark.parametrize("path", ["/account/forwarding", "/account/directory", "/account/mfa"])
def test_whom_it_does_not_concern_finds_no_page(ada: Ada, path: str) -> None:
    ada.bridge.add_account("ext.bob")
    bob = ada.bridge.browser()
    bob.sign_in("ext.bob")
    assert bob.get(path).status_code == 404
    overview = bob.get("/account").text
    assert path not in overview
    assert ada.bridge.browser().get(path, follow=False).status_code == 303


def test_the_end_of_rights_is_said_in_words_and_the_page_stays_open(ada: Ada) -> None:
    with ada.bridge.runtime.database.begin() as session:
        session.get_one(Account, ada.account_id).rights_end_at = ada.bridge.clock() + timedelta(days=1)
    assert "Votre accès prend fin le" in plain(ada.browser.get("/account"))
    ada.bridge.clock.forward(days=2)
    ada.browser.sign_in("ext.ada")
    page = plain(ada.browser.get("/account"))
    assert "Votre accès a pris fin le" in page
    assert "les applications vous sont fermées" in page
    assert ada.browser.get("/account/forwarding").status_code == 200


def test_nothing_of_it_outlives_the_account(ada: Ada) -> None:
    ada.forwarded()
    ada.browser.get("/account/deletion")
    ada.browser.submit()
    ada.bridge.clock.forward(days=8)
    ada.mailbox.all()
    people.erase_accounts(ada.bridge.runtime)
    with ada.bridge.runtime.database.read() as session:
        assert session.get_one(Account, ada.account_id).erased_at is not None
        assert session.get(MailboxChoice, ada.account_id) is None
