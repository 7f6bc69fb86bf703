"""The settings of the life cycle. Field descriptions are the reference page's text."""

from __future__ import annotations

from datetime import time

from pydantic import Field

from lms_bridge.settings.moodle_sites import Threshold
from lms_bridge.settings.sections import Section


class Lifecycle(Section):
    """When accounts are warned, closed and erased, and what stops a run. How long they are kept is a setting of each
    profile. See `docs/explanation/life-cycle.md`."""

    nightly: time | None = Field(
        None, description="When the run of each night begins, like `03:30`. Empty: only `lms-bridge lifecycle apply`."
    )
    warn: Threshold = Field(Threshold(percent=10, floor=100), description="Warnings that a run may write unasked.")
    close: Threshold = Field(Threshold(percent=3, floor=20), description="Accounts that it may close.")
    erase: Threshold = Field(Threshold(percent=1, floor=20), description="Accounts that it may erase.")
