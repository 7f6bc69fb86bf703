"""What the client sends is, field for field, what real Moodles were sent when they answered as recorded."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from moodle_recordings import Recording, replayed

from moodle_ws import BadRow, Enrolment, Membership, MoodleClient, NewCohort, NewUser, Refused, UserUpdate
from moodle_ws.simulator.wire import parse_form

Row = dict[str, Any]
BOOLEANS = {"suspended", "createpassword", "visible", "suspend"}


def row_of(recorded: Row) -> Row:
    """A row of a recorded form with the types that the client takes."""
    row: Row = dict(recorded)
    for key in BOOLEANS & row.keys():
        row[key] = row[key] == "1"
    for key in {"id", "roleid", "userid", "courseid", "timestart", "timeend", "cohortid"} & row.keys():
        row[key] = int(row[key])
    if "customfields" in row:
        row["customfields"] = {item["type"]: item["value"] for item in row["customfields"].values()}
    return row


def rows_of(form: Row, key: str) -> list[Row]:
    return [row_of(row) for row in form[key].values()]


def member(row: Row) -> Membership:
    if (row["cohorttype"]["type"], row["usertype"]["type"]) != ("id", "id"):
        raise TypeError("the client addresses by id")
    return Membership(int(row["cohorttype"]["value"]), int(row["usertype"]["value"]))


def cohort(row: Row) -> NewCohort:
    if row.pop("categorytype") != {"type": "system", "value": ""}:
        raise TypeError("the client creates in the system context")
    return NewCohort(**row)


# From a recorded form to the client's call for it; TypeError when the client has no words for it.
CALLS: dict[str, Callable[[MoodleClient, Row], Any]] = {
    "core_user_create_users": lambda client, form: client.create_users(
        [NewUser(**row) for row in rows_of(form, "users")]
    ),
    "core_user_update_users": lambda client, form: client.update_users(
        [UserUpdate(**row) for row in rows_of(form, "users")]
    ),
    "core_user_get_users_by_field": lambda client, form: client.users_by_field(
        form["field"], list(form["values"].values())
    ),
    "core_user_get_users": lambda client, form: client.search_users(
        {row["key"]: row["value"] for row in form["criteria"].values()}
    ),
    "core_cohort_create_cohorts": lambda client, form: client.create_cohorts(
        [cohort(row) for row in rows_of(form, "cohorts")]
    ),
    "core_cohort_add_cohort_members": lambda client, form: client.add_cohort_members(
        [member(row) for row in form["members"].values()]
    ),
    "core_cohort_delete_cohort_members": lambda client, form: client.remove_cohort_members(
        [Membership(**row) for row in rows_of(form, "members")]
    ),
    "core_cohort_get_cohort_members": lambda client, form: client.cohort_members(
        [int(value) for value in form["cohortids"].values()]
    ),
    "enrol_manual_enrol_users": lambda client, form: client.enrol_users(
        [Enrolment(**row) for row in rows_of(form, "enrolments")]
    ),
    "core_course_get_courses_by_field": lambda client, form: client.courses_by_field(form["field"], form["value"]),
    "core_auth_request_password_reset": lambda client, form: client.request_password_reset(**form),
    "core_auth_confirm_user": lambda client, form: client.confirm_user(**form),
    "auth_userkey_request_login_url": lambda client, form: client.userkey_login_url(form["user"]),
}

# Forms the client has no words for, on purpose, of those that Moodle answered well.
UNSPEAKABLE = (TypeError, ValueError, KeyError, BadRow)


def well_answered() -> list[Recording]:
    return [
        recording
        for recording in replayed()
        if recording.function in CALLS
        and recording.response["http_status"] == 200
        and '"exception"' not in recording.body
        and "<EXCEPTION" not in recording.body
        and not recording.name.startswith("bulk-")
    ]


class Stop(Refused):
    """Nothing is sent."""


def spoken(recording: Recording) -> tuple[Row, Row] | None:
    """The recorded form and the client's; None when the client has no words for it."""
    recorded = parse_form("&".join(f"{key}={quoted(value)}" for key, value in recording.fields).encode(), 5000)
    bodies: list[bytes] = []

    def keep(_function: str, body: bytes, *, read: bool) -> Any:
        bodies.append(bytes(body))
        raise Stop

    client = MoodleClient("http://127.0.0.1:9", "TOKEN")
    client._exchange = keep  # type: ignore[method-assign]
    with contextlib.suppress(Stop, *UNSPEAKABLE):
        CALLS[recording.function](client, recorded)
    if not bodies:
        return None
    form = parse_form(bodies[0], 5000)
    return recorded, {key: value for key, value in form.items() if not key.startswith(("wst", "wsf", "moodlews"))}


def quoted(value: str) -> str:
    return "".join(f"%{byte:02X}" for byte in value.encode("utf-8", "surrogatepass"))


SPOKEN = {recording.id: both for recording in well_answered() if (both := spoken(recording))}


@pytest.mark.parametrize("name", SPOKEN)
def test_the_form_is_the_recorded_one(name: str) -> None:
    recorded, own = SPOKEN[name]
    if name.endswith("duplicate-values"):
        recorded["values"] = {"0": "7"}  # the client asks once
    assert own == recorded


def test_every_function_has_such_a_form() -> None:
    functions = {recording.function for recording in well_answered() if recording.id in SPOKEN}
    assert functions == CALLS.keys()


@pytest.mark.parametrize(
    "name", ["create-customfields", "create-customfields-unknown", "update-customfields", "update-customfields-unknown"]
)
def test_custom_profile_fields_are_among_them(name: str) -> None:
    _recorded, own = SPOKEN[f"4.4-postgresql/{name}"]
    assert "customfields" in own["users"]["0"]
