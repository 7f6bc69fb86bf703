"""See `town`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lms_bridge.selfservice.links.town import Links, linking_bridge


@pytest.fixture
def links(tmp_path: Path) -> Iterator[Links]:
    with linking_bridge(tmp_path) as found:
        yield found
