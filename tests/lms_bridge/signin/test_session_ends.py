"""SES-01, SES-02: when a session ends, whatever the reason, so does everything it opened. Limits hold to the second."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import requests
from sqlalchemy import select

from external_accounts import audit
from external_accounts.accounts import suspend
from external_accounts.schema import Account, AuditEvent
from lms_bridge.schema import ProxyGrant, SsoSession, Ticket
from lms_bridge.signin import sessions
from tests.bridge_under_test import APP, BridgeUnderTest, Browser

End = Callable[[BridgeUnderTest, Browser], None]


def signed_in(browser: Browser) -> bool:
    answer = browser.get("/cas/login", params={"service": APP}, follow=False)
    return answer.is_redirect and "ticket=" in answer.headers["Location"]


def sign_out(_bridge: BridgeUnderTest, browser: Browser) -> None:
    browser.get("/cas/logout")


def sign_out_everywhere(_bridge: BridgeUnderTest, browser: Browser) -> None:
    browser.get("/account/sign-out")
    browser.submit()


def suspension(bridge: BridgeUnderTest, _browser: Browser) -> None:
    with bridge.runtime.database.begin() as session:
        account = session.scalars(select(Account)).one()
        now = bridge.clock()
        suspend(session, account, reason="test", until=None, now=now, origin=audit.SYSTEM)
        sessions.end_all_of(session, account.id, reason="suspended", now=now, origin=audit.SYSTEM)


def idle_time(bridge: BridgeUnderTest, _browser: Browser) -> None:
    bridge.clock.forward(minutes=60)
    bridge.runner.run_once()


def absolute_time(bridge: BridgeUnderTest, _browser: Browser) -> None:
    bridge.clock.forward(hours=10)
    bridge.runner.run_once()


@pytest.mark.parametrize("end", [sign_out, sign_out_everywhere, suspension, idle_time, absolute_time])
def test_ses_01_whatever_ends_a_session_ends_all_that_it_opened(bridge: BridgeUnderTest, end: End) -> None:
    bridge.add_account()
    browser = bridge.browser()
    browser.sign_in("ext.ada", service=APP, follow=False)
    used, unused = browser.ticket(), browser.ticket()
    assert "authenticationSuccess" in bridge.validate(used).text
    with bridge.runtime.database.begin() as session:
        row = session.scalars(select(SsoSession)).one()
        later = bridge.clock() + timedelta(hours=20)
        session.add(
            ProxyGrant(
                hash="x" * 64, session_id=row.id, account_id=row.account_id, service_name="app", callbacks=[],
                expires_at=later,
            )
        )  # fmt: skip
    stolen = browser.session.cookies.copy()
    end(bridge, browser)
    thief = requests.get(
        f"{bridge.url}/cas/login", params={"service": APP}, cookies=stolen, timeout=20, allow_redirects=False
    )
    assert "ticket=" not in thief.headers.get("Location", "")
    assert "authenticationSuccess" not in bridge.validate(unused).text
    with bridge.runtime.database.read() as session:
        assert session.scalars(select(ProxyGrant)).all() == []
        assert session.scalars(select(SsoSession)).one().ended_at is not None
        told = session.scalars(select(Ticket.logout_state).where(Ticket.validated)).all()
        assert len(told) == 1
        assert told[0] is not None, "the application is told"
        event = session.scalars(select(AuditEvent).where(AuditEvent.event == "session.ended")).one()
        assert event.outcome


@pytest.mark.parametrize(("seconds", "alive"), [(-1, True), (0, False), (1, False)], ids=["T-1s", "T", "T+1s"])
@pytest.mark.parametrize("swept", [False, True], ids=["before the sweep", "after the sweep"])
def test_ses_02_the_idle_limit_holds_to_the_second(
    bridge: BridgeUnderTest, seconds: int, alive: bool, swept: bool
) -> None:
    bridge.add_account()
    browser = bridge.browser()
    browser.sign_in("ext.ada", service=APP, follow=False)
    bridge.clock.forward(minutes=60, seconds=seconds)
    if swept:
        bridge.runner.run_once()
    assert signed_in(browser) is alive


@pytest.mark.parametrize(("seconds", "alive"), [(-1, True), (0, False), (1, False)], ids=["T-1s", "T", "T+1s"])
def test_ses_02_the_absolute_limit_holds_to_the_second_however_busy_the_person_is(
    bridge: BridgeUnderTest, seconds: int, alive: bool
) -> None:
    bridge.add_account()
    browser = bridge.browser()
    begun = bridge.clock()
    browser.sign_in("ext.ada", service=APP, follow=False)
    for _ in range(11):
        bridge.clock.forward(minutes=54)
        assert signed_in(browser)
    bridge.clock.moment = begun + timedelta(hours=10, seconds=seconds)
    assert signed_in(browser) is alive


def test_ses_01_a_ticket_of_one_session_is_not_ended_with_another(bridge: BridgeUnderTest) -> None:
    bridge.add_account()
    here, there = bridge.browser(), bridge.browser()
    here.sign_in("ext.ada", service=APP, follow=False)
    there.sign_in("ext.ada", service=APP, follow=False)
    ticket = there.ticket()
    here.get("/cas/logout")
    assert "authenticationSuccess" in bridge.validate(ticket).text
