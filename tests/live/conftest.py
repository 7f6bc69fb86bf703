"""Every scenario here runs against the simulator and, where one is named, against a real Moodle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.live.bridged import Bridged, bridged
from tests.live.moodle_under_test import MoodleUnderTest, live_moodle, live_param, named, simulated_moodle


@pytest.fixture(params=["simulator", live_param("MOODLE_URL", "MOODLE_TOKEN")])
def moodle(request: pytest.FixtureRequest) -> Iterator[MoodleUnderTest]:
    """A Moodle, simulated or real."""
    with simulated_moodle() if request.param == "simulator" else live_moodle() as under_test:
        yield under_test


@pytest.fixture
def joined(moodle: MoodleUnderTest, tmp_path: Path) -> Iterator[Bridged]:
    """A bridge that keeps the Moodle in step, and Ada, who has a confirmed local account there."""
    with bridged(moodle, tmp_path) as world:
        yield world


@pytest.fixture(params=["simulator", live_param("MOODLE_URL", "MOODLE_TOKEN", "CAS", "BRIDGE_URL", "BRIDGE_PORT")])
def entrance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bridged]:
    """As `joined`, and the Moodle's CAS plugin asks the bridge, so that browsers can walk through both."""
    with ExitStack() as stack:
        if request.param == "simulator":
            moodle = stack.enter_context(simulated_moodle())
            yield stack.enter_context(bridged(moodle, tmp_path))
        else:
            moodle = stack.enter_context(live_moodle())
            address = {"public_url": named("BRIDGE_URL"), "port": int(named("BRIDGE_PORT"))}
            yield stack.enter_context(bridged(moodle, tmp_path, throttle={"trusted_proxies": 1}, **address))
