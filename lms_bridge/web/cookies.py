"""Cookies: names, scope and what they may hold.

Over https every cookie is `__Host-`, Secure, and bound to this host and `/` (ASVS 3.3; CAS's `TGC-` name and narrower
path give way to it, see `docs/explanation/cas-server.md`). Over plain http on loopback the prefix is impossible; the
port goes into the name instead, because cookies know no ports and two demos may run side by side.
"""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlsplit

from werkzeug.wrappers import Response

from lms_bridge.settings import Settings

YEAR = timedelta(days=365)


def name(settings: Settings, purpose: str) -> str:
    if settings.secure:
        return f"__Host-lms-bridge-{purpose}"
    return f"lms-bridge-{purpose}-{urlsplit(settings.public_url).port or 80}"


def session_name(settings: Settings) -> str:
    """The ticket-granting cookie (CAS 3.6)."""
    return name(settings, "session")


def put(response: Response, settings: Settings, purpose: str, value: str, *, keep: timedelta | None = None) -> None:
    """Set a cookie: for the browser's session, or for `keep`."""
    response.set_cookie(
        name(settings, purpose),
        value,
        max_age=keep,
        path="/",
        secure=settings.secure,
        httponly=True,
        samesite="Lax",
    )


def drop(response: Response, settings: Settings, purpose: str) -> None:
    response.delete_cookie(name(settings, purpose), path="/", secure=settings.secure, httponly=True, samesite="Lax")
