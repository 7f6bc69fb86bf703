"""Doing all looks side by side, within one limit for the whole."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

LIMIT_SECONDS = 60.0
"""For everything together. Each look has time-outs of its own; this one is for servers that drip."""


def gather(
    looks: Mapping[str, Callable[[], Any]],
    *,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> dict[str, Any]:
    """What each look returned, by its name; a look that did not end within LIMIT_SECONDS is missing.

    An exception of a look is a defect of ours and is raised. `progress` is told how many of how many have ended.
    """
    ended: queue.Queue[tuple[str, Any, BaseException | None]] = queue.Queue()

    def look(name: str, function: Callable[[], Any]) -> None:
        try:
            ended.put((name, function(), None))
        except BaseException as error:  # noqa: BLE001 (carried to the thread that waits)
            ended.put((name, None, error))

    for name, function in looks.items():
        # Daemons: one that hangs must not keep the command from ending.
        threading.Thread(target=look, args=(name, function), name=f"doctor-{name}", daemon=True).start()
    deadline = time.monotonic() + LIMIT_SECONDS
    found: dict[str, Any] = {}
    progress(0, len(looks))
    while len(found) < len(looks):
        try:
            name, value, error = ended.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        if error is not None:
            raise error
        found[name] = value
        progress(len(found), len(looks))
    return found
