"""Outside programs that tests start: found where Debian puts them, or skipped with the reason.

With `LMS_BRIDGE_REQUIRE_SERVICES=1` (as CI sets it) a missing program is a failure: a suite that skips what it should
prove must not be green.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

REQUIRE = "LMS_BRIDGE_REQUIRE_SERVICES"


def require(name: str, path: str | Path | None) -> Path:
    """`path` if it exists; otherwise the test is skipped, or fails where the outside services are required.

    `name` says to people what is missing and how it is called, e.g. `PHP (php-cli)`. `path` may be the `None` of
    `shutil.which`.
    """
    if path is not None and Path(path).exists():
        return Path(path)
    reason = f"{name} is not installed on this machine"
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(f"{reason}, and {REQUIRE}=1 demands it", pytrace=False)
    pytest.skip(reason)


def require_program(name: str, program: str) -> Path:
    """The program found on `PATH` or among the system's, which are not on everybody's `PATH`."""
    return require(name, shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin:/usr/local/sbin"))
