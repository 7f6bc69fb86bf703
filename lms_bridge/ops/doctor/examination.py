"""The whole examination: look at everything side by side, then judge, area by area."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from external_accounts.keys import Keys
from lms_bridge.cas.services import ServiceRegistry
from lms_bridge.i18n import gettext as _
from lms_bridge.ops import identification
from lms_bridge.ops.doctor import (
    database_checks,
    directory_checks,
    hook_checks,
    in_step_checks,
    mail_checks,
    people_checks,
    public_checks,
    rights_checks,
    settings_checks,
    sign_in_checks,
    site_checks,
    surroundings_checks,
    token_checks,
    unseen_checks,
    words,
)
from lms_bridge.ops.doctor.bridge_facts import look_at_mail, look_at_public_url, look_at_upstream
from lms_bridge.ops.doctor.database_facts import DatabaseFacts, SiteRows, read_database
from lms_bridge.ops.doctor.findings import Finding, Subject
from lms_bridge.ops.doctor.gathering import gather
from lms_bridge.ops.doctor.mail_checks import look_at_bounces
from lms_bridge.ops.doctor.site_facts import SiteFacts, look_at_site
from lms_bridge.settings import Settings
from lms_bridge.settings.moodle_sites import Site


def examine(
    settings: Settings,
    *,
    file: Path | None,
    sites: Sequence[Site],
    clock: Callable[[], datetime],
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> list[Finding]:
    """Every finding, in the language in force, bridge first. `file` is where the settings came from, `sites` the
    Moodle sites to look at."""
    keys = Keys([key.get_secret_value() for key in settings.secret_keys])
    names = [site.name for site in sites]
    # First and alone: whom to look up in Moodle is written there.
    read = gather({"database": lambda: read_database(settings.database_url, names, keys.current_id, clock())})
    database = read.get("database", DatabaseFacts(error="TimeoutError"))
    found = gather(_looks(settings, keys, sites, database, clock), progress=progress)
    return list(_judge(settings, keys, file, sites, database, found, clock()))


def _looks(
    settings: Settings, keys: Keys, sites: Sequence[Site], database: DatabaseFacts, clock: Callable[[], datetime]
) -> dict[str, Callable[[], Any]]:
    looks: dict[str, Callable[[], Any]] = {
        "mail": lambda: look_at_mail(settings.mail),
        "bounces": lambda: look_at_bounces(settings.mail),
        "public_url": lambda: look_at_public_url(settings, keys, clock()),
    }
    for upstream in settings.upstreams:
        looks[f"upstream:{upstream.issuer}"] = partial(look_at_upstream, upstream, settings.public_url)
    for directory in settings.directories:
        if directory.kind == "ldap":
            look = partial(directory_checks.look_at_directory, directory.name, directory.ldap)
            looks[f"directory:{directory.name}"] = look
    for site in sites:
        rows = database.sites.get(site.name, SiteRows())
        looks[f"site:{site.name}"] = partial(look_at_site, site, rows)
    return looks


def _judge(
    settings: Settings,
    keys: Keys,
    file: Path | None,
    sites: Sequence[Site],
    database: DatabaseFacts,
    found: dict[str, Any],
    now: datetime,
) -> Iterator[Finding]:
    mode = file.stat().st_mode if file is not None else None
    yield from settings_checks.check(settings, file, mode, database.keys, now)
    yield from database_checks.check(database, now)
    yield from surroundings_checks.check_mail(settings.mail, found.get("mail"))
    yield from mail_checks.check(settings.mail, found.get("bounces"), database.domains, now)
    yield from hook_checks.check(settings, database.told, now)
    for upstream in settings.upstreams:
        yield from surroundings_checks.check_upstream(upstream, found.get(f"upstream:{upstream.issuer}"), now)
    for directory in settings.directories:
        seen = found.get(f"directory:{directory.name}")
        yield from directory_checks.check(directory, seen, database.behind)
    fingerprint = identification.fingerprint(keys, settings.database_url)
    yield from public_checks.check(settings, found.get("public_url"), fingerprint, now)
    registry = ServiceRegistry(settings.services, site_urls={site.name: site.url for site in settings.sites})
    for site in sites:
        yield from _judge_site(site, found.get(f"site:{site.name}"), registry, settings.public_url, now)
        rows = database.sites.get(site.name, SiteRows())
        if rows.status is not None:
            yield from in_step_checks.check(rows.status, now)


def _judge_site(
    site: Site, facts: SiteFacts | None, registry: ServiceRegistry, public_url: str, now: datetime
) -> Iterator[Finding]:
    area = f"site:{site.name}"
    if facts is None:
        subject = Subject(area, "answers", _("The site answers"), f"sites.{site.name}.url")
        yield words.too_slow(subject, moodle_unreachable=True)
    else:
        yield from site_checks.check(facts, now)
    if facts is None or site_checks.is_silent(facts):
        yield Subject(area, "everything_else", _("Token, rights, plugin"), f"sites.{site.name}").unseen(
            _("nothing can be seen of a site that does not answer"), _("Run this again when it does.")
        )
    else:
        yield from token_checks.check(facts)
        yield from rights_checks.check(facts, now)
        yield from sign_in_checks.check(facts, registry, public_url)
        yield from people_checks.check(facts)
    yield from unseen_checks.check(site)
