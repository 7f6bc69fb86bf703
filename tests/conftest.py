"""Fixtures that all tests share."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.bridge_under_test import BridgeUnderTest, running_bridge
from tests.directory_server import proxy, restarted, running_slapd, slapd
from tests.postgresql_server import postgresql

__all__ = ["bridge", "postgresql", "proxy", "restarted", "running_slapd", "slapd"]

settings.register_profile(
    "bridge",
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("bridge")


@pytest.fixture(autouse=True)
def log_level_kept() -> Iterator[None]:
    """A command called inside the process sets up the logs of the whole process: the next test has them as before."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[BridgeUnderTest]:
    """A running bridge of its own, with an empty SQLite database."""
    with running_bridge(tmp_path) as running:
        yield running
