"""The brake: what stops a run over a whole site before its first write (I9).

Each reason is a `Stop`. Some can be answered by an operator who has looked (`answer` says how); the others mean that
what was read cannot be trusted, and nothing lifts them but putting it right.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from lms_bridge.i18n import N_
from lms_bridge.settings.moodle_sites import Site, Threshold, Thresholds
from lms_bridge.sync.actions import Action, Kind
from lms_bridge.sync.compare import PROTECTED_IDS, protected_names
from moodle_ws.site import SiteInfo
from moodle_ws.users import MoodleUser

FUNCTIONS = frozenset(
    {
        "core_webservice_get_site_info",
        "core_user_get_users_by_field",
        "core_user_create_users",
        "core_user_update_users",
    }
)
"""What a run calls. Nothing else: with `core_user_get_users` a stolen token could read the whole site in one call."""
COHORT_FUNCTIONS = frozenset(
    {
        "core_cohort_create_cohorts",
        "core_cohort_search_cohorts",
        "core_cohort_get_cohort_members",
        "core_cohort_add_cohort_members",
        "core_cohort_delete_cohort_members",
    }
)
"""What it calls besides where the site has cohorts."""
CANARY_FIELDS = ("username", "auth", "suspended", "confirmed", "firstname", "lastname", "email")
"""What must be visible of an ordinary user. The token's own user is always visible in full, and proves nothing."""


@dataclass(frozen=True, slots=True)
class Stop:
    """One reason not to begin. `message`, `title` and `answer` are messages to translate."""

    message: str
    values: Mapping[str, Any] = field(default_factory=dict)
    """What `message` names."""
    title: ClassVar[str] = ""
    answer: ClassVar[str] = ""
    """What an operator can do about it."""

    @property
    def name(self) -> str:
        return type(self).__name__

    @property
    def text(self) -> str:
        """The message in English, for terminals, logs and programs."""
        return self.message % self.values if self.values else self.message


class WrongSite(Stop):
    """The site says it is another one."""

    title = N_("This is another Moodle")
    answer = N_("set sites.url to the site's own address (wwwroot), or use the token of this site")


class FunctionsMissing(Stop):
    """The token's service lacks functions."""

    title = N_("The token may not do what is needed")
    answer = N_("add them in Moodle: Site administration > Server > Web services > External services > Functions")


class NoCanary(Stop):
    """There is nobody by whom it could be proved that the token sees what it should."""

    title = N_("Nothing proves what the token sees")
    answer = N_("set sites.canary to the user name of an ordinary Moodle user that never changes")


class VisibilityLost(Stop):
    """The token does not see what it must see: absent would be taken for not existing."""

    title = N_("The token does not see what it must see")
    answer = N_("run `lms-bridge doctor`: a capability, showuseridentity or hiddenuserfields changed in Moodle")


class SourceIncomplete(Stop):
    """Not every account was read."""

    title = N_("Not every account was read")
    answer = N_("run again; if it stays so, check the database")


class ForbiddenTargets(Stop):
    """An action is meant for the administrator, the guest, the token's own user, or a protected one."""

    title = N_("A change is meant for a protected user")
    answer = N_("look at that account; `lms-bridge accounts look-again` forgets a wrong Moodle user")


class ReleaseChanged(Stop):
    """Moodle is not the release the last run met."""

    title = N_("Moodle has another release than before")
    answer = N_("run `lms-bridge doctor`, then apply with --accept-release")


class TooManyChanges(Stop):
    """More changes of a kind than the threshold allows."""

    title = N_("More changes than usual")
    answer = N_("look at the plan; if it is right, apply with --checksum and the plan's checksum")


def check_site(info: SiteInfo, site: Site, *, known_release: str) -> list[Stop]:
    """What the site says of itself against what settings and the last run say."""
    stops: list[Stop] = []
    if info.siteurl.rstrip("/") != site.url.rstrip("/"):
        seen = {"theirs": info.siteurl, "ours": site.url}
        stops.append(WrongSite(N_("the site says it is %(theirs)s, settings say %(ours)s"), seen))
    missing = info.missing_functions(needed_functions(site))
    if missing:
        stops.append(FunctionsMissing(N_("the token may not call %(names)s"), {"names": ", ".join(sorted(missing))}))
    if known_release and release_of(info) != known_release:
        seen = {"now": release_of(info), "before": known_release}
        stops.append(ReleaseChanged(N_("Moodle is %(now)s, the last run met %(before)s"), seen))
    return stops


def needed_functions(site: Site) -> frozenset[str]:
    """The functions without which no run over the site begins."""
    return FUNCTIONS | COHORT_FUNCTIONS if site.cohorts else FUNCTIONS


def release_of(info: SiteInfo) -> str:
    """The branch, like `4.5`; the release's text when it cannot be read."""
    return ".".join(map(str, info.branch)) if info.branch else (info.release or "unknown")[:20]


def check_canary(name: str, seen: Mapping[str, Sequence[MoodleUser]], *, own_user: int) -> list[Stop]:
    """`seen` holds what look-ups of the canary by `username`, `id` and `email` returned."""
    found = seen.get("username", ())
    not_found = N_("%(user)s was not found by %(field)s")
    if len(found) != 1:
        return [VisibilityLost(not_found, {"user": name, "field": "username"})]
    canary = found[0]
    if canary.id == own_user:
        return [NoCanary(N_("%(user)s is the token's own user, which is always visible"), {"user": name})]
    hidden = [column for column in CANARY_FIELDS if getattr(canary, column) is None]
    if hidden:
        unseen = {"fields": ", ".join(hidden), "user": name}
        return [VisibilityLost(N_("the token does not see %(fields)s of %(user)s"), unseen)]
    for column in ("id", "email"):
        if [user.id for user in seen.get(column, ())].count(canary.id) != 1:
            return [VisibilityLost(not_found, {"user": name, "field": column})]
    return []


def check_source(read: int, expected: int) -> list[Stop]:
    """A run rests on every account having been read."""
    if read == expected:
        return []
    return [SourceIncomplete(N_("%(read)d of %(expected)d accounts were read"), {"read": read, "expected": expected})]


def check_targets(actions: Iterable[Action], site: Site, *, own_user: int) -> list[Stop]:
    """No action may be meant for a user that is never touched."""
    names = protected_names(site)
    wrong = [
        f"{action.kind} {action.username} (id {action.moodle_id})"
        for action in actions
        if action.moodle_id in PROTECTED_IDS or action.moodle_id == own_user or action.username in names
    ]
    return [ForbiddenTargets("%(actions)s", {"actions": "; ".join(wrong[:10])})] if wrong else []


def check_counts(counts: Mapping[Kind, int], known: int, thresholds: Thresholds) -> list[Stop]:
    """`known`: how many users of the site the bridge knows."""
    stops: list[Stop] = []
    for kind, count in counts.items():
        limit = limit_of(getattr(thresholds, kind.value), known)
        if count > limit:
            values = {"kind": kind.value, "count": count, "known": known, "limit": limit}
            if known:
                message = N_(
                    "%(kind)s: %(count)d changes (%(percent)d %% of %(known)d known users), %(limit)d are allowed"
                )
                values["percent"] = round(100 * count / known)
            else:
                message = N_("%(kind)s: %(count)d changes (no user is known yet), %(limit)d are allowed")
            stops.append(TooManyChanges(message, values))
    return stops


def limit_of(threshold: Threshold, known: int) -> int:
    return max(threshold.floor, math.floor(threshold.percent * known / 100))
