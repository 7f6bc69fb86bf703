"""The doors of the sign-in page: which there are, in which order, and where they lead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlencode

from lms_bridge.settings import Settings
from lms_bridge.settings.sections import Service, text_in


@dataclass(frozen=True, slots=True)
class Door:
    """One choice on the sign-in page."""

    kind: Literal["cas", "local", "anonymous"]
    issuer: str
    title: str
    text: str
    url: str
    last_used: bool = False


def doors(
    settings: Settings,
    service: Service | None,
    service_url: str | None,
    *,
    renew: bool,
    post: bool,
    locale: str,
    last_used: str = "",
) -> list[Door]:
    """The doors for this service in the reader's language; the one used last on this device comes first."""
    onward = onward_query(service_url, renew=renew, post=post)
    found = [
        Door(
            kind="cas",
            issuer=upstream.issuer,
            title=text_in(upstream.title, locale),
            text=text_in(upstream.text, locale),
            url=f"/signin/{upstream.issuer}{onward}",
            last_used=upstream.issuer == last_used,
        )
        for upstream in settings.upstreams
    ]
    if settings.local.enabled:
        found.append(
            Door(
                kind="local",
                issuer="local",
                title=text_in(settings.local.title, locale),
                text=text_in(settings.local.text, locale),
                url=f"/signin/local{onward}",
                last_used=last_used == "local",
            )
        )
    if service is not None and service.anonymous_url and not renew:
        found.append(Door(kind="anonymous", issuer="", title="", text="", url=service.anonymous_url))
    return sorted(found, key=lambda door: not door.last_used)


def register_url(settings: Settings, service: Service | None, service_url: str | None) -> str | None:
    """Where people without an account ask for one, where they can."""
    if settings.registration_mode(service) != "moderated":
        return None
    return f"/account/register{onward_query(service_url)}"


def lost_url(settings: Settings, service_url: str | None) -> str | None:
    """Where people get their identifiers back who do not know which door is theirs."""
    if settings.lost_choices:
        return f"/perte-identifiant{onward_query(service_url)}"
    return f"/account/forgot{onward_query(service_url)}" if settings.local.enabled else None


def activation_url(settings: Settings, service_url: str | None) -> str | None:
    """Where people whose account the university announced get their link, where there are such people."""
    return f"/account/activate{onward_query(service_url)}" if settings.profiles else None


def onward_query(service_url: str | None, *, renew: bool = False, post: bool = False) -> str:
    """The query that carries where the person wants to go from page to page (`?service=…`), or nothing."""
    wanted = {
        "service": service_url or "",
        "renew": "true" if renew else "",
        "method": "POST" if post else "",
    }
    given = {name: value for name, value in wanted.items() if value}
    return "?" + urlencode(given) if given else ""
