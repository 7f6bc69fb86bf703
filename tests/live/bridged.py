"""A bridge in front of a Moodle that scenarios run against."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from external_accounts import audit
from external_accounts.accounts import account_by_username, suspend
from external_accounts.schema import Account
from lms_bridge.gate import MirrorState, Policy
from lms_bridge.sync.step import bring_into_step
from moodle_ws import MoodleUser
from tests.bridge_under_test import PASSWORD, BridgeUnderTest, Browser, running_bridge
from tests.live.moodle_under_test import MoodleUnderTest

ADA = "ada"
SITE = "updago"


@dataclass
class Bridged:
    """The bridge, the Moodle, and Ada."""

    bridge: BridgeUnderTest
    moodle: MoodleUnderTest
    public_url: str
    account_id: int
    username: str

    @property
    def service(self) -> str:
        """Where Moodle asks tickets for."""
        return f"{self.moodle.url}/login/index.php"

    @property
    def deep_link(self) -> str:
        """A page of Moodle's that only people who are signed in see."""
        return f"{self.moodle.url}/{'course/view.php?id=2' if self.moodle.simulated else 'user/preferences.php'}"

    @property
    def home(self) -> str:
        return f"{self.moodle.url}/my/"

    # -- what operators and time do --------------------------------------------------------------------------------

    def step(self) -> MirrorState:
        """Brings Ada into step, as a sign-in does."""
        runtime = self.bridge.runtime
        return bring_into_step(
            runtime.database, runtime.sites, SITE, self.account_id, Policy(), now=self.bridge.clock()
        )

    def jobs(self) -> None:
        """One round of the background work."""
        self.bridge.runner.run_once()

    def change(self, how: Callable[[Any, Account], None]) -> None:
        with self.bridge.runtime.database.begin() as session:
            account = account_by_username(session, self.username)
            assert account is not None
            how(session, account)

    def suspend(self) -> None:
        self.change(
            lambda session, account: suspend(
                session, account, reason="test", until=None, now=self.bridge.clock(), origin=audit.SYSTEM
            )
        )

    def readmit(self) -> None:
        def lift(_session: Any, account: Account) -> None:
            account.suspended_at = account.suspended_until = None
            account.note_change()

        self.change(lift)

    def marry(self) -> None:
        """Ada gets another family name."""

        def rename(_session: Any, account: Account) -> None:
            account.family_name = "King"
            account.note_change()

        self.change(rename)

    def user(self) -> MoodleUser | None:
        """Ada as Moodle has her; None when it has nobody of her name."""
        found = self.moodle.client.users_by_field("username", [self.username])
        return found[0] if found else None

    # -- what people do --------------------------------------------------------------------------------------------

    def browser(self) -> Browser:
        browser = Browser(self.public_url)
        browser.hosts = {urlsplit(url).hostname or "" for url in (self.moodle.url, self.public_url)}
        return browser

    def sign_in_for(self, browser: Browser, page: str) -> requests.Response:
        """Asks Moodle for a page, is sent to the doors, and comes in by the local one."""
        doors = browser.get(page)
        assert doors.url.startswith(f"{self.public_url}/"), doors.url
        browser.get(f"{self.public_url}/signin/local", params={"service": self.service})
        return browser.submit(identifier=self.username, password=PASSWORD)


def connection(moodle: MoodleUnderTest, **site: Any) -> dict[str, Any]:
    """The settings by which a bridge keeps the Moodle in step; `site` adds to the site's own."""
    service = {
        "name": SITE, "label": {"fr": "UPdago", "en": "UPdago"}, "url": f"{moodle.url}/login/index.php", "site": SITE,
    }  # fmt: skip
    ours = {"name": SITE, "url": moodle.url, "token": moodle.client._token, "auth": moodle.auth, "read_timeout": 30}
    return {"services": [service], "sites": [ours | site]}


@contextmanager
def bridged(
    moodle: MoodleUnderTest, folder: Path, *, public_url: str = "", port: int = 0, **settings: Any
) -> Iterator[Bridged]:
    """Starts the bridge. `public_url` is given where something stands before it, for which it listens on `port`."""
    changes: dict[str, Any] = {**connection(moodle), **settings}
    if public_url:
        changes["public_url"] = public_url
    with running_bridge(folder, port=port, **changes) as bridge:
        public = public_url or bridge.url
        if moodle.simulated is not None:
            site_now = moodle.simulated.site
            site_now.options = replace(site_now.options, cas_url=f"{public}/cas", cas_verify=False)
        username = moodle.name(ADA)
        moodle.client.usernames.add(username)
        account = bridge.add_account(username, email=moodle.email(ADA))
        yield Bridged(bridge, moodle, public, account, username)
