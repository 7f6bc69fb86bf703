"""Web addresses: one careful way to read them, for the settings and for what browsers bring."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote, urlsplit

MAX_URL_LENGTH = 2000
MOST_ENCODINGS = 4
DEFAULT_PORTS = {"http": 80, "https": 443}
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")


@dataclass(frozen=True, slots=True)
class ParsedUrl:
    """The parts of an address that are compared."""

    scheme: str
    host: str
    port: int
    path: str
    query: str


def parse_url(text: str) -> ParsedUrl | None:
    """Read an absolute http(s) URL, or None for everything two readers could disagree about."""
    return _parsed(text) if 0 < len(text) <= MAX_URL_LENGTH else None


@lru_cache(maxsize=256)  # of the few addresses of services, each is read several times in every sign-in
def _parsed(text: str) -> ParsedUrl | None:
    if _FORBIDDEN.search(text):
        return None
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    scheme = parts.scheme.lower()
    host = parts.hostname
    if scheme not in DEFAULT_PORTS or not host or "@" in parts.netloc or not host.isascii() or "%" in host:
        return None
    path = parts.path or "/"
    if _leaves_its_place(path):
        return None
    return ParsedUrl(scheme, host, port if port is not None else DEFAULT_PORTS[scheme], path, parts.query)


def _leaves_its_place(path: str) -> bool:
    """Whether some server could take `path` for another one than it looks like.

    `urlsplit` keeps `//` and dot segments; a server may not. `%2e` and `%2f` count as what they decode to, however
    often they were encoded, and `..;x` as the `..` that Java servers see in it.
    """
    decoded = path
    for _ in range(MOST_ENCODINGS):
        if "//" in decoded or any(segment.partition(";")[0] in (".", "..") for segment in decoded.split("/")):
            return True
        if _FORBIDDEN.search(decoded.replace(" ", "")):
            return True
        before, decoded = decoded, unquote(decoded, errors="replace")
        if decoded == before:
            return False
    return True


def lies_below(url: ParsedUrl, prefix: ParsedUrl) -> bool:
    """Whether `url` is `prefix` or lies below it. A query of the prefix must be matched whole."""
    if (url.scheme, url.host, url.port) != (prefix.scheme, prefix.host, prefix.port):
        return False
    if prefix.query:
        return url.path == prefix.path and url.query == prefix.query
    base = prefix.path.rstrip("/")
    return url.path == prefix.path or url.path.startswith(base + "/") or url.path == (base or "/")


def check_link(url: str) -> str:
    """Return `url` if people can be sent there.

    Raises:
        ValueError: saying what to write.
    """
    if parse_url(url) is None:
        shown = re.sub(r"//[^/]*@", "//…@", url)  # a password may stand there
        raise ValueError(
            f"`{shown}` is no web address; write it like `https://host/path`, without user name, spaces or `..`"
        )
    return url


def check_https(url: str) -> str:
    """As `check_link`, and refuse plain http except on loopback (CAS-05).

    Raises:
        ValueError: saying what to write.
    """
    parsed = parse_url(check_link(url))
    if parsed is not None and parsed.scheme == "http" and parsed.host not in LOOPBACK_HOSTS:
        raise ValueError(f"`{url}` must begin with https:// (plain http is accepted on 127.0.0.1 and localhost only)")
    return url
