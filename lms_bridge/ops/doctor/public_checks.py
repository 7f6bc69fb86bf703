"""The public address, seen as people see it: through the name server, the proxy and TLS, back to this bridge."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from lms_bridge.i18n import gettext as _
from lms_bridge.ops.doctor import words
from lms_bridge.ops.doctor.bridge_facts import SPOOFED, PublicFacts
from lms_bridge.ops.doctor.findings import Finding, Subject, foreign
from lms_bridge.ops.doctor.probes import NoAnswer, Page, Silence
from lms_bridge.settings import Settings

AREA = "public_url"
HSTS_SECONDS = 180 * 24 * 3600
CLOCKS_APART = 2.0
"""Seconds between two machines that serve the same bridge: a ticket lives 60."""


def check(settings: Settings, facts: PublicFacts | None, database: str, now: datetime) -> Iterator[Finding]:
    """`database` is the fingerprint of the database that this command reads."""
    if facts is None:
        yield words.too_slow(_subject("reachable", _("The public address leads to this bridge")))
        return
    yield reachable(settings, facts)
    yield from words.certificate(_subject("certificate", _("The bridge's certificate")), facts.certificate, now)
    if facts.told is None:
        return
    yield same_database(facts.told, database)
    if isinstance(facts.page, Page):
        yield same_clock(facts.told, facts.page)
    yield proxies(facts.told, facts.spoofed)
    yield scheme(settings, facts.told)
    if settings.secure:
        yield strict_transport(facts)
        yield plain_http(settings, facts)


def _subject(check: str, title: str, where: str = "public_url") -> Subject:
    return Subject(AREA, check, title, where)


def reachable(settings: Settings, facts: PublicFacts) -> Finding:
    subject = _subject("reachable", _("The public address leads to this bridge"))
    page = facts.page
    if isinstance(page, NoAnswer):
        fix = (
            _("Something answers there: mend its certificate first. A private authority goes into services_ca_file.")
            if page.why is Silence.CERTIFICATE
            else _("See that the bridge runs (lms-bridge serve), then the proxy, the name server and the firewall.")
        )
        return subject.problem(_("%(url)s: %(why)s", url=settings.public_url, why=words.silence(page)), fix)
    if facts.told is not None:
        return subject.ok(_("%(url)s answers with this bridge's keys", url=settings.public_url))
    if page.status == 200 and '"status":"ok"' in page.text.replace(" ", ""):
        return subject.problem(
            _("a bridge answers, with other secret keys or a clock far off"),
            _("Restart it after changing secret_keys, and use the same settings file here and there."),
        )
    return subject.problem(
        _("HTTP %(status)d, and not from a bridge", status=page.status),
        _("See what the proxy passes on: the whole host, without changing paths or queries."),
    )


def same_database(told: dict[str, Any], database: str) -> Finding:
    subject = _subject("same_database", _("The bridge in service uses this database"), "database_url")
    if told.get("database") != database:
        return subject.problem(
            _("the bridge that answers has another database_url"),
            _("Use the same settings file here and there, and restart the bridge after a change."),
        )
    return subject.ok(_("the same"))


def same_clock(told: dict[str, Any], page: Page) -> Finding:
    """The clock it told, against ours in the middle of that very call."""
    subject = _subject("clock", _("The clock of the bridge in service"))
    apart = abs(float(told.get("at", 0)) - page.asked.timestamp())
    if apart > CLOCKS_APART + page.elapsed:
        return subject.warning(
            _("%(seconds)d s from this machine's", seconds=round(apart)),
            _("Set both machines' clocks by NTP: %(command)s", command="timedatectl")
            + " "
            + _("Tickets are refused at random otherwise."),
        )
    return subject.ok(_("the same as this machine's"))


def proxies(told: dict[str, Any], spoofed: dict[str, Any] | None) -> Finding:
    """Whether as many proxies write `X-Forwarded-For` as the setting says, and none passes on what callers wrote."""
    subject = _subject("proxies", _("Proxies and people's addresses"), "throttle.trusted_proxies")
    trusted, written = int(told.get("trusted_proxies", 0)), int(told.get("forwarded", 0))
    if spoofed is not None and spoofed.get("address") == SPOOFED:
        return subject.problem(
            _("anybody can choose the address they come from"),
            _(
                "Have the proxy overwrite X-Forwarded-For (nginx: $remote_addr), and set trusted_proxies to the number "
                "of proxies: %(count)d here.",
                count=written,
            ),
        )
    seen = _(
        "trusted_proxies = %(trusted)d, X-Forwarded-For holds %(written)d; we are seen as %(address)s",
        trusted=trusted,
        written=written,
        address=foreign(str(told.get("address"))),
    )
    if written > trusted:
        return subject.problem(
            seen,
            _("Write trusted_proxies = %(count)d: otherwise everybody seems to come from the proxy.", count=written),
        )
    if written < trusted:
        return subject.problem(
            seen, _("Have each proxy write X-Forwarded-For, or write trusted_proxies = %(count)d.", count=written)
        )
    return subject.ok(seen)


def scheme(settings: Settings, told: dict[str, Any]) -> Finding:
    subject = _subject("forwarded_proto", _("The proxy says whether people came by https"))
    expected, seen = urlsplit(settings.public_url).scheme, str(told.get("scheme"))
    if seen != expected:
        return subject.warning(
            _("the bridge takes the request for %(scheme)s", scheme=foreign(seen)),
            _("Have the proxy set X-Forwarded-Proto (nginx: $scheme), and see trusted_proxies."),
        )
    return subject.ok(seen)


def strict_transport(facts: PublicFacts) -> Finding:
    subject = _subject("hsts", _("Browsers are told to use https alone"))
    header = "" if isinstance(facts.page, NoAnswer) else facts.page.headers.get("Strict-Transport-Security", "")
    age = re.search(r"max-age=\"?(\d{1,12})", header)
    if age is None or int(age[1]) < HSTS_SECONDS:
        return subject.warning(
            _("Strict-Transport-Security: %(header)s", header=foreign(header) or "–"),
            _("The bridge sends this header for a year: let the proxy neither take it away nor replace it."),
        )
    return subject.ok(foreign(header))


def plain_http(settings: Settings, facts: PublicFacts) -> Finding:
    subject = _subject("https_redirect", _("Plain http leads to https"))
    page = facts.plain
    redirect = _("Have the proxy answer http with a redirect to the same path under https.")
    if page is None:
        return subject.unseen(_("https is not on its usual port, so http cannot be guessed"), redirect)
    if isinstance(page, NoAnswer):
        return subject.warning(_("nothing answers on port 80: who types the name alone may see an error"), redirect)
    if page.status in (301, 302, 307, 308) and page.location.startswith(f"{settings.public_url}/"):
        return subject.ok(_("HTTP %(status)d to https", status=page.status))
    return subject.problem(_("HTTP %(status)d in the clear", status=page.status), redirect)
