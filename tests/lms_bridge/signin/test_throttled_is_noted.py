"""Attempts that the throttle turns away leave a trace, and the trace does not grow as fast as somebody can knock."""

from __future__ import annotations

from sqlalchemy import select

from external_accounts import throttle
from external_accounts.schema import AuditEvent
from tests.bridge_under_test import BridgeUnderTest


def noted(bridge: BridgeUnderTest) -> list[tuple[str, int | None]]:
    with bridge.runtime.database.read() as session:
        query = select(AuditEvent.network, AuditEvent.account_id).where(AuditEvent.outcome == "throttled")
        return [(row.network, row.account_id) for row in session.execute(query)]


def test_a_flood_is_one_event_a_minute(bridge: BridgeUnderTest) -> None:
    bridge.add_account()
    browser = bridge.browser()
    for _ in range(throttle.SIGN_IN_IDENTIFIER.burst):
        assert browser.sign_in("ext.ada", "wrong").status_code == 401
    assert noted(bridge) == []
    for _ in range(3):
        assert browser.sign_in("ext.ada", "wrong").status_code == 429
    assert noted(bridge) == [("127.0.0.1", None)], "nothing was looked up, so nobody is named (I3)"
    bridge.clock.forward(seconds=61)
    for _ in range(4):
        browser.sign_in("ext.ada", "wrong")
    assert len(noted(bridge)) == 2
