"""The brake of the life cycle: what stops a run before its first write (I9)."""

from __future__ import annotations

from collections.abc import Mapping

from external_accounts.lifecycle import WARNINGS, Step
from lms_bridge.settings.lifecycle import Lifecycle
from lms_bridge.sync.guard import Stop, TooManyChanges, limit_of

KINDS: Mapping[str, tuple[Step, ...]] = {"warn": WARNINGS, "close": (Step.CLOSE,), "erase": (Step.ERASE,)}
"""What is counted together, by the name of its threshold."""


def check(counts: Mapping[Step, int], living: int, limits: Lifecycle) -> list[Stop]:
    """`living`: how many accounts there are that are not erased."""
    stops: list[Stop] = []
    for kind, steps in KINDS.items():
        count, limit = sum(counts.get(step, 0) for step in steps), limit_of(getattr(limits, kind), living)
        if count > limit:
            message = "%(kind)s: %(count)d (%(percent).1f %% of %(living)d accounts), %(limit)d are allowed"
            percent = 100 * count / max(living, 1)
            stops.append(
                TooManyChanges(
                    message, {"kind": kind, "count": count, "percent": percent, "living": living, "limit": limit}
                )
            )
    return stops
