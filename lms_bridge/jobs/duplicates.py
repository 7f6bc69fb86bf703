"""The duplicate radar in the background."""

from __future__ import annotations

from external_accounts import likely_pairs
from external_accounts.likely_pairs import Terms
from external_accounts.pair_candidates import PersonKeys
from lms_bridge.runtime import Runtime
from lms_bridge.settings import Settings


def terms(settings: Settings) -> Terms:
    """What settings say about likely duplicates."""
    chosen = settings.duplicates
    keys = PersonKeys(chosen.person_key_attributes, chosen.staff_office_attribute)
    return Terms(settings.imports.homonym_threshold, keys)


def seek_pairs(runtime: Runtime) -> int:
    """Look at some of the accounts that are new, or of which something changed that counts."""
    return likely_pairs.look(runtime.database, terms(runtime.settings), clock=runtime.clock).accounts
