"""enrol_manual_enrol_users: repeatable, all or nothing (recordings `enrol-manual*`)."""

from typing import Any

from moodle_ws.simulator.calls import Call, Function
from moodle_ws.simulator.errors import coding_error, invalid_parameter, missing_record, moodle_error
from moodle_ws.simulator.flavours import Version
from moodle_ws.simulator.shapes import Multiple, Single, Value

# The roles a service account may give in a course: teacher, non-editing teacher, student.
_ASSIGNABLE = frozenset({3, 4, 5})


def enrol_users(call: Call, parameters: dict[str, Any]) -> None:
    """Enrols everybody or nobody."""
    enrolled = set()
    for row in parameters["enrolments"]:
        role, person, course = row["roleid"], row["userid"], row["courseid"]
        if all(place.id != course for place in call.options.courses):
            raise invalid_parameter("Course does not exist")
        call.require("enrol/manual:enrol")
        if role not in _ASSIGNABLE:
            words = f"You don't have the permission to assign this role ({role}) to this user ({person}) in this course"
            raise moodle_error("wsusercannotassign", f"{words} ({course}).")
        user = call.site.users.get(person)
        if user is None or user.deleted:
            if call.options.version is Version.V4_4:
                raise coding_error("User ID does not exist or is deleted!")
            raise missing_record("user", "SELECT id FROM {user} WHERE id = ? AND deleted = ?", (person, 0))
        enrolled.add((person, course, role))
    call.site.enrolments |= enrolled


ENROL_USERS = Function(
    "enrol_manual_enrol_users",
    Single(
        {
            "enrolments": Multiple(
                Single(
                    {
                        "roleid": Value("int"),
                        "userid": Value("int"),
                        "courseid": Value("int"),
                        "timestart": Value("int", required=False),
                        "timeend": Value("int", required=False),
                        "suspend": Value("int", required=False),
                    }
                )
            )
        }
    ),
    None,
    enrol_users,
)
