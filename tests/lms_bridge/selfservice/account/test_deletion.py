"""The end of an account: asked for, taken back, carried out, and nothing left that says who it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from external_accounts import audit, erasure
from external_accounts.accounts import UsernameTaken, account_facts
from external_accounts.database import Database
from external_accounts.schema import Account, Address, AuditEvent, LocalPassword, OutboxMail, Proof, SignInIdentity
from lms_bridge.gate import Obstacle, Policy, decide
from lms_bridge.jobs import people
from lms_bridge.mail.notices import notices
from lms_bridge.schema import SsoSession, Ticket
from tests.bridge_under_test import APP, PASSWORD, BridgeUnderTest, heading, running_bridge
from tests.lms_bridge.mailing import in_french
from tests.lms_bridge.selfservice.account.conftest import Home, mail_link, words
from tests.postgresql_server import PostgresqlServer


def ask(home: Home) -> None:
    home.ada.get("/account/deletion")
    home.press("/account/deletion")


def test_asking_needs_the_password_again_and_says_what_happens_ses_03(home: Home) -> None:
    home.later(minutes=6)
    page = home.ada.get("/account/deletion")
    assert in_french(
        "Then your name, addresses, password and sessions are deleted. You can sign in nowhere any more."
    ) in words(page)
    home.press("/account/deletion")
    assert heading(home.ada.page) == in_french("Is it really you?")
    home.ada.submit(password=PASSWORD)
    assert heading(home.ada.page) == in_french("Your account will be deleted")


def test_it_can_be_taken_back_on_the_page_for_a_week(home: Home) -> None:
    ask(home)
    assert in_french("Your account will be deleted") in words(home.ada.get("/"))
    home.later(days=6, hours=23)
    home.sign_in_again()
    home.mailbox.all()
    home.ada.get("/account/deletion")
    home.press("/account/deletion/keep")
    home.later(days=2)
    home.mailbox.all()
    home.sign_in_again()
    assert home.ada.ticket()


def test_it_can_be_taken_back_by_the_link_which_is_inert_and_used_once_i11(home: Home) -> None:
    ask(home)
    link = mail_link(home.mails_to("ada@mail.example")[-1], "keep")
    reader = home.bridge.browser()
    assert heading(reader.get(link)) == in_french("Keep this account?")
    assert in_french("Your account will be deleted") in words(home.ada.get("/account"))
    assert heading(reader.submit()) == in_french("The account is kept")
    assert reader.get(link).status_code == 410
    assert in_french("Your account will be deleted") not in words(home.ada.get("/account"))


def test_when_the_week_is_over_nothing_says_any_more_who_it_was_i8_i10(home: Home) -> None:
    home.add("ada@new.example", confirm=False)
    home.bridge.validate(home.ada.ticket())
    version = account_facts(home.bridge.runtime.database, home.account_id).version  # type: ignore[union-attr]
    ask(home)
    home.mailbox.all()  # a mail that leaves later gives later notice, and the account lives as long
    home.later(days=7)
    for _ in range(6):  # the application does not answer its three logout messages, then the rest goes
        mails = home.mailbox.all()
        home.later(minutes=1)
    assert [mail.to for mail in mails if in_french("your account is deleted") in " ".join(mail.subject.split())] == [
        "ada@mail.example"
    ]
    assert home.ada.get("/account", follow=False).status_code == 303
    assert home.bridge.browser().sign_in("ext.ada", PASSWORD).status_code == 401
    facts = account_facts(home.bridge.runtime.database, home.account_id)
    assert facts is not None
    assert (facts.username, facts.given_name, facts.family_name, facts.email) == ("ext.ada", "", "", None)
    assert facts.version > version
    assert decide(facts, Policy(), home.bridge.clock()).first is Obstacle.ERASED
    with home.bridge.runtime.database.read() as session:
        for table in (Address, LocalPassword, SignInIdentity, Proof, SsoSession, Ticket):
            assert session.scalar(select(func.count()).select_from(table)) == 0, table
        assert session.scalars(select(OutboxMail.recipient).where(OutboxMail.account_id.is_not(None))).all() == []
        assert session.scalars(select(Account.erasure_due_at)).one() is None
        assert session.scalar(select(func.count()).where(AuditEvent.event == "account.erased")) == 1
        assert session.scalars(select(AuditEvent.id).where(AuditEvent.account_id == home.account_id)).all() == []
        assert "Lovelace" not in str(session.execute(select(Account)).scalars().one().__dict__)


def test_the_user_name_is_given_to_nobody_again(home: Home) -> None:
    ask(home)
    home.later(days=7)
    home.mailbox.all()
    with pytest.raises(UsernameTaken):
        home.bridge.add_account("ext.ada")


def test_nothing_is_erased_a_second_early(home: Home) -> None:
    ask(home)
    home.later(days=7, seconds=-1)
    home.mailbox.all()
    home.sign_in_again()
    assert home.ada.ticket()


def test_members_of_the_university_are_told_whom_to_ask(home: Home) -> None:
    with home.bridge.runtime.database.begin() as session:
        now = home.bridge.clock()
        session.add(
            SignInIdentity(
                account_id=home.account_id,
                issuer="sel",
                subject="ada",
                attributes={},
                created_at=now,
                refreshed_at=now,
            )
        )
    page = home.ada.get("/account/deletion")
    assert in_french("Your account belongs to your place at the university.") in words(page)
    assert 'action="/account/deletion"' not in page.text


@pytest.fixture(params=["sqlite", "postgresql"])
def bridge_on(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BridgeUnderTest]:
    changes = {}
    if request.param == "postgresql":
        server: PostgresqlServer = request.getfixturevalue("postgresql")
        changes = {"database_url": server.create_database()}
    with running_bridge(tmp_path, **changes) as bridge:
        yield bridge


def test_a_sign_in_that_races_the_deletion_leaves_no_session_i10(bridge_on: BridgeUnderTest) -> None:
    bridge = bridge_on
    database: Database = bridge.runtime.database
    for round_number in range(4):
        name = f"ext.race{round_number}"
        account_id = bridge.add_account(name)
        written = notices(bridge.runtime, "fr")
        with database.begin() as session:
            erasure.ask(
                session, account_id, notices=written, now=bridge.clock() - timedelta(days=7), origin=audit.SYSTEM
            )
        ready = threading.Barrier(4)

        def sign_in(name: str = name, ready: threading.Barrier = ready) -> None:
            browser = bridge.browser()
            browser.get("/signin/local")
            ready.wait()
            browser.submit(identifier=name, password=PASSWORD)

        threads = [threading.Thread(target=sign_in) for _ in range(3)]
        for thread in threads:
            thread.start()
        ready.wait()
        people.erase_accounts(bridge.runtime)
        for thread in threads:
            thread.join()
        with database.read() as session:
            living = select(func.count()).where(SsoSession.account_id == account_id, SsoSession.ended_at.is_(None))
            assert session.scalar(living) == 0
            assert session.get_one(Account, account_id).erased_at is not None


def test_two_workers_erase_once_and_a_dead_one_loses_nothing_i8(bridge_on: BridgeUnderTest) -> None:
    bridge = bridge_on
    database = bridge.runtime.database
    account_id = bridge.add_account("ext.ada")
    written = notices(bridge.runtime, "fr")
    with database.begin() as session:
        erasure.ask(session, account_id, notices=written, now=bridge.clock() - timedelta(days=7), origin=audit.SYSTEM)
    with suppress(ZeroDivisionError), database.begin() as session:
        erasure.erase(session, account_id, notices=written, now=bridge.clock(), origin=audit.SYSTEM)
        raise ZeroDivisionError
    assert account_facts(database, account_id).erased_at is None  # type: ignore[union-attr]
    workers = [threading.Thread(target=people.erase_accounts, args=[bridge.runtime]) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    with database.read() as session:
        last = select(func.count()).where(OutboxMail.template == "erasure_done")
        assert session.scalar(last) == 1
        events = select(func.count()).where(AuditEvent.event == "account.erased")
        assert session.scalar(events) == 1
    assert bridge.browser().get("/cas/login", params={"service": APP}).status_code == 200
