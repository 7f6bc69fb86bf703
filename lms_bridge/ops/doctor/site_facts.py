"""What the doctor sees of one Moodle: its public pages, and its web service by calls that read.

Site information lies about the health of a token (ground truth §2), and a user who is not returned may merely be
invisible (§3): so people are looked up in every way the bridge uses, one of them certainly there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from lms_bridge.ops.doctor.database_facts import Mirrored, SiteRows
from lms_bridge.ops.doctor.needs import COHORTS_READ
from lms_bridge.ops.doctor.probes import NoAnswer, Page, certificate_until, fetch
from lms_bridge.settings.moodle_sites import Site
from moodle_ws.batches import MOST_VARIABLES
from moodle_ws.client import ENDPOINT, MoodleClient
from moodle_ws.errors import BadRequest, BadRow, InvalidResponse, MoodleError, Unavailable
from moodle_ws.site import SiteInfo
from moodle_ws.users import LookupField, MoodleUser
from moodle_ws.wire import CONTROL_FIELDS, Unreadable, decode

BUTTONS = {"cas": "authCAS=CAS", "casattras": "authCASattras=CASattras"}
"""The query of each plugin's login button (ground truth §7, versions page §2)."""
FIRST_IDS = range(2, 42)
"""Ids among which every Moodle has somebody: to see whether the token sees anybody but itself."""
RECOMMENDED_VARIABLES = 5000
"""What Moodle's own installer asks of `max_input_vars`."""
SITE_INFO = "core_webservice_get_site_info"
BY_FIELD = "core_user_get_users_by_field"
_NOBODY = "2147483647"
_NEVER_CLEAN = "Lms Bridge Doctor"
"""No user name under any setting: the look-up is refused, with or without `debuginfo`."""
READ_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RawCall:
    """One call read without the client's tolerance: what stands before the answer, and how long it took."""

    page: Page | NoAnswer
    noise: bool = False


@dataclass(frozen=True, slots=True)
class People:
    """Whom the token sees. `person` is somebody other than the token's own user."""

    asked_for: str = ""
    """The user name that was looked up first; empty when there was none to look for."""
    by_username: bool | None = None
    """Whether that name was found by user name; None when nobody was looked for."""
    person: MoodleUser | None = None
    is_sample: bool = False
    """Whether `person` is just anybody, met by id."""
    found: Mapping[LookupField, bool] = field(default_factory=dict)
    """Whether `person` is found by the fields that are visible."""
    other_case: bool | None = None
    """Whether the address in the other case finds the person too (MariaDB does, PostgreSQL does not)."""
    same_address: int = 1
    """How many users have the person's address."""
    mirrored: Mapping[int, MoodleUser] = field(default_factory=dict)
    poisoned: int = 0
    """Mirrored users whom Moodle refuses to show (`invalidresponse`)."""
    error: MoodleError | None = None
    """What kept people from being looked up at all."""


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """Everything seen of one site. The web service's part is empty when `info` is an error."""

    site: Site
    rows: SiteRows
    login: Page | NoAnswer
    """`/login/index.php`, without parameters."""
    button: Page | NoAnswer
    """The same with the query of the plugin's button."""
    certificate: datetime | NoAnswer | None
    raw: RawCall
    info: SiteInfo | MoodleError
    people: People = field(default_factory=People)
    cohorts: MoodleError | bool | None = None
    """True: cohorts can be listed; None: not asked, the function is not offered."""
    variables: Mapping[int, bool] = field(default_factory=dict)
    """Whether the last of so many form variables arrived."""
    debug_visible: bool | None = None

    @property
    def area(self) -> str:
        return f"site:{self.site.name}"


def look_at_site(site: Site, rows: SiteRows) -> SiteFacts:
    """Look at a site from outside. `rows` are the database's people there, if it could be read."""
    login = fetch(f"{site.url}/login/index.php", connect=site.connect_timeout)
    certificate = certificate_until(site.url)
    if isinstance(login, NoAnswer) or login.status >= 500:
        return SiteFacts(site, rows, login, login, certificate, RawCall(login), Unavailable())
    button = fetch(f"{site.url}/login/index.php?{BUTTONS[site.plugin]}", connect=site.connect_timeout)
    raw = _raw_call(site)
    with MoodleClient(
        site.url,
        site.token.get_secret_value(),
        connect_timeout=site.connect_timeout,
        read_timeout=min(site.read_timeout, READ_SECONDS),
        answer_timeout=READ_SECONDS,
    ) as moodle:
        try:
            info: SiteInfo | MoodleError = moodle.site_info()
        except MoodleError as error:
            info = error
        facts: dict[str, Any] = {}
        if isinstance(info, SiteInfo):
            offered = frozenset(info.functions)
            if BY_FIELD in offered:
                facts["people"] = _look_at_people(moodle, site, rows.sample, info.userid)
                facts["variables"] = _count_variables(moodle, info.userid)
                facts["debug_visible"] = _debug_visible(moodle)
            if COHORTS_READ in offered:
                facts["cohorts"] = _may_read_cohorts(moodle)
    return SiteFacts(site, rows, login, button, certificate, raw, info, **facts)


def _raw_call(site: Site) -> RawCall:
    form = {"wstoken": site.token.get_secret_value(), "wsfunction": SITE_INFO, "moodlewsrestformat": "json"}
    page = fetch(site.url + ENDPOINT, form=urlencode(form).encode(), connect=site.connect_timeout)
    if isinstance(page, NoAnswer):
        return RawCall(page)
    try:
        return RawCall(page, bool(decode(page.body).noise))
    except Unreadable:
        return RawCall(page)


def _look_at_people(moodle: MoodleClient, site: Site, sample: Sequence[Mirrored], own_id: int) -> People:
    known = sample[0] if sample else None
    name = site.canary or (known.username if known else "")
    try:
        by_name = _find(moodle, "username", name) if name else []
        person = next(iter(by_name), None)
        if person is None and known is not None:
            person = next(iter(_find(moodle, "id", known.moodle_id)), None)
        is_sample = person is None
        if person is None:
            person = _anybody(moodle, own_id)
        mirrored, poisoned = _mirrored(moodle, sample)
        facts: dict[str, Any] = {"asked_for": name, "by_username": bool(by_name) if name else None}
        facts |= {"person": person, "is_sample": is_sample, "mirrored": mirrored, "poisoned": poisoned}
        return People(**facts, **(_found(moodle, person) if person is not None else {}))
    except MoodleError as error:
        return People(asked_for=name, error=error)


def _find(moodle: MoodleClient, field_name: LookupField, value: str | int) -> list[MoodleUser]:
    try:
        return moodle.users_by_field(field_name, [value])
    except (InvalidResponse, BadRow):
        return []  # a poison row (counted where the mirrored users are read), or a name nobody can have


def _anybody(moodle: MoodleClient, own_id: int) -> MoodleUser | None:
    try:
        rows = moodle.users_by_field("id", FIRST_IDS)
    except InvalidResponse as error:
        rows = list(error.outcomes)
    return next((user for user in rows if user.id != own_id and not user.looks_deleted), None)


def _found(moodle: MoodleClient, person: MoodleUser) -> dict[str, Any]:
    values = {"id": person.id, "username": person.username, "email": person.email, "idnumber": person.idnumber}
    found: dict[str, bool] = {}
    facts: dict[str, Any] = {"found": found}
    for name in ("id", "username", "email", "idnumber"):
        value = values[name]
        if value is None or (name == "idnumber" and value == "0"):
            continue
        try:
            rows = _find(moodle, name, value)
        except BadRequest:
            continue  # a value that Moodle stores and cannot be asked for
        found[name] = any(row.id == person.id for row in rows)
        if name == "email":
            facts["same_address"] = len(rows)
    if person.email and found.get("email"):
        facts["other_case"] = _ignores_case(moodle, person.email, person.id)
    return facts


def _ignores_case(moodle: MoodleClient, email: str, user_id: int) -> bool | None:
    try:
        return any(row.id == user_id for row in _find(moodle, "email", email.swapcase()))
    except BadRequest:
        return None


def _mirrored(moodle: MoodleClient, sample: Sequence[Mirrored]) -> tuple[dict[int, MoodleUser], int]:
    if not sample:
        return {}, 0
    poisoned = 0
    try:
        rows = moodle.users_by_field("id", [known.moodle_id for known in sample])
    except InvalidResponse as error:
        rows, poisoned = list(error.outcomes), len(error.poisoned)
    return {user.id: user for user in rows}, poisoned


def _count_variables(moodle: MoodleClient, own_id: int) -> dict[int, bool]:
    """Whether the last of N form variables arrives: a look-up of N ids, all but the last nobody's. The token's own user
    is always visible to itself (`caps-none-sees-itself`)."""
    arrived = {}
    for size in (MOST_VARIABLES, RECOMMENDED_VARIABLES):
        fillers = size - CONTROL_FIELDS - 2  # `field`, and the id that must arrive
        try:
            rows = moodle.call(BY_FIELD, {"field": "id", "values": [_NOBODY] * fillers + [str(own_id)]}, read=True)
        except MoodleError:
            break
        arrived[size] = isinstance(rows, list) and bool(rows)
    return arrived


def _debug_visible(moodle: MoodleClient) -> bool | None:
    """Whether errors carry `debuginfo`: seen on a look-up that is refused for its form."""
    try:
        moodle.call(BY_FIELD, {"field": "username", "values": [_NEVER_CLEAN]}, read=True)
    except BadRequest as error:
        return error.debug_visible
    except MoodleError:
        return None
    return None


def _may_read_cohorts(moodle: MoodleClient) -> MoodleError | bool:
    try:
        moodle.search_cohorts("lms-bridge-doctor")
    except MoodleError as error:
        return error
    return True
