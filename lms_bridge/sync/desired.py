"""What a Moodle user should look like: a pure function of the account, the gate's word and the site's settings.

Never a password, never a preference, never anything else than what is named here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from external_accounts.accounts import AccountFacts
from lms_bridge.settings.moodle_sites import FieldMode, Site

NAME_LENGTH = 100
"""Moodle's first and last name columns (ground truth §3)."""
IDNUMBER_LENGTH = 255
CUSTOM = "custom:"
"""What the name of a custom profile field begins with here, so that it never meets a field of Moodle's own."""
KEY_PREFIX = "lmsb-"
PARKED = KEY_PREFIX + "merged-"
NOWHERE = "@merged.invalid"
"""A domain that exists nowhere (RFC 2606); Moodle takes such an address and sends nothing to it."""


@dataclass(frozen=True, slots=True)
class Subject:
    """An account as the sync sees it: the gate's facts, the account's key, what its CAS released."""

    facts: AccountFacts
    key: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DesiredUser:
    """The fields the bridge may write, by Moodle's names (`custom:` before those of custom profile fields).

    A field that is not in `fields` has nothing to be told: it stays as it is.
    """

    username: str
    auth: str
    suspended: bool
    fields: Mapping[str, str]
    cohorts: frozenset[str] | None
    """ID numbers of our cohorts the user belongs in. None: membership is left as it is."""


def desired_user(subject: Subject, site: Site, *, admitted: bool) -> DesiredUser:
    """The Moodle user of an account. `admitted` is the gate's word, Moodle itself left aside (I6).

    That of an account that was joined to another one is closed and out of the way, and otherwise left as it is.
    """
    facts = subject.facts
    if facts.merged_into_id is not None:
        return DesiredUser(parked_username(subject.key), site.auth_method, True, {}, None)
    erased = facts.erased_at is not None
    return DesiredUser(
        username=facts.username,
        auth=site.auth_method,
        suspended=not admitted,
        # Of somebody erased nothing is known that could be told.
        fields={} if erased else _fields(subject, site),
        cohorts=_cohorts(facts, site) if admitted else None,
    )


def modes(site: Site) -> Mapping[str, FieldMode]:
    """The mode of every field that the settings of a site name, by the names of `DesiredUser.fields`."""
    named: dict[str, FieldMode] = dict(site.fields)
    return named | {CUSTOM + custom.shortname: custom.mode for custom in site.custom_fields}


def bridge_key(subject: Subject) -> str:
    """The bridge's own key of the account, as it is written into Moodle."""
    return KEY_PREFIX + subject.key


def parked_username(key: str) -> str:
    """What the user of a joined account is called, by the account's key: a name that nobody has and nobody gets."""
    return PARKED + key


def parked_values(key: str) -> Mapping[str, str]:
    """What stands in the fields that such a user gives up (`ties.YIELDED`): as unique as its name, and nobody's."""
    return {"email": parked_username(key) + NOWHERE, "idnumber": parked_username(key)}


def _fields(subject: Subject, site: Site) -> dict[str, str]:
    facts = subject.facts
    given, family = facts.given_name.strip(), facts.family_name.strip()
    values = {
        # Moodle refuses blank names, so a missing one is filled with what is known of the person.
        "firstname": (given or family or facts.username)[:NAME_LENGTH],
        "lastname": (family or given or facts.username)[:NAME_LENGTH],
        "email": facts.email if facts.email and facts.email_confirmed_at else "",
        "idnumber": _value(site.idnumber_from, subject)[:IDNUMBER_LENGTH],
        "lang": facts.language,
    }
    values |= {CUSTOM + custom.shortname: _value(custom.holds, subject) for custom in site.custom_fields}
    wanted = modes(site)
    return {name: value for name, value in values.items() if value and wanted[name] != "ignore"}


def _value(source: str, subject: Subject) -> str:
    facts = subject.facts
    match source:
        case "key":
            return bridge_key(subject)
        case "username":
            return facts.username
        case "profile":
            return facts.profile
        case "email_confirmed":
            return "1" if facts.email and facts.email_confirmed_at else "0"
    released = subject.attributes.get(source.removeprefix("attribute:"), "")
    if isinstance(released, list):
        released = released[0] if released else ""
    return str(released).strip()


def _cohorts(facts: AccountFacts, site: Site) -> frozenset[str]:
    return frozenset(
        cohort.idnumber for cohort in site.cohorts if not cohort.profiles or facts.profile in cohort.profiles
    )
