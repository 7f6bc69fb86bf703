"""People whose password a directory holds: lost, changed, refused, with the directory away; by the pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from external_accounts import audit
from external_accounts.accounts import Person, create_account
from external_accounts.addresses import parse_address, set_primary_address
from external_accounts.directory import (
    DirectoryError,
    DirectoryReadOnly,
    DirectoryUnavailable,
    Entry,
    EntryMissing,
    PasswordRefused,
    Refusal,
)
from external_accounts.directory.embedded import EmbeddedDirectory
from external_accounts.institution_schema import DirectoryPassword
from external_accounts.schema import Account, SignInIdentity
from lms_bridge.selfservice.set_password import settle_unfinished
from lms_bridge.signin import sessions
from lms_bridge.web import cookies
from tests.bridge_under_test import APP, BridgeUnderTest, Browser, heading
from tests.lms_bridge.mailing import in_french, mailing_bridge
from tests.lms_bridge.selfservice.account.conftest import words
from tests.lms_bridge.selfservice.forgetting import CHOOSE, DONE, INVALID, NEW, SEL, USED, Town, audited

OLD = "une vieille horloge bleue"
PROFILES = [
    {
        "name": "vacataire",
        "label": {"fr": "Vacataire", "en": "Adjunct teacher"},
        "issuer": "sel",
        "directory": "people",
    },
    {"name": "staff", "label": {"fr": "Personnel", "en": "Staff"}, "issuer": "sel"},
    {"name": "learner", "label": {"fr": "Apprenant·e", "en": "Learner"}},
]
UNAVAILABLE = (
    "The university's directory does not answer at the moment. Nothing was changed: try again in some minutes."
)
READ_ONLY = "The university's directory takes no changes at the moment. Nothing was changed: try again later."
MISSING = "The university's directory does not know this account yet. Nothing was changed: ask the help desk."


@dataclass
class Away:
    """The embedded directory, which can be told to fail."""

    inner: EmbeddedDirectory
    error: DirectoryError | None = None
    verify_error: DirectoryError | None = None
    name: str = "people"
    choices: dict[str, str] = field(default_factory=dict)

    def find(self, username: str) -> Entry | None:
        return self.inner.find(username)

    def save(self, entry: Entry) -> None:
        if self.error is not None:
            raise self.error
        self.inner.save(entry)

    def set_password(self, username: str, password: str) -> None:
        if self.error is not None:
            raise self.error
        self.inner.set_password(username, password)

    def verify(self, username: str, password: str) -> bool:
        if self.verify_error is not None:
            raise self.verify_error
        return self.inner.verify(username, password)

    def write_choices(self, username: str, choices: object) -> None:
        raise AssertionError("nobody chose anything")


@dataclass
class Office:
    """Ada teaches by the hour: she signs in at the university's CAS, and her password is in `people`."""

    town: Town
    directory: Any
    """`Away`, or a real one."""
    account_id: int

    @property
    def bridge(self) -> BridgeUnderTest:
        return self.town.bridge

    def works(self, password: str) -> bool:
        return self.directory.verify("vada", password)

    def signed_in(self) -> Browser:
        """A browser with a session of the CAS door."""
        runtime = self.bridge.runtime
        with runtime.database.begin() as session:
            account = session.get_one(Account, self.account_id)
            secret = sessions.start(
                session,
                account_id=account.id,
                identity_id=account.identities[0].id,
                issuer="sel",
                limits=runtime.settings.sessions,
                now=self.bridge.clock(),
                origin=audit.SYSTEM,
                user_agent="",
            )
        browser = self.bridge.browser()
        browser.session.cookies.set(cookies.session_name(runtime.settings), secret, domain="127.0.0.1", path="/")
        return browser

    def change(self, browser: Browser, *, current: str = OLD, new: str = NEW) -> requests.Response:
        browser.get("/account/password")
        return browser.submit(0, current_password=current, password=new, password_again=new)


def add_vacataire(bridge: BridgeUnderTest, username: str, profile: str = "vacataire", *, activated: bool = True) -> int:
    now = bridge.clock()
    with bridge.runtime.database.begin() as session:
        account = create_account(
            session,
            username=username,
            profile=profile,
            person=Person("Ada", "Lovelace"),
            activated=activated,
            now=now,
        )
        account.identities.append(
            SignInIdentity(issuer="sel", subject=username, attributes={}, created_at=now, refreshed_at=now)
        )
        set_primary_address(session, account, parse_address(f"{username}@private.example"), role="recovery", now=now)
        bridge.confirm(session, account)
        return account.id


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with mailing_bridge(
        tmp_path, upstreams=[SEL], profiles=PROFILES, directories=[{"name": "people", "kind": "embedded"}]
    ) as (bridge, mailbox):
        directories = bridge.runtime.directories
        assert isinstance(directories, dict)
        inner = directories["people"]
        assert isinstance(inner, EmbeddedDirectory)
        directory = Away(inner)
        directories["people"] = directory
        account_id = add_vacataire(bridge, "vada")
        directory.save(Entry("vada"))
        directory.set_password("vada", OLD)
        yield Office(Town(bridge, mailbox), directory, account_id)


def test_a_lost_password_is_set_in_the_directory_by_the_mailed_link(office: Office) -> None:
    link = office.town.mailed(username="vada")
    assert office.town.mailbox.newest().to == "vada@private.example"
    browser = office.bridge.browser()
    assert heading(browser.get(link)) == CHOOSE
    done = browser.submit(password=NEW, password_again=NEW)
    assert (done.status_code, heading(done)) == (200, DONE)
    assert f"/signin/sel?service={APP.replace(':', '%3A').replace('/', '%2F')}" in done.text
    assert office.works(NEW)
    assert audited(office.town, "password.reset") == ["ok"]
    assert audited(office.town, "recovery.mailed") == ["directory"]
    assert heading(office.bridge.browser().get(link)) == USED


def test_a_password_that_is_kept_here_is_set_here_whatever_the_profile_has(office: Office) -> None:
    account_id = office.bridge.add_account("ext.eve")
    with office.bridge.runtime.database.begin() as session:
        session.get_one(Account, account_id).profile = "vacataire"
    link = office.town.mailed(username="ext.eve")
    assert heading(office.town.reset(link)) == DONE
    assert office.directory.find("ext.eve") is None
    browser = office.bridge.browser()
    assert browser.sign_in("ext.eve", NEW, service=APP, follow=False).status_code == 303


def test_i10_a_reset_ends_sessions_and_the_links_mailed_before(office: Office) -> None:
    browser = office.signed_in()
    assert browser.get("/account", follow=False).status_code == 200
    first = office.town.mailed(username="vada")
    second = office.town.mailed(email="vada@private.example")
    assert heading(office.town.reset(first)) == DONE
    assert browser.get("/account", follow=False).status_code == 303
    assert heading(office.bridge.browser().get(second)) == INVALID


@pytest.mark.parametrize(
    ("error", "sentence", "status"),
    [
        (DirectoryUnavailable("no route"), UNAVAILABLE, 503),
        (DirectoryReadOnly(), READ_ONLY, 503),
        (EntryMissing(), MISSING, 503),
        (
            PasswordRefused("history", Refusal.USED_BEFORE),
            "The university's directory refuses this password: you have used it before. Choose another one.",
            422,
        ),
    ],
)
def test_what_the_directory_did_not_do_is_said_and_the_link_still_works(
    office: Office, error: DirectoryError, sentence: str, status: int
) -> None:
    link = office.town.mailed(username="vada")
    office.directory.error = error
    told = office.town.reset(link)
    assert (told.status_code, heading(told)) == (status, CHOOSE)
    assert in_french(sentence) in words(told)
    assert ('aria-invalid="true"' in told.text) is (status == 422), "the password is not at fault"
    assert office.works(OLD)
    assert audited(office.town, "password.reset") == ["refused"]
    assert not [
        mail for mail in office.town.mailbox.all() if in_french("your password has been changed") in mail.subject
    ]
    office.directory.error = None
    assert heading(office.town.reset(link)) == DONE
    assert office.works(NEW)


def test_the_same_in_english(office: Office) -> None:
    link = office.town.mailed(username="vada")
    office.directory.error = PasswordRefused("Password must contain a rune")
    browser = office.bridge.browser()
    browser.get(f"{link}?lang=en")
    told = browser.submit(password=NEW, password_again=NEW)
    assert "The university's directory refuses this password. It says: “Password must contain a rune”" in words(told)


def test_the_bridges_own_rules_come_before_the_directorys(office: Office) -> None:
    link = office.town.mailed(username="vada")
    office.directory.error = DirectoryUnavailable()
    assert office.town.reset(link, password="short").status_code == 422


def test_an_account_of_a_profile_without_a_directory_is_told_where_its_recovery_is(office: Office) -> None:
    add_vacataire(office.bridge, "sjean", profile="staff")
    office.town.search(username="sjean")
    mail = office.town.mailbox.newest()
    assert SEL["recovery_url"] in mail.text
    assert "/account/reset/" not in mail.text


def test_an_account_that_is_not_activated_is_sent_to_its_activation(office: Office) -> None:
    """Its password is the last step of it: nothing may be usable before."""
    add_vacataire(office.bridge, "vnew", activated=False)
    office.town.search(username="vnew")
    mail = office.town.mailbox.newest()
    for part in (mail.text, mail.html):
        assert "/account/activate" in part
        assert "/account/reset/" not in part


def test_pwd_05_the_password_is_changed_where_the_current_one_is_verified(office: Office) -> None:
    browser, other = office.signed_in(), office.signed_in()
    wrong = office.change(browser, current="not it at all")
    assert (wrong.status_code, in_french("This is not your password.") in words(wrong)) == (401, True)
    done = office.change(browser)
    assert in_french("Your password is changed. You are signed out on every other device.") in words(done)
    assert office.works(NEW)
    assert other.get("/account", follow=False).status_code == 303
    assert browser.get("/account", follow=False).status_code == 200
    assert audited(office.town, "password.changed") == ["ok"]
    assert in_french("your password has been changed") in " ".join(office.town.mailbox.newest().subject.split())


@pytest.mark.parametrize("when", ["verify_error", "error"])
def test_a_change_says_that_the_directory_does_not_answer(office: Office, when: str) -> None:
    browser = office.signed_in()
    setattr(office.directory, when, DirectoryUnavailable())
    told = office.change(browser)
    setattr(office.directory, when, None)
    assert told.status_code == 503
    assert in_french(UNAVAILABLE) in words(told)
    assert office.works(OLD)
    assert browser.get("/account", follow=False).status_code == 200


def test_guessing_the_current_password_is_throttled(office: Office) -> None:
    browser = office.signed_in()
    answers = [office.change(browser, current="wrong").status_code for _ in range(11)]
    assert answers == [401] * 10 + [429]


def test_a_directory_that_does_not_answer_uses_no_try_up(office: Office) -> None:
    browser = office.signed_in()
    office.directory.verify_error = DirectoryUnavailable()
    assert [office.change(browser).status_code for _ in range(12)] == [503] * 12


def test_who_signs_in_elsewhere_without_a_directory_is_sent_to_the_universitys_page(office: Office) -> None:
    with office.bridge.runtime.database.begin() as session:
        session.get_one(Account, office.account_id).profile = "staff"
    browser = office.signed_in()
    assert SEL["recovery_url"] in browser.get("/account/password").text


def test_i10_a_write_that_nobody_finished_ends_the_sessions_later_and_tells(office: Office) -> None:
    browser = office.signed_in()
    now = office.bridge.clock()
    with office.bridge.runtime.database.begin() as session:
        session.add(DirectoryPassword(account_id=office.account_id, unfinished_at=now))
    assert settle_unfinished(office.bridge.runtime) == 1
    assert settle_unfinished(office.bridge.runtime) == 0
    assert browser.get("/account", follow=False).status_code == 303
    assert audited(office.town, "password.settled") == ["ok"]
    mail = office.town.mailbox.newest()
    assert mail.to == "vada@private.example"
    assert in_french("your password may have been changed") in " ".join(mail.subject.split())


def test_without_the_exterieurs_door_a_directory_s_passwords_are_still_found_again(tmp_path: Path) -> None:
    with mailing_bridge(
        tmp_path,
        upstreams=[SEL],
        profiles=PROFILES,
        directories=[{"name": "people", "kind": "embedded"}],
        local={"enabled": False},
    ) as (bridge, _mailbox):
        assert bridge.browser().get("/account/forgot").status_code == 200
