"""Servers for the tests of the Moodle client and its simulator, and the list of recordings that are not replayed."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from moodle_recordings import (
    FLAVOURS,
    OIDC,
    everything,
    not_replayed,
    reason_not_replayed,
    reason_trace_not_replayed,
    traces,
)

from moodle_ws import MoodleClient
from moodle_ws.simulator import SimulatedMoodle, SimulatorOptions


@pytest.fixture
def moodle() -> Iterator[SimulatedMoodle]:
    """A simulated Moodle, served; its address is `moodle.site.wwwroot`."""
    simulated = SimulatedMoodle(SimulatorOptions())
    with simulated.serve():
        yield simulated


@pytest.fixture
def serve() -> Iterator[Callable[..., SimulatedMoodle]]:
    """Serves simulated Moodles with options of the test's choice until the test ends."""
    with contextlib.ExitStack() as stack:

        def start(**options: Any) -> SimulatedMoodle:
            simulated = SimulatedMoodle(SimulatorOptions(**options))
            stack.enter_context(simulated.serve())
            return simulated

        yield start


@pytest.fixture
def connect() -> Iterator[Callable[..., MoodleClient]]:
    """Clients of a simulated Moodle, closed when the test ends."""
    with contextlib.ExitStack() as stack:

        def client_of(simulated: SimulatedMoodle, **options: Any) -> MoodleClient:
            token = options.pop("token", simulated.site.options.token)
            return stack.enter_context(MoodleClient(simulated.site.wwwroot, token, **options))

        yield client_of


@pytest.fixture
def client(moodle: SimulatedMoodle, connect: Callable[..., MoodleClient]) -> MoodleClient:
    """A client of the served Moodle."""
    return connect(moodle)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Names every recording that is not replayed, with the reason: what is not covered must not be hidden."""
    terminalreporter.section("recordings of real Moodles")
    for flavour in FLAVOURS:
        exchanges = [recording for recording in everything() if recording.flavour == flavour]
        done = [recording for recording in exchanges if reason_not_replayed(recording) is None]
        walks = traces(flavour)
        walked = [name for name in walks if reason_trace_not_replayed(name) is None]
        terminalreporter.write_line(
            f"{flavour}: {len(done)} of {len(exchanges)} web service exchanges, {len(walked)} of {len(walks)} walks"
        )
    for _pattern, reason, names in not_replayed():
        terminalreporter.write_line(f"not replayed – {reason}: {len(names)} ({', '.join(names)})")
    terminalreporter.write_line(f"not replayed – {OIDC[2]}: {OIDC[1]} ({OIDC[0]})")
