"""A bridge with one hook and one directory, a real receiver behind the hook, and somebody with a mailbox."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from external_accounts.accounts import lock_account
from external_accounts.addresses import parse_address
from external_accounts.audit import SYSTEM
from external_accounts.directory import Entry
from external_accounts.handovers import hand_over
from external_accounts.institution_schema import HandoverDelivery
from external_accounts.mailbox import forward, forwarding_address
from external_accounts.schema import Account
from lms_bridge.hooks.delivery import deliver_due
from tests.bridge_under_test import BridgeUnderTest, running_bridge
from tests.lms_bridge.cas.listeners import Listener, Received

SECRET, OLDER = "s" * 32, "o" * 40
PROFILES = [
    {"name": "vacataire", "label": {"fr": "Vacataire"}, "issuer": "sel", "directory": "sel"},
    {"name": "learner", "label": {"fr": "Apprenant"}},
]


@dataclass
class Town:
    bridge: BridgeUnderTest
    receiver: Listener
    account_id: int

    def tell(self, event: str = "mailbox.changed") -> int:
        with self.bridge.runtime.database.begin() as session:
            handover = hand_over(session, event, self.account_id, now=self.bridge.clock())
            session.flush()
            return handover.id

    def deliver(self) -> int:
        return deliver_due(self.bridge.runtime)

    def states(self) -> dict[str, str]:
        """State by target, of the newest handover."""
        return {row.target: row.state for row in self.rows()}

    def rows(self) -> list[HandoverDelivery]:
        with self.bridge.runtime.database.read() as session:
            rows = session.query(HandoverDelivery).order_by(HandoverDelivery.handover_id).all()
            session.expunge_all()
            return rows

    def forward_to(self, email: str) -> None:
        """The person chooses a forwarding, which nobody has confirmed yet."""
        now = self.bridge.clock()
        with self.bridge.runtime.database.begin() as session:
            account = lock_account(session, self.account_id)
            to = forwarding_address(account, parse_address(email), now)
            forward(session, account, to, keep_copy=False, now=now, origin=SYSTEM)


def told(received: Received) -> dict[str, Any]:
    return dict(json.loads(received.body))


def values(receiver: Listener, **changes: Any) -> dict[str, Any]:
    """Settings with one hook to `receiver`."""
    hook = {"name": "mail", "url": f"{receiver.url}/hook", "secrets": [SECRET, OLDER], "timeout": 1}
    return {
        "hooks": [hook],
        "directories": [{"name": "sel", "kind": "embedded"}],
        "upstreams": [{"issuer": "sel", "cas_url": "https://cas.univ.example/cas"}],
        "profiles": PROFILES,
    } | changes


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with Listener() as receiver, running_bridge(tmp_path, **values(receiver)) as bridge:
        account_id = bridge.add_account("ext.ada")
        with bridge.runtime.database.begin() as session:
            session.get_one(Account, account_id).profile = "vacataire"
        bridge.runtime.directories["sel"].save(Entry("ext.ada"))
        yield Town(bridge, receiver, account_id)
