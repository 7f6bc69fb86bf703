from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lms_bridge.mailing import mailing_bridge
from tests.lms_bridge.selfservice.activation.town import SETTINGS, Town


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with mailing_bridge(tmp_path, **SETTINGS) as (bridge, mailbox):
        yield Town(bridge, mailbox)
