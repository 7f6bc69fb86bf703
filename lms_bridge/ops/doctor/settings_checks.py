"""The settings themselves: the file, the secret keys, and whether services and sites fit together."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from external_accounts.keys import Keys
from lms_bridge.i18n import gettext as _
from lms_bridge.i18n import ngettext
from lms_bridge.ops.doctor.database_facts import KeyUse
from lms_bridge.ops.doctor.findings import Finding, Subject
from lms_bridge.settings import Settings
from lms_bridge.settings.moodle_sites import Site
from lms_bridge.settings.sections import Service
from lms_bridge.settings.web_addresses import lies_below, parse_url

FEWEST_CHARACTERS = 8
"""Different characters in a key: a random one of 32 hexadecimal digits has more in all but one of 100,000 cases."""
ROTATION = timedelta(days=2)


def check(settings: Settings, file: Path | None, mode: int | None, use: KeyUse, now: datetime) -> Iterator[Finding]:
    yield readable(settings, file)
    if file is not None and mode is not None:
        yield permissions(file, mode)
    yield secret_keys(settings, use, now)
    for site in settings.sites:
        yield site_has_a_service(settings, site)
    for service in settings.services:
        yield from service_fits_its_site(settings, service)


def readable(settings: Settings, file: Path | None) -> Finding:
    subject = Subject("settings", "readable", _("The settings can be read"), str(file or "LMS_BRIDGE_…"))
    parts = (
        ngettext("%(num)d service", "%(num)d services", len(settings.services)),
        ngettext("%(num)d Moodle site", "%(num)d Moodle sites", len(settings.sites)),
    )
    return subject.ok(", ".join(parts))


def permissions(file: Path, mode: int) -> Finding:
    """`mode` as `stat` gives it. The file holds the keys, the token and passwords."""
    subject = Subject("settings", "permissions", _("Nobody else can read the settings file"), str(file))
    seen = stat.filemode(mode)
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        return subject.problem(
            _("%(mode)s: every user of this machine can read or change it", mode=seen),
            _("Set: %(command)s", command=f"chmod 640 {file}"),
        )
    if mode & stat.S_IWGRP:
        return subject.warning(
            _("%(mode)s: its group can change it", mode=seen), _("Set: %(command)s", command=f"chmod 640 {file}")
        )
    return subject.ok(seen)


def secret_keys(settings: Settings, use: KeyUse, now: datetime) -> Finding:
    subject = Subject("settings", "secret_keys", _("The secret keys"), "secret_keys")
    keys = [key.get_secret_value() for key in settings.secret_keys]
    make = _("Write a new one in its place: %(command)s", command="openssl rand -hex 32")
    if any(len(set(key)) < FEWEST_CHARACTERS for key in keys):
        return subject.problem(_("one can be guessed: it repeats a few characters"), make)
    if len(set(keys)) < len(keys):
        return subject.warning(_("the same key stands there twice"), _("Drop one of the two."))
    seen = ngettext(
        "%(num)d key, the shortest of %(length)d characters",
        "%(num)d keys, the shortest of %(length)d characters",
        len(keys),
        length=min(map(len, keys)),
    )
    older = {Keys([key]).current_id for key in keys[1:]}
    rotated = use.current_since is not None and now - use.current_since > ROTATION
    if older and rotated and not older & use.needed:
        return subject.warning(
            _("%(seen)s; nothing needs the older ones any more", seen=seen), _("Drop all but the first.")
        )
    return subject.ok(seen)


def site_has_a_service(settings: Settings, site: Site) -> Finding:
    subject = Subject(
        "services", f"site:{site.name}", _("The site %(name)s has a service", name=site.name), "services.site"
    )
    names = [service.name for service in settings.services if service.site == site.name]
    if not names:
        return subject.problem(
            _("no service names it: nobody can enter, and nothing is kept in step"),
            _('Add a [[services]] with site = "%(site)s".', site=site.name),
        )
    return subject.ok(", ".join(names))


def service_fits_its_site(settings: Settings, service: Service) -> Iterator[Finding]:
    """A service below a site's address without naming it lets people in who were not brought into step."""
    subject = Subject(
        "services", f"service:{service.name}", _("The service %(name)s", name=service.name), f"services.{service.name}"
    )
    below = [site.name for site in settings.sites if _is_below(service.url, site.url)]
    if service.site is None and below:
        yield subject.problem(
            _("its address is in the Moodle %(site)s, which it does not name", site=below[0]),
            _('Write site = "%(site)s" there: otherwise nobody is brought into step before entering.', site=below[0]),
        )
    elif service.site is not None and service.site not in below:
        yield subject.problem(
            _("its address is not in the Moodle %(site)s, which it names", site=service.site),
            _("Write the url that Moodle asks tickets for: the site's address and %(path)s", path="/login/index.php"),
        )
    else:
        yield subject.ok(service.url)


def _is_below(url: str, site: str) -> bool:
    inner, outer = parse_url(url), parse_url(site)
    return inner is not None and outer is not None and lies_below(inner, outer)
