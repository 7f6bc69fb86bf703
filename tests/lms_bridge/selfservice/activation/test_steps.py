"""The steps: inert links, back and forward without loss, on another device, and what may stand in the way."""

from __future__ import annotations

from datetime import timedelta
from unittest.mock import patch

import pytest
from sqlalchemy import func, select

from external_accounts import audit
from external_accounts.accounts import suspend
from external_accounts.addresses import parse_address
from external_accounts.directory import DirectoryReadOnly, DirectoryUnavailable, PasswordRefused
from external_accounts.institution_schema import ActivationDraft, Handover
from external_accounts.schema import Account, Address, AuditEvent, OutboxMail, Proof
from tests.bridge_under_test import PASSWORD, heading
from tests.lms_bridge.mailing import in_french, link_in
from tests.lms_bridge.selfservice.activation.town import CHOSEN, DONE, LAST, PRIVATE, Town, plain

IDENTITY, CHARTER = in_french("Is this you?"), "Charte informatique"
DIRECTORY = in_french("Do you want to stand in the public directory?")
FORWARDING = in_french("Do you want your university mail forwarded?")
STEPS = ("identity", "charter", "directory", "mailbox", "forwarding", "password")
PATHS = ("", *(f"/steps/{step}" for step in STEPS))


def rows(town: Town) -> list[int]:
    tables = (ActivationDraft, AuditEvent, Handover, OutboxMail, Proof, Address)
    with town.bridge.runtime.database.read() as session:
        return [session.scalar(select(func.count()).select_from(table)) or 0 for table in tables]


def test_i11_opening_the_link_and_looking_at_every_step_changes_nothing(town: Town) -> None:
    account_id = town.announce()
    link = link_in(town.mailbox.newest())
    before = rows(town), town.account(account_id).version
    for path in PATHS:
        for method in ("GET", "HEAD"):
            answer = town.bridge.browser().session.request(method, link + path, timeout=20)
            assert answer.status_code == 200
    assert (rows(town), town.account(account_id).version) == before


def test_nobody_gets_ahead_of_the_questions(town: Town) -> None:
    link = town.first_link()
    browser = town.open(link)
    for path in PATHS[2:]:
        assert heading(browser.get(link + path)) == IDENTITY
    browser.submit()
    browser.submit(charter="")
    assert browser.page.status_code == 422
    assert in_french("Tick the box if you accept the charter.") in plain(browser.page)
    assert heading(browser.get(link + "/steps/password")) == CHARTER
    values = {"password": CHOSEN, "password_again": CHOSEN}
    token = browser.page.text.partition('name="csrf_token" value="')[2].partition('"')[0]
    browser.session.post(link + "/steps/password", data=values | {"csrf_token": token}, timeout=20)
    assert not town.directory.verify("nlopez", CHOSEN)


def test_back_and_forward_without_loss(town: Town) -> None:
    link = town.first_link()
    browser = town.up_to_password(link, directory="yes", forward="yes", forward_to="nora@home.example", keep_copy="yes")
    browser.submit(back="1", password="typed", password_again="typed")
    assert heading(browser.page) == FORWARDING
    assert 'value="nora@home.example"' in browser.page.text
    # What is wrong is kept as well, and holds up only on the way forward.
    browser.submit(back="1", forward="yes", forward_to="nora@")
    browser.submit(back="1")
    assert heading(browser.page) == DIRECTORY
    assert 'value="yes" checked' in browser.page.text
    browser.submit(directory="yes")
    browser.submit()
    assert 'value="nora@"' in browser.page.text
    assert browser.submit(forward="yes", forward_to="nora@").status_code == 422
    assert heading(browser.submit(forward="yes", forward_to="nora@home.example", keep_copy="yes")) == LAST


def test_d04_another_device_goes_on_where_it_was(town: Town) -> None:
    link = town.first_link()
    browser = town.open(link)
    browser.submit()
    browser.submit(charter="1")
    other = town.open(link)
    assert heading(other.page) == DIRECTORY
    other.submit(directory="yes")
    assert heading(town.open(link).page) == in_french("Your university mailbox")


def test_another_link_of_the_same_mailbox_goes_on_as_well_and_of_another_one_anew(town: Town) -> None:
    account_id = town.announce()
    town.up_to_password(link_in(town.mailbox.newest()))
    assert heading(town.open(town.asked_link()).page) == LAST
    first = link_in(town.mails_to()[0])
    # The staff office corrects a mistyped address: what a stranger answered does not count, nor does their link.
    correct = parse_address("nora@right.example")
    with town.bridge.runtime.database.begin() as session:
        address = next(one for one in session.get_one(Account, account_id).addresses if one.email == PRIVATE)
        address.email, address.email_key = correct.email, correct.key
    town.bridge.clock.forward(minutes=2)
    new = town.asked_link()
    assert town.mailbox.newest().to == "nora@right.example"
    assert heading(town.open(new).page) == IDENTITY
    assert town.open(first).page.status_code == 410


def test_tok_13_the_password_is_stored_nowhere_but_in_the_directory(town: Town) -> None:
    browser = town.up_to_password(town.first_link())
    browser.submit(password="Nora Lopez 2026", password_again="Nora Lopez 2026")
    assert browser.page.status_code == 422
    with town.bridge.runtime.database.read() as session:
        answers = session.scalars(select(ActivationDraft)).one().answers
    assert "Nora Lopez 2026" not in str(answers) + browser.page.text
    assert heading(browser.submit(password=CHOSEN, password_again=CHOSEN)) == DONE


def test_a_forwarding_to_the_university_address_itself_is_refused(town: Town) -> None:
    browser = town.open(town.first_link())
    browser.submit()
    browser.submit(charter="1")
    browser.submit()
    browser.submit()
    browser.submit(forward="yes", forward_to="NLopez@univ.example")
    assert browser.page.status_code == 422
    assert "tournerait en rond" in plain(browser.page)


@pytest.mark.parametrize(
    ("problem", "status", "words"),
    [
        (DirectoryUnavailable("down"), 503, "ne répond pas"),
        (DirectoryReadOnly(), 503, "aucun changement en ce moment"),
        (PasswordRefused("too young"), 422, "refuse ce mot de passe"),
    ],
)
def test_a_directory_that_does_not_do_it_leaves_everything_as_it_was(
    town: Town, problem: Exception, status: int, words: str
) -> None:
    account_id = town.announce()
    link = link_in(town.mailbox.newest())
    browser = town.up_to_password(link, directory="yes")
    with patch.object(type(town.directory), "set_password", side_effect=problem):
        page = browser.submit(password=CHOSEN, password_again=CHOSEN)
    assert page.status_code == status
    assert words in plain(page)
    account = town.account(account_id)
    assert account.activated_at is None
    assert not any(address.confirmed_at for address in account.addresses)
    town.bridge.clock.forward(minutes=2)
    assert heading(town.open(link).page) == LAST
    assert heading(town.finish(link).page) == DONE


def test_a_contract_that_ends_while_the_steps_are_open_is_told(town: Town) -> None:
    account_id = town.announce(rights_end_at=town.bridge.clock() + timedelta(hours=1))
    browser = town.up_to_password(link_in(town.mailbox.newest()))
    town.bridge.clock.forward(hours=1)
    page = browser.submit(password=CHOSEN, password_again=CHOSEN)
    assert (page.status_code, heading(page)) == (410, in_french("Your time at the university is over"))
    assert "le service des ressources humaines" in plain(page)
    assert town.account(account_id).activated_at is None
    assert not town.directory.verify("nlopez", CHOSEN)


def test_a_suspension_holds_up_and_the_answers_stay(town: Town) -> None:
    account_id = town.announce()
    link = link_in(town.mailbox.newest())
    browser = town.up_to_password(link)
    now = town.bridge.clock()
    with town.bridge.runtime.database.begin() as session:
        account = session.get_one(Account, account_id)
        suspend(session, account, reason="x", until=now + timedelta(hours=1), now=now, origin=audit.SYSTEM)
    page = browser.submit(password=CHOSEN, password_again=CHOSEN)
    assert (page.status_code, heading(page)) == (410, in_french("Your account is suspended"))
    town.bridge.clock.forward(hours=1)
    assert heading(town.open(link).page) == LAST


def test_d09_a_used_link_shows_the_summary_for_a_while_then_only_that_it_is_done(town: Town) -> None:
    link = town.first_link()
    town.finish(link, forward="yes", forward_to=PRIVATE)
    assert PRIVATE in town.open(link).page.text
    town.bridge.clock.forward(minutes=30)
    page = town.open(link).page
    assert (page.status_code, heading(page)) == (410, in_french("This account is already activated"))
    assert PRIVATE not in page.text


def test_d26_somebody_else_who_is_signed_in_is_told_that_it_is_not_about_them(town: Town) -> None:
    town.bridge.add_account("ext.ada")
    link = town.first_link()
    browser = town.bridge.browser()
    browser.sign_in("ext.ada", PASSWORD)
    browser.get(link)
    assert "Ces étapes ne concernent pas ce compte-là." in plain(browser.page)
    assert "ext.ada" not in plain(browser.page)


def test_an_account_that_waits_for_no_mail_or_has_nothing_to_activate_gets_none(town: Town) -> None:
    town.announce("one", mail=False)
    town.announce("two", private=None)
    town.announce("three", private="three@mail.example", activated_at=town.bridge.clock())
    town.announce("four", private="four@mail.example", rights_end_at=town.bridge.clock())
    town.announce("five", private="five@mail.example", profile="staff")  # its password is elsewhere
    assert town.mailbox.all() == []
    with town.bridge.runtime.database.read() as session:
        said = session.scalars(select(AuditEvent.outcome).where(AuditEvent.event == "activation.announced")).all()
        waiting = session.scalar(select(func.count()).where(Account.activation_mail_due_at.is_not(None)))
    assert said == ["no address", "active", "ended", "elsewhere"]
    assert waiting == 0
