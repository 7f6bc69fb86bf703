"""I1 from outside: home page, ticket issue and validation ask the same gate, each at its own moment."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.accounts import suspend
from external_accounts.addresses import primary_address
from external_accounts.confirmation import lose_confirmation
from external_accounts.engagements import accept
from external_accounts.schema import Account, Engagement
from tests.bridge_under_test import SERVICES, BridgeUnderTest, Browser, heading, running_bridge, ticket_in
from tests.lms_bridge.mailing import in_french

STRICT = "https://strict.example/in"
OPEN = "https://open.example/"
CHARTER = {"version": "2026-09", "url": "https://univ.example/charte"}
SERVICE = {
    "name": "strict",
    "label": {"fr": "Stricte", "en": "Strict"},
    "url": STRICT,
    "charter": True,
    "profiles": ["learner"],
}

Loss = Callable[[Session, Account, datetime], object]


def _address(session: Session, account: Account, now: datetime) -> None:
    address = primary_address(account)
    assert address is not None
    lose_confirmation(session, address, reason="bounce", now=now, origin=audit.SYSTEM)


def _charter(session: Session, account: Account, now: datetime) -> None:
    session.query(Engagement).one().withdrawn_at = now


LOSSES: dict[str, tuple[Loss, str]] = {
    "suspended": (
        lambda session, account, now: suspend(session, account, reason="x", until=None, now=now, origin=audit.SYSTEM),
        "Your account is suspended",
    ),
    "rights ended": (lambda _s, account, now: setattr(account, "rights_end_at", now), "Your access has ended"),
    "address lost": (_address, "E-mail not confirmed"),
    "charter withdrawn": (_charter, "The charter awaits your agreement"),
    "other profile": (
        lambda _s, account, _n: setattr(account, "profile", "staff"),
        "This application is not open to your account",
    ),
    "not activated": (
        lambda _s, account, _n: setattr(account, "activated_at", None),
        "Your account is not activated yet",
    ),
    "erased": (lambda _s, account, now: setattr(account, "erased_at", now), "This account no longer exists"),
}


@dataclass
class Door:
    bridge: BridgeUnderTest
    account_id: int

    def change(self, loss: Loss) -> None:
        with self.bridge.runtime.database.begin() as session:
            loss(session, session.get_one(Account, self.account_id), self.bridge.clock())

    def signed_in(self) -> Browser:
        browser = self.bridge.browser()
        browser.sign_in("ext.ada")
        return browser


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with running_bridge(tmp_path, services=[SERVICE, SERVICES[1]], charter=CHARTER) as bridge:
        account_id = bridge.add_account("ext.ada")
        found = Door(bridge, account_id)
        found.change(
            lambda session, account, now: accept(
                session, account.id, "charter", "2026-09", now=now, origin=audit.SYSTEM
            )
        )
        yield found


def ask(browser: Browser) -> Any:
    return browser.get("/cas/login", params={"service": STRICT}, follow=False)


@pytest.mark.parametrize("loss", LOSSES)
def test_i1_whoever_loses_the_right_between_issue_and_validation_is_not_validated(door: Door, loss: str) -> None:
    ticket = ticket_in(ask(door.signed_in()))
    door.change(LOSSES[loss][0])
    answer = door.bridge.validate(ticket, STRICT).text
    assert "INVALID_TICKET" in answer
    assert "ext.ada" not in answer


@pytest.mark.parametrize("loss", LOSSES)
def test_i1_home_ticket_issue_and_gateway_refuse_alike(door: Door, loss: str) -> None:
    browser = door.signed_in()
    assert ticket_in(ask(browser))
    door.change(LOSSES[loss][0])
    refused = ask(browser)
    assert refused.status_code == 403
    words = in_french(LOSSES[loss][1])
    assert heading(refused) == words
    home = browser.get("/")
    assert words in " ".join(html.unescape(home.text).split())
    back = browser.get("/cas/login", params={"service": STRICT, "gateway": "true"}, follow=False)
    assert back.headers["Location"] == STRICT


def test_i1_the_moment_counts_a_suspension_that_ends_lets_in_at_that_second(door: Door) -> None:
    end = door.bridge.clock() + timedelta(hours=1)
    browser = door.signed_in()
    door.change(
        lambda session, account, now: suspend(session, account, reason="x", until=end, now=now, origin=audit.SYSTEM)
    )
    door.bridge.clock.moment = end - timedelta(seconds=1)
    assert ask(browser).status_code == 403
    door.bridge.clock.moment = end
    ticket = ticket_in(ask(browser))
    assert "ext.ada" in door.bridge.validate(ticket, STRICT).text


def test_i1_a_ticket_issued_a_second_before_the_rights_end_does_not_validate_after(door: Door) -> None:
    end = door.bridge.clock() + timedelta(hours=1)
    door.change(lambda _session, account, _now: setattr(account, "rights_end_at", end))
    browser = door.signed_in()
    door.bridge.clock.moment = end - timedelta(seconds=2)
    early, late = ticket_in(ask(browser)), ticket_in(ask(browser))
    door.bridge.clock.moment = end - timedelta(seconds=1)
    assert "ext.ada" in door.bridge.validate(early, STRICT).text
    door.bridge.clock.moment = end
    assert "INVALID_TICKET" in door.bridge.validate(late, STRICT).text


def test_the_obstacles_are_worked_off_one_after_the_other(door: Door) -> None:
    door.change(_charter)
    browser = door.signed_in()
    assert heading(browser.get("/cas/login", params={"service": STRICT})) == in_french(LOSSES["charter withdrawn"][1])
    page = browser.get("/account/charter", params={"service": STRICT})
    assert page.status_code == 200
    unticked = browser.submit()
    assert unticked.status_code == 422
    accepted = browser.submit(charter="1", follow=False)
    assert accepted.status_code == 303
    assert ticket_in(ask(browser))


def test_a_new_charter_is_asked_for_again(tmp_path: Path) -> None:
    for version, admitted in (("2026-09", True), ("2027-09", False)):
        charter = CHARTER | {"version": version}
        with running_bridge(tmp_path, services=[SERVICE], charter=charter) as bridge:
            if admitted:
                bridge.add_account("ext.ada")
                browser = bridge.browser()
                browser.sign_in("ext.ada")
                browser.get("/account/charter")
                browser.submit(charter="1")
            else:
                browser = bridge.browser()
                browser.sign_in("ext.ada")
            assert (ask(browser).status_code == 302) is admitted


def test_an_ungated_service_lets_the_unconfirmed_in_and_the_suspended_not(door: Door) -> None:
    door.change(_address)
    browser = door.signed_in()
    ticket = ticket_in(browser.get("/cas/login", params={"service": OPEN}, follow=False))
    assert "ext.ada" in door.bridge.validate(ticket, OPEN).text
    door.change(LOSSES["suspended"][0])
    assert browser.get("/cas/login", params={"service": OPEN}, follow=False).status_code == 403
