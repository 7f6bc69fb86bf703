"""The duplicate radar in the background."""

from __future__ import annotations

from datetime import time

import structlog

from external_accounts import likely_pairs
from external_accounts.likely_pairs import Terms
from external_accounts.pair_candidates import PersonKeys
from lms_bridge.jobs.people import begin_night
from lms_bridge.runtime import Runtime
from lms_bridge.settings import Settings
from lms_bridge.sync import strays
from moodle_ws.errors import MoodleError

log = structlog.get_logger(__name__)

NIGHT = time(3, 30)
"""When the Moodle users of conflicts are looked up: sites are not busy then, and their nightly runs have begun."""


def terms(settings: Settings) -> Terms:
    """What settings say about likely duplicates."""
    chosen = settings.duplicates
    keys = PersonKeys(chosen.person_key_attributes, chosen.staff_office_attribute)
    return Terms(settings.imports.homonym_threshold, keys)


def seek_pairs(runtime: Runtime) -> int:
    """Look at some of the accounts that are new, or of which something changed that counts."""
    return likely_pairs.look(runtime.database, terms(runtime.settings), clock=runtime.clock).accounts


def seek_strays(runtime: Runtime) -> int:
    """Each night, look up who in Moodle may be the person of an account that is in conflict there."""
    local = runtime.clock().astimezone(runtime.settings.zone)
    if local.time() < NIGHT or not begin_night(runtime, "strays", f"{local:%Y-%m-%d}"):
        return 0
    for site in runtime.sites.names:
        try:
            strays.seek(runtime.database, runtime.sites, site, now=runtime.clock())
        except MoodleError as error:
            log.warning("duplicates.strays", outcome="failed", site=site, error=type(error).__name__)
    return 0
