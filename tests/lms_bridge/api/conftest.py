"""A bridge with the profiles of a university."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bridge_under_test import BridgeUnderTest, running_bridge
from tests.lms_bridge.api.program import Program
from tests.lms_bridge.registration.conftest import UPSTREAM

LABEL = {"fr": "Vacataire", "en": "Adjunct"}
INSTITUTION = {
    "upstreams": [UPSTREAM],
    "directories": [{"name": "sel", "kind": "embedded"}],
    "profiles": [
        {"name": "vacataire", "label": LABEL, "issuer": "sel", "directory": "sel"},
        {"name": "learner", "label": LABEL},
    ],
}


@pytest.fixture
def university(tmp_path: Path) -> Iterator[BridgeUnderTest]:
    with running_bridge(tmp_path, **INSTITUTION, imports={"api_ends_a_day": 2}) as running:
        yield running


@pytest.fixture
def program(university: BridgeUnderTest) -> Program:
    return Program(university)
