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
    try:
        listed = [_course(row) for row in fields.rows(answer.get("courses") if isinstance(answer, dict) else None)]
    except TypeError:
        raise UnreadableAnswer("not a list of courses", function=_BY_FIELD) from None
    if name in {"id", "shortname"}:
        listed = [course for course in listed if str(getattr(course, name)) == str(value)]
    return listed


def _course(row: Mapping[str, Any]) -> MoodleCourse:
    number, shortname, fullname = fields.integer(row, "id"), fields.text(row, "shortname"), fields.text(row, "fullname")
    if number is None or shortname is None or fullname is None:
        raise UnreadableAnswer("a course without id or name", function=_BY_FIELD)
    return MoodleCourse(
        id=number,
        shortname=shortname,
        fullname=fullname,
        idnumber=fields.text(row, "idnumber"),
        categoryid=fields.integer(row, "categoryid"),
        visible=fields.flag(row, "visible"),
    )
