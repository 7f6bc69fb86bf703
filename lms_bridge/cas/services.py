"""The service registry: which applications may use this CAS server, and what an address they name means.

An address is compared as a parsed URL, never as a raw string and never by a regular expression (D50): scheme, host and
port must be equal, the path must be the registered one or lie below it on a segment boundary. Whatever two parsers
could read differently (user info, backslashes, control characters, dot segments) is refused before it is compared.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from lms_bridge.settings.sections import Service

MAX_URL_LENGTH = 2000
DEFAULT_PORTS = {"http": 80, "https": 443}
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")


class ServiceRefused(Exception):
    """The address names no registered service. Nothing is ever redirected to it (CAS-05)."""


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
    if not text or len(text) > MAX_URL_LENGTH or _FORBIDDEN.search(text):
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
    # `urlsplit` keeps `//` and dot segments; a server behind may not. `%2e` and `%2f` count as what they decode to.
    decoded = unquote(path, errors="replace")
    if "\\" in decoded or "//" in decoded or any(segment in (".", "..") for segment in decoded.split("/")):
        return None
    if _FORBIDDEN.search(decoded.replace(" ", "")):
        return None
    return ParsedUrl(scheme, host, port if port is not None else DEFAULT_PORTS[scheme], path, parts.query)


def lies_below(url: ParsedUrl, prefix: ParsedUrl) -> bool:
    """Whether `url` is `prefix` or lies below it. A query of the prefix must be matched whole."""
    if (url.scheme, url.host, url.port) != (prefix.scheme, prefix.host, prefix.port):
        return False
    if prefix.query:
        return url.path == prefix.path and url.query == prefix.query
    base = prefix.path.rstrip("/")
    return url.path == prefix.path or url.path.startswith(base + "/") or url.path == (base or "/")


class ServiceRegistry:
    """The registered services, in the order of the settings."""

    def __init__(self, services: Sequence[Service], *, site_urls: dict[str, str]) -> None:
        """`site_urls` gives the `wwwroot` of each Moodle site: people may always return there after signing out."""
        self._entries = [(_must_parse(service.url), service) for service in services]
        self._logout = [
            (_must_parse(url), service)
            for service in services
            for url in (service.url, *service.logout_urls, *([site_urls[service.site]] if service.site else []))
        ]
        self._callbacks = {
            service.name: [_must_parse(url) for url in service.proxy_callbacks] for service in services if service.proxy
        }
        self._by_name = {service.name: service for service in services}

    def find(self, url: str) -> Service:
        """The service that may receive tickets at `url`.

        Raises:
            ServiceRefused: not registered, or not an address that can be compared safely.
        """
        parsed = parse_url(url)
        if parsed is not None:
            for registered, service in self._entries:
                if parsed == registered or (service.match == "prefix" and lies_below(parsed, registered)):
                    return service
        raise ServiceRefused(url[:200])

    def by_name(self, name: str) -> Service | None:
        return self._by_name.get(name)

    def find_logout(self, url: str, parameter: str) -> Service | None:
        """The service on whose behalf people may be sent to `url` after signing out, or None (CAS-10)."""
        parsed = parse_url(url)
        if parsed is None:
            return None
        for registered, service in self._logout:
            if service.logout_parameter == parameter and lies_below(parsed, registered):
                return service
        return None

    def allows_callback(self, service: Service, url: str) -> bool:
        """Whether `url` may be this service's proxy callback (`pgtUrl`, CAS-26)."""
        parsed = parse_url(url)
        return parsed is not None and any(lies_below(parsed, known) for known in self._callbacks.get(service.name, ()))

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._by_name.values())


def with_ticket(service: str, ticket: str) -> str:
    """`service` with the ticket added, for the redirect (CAS-07).

    An own `ticket` parameter of the service is dropped, the rest of its query is kept byte for byte, a fragment stays
    at the end, and whatever is not ASCII is percent-encoded: a header cannot carry it.
    """
    return with_parameter(service, "ticket", ticket)


def with_parameter(service: str, name: str, value: str) -> str:
    """`service` with one query parameter added; see `with_ticket`."""
    url, _, fragment = service.partition("#")
    base, mark, query = url.partition("?")
    kept = [part for part in query.split("&") if part and part.partition("=")[0] != name] if mark else []
    result = base + "?" + "&".join([*kept, f"{name}={quote(value, safe='')}"])
    return header_safe(result + (f"#{fragment}" if fragment else ""))


def header_safe(url: str) -> str:
    """The URL in ASCII: what is not is percent-encoded as UTF-8."""
    return quote(url, safe="!#$%&'()*+,/:;=?@[]~")


def _must_parse(url: str) -> ParsedUrl:
    parsed = parse_url(url)
    if parsed is None:
        raise ValueError(f"`{url}` cannot be a service address")
    return parsed
