"""The panic button: nothing that was issued before a moment works any more, and what came after it does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import func, select

from external_accounts import audit, proofs
from external_accounts.audit_schema import Revocation
from external_accounts.identities import LOCAL
from external_accounts.proofs import CONFIRM_ADDRESS, ProofCancelled, Subject
from external_accounts.revocations import Scope
from external_accounts.schema import Account, AuditEvent, Proof, SignInIdentity
from lms_bridge.cas import tickets
from lms_bridge.cas.tickets import ClaimedTicket
from lms_bridge.cli import main
from lms_bridge.schema import Mirror, SsoSession
from lms_bridge.signin import sessions
from lms_bridge.signin.panic import Counts, StillOpen, count, press
from tests.bridge_under_test import APP, PASSWORD, BridgeUnderTest, running_bridge
from tests.served_bridge import operator_file

OPERATOR = audit.Origin(actor="cli:test")
ALL = Scope()


@pytest.fixture(params=["sqlite", "postgresql"])
def alarmed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BridgeUnderTest]:
    """A bridge on each kind of database, with one account."""
    changes: dict[str, Any] = {}
    if request.param == "postgresql":
        changes["database_url"] = request.getfixturevalue("postgresql").create_database()
    with running_bridge(tmp_path, **changes) as bridge:
        bridge.add_account()
        yield bridge


@pytest.fixture
def on_postgresql(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BridgeUnderTest]:
    url = request.getfixturevalue("postgresql").create_database()
    with running_bridge(tmp_path, database_url=url) as bridge:
        bridge.add_account()
        yield bridge


def a_proof(bridge: BridgeUnderTest, account_id: int = 1, **subject: Any) -> int:
    with bridge.runtime.database.begin() as session:
        return proofs.make_proof(
            session,
            bridge.runtime.keys,
            Subject(**({"account_id": account_id} | subject)),
            purpose="a test",
            lifetime=timedelta(hours=1),
            service=None,
            locale="fr",
            now=bridge.clock(),
        ).id


def grant_of(bridge: BridgeUnderTest, session_id: int, account_id: int) -> str:
    grant, now = tickets.new_ticket(tickets.PROXY_GRANT), bridge.clock()
    claimed = ClaimedTicket(session_id, account_id, APP, "app", False, None, now, now)
    tickets.store_grant(
        bridge.runtime.database, grant, claimed, callbacks=[APP], now=now, expires_at=now + timedelta(hours=2)
    )
    return grant


def session_of(bridge: BridgeUnderTest) -> SsoSession:
    with bridge.runtime.database.read() as session:
        return session.scalars(select(SsoSession).order_by(SsoSession.id.desc()).limit(1)).one()


def start(session: Any, bridge: BridgeUnderTest) -> int:
    """What a sign-in writes; returns the session's id."""
    secret = sessions.start(
        session,
        account_id=1,
        identity_id=session.scalars(select(SignInIdentity.id)).first(),
        issuer=LOCAL,
        limits=bridge.runtime.settings.sessions,
        now=bridge.clock(),
        origin=audit.SYSTEM,
        user_agent="",
    )
    found: int = session.scalars(select(SsoSession.id).where(SsoSession.secret_hash == sessions._hash(secret))).one()
    return found


def is_signed_in(browser: Any) -> bool:
    return bool(browser.get("/account", follow=False).status_code == 200)


def test_nothing_of_before_works_and_everything_of_after_does(alarmed: BridgeUnderTest) -> None:
    old, clock = alarmed.browser(), alarmed.clock
    old.sign_in(password=PASSWORD)
    ticket, grant = old.ticket(), grant_of(alarmed, session_of(alarmed).id, 1)
    by_link, by_code = a_proof(alarmed), a_proof(alarmed)
    search = a_proof(alarmed, account_id=None, sought="username:ext.ada")
    clock.forward(seconds=1)
    new, before = alarmed.browser(), clock()
    new.sign_in(password=PASSWORD)
    new_grant, new_proof = grant_of(alarmed, session_of(alarmed).id, 1), a_proof(alarmed)
    new_ticket = new.ticket()

    done = press(alarmed.runtime, before, ALL, origin=OPERATOR)
    assert (done.sessions, done.proofs) == (1, 3)
    assert not is_signed_in(old)
    assert "INVALID_TICKET" in alarmed.validate(ticket).text
    database, now = alarmed.runtime.database, clock()
    assert tickets.find_grant(database, grant, now=now) is None
    with database.begin() as session, pytest.raises(ProofCancelled):
        proofs.claim_by_link(session, by_link, now=now, origin=audit.SYSTEM)
    with database.begin() as session, pytest.raises(ProofCancelled):
        proofs.reserve_code_attempt(session, by_code, now=now)
    with database.read() as session:
        assert session.get_one(Proof, search).cancelled_at is not None

    assert is_signed_in(new)
    assert "authenticationSuccess" in alarmed.validate(new_ticket).text
    assert tickets.find_grant(database, new_grant, now=now) is not None
    with database.begin() as session:
        proofs.claim_by_link(session, new_proof, now=now, origin=audit.SYSTEM)
    old.sign_in(password=PASSWORD)
    assert is_signed_in(old)


def test_it_is_written_down_and_a_second_press_finds_nothing(alarmed: BridgeUnderTest) -> None:
    alarmed.browser().sign_in(password=PASSWORD)
    a_proof(alarmed)
    alarmed.clock.forward(seconds=1)
    before = alarmed.clock()
    press(alarmed.runtime, before, ALL, origin=OPERATOR)
    assert press(alarmed.runtime, before, ALL, origin=OPERATOR) == Counts()
    with alarmed.runtime.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Revocation)) == 1
        query = (
            select(AuditEvent.event, AuditEvent.actor).where(AuditEvent.event.like("panic.%")).order_by(AuditEvent.id)
        )
        events = session.execute(query).all()
        ended = session.scalars(select(AuditEvent.outcome).where(AuditEvent.event == "session.ended")).all()
    assert events == [("panic.pressed", "cli:test"), ("panic.done", "cli:test")] * 2
    assert ended == ["panic button"]


def test_a_run_that_was_killed_is_finished_by_the_next(
    alarmed: BridgeUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lms_bridge.signin.panic.BATCH", 2)
    with alarmed.runtime.database.begin() as session:
        for _ in range(5):
            start(session, alarmed)
    alarmed.clock.forward(seconds=1)
    before = alarmed.clock()

    class Killed(BaseException):
        pass

    def kill(_work: str, _done: int, _total: int) -> None:
        raise Killed

    with pytest.raises(Killed):
        press(alarmed.runtime, before, ALL, origin=OPERATOR, progress=kill)
    assert press(alarmed.runtime, before, ALL, origin=OPERATOR).sessions == 3
    with alarmed.runtime.database.read() as session:
        assert session.scalar(select(func.count()).where(SsoSession.ended_at.is_(None))) == 0
        assert session.scalars(select(Revocation.done_at)).one() is not None


def test_the_dry_run_counts_and_ends_nothing(alarmed: BridgeUnderTest) -> None:
    browser = alarmed.browser()
    browser.sign_in(password=PASSWORD)
    grant_of(alarmed, session_of(alarmed).id, 1)
    browser.ticket()
    a_proof(alarmed)
    alarmed.clock.forward(seconds=1)
    with alarmed.runtime.database.read() as session:
        assert count(session, alarmed.clock(), ALL, alarmed.clock()) == Counts(1, 1, 1, 1)
    assert is_signed_in(browser)


@pytest.mark.parametrize("scope", [Scope(profile="vacataire"), Scope(issuer="sel")])
def test_only_those_who_are_meant_are_signed_out(alarmed: BridgeUnderTest, scope: Scope) -> None:
    meant = alarmed.add_account("ext.grace")
    with alarmed.runtime.database.begin() as session:
        session.get_one(Account, meant).profile = "vacataire"
        start(session, alarmed)
        identity = session.scalars(select(SignInIdentity).where(SignInIdentity.account_id == meant)).one()
        if scope.issuer:
            identity.issuer = "sel"
            session.flush()
        sessions.start(
            session,
            account_id=meant,
            identity_id=identity.id,
            issuer=identity.issuer,
            limits=alarmed.runtime.settings.sessions,
            now=alarmed.clock(),
            origin=audit.SYSTEM,
            user_agent="",
        )
    kept, gone, searched = a_proof(alarmed, 1), a_proof(alarmed, meant), a_proof(alarmed, account_id=None, sought="x")
    alarmed.clock.forward(seconds=1)
    done = press(alarmed.runtime, alarmed.clock(), scope, origin=OPERATOR)
    assert (done.sessions, done.proofs) == (1, 2)
    with alarmed.runtime.database.read() as session:
        assert session.scalars(select(SsoSession.account_id).where(SsoSession.ended_at.is_not(None))).all() == [meant]
        cancelled = session.scalars(select(Proof.id).where(Proof.cancelled_at.is_not(None)).order_by(Proof.id)).all()
    assert cancelled == [gone, searched]
    assert kept not in cancelled


def test_moodle_is_told_to_end_its_sessions_too(alarmed: BridgeUnderTest) -> None:
    with alarmed.runtime.database.begin() as session:
        start(session, alarmed)
        session.add(Mirror(account_id=1, site="updago", moodle_id=7, owned=True))
    alarmed.clock.forward(seconds=1)
    press(alarmed.runtime, alarmed.clock(), ALL, origin=OPERATOR)
    with alarmed.runtime.database.read() as session:
        assert session.scalars(select(Mirror.sign_out_pending)).one() is True


def test_what_begins_after_the_revocation_with_an_earlier_time_is_born_dead(alarmed: BridgeUnderTest) -> None:
    """A sign-in whose request came before the moment and whose transaction began after everything was ended."""
    earlier = alarmed.clock()
    alarmed.clock.forward(seconds=1)
    press(alarmed.runtime, alarmed.clock(), ALL, origin=OPERATOR)
    alarmed.clock.moment = earlier
    with alarmed.runtime.database.begin() as session:
        late = start(session, alarmed)
    proof = a_proof(alarmed)
    with alarmed.runtime.database.read() as session:
        assert session.get_one(SsoSession, late).ended_at is not None
        assert session.get_one(Proof, proof).cancelled_at is not None


def test_a_sign_in_that_is_under_way_does_not_slip_through(on_postgresql: BridgeUnderTest) -> None:
    """It has written its session before the revocation is there, and commits after everything was ended."""
    bridge = on_postgresql
    written, may_commit = threading.Event(), threading.Event()
    made: list[int] = []

    def sign_in() -> None:
        with bridge.runtime.database.begin() as session:
            made.append(start(session, bridge))
            made.append(
                proofs.make_proof(
                    session,
                    bridge.runtime.keys,
                    Subject(account_id=1),
                    purpose=CONFIRM_ADDRESS,
                    lifetime=timedelta(hours=1),
                    service=None,
                    locale="fr",
                    now=bridge.clock(),
                ).id
            )
            written.set()
            may_commit.wait(30)

    signing_in = threading.Thread(target=sign_in)
    signing_in.start()
    assert written.wait(30)
    before = bridge.clock() + timedelta(seconds=1)
    with pytest.raises(StillOpen):
        press(bridge.runtime, before, ALL, origin=OPERATOR, settle_seconds=0.2)
    results: list[Counts] = []
    pressing = threading.Thread(target=lambda: results.append(press(bridge.runtime, before, ALL, origin=OPERATOR)))
    pressing.start()
    may_commit.set()
    signing_in.join(30)
    pressing.join(60)
    assert [(done.sessions, done.proofs) for done in results] == [(1, 1)]
    with bridge.runtime.database.read() as session:
        assert session.get_one(SsoSession, made[0]).ended_at is not None
        assert session.get_one(Proof, made[1]).cancelled_at is not None


def test_among_many_sign_ins_at_once_none_slips_through(alarmed: BridgeUnderTest) -> None:
    database, clock = alarmed.runtime.database, alarmed.clock
    ended, failures = threading.Event(), []

    def sign_in_again_and_again() -> None:
        try:
            while not ended.is_set():
                with database.begin() as session:
                    start(session, alarmed)
        except Exception as error:  # noqa: BLE001 (shown by the test)
            failures.append(error)

    crowd = [threading.Thread(target=sign_in_again_and_again) for _ in range(4)]
    for one in crowd:
        one.start()
    before = clock() + timedelta(seconds=1)  # the clock stands: every sign-in of the crowd is of before
    press(alarmed.runtime, before, ALL, origin=OPERATOR)
    with database.read() as session:
        living = session.scalar(select(func.count()).where(SsoSession.ended_at.is_(None)))
    ended.set()
    for one in crowd:
        one.join(30)
    assert not failures
    assert living == 0
    with database.read() as session:
        assert session.scalar(select(func.count()).where(SsoSession.ended_at.is_(None))) == 0


def test_the_command_says_what_it_ended_and_how_long_it_took(bridge: BridgeUnderTest, tmp_path: Path) -> None:
    bridge.add_account()
    bridge.browser().sign_in(password=PASSWORD)
    path = operator_file(bridge.runtime.settings, tmp_path)

    def run(*words: str) -> Any:
        return CliRunner().invoke(main, ["--config", str(path), "panic", *words])

    assert run().exit_code == 2
    assert run("--all", "--profile", "learner").exit_code == 2
    assert run("--issuer", "nobody").exit_code == 2
    assert run("--profile", "nobody").exit_code == 2
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert run("--all", "--before", later).exit_code == 2
    assert "Would end: 1 sessions" in run("--all", "--dry-run").output
    told = json.loads(run("--profile", "learner", "--json").output)
    assert (told["sessions"], told["dry_run"]) == (1, False)
    assert told["seconds"] >= 0
    assert "Ended in" in run("--all").output
