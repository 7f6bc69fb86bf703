"""One bridge, two Moodles: each has its own users, its own policy, its own trouble."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from external_accounts.accounts import account_by_username
from lms_bridge.jobs import functions
from lms_bridge.sync import status
from lms_bridge.sync.runs import Orders, run_site, tools_of
from lms_bridge.sync.sites import enrol_sites
from moodle_ws.simulator import Database, SimulatedMoodle, SimulatorOptions, Version
from tests.bridge_under_test import BridgeUnderTest, running_bridge

NAMES = ("first", "second")


@dataclass
class TwoSites:
    bridge: BridgeUnderTest
    moodles: dict[str, SimulatedMoodle]
    folder: Path

    def users(self, site: str) -> dict[str, bool]:
        """Who is in a Moodle besides its own people: name → suspended."""
        return {user.username: user.suspended for user in self.moodles[site].site.users.values() if user.id > 4}

    def work(self) -> None:
        while functions.bring_mirrors_into_step(self.bridge.runtime):
            pass

    def apply(self, site: str) -> str:
        return run_site(tools_of(self.bridge.runtime, site), site, Orders(write=True), self.folder).outcome


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[TwoSites]:
    """The second one takes vacataires only."""
    first = SimulatedMoodle(SimulatorOptions(database=Database.MARIADB, version=Version.V4_5))
    second = SimulatedMoodle(SimulatorOptions(version=Version.V5_2))
    with first.serve() as one, second.serve() as two:
        services, settings = [], []
        for name, moodle, handle in (("first", first, one), ("second", second, two)):
            moodle.site.add_user("canary", firstname="Ca", lastname="Nary", email="canary@univ.example")
            profiles = ["vacataire"] if name == "second" else []
            label = {"fr": name, "en": name}
            url = f"{handle.url}/login/index.php"
            services.append({"name": name, "label": label, "url": url, "site": name, "profiles": profiles})
            token = moodle.site.options.token
            settings.append({"name": name, "url": handle.url, "token": token, "canary": "canary", "read_timeout": 2})
        with running_bridge(tmp_path, services=services, sites=settings) as bridge:
            enrol_sites(bridge.runtime.database, bridge.runtime.sites)
            yield TwoSites(bridge, {"first": first, "second": second}, tmp_path)


def become(sites: TwoSites, username: str, profile: str) -> None:
    with sites.bridge.runtime.database.begin() as session:
        account = account_by_username(session, username)
        assert account is not None
        account.profile = profile
        account.note_change()


def test_each_site_holds_those_whom_its_own_policy_lets_in(sites: TwoSites) -> None:
    sites.bridge.add_account("ext.ada")
    sites.bridge.add_account("ext.bob")
    become(sites, "ext.bob", "vacataire")
    sites.work()
    assert sites.users("first") == {"ext.ada": False, "ext.bob": False}
    assert sites.users("second") == {"ext.bob": False}


def test_i6_who_loses_the_right_to_one_site_keeps_the_other(sites: TwoSites) -> None:
    sites.bridge.add_account("ext.bob")
    become(sites, "ext.bob", "vacataire")
    sites.work()
    become(sites, "ext.bob", "learner")
    sites.work()
    assert (sites.users("first"), sites.users("second")) == ({"ext.bob": False}, {"ext.bob": True})


def test_a_site_that_is_down_does_not_hold_up_the_other(sites: TwoSites) -> None:
    sites.moodles["first"].site.maintenance_cli = True
    sites.bridge.add_account("ext.bob")
    become(sites, "ext.bob", "vacataire")
    sites.work()
    assert (sites.users("first"), sites.users("second")) == ({}, {"ext.bob": False})
    now, database = sites.bridge.clock(), sites.bridge.runtime.database
    assert [status.of_site(database, name, now=now).failing_since is None for name in NAMES] == [False, True]
    sites.moodles["first"].site.maintenance_cli = False
    sites.bridge.clock.forward(minutes=1)
    sites.work()
    assert sites.users("first") == {"ext.bob": False}


def test_runs_over_two_sites_know_nothing_of_each_other(sites: TwoSites) -> None:
    sites.bridge.add_account("ext.ada")
    become(sites, "ext.ada", "vacataire")
    assert [sites.apply(name) for name in NAMES] == ["done", "done"]
    sites.moodles["second"].site.user("ext.ada").lastname = "Theirs"  # type: ignore[union-attr]
    assert [sites.apply(name) for name in NAMES] == ["nothing", "done"]
