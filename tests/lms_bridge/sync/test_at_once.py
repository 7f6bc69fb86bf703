"""One person in several windows at once: one Moodle user, and every window gets in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.bridge_under_test import ticket_in
from tests.lms_bridge.sync.conftest import running_world
from tests.postgresql_server import PostgresqlServer

WINDOWS = 6


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_six_windows_at_once_make_one_moodle_user_and_six_tickets(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    changes = {}
    if kind == "postgresql":
        server: PostgresqlServer = request.getfixturevalue("postgresql")
        changes["database_url"] = server.create_database()
    with running_world(tmp_path, bridge_changes=changes) as world:
        browsers = [world.bridge.browser() for _ in range(WINDOWS)]
        for browser in browsers:
            browser.sign_in("ext.ada")
        with ThreadPoolExecutor(WINDOWS) as pool:
            answers = list(
                pool.map(
                    lambda browser: browser.get("/cas/login", params={"service": world.service}, follow=False), browsers
                )
            )
        tickets = {ticket_in(answer) for answer in answers}
        assert len(tickets) == WINDOWS
        assert world.usernames() == ["ext.ada"]


def test_a_user_whose_creation_was_not_answered_is_still_ours(tmp_path: Path) -> None:
    with running_world(tmp_path) as world:
        world.moodle.faults.next("drop")  # the look-up before
        world.moodle.faults.next("lost")
        world.enter()
        world.ticket()
        world.suspend()
        world.bridge.runner.run_once()
        assert world.user().suspended, "only users we own are closed"
