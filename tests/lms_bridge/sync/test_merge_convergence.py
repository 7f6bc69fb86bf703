"""Links, undos, crashes and outages in any order: in the end Moodle is what the accounts say (I6, I7).

At every moment no two users share a name, the kept one has its new name only once the other is closed, and nobody is
deleted.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moodle_ws.simulator import Database, User, Version
from tests.lms_bridge.sync.conftest import World
from tests.lms_bridge.sync.joined import check_moodle, link, settle, unlink
from tests.lms_bridge.sync.mortality import Killed, dying
from tests.lms_bridge.sync.site_runs import account_id, add_person, edit, entries, run, run_asked, site_world

FLAVOURS = [(Database.POSTGRESQL, Version.V4_5), (Database.MARIADB, Version.V5_2)]
NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Link:
    """Join the two accounts; `forwards`: the first one is kept."""

    forwards: bool
    swap: bool
    address: bool


@dataclass(frozen=True)
class Work:
    """The worker, the door or a run over the site is at work, and dies at point `dies` (0: it lives)."""

    where: str
    dies: int


STEPS = st.lists(
    st.one_of(
        st.builds(Link, forwards=st.booleans(), swap=st.booleans(), address=st.booleans()),
        st.just("undo"),
        st.builds(Work, where=st.sampled_from(["worker", "run"]), dies=st.integers(0, 22)),
        st.sampled_from(["down", "up", "suspend", "readmit", "rename"]),
    ),
    min_size=2,
    max_size=10,
)


@dataclass
class Pair:
    """Two accounts of one person, by their names at the moment, and the Moodle users they began with."""

    world: World
    ids: tuple[int, int]
    users: tuple[User, User]
    names: tuple[str, str]
    joined: tuple[int, Link] | None = None
    patch: pytest.MonkeyPatch = field(default_factory=pytest.MonkeyPatch)

    def do(self, step: object) -> None:
        match step:
            case Link() if self.joined is None:
                kept, other = self.names if step.forwards else self.names[::-1]
                number = link(self.world, kept, other, swap=step.swap, address=step.address)
                self.joined = (number, step)
                self._swap(step)
            case "undo" if self.joined is not None:
                unlink(self.world, self.joined[0])
                self._swap(self.joined[1])
                self.joined = None
            case Work():
                self._work(step)
            case "down" | "up":
                self.world.down(down=step == "down")
            case "suspend":
                self.world.suspend(self.names[0])
            case "readmit":
                self.world.readmit(self.names[0])
            case "rename":
                edit(self.world, self.names[1], family_name=f"Name{next(NUMBERS)}")
        self.check_meanwhile()

    def _swap(self, made: Link) -> None:
        if made.swap:
            self.names = self.names[::-1]

    def _work(self, step: Work) -> None:
        with dying(self.patch, step.dies or -1):
            try:
                if step.where == "worker":
                    settle(self.world)
                elif not self.world.moodle.site.maintenance_cli:
                    run_asked(self.world)
            except Killed:
                pass
        self.world.bridge.clock.forward(hours=2)  # leases, and the guard's hour

    def check_meanwhile(self) -> None:
        names = [user.username for user in self.world.moodle.site.living()]
        assert len(names) == len(set(names))
        if self.joined is not None and self.joined[1].swap:
            kept, other = self.users if self.joined[1].forwards else self.users[::-1]
            name = self.names[0] if self.joined[1].forwards else self.names[1]
            assert kept.username != name or other.suspended

    def check_in_the_end(self) -> None:
        self.world.down(down=False)
        self.world.bridge.clock.forward(hours=2)
        if self.world.bridge.runtime.sites.client("updago").unavailable:
            run_asked(self.world)  # the circuit breaker's time is the real one, and runs go without it
        settle(self.world)
        check_moodle(self.world)
        assert run(self.world, write=False).plan.size == 0, "the worker left something"
        assert run(self.world, write=False).plan.conflicts == 0
        mirrors = {entry.account_id: entry for entry in entries(self.world)}
        for number, user, name in zip(self.ids, self.users, self.names, strict=True):
            entry = mirrors[number]
            assert entry.mirror.moodle_id == user.id
            assert not user.deleted
            if entry.subject.facts.merged_into_id is None:
                assert user.username == name
                assert user.suspended is (entry.subject.facts.suspended_at is not None)
            else:
                assert user.username.startswith("lmsb-merged-")
                assert user.suspended


@pytest.fixture(scope="module", params=FLAVOURS, ids=lambda flavour: "-".join(map(str, flavour)))
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    database, version = request.param
    site = {"parallel_calls": 1}
    with site_world(tmp_path_factory.mktemp("site"), site=site, database=database, version=version) as running:
        run(running)
        yield running


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_i6_i7_links_undos_crashes_and_outages_in_any_order_end_well(world: World, steps: list[object]) -> None:
    number = next(NUMBERS)
    names = (f"ext.h{number}", f"member.h{number}")
    for name in names:
        add_person(world.bridge, name, family="Person")
    world.down(down=False)
    settle(world)
    pair = Pair(world, (account_id(world, names[0]), account_id(world, names[1])), tuple(map(world.user, names)), names)  # type: ignore[arg-type]
    try:
        for step in steps:
            pair.do(step)
        pair.check_in_the_end()
    finally:
        pair.patch.undo()
