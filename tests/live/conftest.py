"""Every scenario here runs against the simulator and, where one is named, against a real Moodle."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live.moodle_under_test import MoodleUnderTest, live_moodle, live_param, simulated_moodle


@pytest.fixture(params=["simulator", live_param("MOODLE_URL", "MOODLE_TOKEN")])
def moodle(request: pytest.FixtureRequest) -> Iterator[MoodleUnderTest]:
    """A Moodle, simulated or real."""
    with simulated_moodle() if request.param == "simulator" else live_moodle() as under_test:
        yield under_test
