"""Finding a course, so that people can be enrolled in it by its id."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from moodle_ws import fields
from moodle_ws.errors import UnreadableAnswer

if TYPE_CHECKING:
    from moodle_ws.client import MoodleClient

CourseField: TypeAlias = Literal["id", "shortname", "idnumber", "category"]

_BY_FIELD = "core_course_get_courses_by_field"
_OF_USER = "core_enrol_get_users_courses"


@dataclass(frozen=True)
class MoodleCourse:
    """A course as the token may see it, with Moodle's names. None means that the answer does not say: `idnumber` and
    `visible` show only to those who may manage the course."""

    id: int
    shortname: str
    fullname: str
    idnumber: str | None = None
    categoryid: int | None = None
    visible: bool | None = None


def by_field(client: "MoodleClient", name: CourseField, value: str | int) -> list[MoodleCourse]:
    """The visible courses whose `name` is `value`; the exact keys are compared again here, byte for byte.

    Without rights in a course Moodle shows nothing and says nothing: absence proves nothing. Raises MoodleError.
    """
    answer = client.call(_BY_FIELD, {"field": name, "value": str(value)}, read=True)
    listed = _courses(answer.get("courses") if isinstance(answer, dict) else None, _BY_FIELD)
    if name in {"id", "shortname"}:
        listed = [course for course in listed if str(getattr(course, name)) == str(value)]
    return listed


def of_user(client: "MoodleClient", userid: int) -> list[MoodleCourse]:
    """The courses a user is enrolled in, suspended or not, as far as the token may see who takes part in them.

    Without `moodle/course:viewparticipants` Moodle leaves a course out and says nothing, and an unknown id has none
    either (seen on 4.4): an empty list proves nothing. Raises MoodleError.
    """
    # The number of people in each course would cost Moodle a query a course.
    answer = client.call(_OF_USER, {"userid": userid, "returnusercount": False}, read=True)
    return _courses(answer, _OF_USER)


def _courses(rows: Any, function: str) -> list[MoodleCourse]:
    try:
        return [_course(row, function) for row in fields.rows(rows)]
    except TypeError:
        raise UnreadableAnswer("not a list of courses", function=function) from None


def _course(row: Mapping[str, Any], function: str) -> MoodleCourse:
    number, shortname, fullname = fields.integer(row, "id"), fields.text(row, "shortname"), fields.text(row, "fullname")
    if number is None or shortname is None or fullname is None:
        raise UnreadableAnswer("a course without id or name", function=function)
    return MoodleCourse(
        id=number,
        shortname=shortname,
        fullname=fullname,
        idnumber=fields.text(row, "idnumber"),
        categoryid=fields.integer(row, "categoryid"),
        visible=fields.flag(row, "visible"),
    )
