"""The whole way, over HTTP: announced, mailed, answered step by step, activated."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from external_accounts import mailbox as mailbox_choices
from external_accounts.engagements import CHARTER, LISTING
from external_accounts.handovers import ACTIVATED, LISTING_CHANGED, MAILBOX_CHANGED
from external_accounts.institution_schema import ActivationDraft, Handover
from external_accounts.schema import AuditEvent, Engagement
from tests.bridge_under_test import APP, heading
from tests.lms_bridge.mailing import code_in, in_french, link_in, path_of
from tests.lms_bridge.selfservice.activation.town import CHOSEN, DONE, LAST, PRIVATE, WAITING, Town, plain


def test_an_adjunct_teacher_activates_the_account_by_the_first_mail_i4(town: Town) -> None:
    account_id = town.announce()
    mail = town.mailbox.newest()
    assert mail.to == PRIVATE
    assert "nlopez" in mail.text
    assert not town.directory.verify("nlopez", CHOSEN)
    browser = town.finish(link_in(mail))
    assert (browser.page.status_code, heading(browser.page)) == (200, DONE)
    assert town.directory.verify("nlopez", CHOSEN)
    account = town.account(account_id)
    assert account.activated_at == town.bridge.clock()
    confirmed = {address.email: address.confirmed_by for address in account.addresses if address.confirmed_at}
    assert confirmed == {PRIVATE: "proof"}


def test_tok_11_nobody_is_signed_in_by_it(town: Town) -> None:
    browser = town.finish(town.first_link())
    browser.get("/account")
    assert heading(browser.page) != in_french("My account")


def test_everything_that_was_chosen_is_written_down_and_handed_on(town: Town) -> None:
    account_id = town.announce()
    link = link_in(town.mailbox.newest())
    browser = town.finish(link, directory="yes", forward="yes", forward_to="nora@home.example", keep_copy="yes")
    text = plain(browser.page)
    for shown in ("nlopez@univ.example", "nora@home.example", "/signin/sel"):
        assert shown in text + browser.page.text
    with town.bridge.runtime.database.read() as session:
        engagements = {row.document: row.version for row in session.scalars(select(Engagement))}
        events = set(session.scalars(select(Handover.event)))
        handed_on = mailbox_choices.handed_on(session, account_id)
        trail = session.scalars(select(AuditEvent.event).where(AuditEvent.account_id == account_id)).all()
        draft = session.get(ActivationDraft, account_id)
    assert engagements == {CHARTER: "2026-09", LISTING: "1"}
    assert events == {ACTIVATED, LISTING_CHANGED, MAILBOX_CHANGED}
    # Not before somebody has shown that they read that mailbox.
    assert handed_on == {"listed": "yes", "forward_to": "", "keep_copy": "yes", "antispam": ""}
    assert {"activation.announced", "account.activated", "password.chosen", "address.confirmed"} <= set(trail)
    assert draft is None


def test_a_forwarding_begins_when_its_own_mail_is_answered(town: Town) -> None:
    account_id = town.announce()
    town.finish(link_in(town.mailbox.newest()), forward="yes", forward_to="nora@home.example")
    mail = next(mail for mail in town.mails_to("nora@home.example"))
    assert "Nora Lopez" in mail.text
    browser = town.open(link_in(mail))
    browser.submit()
    with town.bridge.runtime.database.read() as session:
        assert mailbox_choices.handed_on(session, account_id)["forward_to"] == "nora@home.example"
        assert mailbox_choices.handed_on(session, account_id)["keep_copy"] == "no"
        told = session.scalars(select(Handover.event).where(Handover.event == MAILBOX_CHANGED)).all()
    assert len(told) == 2


def test_a_forwarding_to_the_recovery_address_needs_no_second_mail(town: Town) -> None:
    account_id = town.announce()
    town.finish(link_in(town.mailbox.newest()), forward="yes", forward_to=PRIVATE.upper())
    with town.bridge.runtime.database.read() as session:
        assert mailbox_choices.handed_on(session, account_id)["forward_to"] == PRIVATE
    assert [mail.to for mail in town.mailbox.all()] == [PRIVATE] * len(town.mailbox.all())


def test_the_directory_is_no_unless_somebody_says_yes(town: Town) -> None:
    browser = town.open(town.first_link())
    browser.submit()
    browser.submit(charter="1")
    assert 'value="no" checked' in browser.page.text
    browser.submit()
    with town.bridge.runtime.database.read() as session:
        assert session.scalars(select(ActivationDraft)).one().answers["directory"] is False


@pytest.mark.parametrize("identifier", ["nlopez", " NLopez ", "nlopez@univ.example", "Nora@Mail.Example"])
def test_the_identifier_or_an_address_gets_a_new_link(town: Town, identifier: str) -> None:
    town.announce(mail=False)
    browser = town.ask(identifier)
    assert heading(browser.page) == WAITING
    mail = town.mailbox.newest()
    assert mail.to == PRIVATE
    assert heading(town.finish(link_in(mail)).page) == DONE


def test_the_code_of_the_mail_leads_on_where_its_link_leads(town: Town) -> None:
    town.announce(mail=False)
    browser = town.ask()
    mail = town.mailbox.newest()
    browser.submit(code=code_in(mail).lower())
    assert browser.page.url.endswith(path_of(link_in(mail)))
    assert heading(browser.page) == in_french("Is this you?")


def test_a_reader_without_a_directory_gets_a_password_here(town: Town) -> None:
    town.announce("ext.nora", profile="library_reader")
    browser = town.open(link_in(town.mailbox.newest()))
    browser.submit()
    browser.submit(charter="1")
    assert heading(browser.page) == LAST  # neither directory nor mailbox
    browser.submit(password=CHOSEN, password_again=CHOSEN)
    assert heading(browser.page) == DONE
    browser.get(f"/signin/local?service={APP}")
    browser.submit(identifier="ext.nora", password=CHOSEN, follow=False)
    assert browser.page.status_code in (302, 303)
    assert "ticket=ST-" in browser.get("/cas/login", params={"service": APP}, follow=False).headers["Location"]


def test_a_student_has_no_box_so_mail_must_be_forwarded(town: Town) -> None:
    account_id = town.announce("sdiallo", profile="student")
    browser = town.open(link_in(town.mailbox.newest()))
    browser.submit()
    browser.submit(charter="1")
    browser.submit()
    browser.submit(forward_to="")
    assert browser.page.status_code == 422
    browser.submit(forward_to=PRIVATE)
    browser.submit(password=CHOSEN, password_again=CHOSEN)
    assert heading(browser.page) == DONE
    with town.bridge.runtime.database.read() as session:
        assert mailbox_choices.handed_on(session, account_id) == {
            "listed": "no",
            "forward_to": PRIVATE,
            "keep_copy": "no",
            "antispam": "",
        }
