"""Cohorts: create, list, search, members.

Cohorts and users are addressed by id in every write: names match loosely on MariaDB (its page §2, a cohort member
added under another spelling "without warning").
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moodle_ws import fields
from moodle_ws.batches import batches, halves
from moodle_ws.errors import MoodleError, Truncated, UnreadableAnswer
from moodle_ws.wire import Parameter, count_variables

if TYPE_CHECKING:
    from moodle_ws.client import MoodleClient

ALREADY_A_MEMBER = "3"

_CREATE = "core_cohort_create_cohorts"
_GET = "core_cohort_get_cohorts"
_SEARCH = "core_cohort_search_cohorts"
_MEMBERS = "core_cohort_get_cohort_members"
_ADD = "core_cohort_add_cohort_members"
_REMOVE = "core_cohort_delete_cohort_members"


@dataclass(frozen=True)
class Cohort:
    """A cohort as Moodle describes it; None means that the answer does not say."""

    id: int
    name: str | None = None
    idnumber: str | None = None
    description: str | None = None
    visible: bool | None = None


@dataclass(frozen=True, kw_only=True)
class NewCohort:
    """A cohort to create in the system context. `idnumber` is unique in the whole site and must not be empty: Moodle
    takes one empty one and refuses the second (`cohort-create-empty-idnumber-second`)."""

    name: str
    idnumber: str
    description: str | None = None
    visible: bool | None = None


@dataclass(frozen=True)
class Membership:
    """One user in one cohort, by Moodle's ids."""

    cohortid: int
    userid: int


@dataclass(frozen=True)
class MembershipOutcome:
    """Whether the user is in the cohort after the call; otherwise Moodle's code ("1" bad type, "2" not found)."""

    cohortid: int
    userid: int
    member: bool
    code: str | None = None


def create(client: "MoodleClient", rows: Sequence[NewCohort]) -> list[Cohort]:
    """Creates the cohorts, in order. Each call is all or nothing. Raises ValueError for an empty `idnumber` or name,
    BadRequest when an idnumber is taken, MoodleError; the cohorts created before are in `outcomes`."""
    if any(not row.idnumber.strip() or not row.name.strip() for row in rows):
        raise ValueError("a cohort needs a name and an idnumber")
    created: list[Cohort] = []
    for batch in batches(rows, lambda row: count_variables(_new_fields(row))):
        try:
            answer = client.call(_CREATE, {"cohorts": [_new_fields(row) for row in batch]}, read=False)
            made = [_cohort(row, _CREATE) for row in _rows(answer, _CREATE)]
            if len(made) < len(batch):
                raise Truncated(f"{len(made)} of {len(batch)} cohorts were created", function=_CREATE)
        except MoodleError as error:
            error.outcomes = tuple(created)
            raise
        created.extend(made)
    return created


def by_id(client: "MoodleClient", ids: Sequence[int] = ()) -> list[Cohort]:
    """The cohorts with these ids (unknown ones are absent), or all of the site for no ids. Raises MoodleError."""
    if not ids:
        return [_cohort(row, _GET) for row in _rows(client.call(_GET, read=True), _GET)]
    found: list[Cohort] = []
    for batch in batches(ids, lambda _id: 1):
        answer = client.call(_GET, {"cohortids": list(batch)}, read=True)
        found.extend(_cohort(row, _GET) for row in _rows(answer, _GET))
    return found


def search(client: "MoodleClient", query: str, *, page: int = 200) -> list[Cohort]:
    """The system cohorts whose name or idnumber contains `query`, fetched `page` at a time. Raises MoodleError."""
    found: list[Cohort] = []
    while True:
        parameters: dict[str, Parameter] = {
            "query": query,
            "context": {"contextlevel": "system", "instanceid": 0},
            "includes": "self",
            "limitfrom": len(found),
            "limitnum": page,
        }
        answer = client.call(_SEARCH, parameters, read=True)
        listed = answer.get("cohorts") if isinstance(answer, dict) else None
        rows = [_cohort(row, _SEARCH) for row in _rows(listed, _SEARCH)]
        found.extend(rows)
        if len(rows) < page:
            return found


def members(client: "MoodleClient", ids: Sequence[int]) -> dict[int, frozenset[int]]:
    """The user ids in each of these cohorts. Raises NotFound for the whole call when one does not exist
    (`cohort-members-missing`), MoodleError."""
    found: dict[int, frozenset[int]] = {}
    for batch in batches(ids, lambda _id: 1):
        for row in _rows(client.call(_MEMBERS, {"cohortids": list(batch)}, read=True), _MEMBERS):
            number, people = fields.integer(row, "cohortid"), row.get("userids")
            if number is None or not isinstance(people, list):
                raise UnreadableAnswer("a cohort without id or members", function=_MEMBERS)
            found[number] = frozenset(int(person) for person in people)
    return found


def add_members(client: "MoodleClient", rows: Sequence[Membership]) -> list[MembershipOutcome]:
    """Adds people to cohorts; one outcome per row, in order. Adding a member again is harmless.

    Moodle's warnings name rows only in a sentence, so a batch with warnings is sent again in halves until every
    warning has its row. Raises MoodleError with the outcomes so far.
    """
    outcomes: list[MembershipOutcome] = []
    for batch in batches(rows, lambda row: count_variables(_member_fields(row))):
        try:
            outcomes.extend(_add_bisected(client, batch))
        except MoodleError as error:
            error.outcomes = tuple(outcomes)
            raise
    return outcomes


def _add_bisected(client: "MoodleClient", batch: Sequence[Membership]) -> list[MembershipOutcome]:
    answer = client.call(_ADD, {"members": [_member_fields(row) for row in batch]}, read=False)
    warnings = _rows(answer.get("warnings") if isinstance(answer, dict) else None, _ADD)
    codes = {fields.text(warning, "warningcode") for warning in warnings} - {ALREADY_A_MEMBER}
    if not codes:
        return [MembershipOutcome(row.cohortid, row.userid, member=True) for row in batch]
    if len(batch) == 1:
        return [MembershipOutcome(batch[0].cohortid, batch[0].userid, member=False, code=codes.pop())]
    return [outcome for half in halves(batch) for outcome in _add_bisected(client, half)]


def remove_members(client: "MoodleClient", rows: Sequence[Membership]) -> None:
    """Takes people out of cohorts; somebody who is not a member is no error. Each call is all or nothing.

    Raises NotFound when a user or cohort does not exist, MoodleError; the rows removed before are in `outcomes`.
    """
    done: list[Membership] = []
    for batch in batches(rows, lambda _row: 2):
        sent: list[Parameter] = [{"cohortid": row.cohortid, "userid": row.userid} for row in batch]
        try:
            client.call(_REMOVE, {"members": sent}, read=False)
        except MoodleError as error:
            error.outcomes = tuple(done)
            raise
        done.extend(batch)


def _new_fields(row: NewCohort) -> dict[str, Parameter]:
    return {
        "categorytype": {"type": "system", "value": ""},
        "name": row.name,
        "idnumber": row.idnumber,
        "description": row.description,
        "visible": row.visible,
    }


def _member_fields(row: Membership) -> dict[str, Parameter]:
    return {
        "cohorttype": {"type": "id", "value": str(row.cohortid)},
        "usertype": {"type": "id", "value": str(row.userid)},
    }


def _rows(answer: Any, function: str) -> list[Mapping[str, Any]]:
    try:
        return fields.rows(answer)
    except TypeError:
        raise UnreadableAnswer("not a list", function=function) from None


def _cohort(row: Mapping[str, Any], function: str) -> Cohort:
    number = fields.integer(row, "id")
    if number is None:
        raise UnreadableAnswer("a cohort without an id", function=function)
    return Cohort(
        id=number,
        name=fields.text(row, "name"),
        idnumber=fields.text(row, "idnumber"),
        description=fields.text(row, "description"),
        visible=fields.flag(row, "visible"),
    )
