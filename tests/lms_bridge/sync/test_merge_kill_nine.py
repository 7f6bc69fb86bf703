"""I7, I8: the worker is killed with SIGKILL while links and undos are made, and Moodle ends as the accounts say.

The process is the one that operators start (`lms-bridge worker`); Moodle is the simulator; the moments are random.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lms_bridge.sync import status
from tests.bridge_under_test import settings_values
from tests.killed_world import COMMAND
from tests.lms_bridge.sync.conftest import World
from tests.lms_bridge.sync.joined import check_moodle, link, settle, two_accounts, unlink
from tests.lms_bridge.sync.site_runs import add_person, run
from tests.served_bridge import to_toml

PAIRS = 8
KILLS = 4
SEED = 20261125


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_i7_i8_after_every_kill_of_the_worker_links_and_undos_end_well(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/bridge.db"
    if kind == "postgresql":
        url = request.getfixturevalue("postgresql").create_database()
    keys = ["0123456789abcdef" * 4]
    with two_accounts(tmp_path, bridge_changes={"database_url": url, "secret_keys": keys}) as world:
        people = [(f"ext.k{number}", f"member.k{number}") for number in range(PAIRS)]
        for name in (name for pair in people for name in pair):
            add_person(world.bridge, name, family="Person")
        settle(world)
        users = {name: world.user(name) for pair in people for name in pair}
        worker = Worker(tmp_path, world, url, keys)
        joined: dict[int, int] = {}
        try:
            for number, (learner, member) in enumerate(people):
                worker.keep_alive()
                joined[number] = link(world, learner, member, swap=True, address=True)
                if number % 3 == 2:
                    unlink(world, joined.pop(number - 1))
                if number % 2:
                    worker.kill_at_some_moment()
            assert worker.killed == KILLS
        finally:
            worker.stop()
        # Whatever leases the dead left are over by now.
        world.bridge.clock.forward(minutes=10)
        settle(world)
        check_moodle(world)
        for number, (learner, member) in enumerate(people):
            kept, other = users[learner], users[member]
            if number in joined:
                assert (kept.username, kept.suspended, other.suspended) == (member, False, True)
                assert other.username.startswith("lmsb-merged-")
            else:
                assert (kept.username, other.username) == (learner, member)
                assert (kept.suspended, other.suspended) == (False, False)
        assert run(world, write=False).plan.size == 0
        assert status.of_site(world.bridge.runtime.database, "updago", now=world.bridge.clock()).unsettled == 0


class Worker:
    """`lms-bridge worker` on the world's database, and the hand that kills it."""

    def __init__(self, folder: Path, world: World, url: str, keys: list[str]) -> None:
        settings = world.bridge.runtime.settings
        [site] = settings.sites
        [service] = [service for service in settings.services if service.site]
        values: dict[str, Any] = settings_values(
            folder,
            database_url=url,
            secret_keys=keys,
            public_url=world.bridge.url,
            services=[{"name": "updago", "label": {"fr": "U", "en": "U"}, "url": service.url, "site": "updago"}],
            sites=[{"name": "updago", "url": site.url, "token": site.token.get_secret_value(), "canary": site.canary}],
        )
        self._config = folder / "worker.toml"
        self._config.write_text(to_toml(values), encoding="utf-8")
        self._log = folder / "worker.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._random = random.Random(SEED)
        self._moodle = world.moodle
        self.killed = 0

    def keep_alive(self) -> None:
        if self._process is None:
            environment = {key: value for key, value in os.environ.items() if not key.startswith("LMS_BRIDGE_")}
            with self._log.open("ab") as output:
                self._process = subprocess.Popen(
                    [*COMMAND, "--config", str(self._config), "worker"],
                    stdout=output,
                    stderr=output,
                    env=environment,
                    start_new_session=True,
                )

    def kill_at_some_moment(self) -> None:
        """After so many calls to Moodle from now, whichever they are: a link alone asks for more."""
        enough = len(self._moodle.calls) + self._random.randint(1, 6)
        deadline = time.monotonic() + 30
        while len(self._moodle.calls) < enough and time.monotonic() < deadline:
            with suppress(subprocess.TimeoutExpired):
                assert self._process is not None
                self._process.wait(timeout=0.005)
        self.stop()
        self.killed += 1

    def stop(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
