"""A whole Moodle kept in step by runs of a bridge that knows nobody but this test's people.

Each run goes over all accounts of the bridge's throw-away database. Whatever a scenario does, at its end every user
written to was the bridge's own, and everybody else is as before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lms_bridge.sync.sites import enrol_sites
from moodle_ws import MoodleUser, UserUpdate
from tests.bridge_under_test import BridgeUnderTest, running_bridge
from tests.live.bridged import SITE, connection
from tests.live.moodle_under_test import MoodleUnderTest, RememberingClient
from tests.lms_bridge.sync.conftest import People
from tests.lms_bridge.sync.site_runs import add_person, mirrors_of

OLDEST, YOUNGEST = 50, 500
"""Of a site's other users, so many of either end are compared before and after: ids, most of them nobody's."""


@dataclass
class KeptSite(People):
    """The bridge, the Moodle, and the client that all runs write with."""

    bridge: BridgeUnderTest
    folder: Path
    moodle: MoodleUnderTest
    client: RememberingClient
    strangers: dict[int, MoodleUser] = field(default_factory=dict)
    """Users that are not the bridge's, and must stay as they are."""

    # -- here ----------------------------------------------------------------------------------------------------------

    def add(self, count: int, *, first: int = 0) -> list[str]:
        """`count` accounts; returns their names."""
        return [self.add_one(number) for number in range(first, first + count)]

    def add_one(self, who: int | str, *, family: str = "", **person: Any) -> str:
        name = self.moodle.name(who)
        person.setdefault("email", self.moodle.email(who))
        add_person(self.bridge, name, family=family or f"Nr {who}", **person)
        return name

    # -- in Moodle -----------------------------------------------------------------------------------------------------

    def users(self, names: Iterable[str]) -> list[MoodleUser]:
        """The users of these names that Moodle has, in the order of the names."""
        wanted = list(names)
        return sorted(
            self.moodle.client.users_by_field("username", wanted), key=lambda user: wanted.index(user.username or "")
        )

    def user(self, name: str) -> MoodleUser:
        [user] = self.users([name])
        return user

    def by_id(self, ids: Iterable[int]) -> dict[int, MoodleUser]:
        """The users that Moodle shows for these ids; poison rows left out."""
        batches = self.moodle.client.iter_users_by_field("id", sorted(ids))
        return {user.id: user for batch in batches for user in batch.users}

    def change_there(self, name: str, **values: Any) -> None:
        """What an administrator of Moodle does to a user."""
        [outcome] = self.moodle.client.update_users([UserUpdate(id=self.user(name).id, **values)])
        assert outcome.applied

    def stranger(self, who: int | str, **values: Any) -> MoodleUser:
        """Somebody the bridge did not make, and has not taken over."""
        later = {name: values.pop(name) for name in ("auth", "suspended") if name in values}
        number = self.moodle.create(who, **values)
        if later:
            self.change_there(self.moodle.name(who), **later)
        self.strangers[number] = self.moodle.user(number)
        return self.strangers[number]

    # -- what no run may have done -------------------------------------------------------------------------------------

    def check_strangers(self) -> None:
        """Everybody who is not the bridge's is as before, and was not even written to."""
        ours = {mirror.moodle_id for mirror in mirrors_of(self) if mirror.owned}
        assert self.client.written <= ours, "a user that is not the bridge's was written to"
        others = {number: user for number, user in self.strangers.items() if number not in ours}
        there = self.by_id(others)
        changed = [user for number, user in others.items() if there.get(number) != user]
        assert not changed, f"others are not as before (or somebody else is at work on the site): {changed}"


@contextmanager
def kept_site(moodle: MoodleUnderTest, folder: Path, **site: Any) -> Iterator[KeptSite]:
    """Starts the bridge. `site` adds to the settings of the site."""
    canary = moodle.create("canary")
    before = {*range(1, OLDEST), *range(max(1, canary - YOUNGEST), canary + 1)}
    with running_bridge(folder, **connection(moodle, canary=moodle.name("canary"), **site)) as bridge:
        sites = bridge.runtime.sites
        sites.close()
        # Whoever is created by a run is taken away at the end, whatever became of the run.
        client = moodle.another_client(answer_timeout=120.0)
        sites._clients[SITE] = sites._patient[SITE] = client
        enrol_sites(bridge.runtime.database, sites)
        kept = KeptSite(bridge, folder, moodle, client)
        kept.strangers |= kept.by_id(before)
        yield kept
        kept.check_strangers()
