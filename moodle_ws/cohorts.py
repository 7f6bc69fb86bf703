"""Cohorts: create, list, search, members.

Cohorts and users are addressed by id in every write: names match loosely on MariaDB (its page §2, a cohort member
added under another spelling "without warning").
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moodle_ws import batches, fields
from moodle_ws.errors import BadRequest, BadRow, MoodleError, NotFound, UnreadableAnswer
from moodle_ws.names import check_text
from moodle_ws.outcomes import RowOutcome
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


def create(client: "MoodleClient", rows: Sequence[NewCohort]) -> list[Cohort]:
    """Creates all of `rows`, in order. Raises the first BadRow when rows were refused (an idnumber is taken), after
    the others were created, with the list of `create_each` in `outcomes`. Otherwise as `create_each`."""
    return batches.made_or_first_bad(create_each(client, rows))


def create_each(client: "MoodleClient", rows: Sequence[NewCohort]) -> list[Cohort | BadRow]:
    """Creates what can be created of `rows`: one Cohort or BadRow per row, in order.

    A row without name or idnumber is never sent. Raises MoodleError when the site cannot go on, with one entry for
    every row in `outcomes`: Cohort, BadRow, `RowStatus.UNKNOWN` for those of a call that may have taken effect (find
    them by `search`), `RowStatus.NOT_SENT` for the rest.
    """
    return batches.create_each(
        rows,
        _check_new,
        lambda row: count_variables(_new_fields(row)),
        lambda piece: _create_all(client, piece),
    )


def _check_new(row: NewCohort, index: int) -> None:
    for key, value in (("name", row.name), ("idnumber", row.idnumber), ("description", row.description)):
        if value is not None:
            check_text(value, index=index, field=key)
    for key, value in (("name", row.name), ("idnumber", row.idnumber)):
        # A blank more or less is another idnumber on PostgreSQL and the same on MariaDB (its page §2).
        if not value or value != value.strip():
            raise BadRow("blank, or blanks around the value", index=index, field=key)


def _create_all(client: "MoodleClient", rows: Sequence[NewCohort]) -> list[Cohort]:
    answer = client.call(_CREATE, {"cohorts": [_new_fields(row) for row in rows]}, read=False)
    created = [_cohort(row, _CREATE) for row in _rows(answer, _CREATE)]
    sent = [row.idnumber for row in rows]
    return batches.as_sent(created, lambda cohort: cohort.idnumber, sent, what="cohorts", function=_CREATE)


def by_id(client: "MoodleClient", ids: Sequence[int] = ()) -> list[Cohort]:
    """The cohorts with these ids (unknown ones are absent), or all of the site for no ids. Raises MoodleError."""
    if not ids:
        return [_cohort(row, _GET) for row in _rows(client.call(_GET, read=True), _GET)]
    found: list[Cohort] = []
    for batch in batches.batches(ids, lambda _id: 1):
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
    """The user ids in each of these cohorts; a cohort that does not exist is absent.

    Moodle refuses the whole call for one unknown cohort (`cohort-members-missing`), so a refused batch is halved until
    that one stands alone. An answer that lacks a cohort asked for raises UnreadableAnswer. Raises MoodleError.
    """

    def send(piece: Sequence[int]) -> dict[int, frozenset[int]]:
        found = {}
        for row in _rows(client.call(_MEMBERS, {"cohortids": list(piece)}, read=True), _MEMBERS):
            number, people = fields.integer(row, "cohortid"), row.get("userids")
            if number is None or not isinstance(people, list):
                raise UnreadableAnswer("a cohort without id or members", function=_MEMBERS)
            found[number] = frozenset(int(person) for person in people)
        if found.keys() != set(piece):
            raise UnreadableAnswer("the cohorts answered are not those asked for", function=_MEMBERS)
        return found

    found: dict[int, frozenset[int]] = {}
    for batch in batches.batches(list(dict.fromkeys(ids)), lambda _id: 1):
        for _piece, answer in batches.bisected(batch, send, NotFound):
            if not isinstance(answer, NotFound):
                found |= answer
    return found


def add_members(client: "MoodleClient", rows: Sequence[Membership]) -> list[RowOutcome[Membership]]:
    """Adds people to cohorts; one outcome per row, in order. Adding a member again is harmless, and APPLIED.

    Moodle adds whom it can, and its warnings name rows only in a sentence: a batch with warnings is sent again in
    halves until every warning has its row (code "1" bad type, "2" no such user or cohort). Raises MoodleError when
    the site cannot go on, with an outcome for every row in `outcomes`.
    """

    def send(piece: Sequence[Membership]) -> None:
        answer = client.call(_ADD, {"members": [_member_fields(row) for row in piece]}, read=False)
        warnings = _rows(answer.get("warnings") if isinstance(answer, dict) else None, _ADD)
        codes = {fields.text(warning, "warningcode") for warning in warnings} - {ALREADY_A_MEMBER}
        if codes:
            raise _SomeNotAdded(function=_ADD, code=min(code or "" for code in codes))

    return batches.write_each(rows, lambda row: count_variables(_member_fields(row)), send, _SomeNotAdded)


class _SomeNotAdded(MoodleError):
    """A warning about one of several rows; adding them once more does no harm."""


def remove_members(client: "MoodleClient", rows: Sequence[Membership]) -> list[RowOutcome[Membership]]:
    """Takes people out of cohorts; one outcome per row, in order. Somebody who is not a member is no error.

    Each call is all or nothing, so a batch with a user or cohort that does not exist is halved until that row stands
    alone; it is REFUSED (`invaliduser`, `invalidrecord`; `invalidrecordunknown` on 5.2): there is nothing left to
    remove. Raises MoodleError when the site cannot go on, with an outcome for every row in `outcomes`.
    """

    def send(piece: Sequence[Membership]) -> None:
        sent: list[Parameter] = [{"cohortid": row.cohortid, "userid": row.userid} for row in piece]
        client.call(_REMOVE, {"members": sent}, read=False)

    return batches.write_each(rows, lambda _row: 2, send, BadRequest, NotFound)


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
