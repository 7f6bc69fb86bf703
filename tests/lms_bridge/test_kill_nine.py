"""I8: processes are killed with SIGKILL at random moments, and no mail is lost, no account is half.

With `LMS_BRIDGE_REQUIRE_SERVICES=1`, 200 kills: 100 on SQLite, 100 on PostgreSQL. Otherwise 20, on SQLite.

"None sent twice" has one exception that no sender can exclude: it dies between the mail server's taking the mail and
its own noting so. Then the mail goes out again, under the same Message-ID. The test counts these, and proves of each
that it is one: the first sender never said another word after that mail.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from external_accounts import audit, outbox
from external_accounts.accounts import Person
from external_accounts.addresses import parse_address
from external_accounts.database import Database
from external_accounts.identities import create_local_account
from external_accounts.proofs import CONFIRM_ADDRESS
from external_accounts.schema import (
    Account,
    Address,
    AuditEvent,
    LocalPassword,
    OutboxMail,
    Proof,
    Registration,
    SignInIdentity,
)
from lms_bridge.jobs.embedded import Runner
from lms_bridge.runtime import build_runtime, utc_now
from lms_bridge.settings import build
from tests.bridge_under_test import APP, PASSWORD, Browser, forms, settings_values
from tests.killed_world import Interrupted, KilledWorld, noting_mail_server
from tests.migrated import migrate
from tests.outside_programs import REQUIRE
from tests.peers.programs import reserved_port

REQUIRED = os.environ.get(REQUIRE) == "1"
PEOPLE_READY = 900
AT_A_TIME = 4
MAIL_PATIENCE_SECONDS = 2.0
MANY = 6
SEED = 20261125
NEW_PASSWORD = "une lampe dans le grenier"
SITE = {"name": "updago", "url": "http://127.0.0.1:9", "token": "0123456789abcdef", "registration": "moderated"}
"""A Moodle that nobody reaches: it only says that people may ask for an account."""
RUNS = [
    pytest.param("sqlite", 100 if REQUIRED else 20, id="sqlite"),
    pytest.param(
        "postgresql",
        100,
        id="postgresql",
        marks=pytest.mark.skipif(not REQUIRED, reason=f"20 kills on SQLite are enough without {REQUIRE}=1"),
    ),
]


def username(number: int) -> str:
    return f"ext.person{number}"


def email(number: int) -> str:
    return f"person{number}@mail.example"


def newcomer(number: int) -> str:
    return f"newcomer{number}@mail.example"


def confirm_address(world: KilledWorld, browser: Browser, number: int) -> None:
    """Sign in, ask for the message, and use its link when it comes soon."""
    browser.get("/cas/login", params={"service": APP})
    if "/account/confirm" not in browser.page.text and number not in world.said["asked"]:
        browser.get("/signin/local", params={"service": APP})
        browser.submit(identifier=username(number), password=PASSWORD)
    if number not in world.said["asked"]:
        asking = [n for n, (action, _, _) in enumerate(forms(browser.page)) if action.startswith("/account/confirm")]
        expect(bool(asking) and browser.submit(asking[0], follow=False).status_code == 303)
        world.said["asked"].add(number)
    link = mailed_link(world, email(number), "confirm")
    if link is None:
        return
    expect(browser.get(link).status_code == 200)
    if button := [n for n, (action, _, _) in enumerate(forms(browser.page)) if "/account/confirm/" in action]:
        expect(browser.submit(button[0]).status_code == 200)
    world.said["confirmed"].add(number)


def choose_a_new_password(world: KilledWorld, browser: Browser, number: int) -> None:
    """Say that the name was forgotten, and use the link of the message when it comes soon."""
    if number not in world.said["sought"]:
        expect(browser.get("/account/forgot").status_code == 200)
        expect(browser.submit(0, username=username(number), follow=False).status_code == 303)
        world.said["sought"].add(number)
    link = mailed_link(world, email(number), "reset")
    if link is None:
        return
    expect(browser.get(link).status_code in (200, 410))
    if browser.page.status_code == 200:
        expect(browser.submit(0, password=NEW_PASSWORD, password_again=NEW_PASSWORD).status_code in (200, 410))
    world.said["reset"].add(number)


def ask_for_an_account(world: KilledWorld, browser: Browser, number: int) -> None:
    """Fill in the form, and prove the address when the message comes soon."""
    if number not in world.said["wished"]:
        expect(browser.get("/account/register").status_code == 200)
        wish = {"given_name": "Ada", "family_name": "Lovelace", "email": newcomer(number)}
        expect(browser.submit(0, **wish, follow=False).status_code == 303)
        world.said["wished"].add(number)
    link = mailed_link(world, newcomer(number), "register")
    if link is None:
        return
    expect(browser.get(link).status_code == 200)
    if button := [n for n, (action, _, _) in enumerate(forms(browser.page)) if "/account/register/" in action]:
        expect(browser.submit(button[0]).status_code == 200)
    world.said["proved"].add(number)


def something(world: KilledWorld, browser: Browser, number: int) -> None:
    """What people come for, in turn."""
    (confirm_address, choose_a_new_password, ask_for_an_account)[number % 3](world, browser, number)


def mailed_link(world: KilledWorld, recipient: str, family: str) -> str | None:
    """The link of somebody's message, or None when a killed process holds it: they go away."""
    message = world.mail.mail_to(recipient, patience=MAIL_PATIENCE_SECONDS)
    body = message.get_body(("plain",)) if message is not None else None
    if body is None:
        return None
    return next(iter(re.findall(rf"https?://\S+/account/{family}/\S+", body.get_content())), None)


def send_to_many(database: Database, written: set[str]) -> None:
    """Keep mails to many people in the outbox, so that whoever is killed is probably sending one."""
    with database.begin() as session:
        free = (OutboxMail.state == "pending", OutboxMail.leased_until.is_(None))
        waiting = session.scalar(select(func.count()).where(*free)) or 0
        mails = [
            outbox.enqueue(
                session, "test", f"many{n}@mail.example", locale="fr", now=utc_now(), mail_domain="univ.example"
            )
            for n in range(MANY if waiting < MANY else 0)
        ]
    written |= {mail.message_id for mail in mails}


def expect(true: bool) -> None:
    """What a killed worker leaves of an answer may be anything: such a try does not count."""
    if not true:
        raise Interrupted


@contextmanager
def killed_world(folder: Path, url: str) -> Iterator[tuple[KilledWorld, Database, dict[str, Any]]]:
    with reserved_port() as mail_port, reserved_port() as port, noting_mail_server(mail_port) as mail:
        settings = settings_values(
            folder,
            database_url=url,
            public_url=f"http://127.0.0.1:{port}",
            mail={"host": "127.0.0.1", "port": mail_port, "security": "none", "sender": "noreply@univ.example"},
            throttle={"campus_prefixes": ["127.0.0.0/8"]},
            sites=[SITE],
        )
        database = Database(url)
        migrate(database)
        add_people(database, settings)
        world = KilledWorld(folder, settings, port, mail, SEED)
        try:
            world.start()
            yield world, database, settings
        finally:
            world.stop()
            database.close()


def add_people(database: Database, settings: dict[str, Any]) -> None:
    runtime = build_runtime(build(settings))
    password_hash = runtime.hashing.hash(PASSWORD)
    runtime.close()
    with database.begin() as session:
        for number in range(PEOPLE_READY):
            create_local_account(
                session,
                username=username(number),
                profile="learner",
                person=Person("Ada", "Lovelace"),
                email=parse_address(email(number)),
                password_hash=password_hash,
                now=utc_now(),
                origin=audit.SYSTEM,
            )


def finish_what_is_left(settings: dict[str, Any]) -> None:
    """The killed processes' leases end, and somebody else does their work."""
    ahead = timedelta()
    runtime = build_runtime(build(settings), clock=lambda: utc_now() + ahead)
    runner = Runner(runtime)
    for _ in range(5):
        ahead += timedelta(minutes=3)
        runner.run_once()
    runtime.close()


@pytest.mark.parametrize(("kind", "kills"), RUNS)
def test_i8_after_every_kill_each_mail_arrives_and_no_account_is_half(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str, kills: int
) -> None:
    url = f"sqlite:///{tmp_path}/bridge.db"
    if kind == "postgresql":
        url = request.getfixturevalue("postgresql").create_database()
    with killed_world(tmp_path, url) as (world, database, settings):
        written: set[str] = set()
        world.live_through(kills, something, people=AT_A_TIME, errand=lambda: send_to_many(database, written))
        world.stop()
        finish_what_is_left(settings)
        with database.read() as session:
            no_mail_is_lost(session, world)
            assert written <= world.mail.message_ids().keys()
            no_proof_is_without_its_mail(session)
            no_account_is_half(session)
            what_was_said_to_be_done_is_done(session, world)
        twice = none_is_sent_twice_but_by_senders_who_died(world)
    assert sum(world.killed.values()) == kills
    done = {what: len(world.said[what]) for what in ("asked", "confirmed", "sought", "reset", "wished", "proved")}
    mails = len(world.mail.accepted)
    print(f"{kind}: {dict(world.killed)} killed; {done}, {mails} mails, {twice} twice")
    assert min(*done.values(), mails // kills) > 0, "the load was too light to prove anything"


def no_mail_is_lost(session: Session, world: KilledWorld) -> None:
    mails = session.execute(select(OutboxMail.message_id, OutboxMail.state)).all()
    taken = world.mail.message_ids()
    # "expired": the link was used before the mail was noted as taken, so there is nothing left to say.
    assert {mail.state for mail in mails} <= {"sent", "expired"}
    assert [mail for mail in mails if mail.message_id not in taken] == []
    assert taken.keys() == {mail.message_id for mail in mails}


def none_is_sent_twice_but_by_senders_who_died(world: KilledWorld) -> int:
    unanswered = world.mail.unanswered()
    repeated = {message_id: count - 1 for message_id, count in world.mail.message_ids().items() if count > 1}
    assert {one: count for one, count in repeated.items() if count > unanswered[one]} == {}
    return sum(repeated.values())


def no_proof_is_without_its_mail(session: Session) -> None:
    mails = Counter(session.scalars(select(OutboxMail.proof_id).where(OutboxMail.proof_id.is_not(None))))
    events = session.scalars(select(AuditEvent.details).where(AuditEvent.event == "proof.sent"))
    confirming = set(session.scalars(select(Proof.id).where(Proof.purpose == CONFIRM_ADDRESS)))
    told = {proof_id: count for proof_id, count in mails.items() if proof_id in confirming}
    assert told == Counter(details["proof_id"] for details in events)
    assert set(session.scalars(select(Proof.id))) == set(mails)
    assert {count for proof_id, count in mails.items() if proof_id not in confirming} <= {1}


def no_account_is_half(session: Session) -> None:
    everybody = set(session.scalars(select(Account.id)))
    assert len(everybody) >= PEOPLE_READY
    for part in (
        select(SignInIdentity.account_id),
        select(LocalPassword.account_id),
        select(Address.account_id).where(Address.is_primary),
    ):
        assert set(session.scalars(part)) == everybody


def what_was_said_to_be_done_is_done(session: Session, world: KilledWorld) -> None:
    confirmed = set(session.scalars(select(Address.email).where(Address.confirmed_at.is_not(None))))
    assert {email(number) for number in world.said["confirmed"]} <= confirmed
    mailed = set(session.scalars(select(OutboxMail.recipient)))
    assert {email(number) for number in world.said["asked"]} <= mailed
    assert {newcomer(number) for number in world.said["wished"]} <= mailed
    waiting = set(session.scalars(select(Registration.email).where(Registration.state == "waiting")))
    assert {newcomer(number) for number in world.said["proved"]} <= waiting
    names = select(Account.username).join(AuditEvent, AuditEvent.account_id == Account.id)
    reset = Counter(session.scalars(names.where(AuditEvent.event == "password.reset")))
    assert {username(number) for number in world.said["reset"]} <= reset.keys()
    assert set(reset.values()) <= {1}
    once = select(func.count()).where(AuditEvent.event == "address.confirmed").group_by(AuditEvent.account_id)
    assert set(session.scalars(once)) <= {1}
    assert len(session.scalars(once).all()) == len(confirmed)
