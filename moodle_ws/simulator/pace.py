"""What a call costs on a real server, so that a throughput has something to be compared with.

The default figures are those measured on a Moodle of about 1,600 users with two PHP workers (ground truth §9, ± 50 %):
a call costs a fixed time and a time for each row. They give 50 new users in 0.26 s (measured 0.25 s), 50 suspensions in
0.13 s (0.12 s), 50 users looked up in 0.33 s (0.33 s).
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


def _measured() -> dict[str, tuple[float, float]]:
    return {
        "core_user_create_users": (0.030, 0.0045),
        "core_user_update_users": (0.034, 0.0020),
        "core_user_get_users_by_field": (0.038, 0.0058),
        "core_user_get_users": (0.041, 0.0058),
        "core_webservice_get_site_info": (0.031, 0.0),
    }


@dataclass(frozen=True)
class Pace:
    """How fast the simulated server is. Times are in seconds.

    `workers` calls are worked on at once; others wait for their turn. `seconds` maps a function to the time of a call
    and the time of each row: of those sent by a write, of those returned by a read. `otherwise` is for the functions
    it does not name, which nobody measured.
    """

    workers: int = 2
    seconds: Mapping[str, tuple[float, float]] = field(default_factory=_measured)
    otherwise: tuple[float, float] = (0.030, 0.0020)

    def cost(self, function: str, rows: int) -> float:
        """The time of one call with so many rows."""
        call, row = self.seconds.get(function, self.otherwise)
        return call + row * rows


class Workers:
    """The workers of a paced server. Waiting costs no processor time."""

    def __init__(self, pace: Pace, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._pace = pace
        self._free = threading.BoundedSemaphore(pace.workers)
        self._sleep = sleep

    @contextmanager
    def working(self, function: str) -> "Iterator[Callable[[int], None]]":
        """Holds one worker for as long as the call costs; the function given takes the number of rows."""
        with self._free:
            started = time.monotonic()
            rows: list[int] = [0]
            yield rows.append
            left = self._pace.cost(function, rows[-1]) - (time.monotonic() - started)
            if left > 0:
                self._sleep(left)


def rows_of(form: Mapping[str, Any], answer: Any) -> int:
    """The rows of a call: the users returned, else those sent."""
    if isinstance(answer, dict):
        answer = answer.get("users")
    returned = len(answer) if isinstance(answer, Sequence) else 0
    sent = [len(value) for value in form.values() if isinstance(value, Mapping)]
    return returned or (max(sent, default=0) if "field" not in form and "criteria" not in form else 0)
