"""The service registry: which applications may use this CAS server, and what an address they name means.

An address is compared as a parsed URL, never as a raw string and never by a regular expression (D50): scheme, host and
port must be equal, the path must be the registered one or lie below it on a segment boundary. Whatever two parsers
could read differently (user info, backslashes, control characters, dot segments) is refused before it is compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import quote, unquote_plus

from lms_bridge.settings.sections import Service
from lms_bridge.settings.web_addresses import ParsedUrl, lies_below, parse_url


class ServiceRefused(Exception):
    """The address names no registered service. Nothing is ever redirected to it (CAS-05)."""


class ServiceRegistry:
    """The registered services, in the order of the settings."""

    def __init__(self, services: Sequence[Service], *, site_urls: dict[str, str]) -> None:
        """`site_urls` gives the `wwwroot` of each Moodle site: people may always return there after signing out."""
        self._entries = [(_must_parse(service.url), service) for service in services]
        self._logout = [
            (_must_parse(url), service)
            for service in services
            for url in (*service.logout_urls, *([site_urls[service.site]] if service.site else []))
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
                if _matches(parsed, registered, service):
                    return service
        raise ServiceRefused(url[:200])

    def by_name(self, name: str) -> Service | None:
        return self._by_name.get(name)

    def find_logout(self, url: str, parameter: str) -> Service | None:
        """The service on whose behalf people may be sent to `url` after signing out, or None (CAS-10)."""
        parsed = parse_url(url)
        if parsed is None:
            return None
        for registered, service in self._entries:
            if service.logout_parameter == parameter and _matches(parsed, registered, service):
                return service
        for registered, service in self._logout:
            if service.logout_parameter == parameter and lies_below(parsed, registered):
                return service
        return None

    def allows_callback(self, service: Service, url: str) -> bool:
        """Whether `url` may be this service's proxy callback (`pgtUrl`, CAS-26)."""
        parsed = parse_url(url)
        return parsed is not None and any(lies_below(parsed, known) for known in self._callbacks.get(service.name, ()))

    def __iter__(self) -> Iterator[Service]:
        return iter(self._by_name.values())


def with_ticket(service: str, ticket: str) -> str:
    """`service` with the ticket added, for the redirect (CAS-07).

    An own `ticket` parameter of the service is dropped, the rest of its query is kept byte for byte, because the
    application rebuilds its address from what arrives and validates with that. A fragment stays at the end.
    """
    url, mark, fragment = service.partition("#")
    base, _, query = url.partition("?")
    kept = [part for part in query.split("&") if unquote_plus(part.partition("=")[0]) != "ticket"] if query else []
    return header_safe("".join([base, "?", "&".join([*kept, f"ticket={ticket}"]), mark, fragment]))


def header_safe(url: str) -> str:
    """The URL as a header can carry it: what browsers never send as it is gets percent-encoded (as UTF-8).

    Everything that they do send in a query (`[`, `{`, `|` …) stays, or the application would see another address than
    the one its ticket is for.
    """
    return quote(url, safe="!#$%&'()*+,/:;=?@[]^`{|}~")


def _matches(url: ParsedUrl, registered: ParsedUrl, service: Service) -> bool:
    return url == registered or (service.match == "prefix" and lies_below(url, registered))


def _must_parse(url: str) -> ParsedUrl:
    parsed = parse_url(url)
    if parsed is None:
        raise ValueError(f"`{url}` cannot be a service address")
    return parsed
