"""Redirect loops: an application that loses its session sends the browser back for tickets for ever (D49).

The browser counts for us in a cookie. Only real navigations count (browsers say so in `Sec-Fetch-Mode`), so programs
and tests that fetch many tickets are left alone.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

MOST_TICKETS = 10
WITHIN_SECONDS = 30


def count_ticket(cookie: str, service_name: str, now: datetime) -> tuple[str, bool]:
    """The cookie's next value, and whether this is a loop: over `MOST_TICKETS` for one service in `WITHIN_SECONDS`."""
    moment = int(now.timestamp())
    key = hashlib.sha256(service_name.encode()).hexdigest()[:8]
    parts = cookie.split(".")
    started, count = moment, 0
    if len(parts) == 3 and parts[0] == key and parts[1].isdecimal() and parts[2].isdecimal():
        started, count = int(parts[1][:12]), int(parts[2][:6])
    if not 0 <= moment - started <= WITHIN_SECONDS:
        started, count = moment, 0
    return f"{key}.{started}.{count + 1}", count + 1 > MOST_TICKETS
