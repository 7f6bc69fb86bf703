"""Manual enrolment into courses, and reading back who is enrolled."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moodle_ws import batches, users
from moodle_ws.errors import BadRequest, NotFound, RoleNotAssignable
from moodle_ws.outcomes import RowOutcome
from moodle_ws.wire import Parameter, count_variables

if TYPE_CHECKING:
    from moodle_ws.client import MoodleClient

_ENROL = "enrol_manual_enrol_users"
_ENROLLED = "core_enrol_get_enrolled_users"


@dataclass(frozen=True, kw_only=True)
class Enrolment:
    """One person in one course with one role (ids of Moodle's). Times are Unix seconds; None for no limit."""

    roleid: int
    userid: int
    courseid: int
    timestart: int | None = None
    timeend: int | None = None
    suspend: bool | None = None


def enrol(client: "MoodleClient", rows: Sequence[Enrolment]) -> list[RowOutcome[Enrolment]]:
    """Enrols everybody in `rows`; one outcome per row, in order. Repeating is harmless (`enrol-manual-twice`).

    Each call is all or nothing, so a refused batch is halved until the bad row stands alone, REFUSED: no such course
    (`invalidparameter`), no such user (`codingerror` on 4.4, `invaliduser` on 4.5, `invalidrecordunknown` on 5.2), a
    role the token may not give (`wsusercannotassign`). Raises MoodleError when the site cannot go on, with an outcome
    for every row in `outcomes`; `enrolled` reads back.
    """

    def send(piece: Sequence[Enrolment]) -> None:
        client.call(_ENROL, {"enrolments": [_fields(row) for row in piece]}, read=False)

    return batches.write_each(
        rows, lambda row: count_variables(_fields(row)), send, BadRequest, NotFound, RoleNotAssignable
    )


def enrolled(client: "MoodleClient", courseid: int, *, page: int = 500) -> "list[users.MoodleUser]":
    """The people enrolled in a course, by whatever method, as the token may see them, fetched `page` at a time.

    Raises NotFound for an unknown course, MissingCapability, MoodleError.
    """
    found: list[users.MoodleUser] = []
    while True:
        options: list[Parameter] = [
            {"name": "limitfrom", "value": str(len(found))},
            {"name": "limitnumber", "value": str(page)},
        ]
        answer = client.call(_ENROLLED, {"courseid": courseid, "options": options}, read=True)
        people = users.from_rows(answer, _ENROLLED)
        found.extend(people)
        if len(people) < page:
            return found


def _fields(row: Enrolment) -> dict[str, Parameter]:
    return {
        "roleid": row.roleid,
        "userid": row.userid,
        "courseid": row.courseid,
        "timestart": row.timestart,
        "timeend": row.timeend,
        "suspend": row.suspend,
    }
