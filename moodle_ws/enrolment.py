"""Manual enrolment into courses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moodle_ws.batches import batches
from moodle_ws.errors import MoodleError
from moodle_ws.wire import Parameter, count_variables

if TYPE_CHECKING:
    from moodle_ws.client import MoodleClient


@dataclass(frozen=True, kw_only=True)
class Enrolment:
    """One person in one course with one role (ids of Moodle's). Times are Unix seconds; None for no limit."""

    roleid: int
    userid: int
    courseid: int
    timestart: int | None = None
    timeend: int | None = None
    suspend: bool | None = None


def enrol(client: "MoodleClient", rows: Sequence[Enrolment]) -> None:
    """Enrols everybody in `rows`; repeating is harmless (`enrol-manual-twice`). Each call is all or nothing.

    Raises AccessDenied with code `wsusercannotassign` when the token may not give that role; for an unknown user
    BadRequest (`codingerror`, 4.4) or NotFound (4.5 and later), with the rows enrolled so far in `outcomes`.
    """
    done: list[Enrolment] = []
    for batch in batches(rows, lambda row: count_variables(_fields(row))):
        try:
            client.call("enrol_manual_enrol_users", {"enrolments": [_fields(row) for row in batch]}, read=False)
        except MoodleError as error:
            error.outcomes = tuple(done)
            raise
        done.extend(batch)


def _fields(row: Enrolment) -> dict[str, Parameter]:
    return {
        "roleid": row.roleid,
        "userid": row.userid,
        "courseid": row.courseid,
        "timestart": row.timestart,
        "timeend": row.timeend,
        "suspend": row.suspend,
    }
