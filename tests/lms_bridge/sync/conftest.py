"""A bridge with a simulated Moodle behind one of its services."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from external_accounts import audit
from external_accounts.accounts import account_by_username, suspend
from moodle_ws.simulator import SimulatedMoodle, SimulatorOptions, User
from tests.bridge_under_test import SERVICES, BridgeUnderTest, Browser, running_bridge, ticket_in

WRITES = ("core_user_create_users", "core_user_update_users", "core_user_delete_users")


class People:
    """What operators and time do to the accounts of a bridge."""

    bridge: BridgeUnderTest
    folder: Path
    """For what a test leaves behind."""

    def suspend(self, username: str = "ext.ada", until: datetime | None = None) -> None:
        self.change(username, lambda session, account: suspend(
            session, account, reason="test", until=until, now=self.bridge.clock(), origin=audit.SYSTEM
        ))  # fmt: skip

    def readmit(self, username: str = "ext.ada") -> None:
        """Lift the suspension of the account."""

        def lift(_session: Any, account: Any) -> None:
            account.suspended_at = account.suspended_until = None
            account.note_change()

        self.change(username, lift)

    def change(self, username: str, how: Callable[[Any, Any], None]) -> None:
        with self.bridge.runtime.database.begin() as session:
            account = account_by_username(session, username)
            assert account is not None
            how(session, account)


@dataclass
class World(People):
    """A bridge, the Moodle it keeps in step, and Ada, who has a confirmed local account."""

    bridge: BridgeUnderTest
    moodle: SimulatedMoodle
    service: str
    """Where Moodle asks tickets for."""
    browser: Browser
    folder: Path

    def sign_in(self, username: str = "ext.ada") -> requests.Response:
        """A fresh browser comes in by the Extérieurs door for Moodle; returns the last answer of the bridge."""
        self.browser = self.bridge.browser()
        return self.browser.sign_in(username, service=self.service, follow=False)

    def enter(self, username: str = "ext.ada") -> requests.Response:
        """As `sign_in`, and on to what stands in the way, if anything does."""
        answer = self.sign_in(username)
        if "/cas/login" in answer.headers.get("Location", ""):
            return self.browser.get(answer.headers["Location"], follow=False)
        return answer

    def ticket(self, username: str = "ext.ada") -> str:
        return ticket_in(self.enter(username))

    def user(self, username: str = "ext.ada") -> User:
        """The Moodle user of exactly this name."""
        [found] = [user for user in self.moodle.site.users.values() if user.username == username and not user.deleted]
        return found

    def usernames(self) -> list[str]:
        """Everybody in Moodle but the ones every Moodle begins with."""
        return [user.username for user in self.moodle.site.users.values() if user.id > 3]

    def writes(self) -> list[str]:
        return [name for name in self.moodle.calls if name in WRITES]

    def down(self, down: bool = True) -> None:
        """Moodle answers 503 to web services, as in its maintenance mode."""
        self.moodle.site.maintenance_cli = down


@contextmanager
def running_world(
    folder: Path,
    *,
    bridge_changes: dict[str, Any] | None = None,
    site_changes: dict[str, Any] | None = None,
    **options: Any,
) -> Iterator[World]:
    """`options` are the simulator's, `bridge_changes` and `site_changes` the bridge's settings'."""
    moodle = SimulatedMoodle(SimulatorOptions(**options))
    with moodle.serve() as handle:
        service = f"{handle.url}/login/index.php"
        updago = {"name": "updago", "label": {"fr": "UPdago", "en": "UPdago"}, "url": service, "site": "updago"}
        site = {
            "name": "updago", "url": handle.url, "token": moodle.site.options.token,
            "connect_timeout": 2, "read_timeout": 2, **(site_changes or {}),
        }  # fmt: skip
        with running_bridge(folder, services=[updago, *SERVICES], sites=[site], **(bridge_changes or {})) as bridge:
            moodle.site.options = replace(moodle.site.options, cas_url=f"{bridge.url}/cas", cas_verify=False)
            bridge.add_account("ext.ada")
            yield World(bridge, moodle, service, bridge.browser(), folder)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with running_world(tmp_path) as running:
        yield running
