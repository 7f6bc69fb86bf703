"""Every recorded answer of every implemented function, given to the client by a server that only replays bytes.

Two questions each: does the plain call give the recorded value or the right named error, and does the function of
the package give the right typed values? Expected values are read from the recording by this module's own means.
"""

import json
import re
import threading
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from moodle_recordings import ENDPOINT, SHORTENED, Recording, recorded_rows, replayed
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from moodle_ws import (
    AccessDenied,
    BadRequest,
    BadRow,
    Cohort,
    DatabaseRefused,
    InvalidResponse,
    Maintenance,
    Membership,
    MissingCapability,
    MoodleClient,
    MoodleError,
    MoodleUser,
    NewCohort,
    NewUser,
    NotFound,
    Refused,
    RoleNotAssignable,
    RowStatus,
    ServiceUserBlocked,
    TokenInvalid,
    Truncated,
    UnreadableAnswer,
    UserUpdate,
    WeakPassword,
    WebServiceDisabled,
    request_token,
)
from moodle_ws.redaction import without_secrets
from moodle_ws.simulator.errors import missing_capability
from moodle_ws.simulator.wire import parse_form
from moodle_ws.token import PATH

ALL = replayed()
CALLS = [recording for recording in ALL if recording.request["path"] == ENDPOINT]
TOKENS = [recording for recording in ALL if recording.request["path"] == PATH]

ERROR_OF_CODE: dict[str, type[MoodleError]] = {
    "accessexception": AccessDenied,
    "authpluginnotfound": Refused,
    "cannotmailconfirm": Refused,
    "codingerror": BadRequest,
    "confirmationnotenabled": Refused,
    "dmlwriteexception": DatabaseRefused,
    "invalidconfirmdata": Refused,
    "invalidparameter": BadRequest,
    "invalidrecord": NotFound,
    "invalidrecordunknown": NotFound,
    "invalidresponse": InvalidResponse,
    "invalidtoken": TokenInvalid,
    "invaliduser": NotFound,
    "keyalreadyset": BadRequest,
    "nopermissions": MissingCapability,
    "sitemaintenance": Maintenance,
    "sitepolicynotagreed": ServiceUserBlocked,
    "useradminodelete": Refused,
    "usernotdeletederror": Refused,
    "usernotfullysetup": ServiceUserBlocked,
    "wsaccessusernologin": ServiceUserBlocked,
    "wsaccessusersuspended": ServiceUserBlocked,
    "wsaccessuserunconfirmed": ServiceUserBlocked,
    "wsusercannotassign": RoleNotAssignable,
}


@pytest.fixture(scope="module")
def replayer() -> Iterator[str]:
    """A server that answers `/<n>/webservice/rest/server.php` with the n-th recording, whatever it is asked."""

    @Request.application
    def answer(request: Request) -> Response:
        recording = ALL[int(request.path.split("/")[1])]
        recorded = recording.response
        return Response(recording.body, recorded["http_status"], content_type=recorded["content_type"])

    server = make_server("127.0.0.1", 0, answer, threaded=True)
    server.log = lambda *_arguments: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


def client_for(replayer: str, recording: Recording) -> MoodleClient:
    answer_format = "json" if recording.request.get("format") == "json" else "xml"
    return MoodleClient(f"{replayer}/{ALL.index(recording)}", "TOKEN", answer_format=answer_format)


def expected_error(recording: Recording) -> type[MoodleError] | None:
    status, body = recording.response["http_status"], recording.body
    if status != 200:
        return {403: WebServiceDisabled, 503: Maintenance}[status]
    if SHORTENED.search(body):
        return UnreadableAnswer  # the recording, not Moodle, cut this answer
    if recording.name == "bulk-create-2000-overflow-ctl-last":
        return Truncated  # JSON was asked for and XML came: the control fields were lost, not the token
    match = re.search(r'"errorcode":"((?:[^"\\]|\\.)*)"|<ERRORCODE>([^<]*)<', body)
    if match is None:
        return None
    code = match[1] or match[2]
    return WeakPassword if code.startswith("<div>") else ERROR_OF_CODE[code]


@pytest.mark.parametrize("recording", CALLS, ids=lambda recording: recording.id)
def test_a_plain_call_gives_the_recorded_value_or_the_right_error(recording: Recording, replayer: str) -> None:
    expected = expected_error(recording)
    parameters: dict[str, Any] = parse_form(recording.encoded[1], 100_000)
    parameters = {key: value for key, value in parameters.items() if not key.startswith(("wst", "wsf", "moodlews"))}
    if recording.name == "form-invalid-utf8":
        parameters = {}  # the client refuses to send such text, see test_values_are_checked_before_sending
    with client_for(replayer, recording) as client:
        if expected is None:
            value = client.call(recording.function, parameters, read=True)
            assert value == without_secrets(recorded_value(recording))
            return
        with pytest.raises(MoodleError) as caught:
            client.call(recording.function, parameters, read=False)
    error = caught.value
    assert type(error) is expected
    assert error.function == recording.function
    if isinstance(error, MissingCapability) and error.capability is not None:
        # Moodle says it by its English name in these recordings.
        assert missing_capability(error.capability).message.rpartition("(")[2] in recording.body
    assert not secrets_in(f"{error} {error!r} {error.__dict__}", recording)


def recorded_value(recording: Recording) -> Any:
    if "<RESPONSE>" in recording.body:
        return recorded_rows(recording)
    body = recording.body
    return json.loads(body[body.find("\n[{") :] if body.startswith("<br") else body)


def secrets_in(text: str, recording: Recording) -> list[str]:
    """What an error must not carry: the token, and whatever `debuginfo` said."""
    answer = recording.answer
    details = [answer["debuginfo"]] if isinstance(answer, dict) and answer.get("debuginfo") else []
    return [secret for secret in ["TOKEN", *details] if secret in text]


@pytest.mark.parametrize("recording", TOKENS, ids=lambda recording: recording.id)
def test_asking_for_a_token_gives_it_or_says_why_not(recording: Recording, replayer: str) -> None:
    address = f"{replayer}/{ALL.index(recording)}"
    answer = recording.answer
    if answer is not None and "token" in answer:
        assert request_token(address, "svc-bridge", "Hidden-1234", "bridge") == answer["token"]
        return
    with pytest.raises(MoodleError) as caught:
        request_token(address, "svc-bridge", "Hidden-1234", "bridge")
    error = caught.value
    if answer is None:
        assert type(error) is UnreadableAnswer
    else:
        assert type(error) is (Maintenance if answer["errorcode"] == "sitemaintenance" else Refused)
        assert error.code == answer["errorcode"]
        assert error.debug_visible == bool(answer["debuginfo"])
    told = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "Hidden-1234" not in told.replace('"Hidden-1234"', "")


# -- typed values ----------------------------------------------------------------------------------------------------


def of(*functions: str) -> list[Recording]:
    return [recording for recording in CALLS if recording.function in functions and expected_error(recording) is None]


def sendable(name: str, value: str) -> bool:
    """Whether the package sends this value; the rule is written down a second time here on purpose."""
    if name == "username":
        return re.fullmatch(r"[a-z0-9._@-]{1,100}", value) is not None
    return value.strip() == value and value not in ({"", "0"} if name == "idnumber" else {""})


def same_user(user: MoodleUser, row: dict[str, Any]) -> None:
    for key, value in row.items():
        if key in {"suspended", "confirmed"}:
            assert getattr(user, key) is {"1": True, "0": False}.get(value, value)
        elif key in {"id", "firstaccess", "lastaccess"}:
            assert getattr(user, key) == int(value)
        elif key == "customfields":
            assert (user.customfields or {}) == {item["shortname"]: item["value"] for item in value}
        elif hasattr(user, key):
            assert getattr(user, key) == value
    for key in ("username", "auth", "suspended", "confirmed", "email", "idnumber", "firstname"):
        if row.get(key) is None:
            assert getattr(user, key) is None, "what is not in the answer is unknown, never False or empty"


@pytest.mark.parametrize("recording", of("core_user_get_users_by_field"), ids=lambda recording: recording.id)
def test_users_by_field_gives_exactly_the_rows_that_match_byte_for_byte(recording: Recording, replayer: str) -> None:
    fields = recording.fields
    name, values = fields[0][1], [value for _key, value in fields[1:]]
    rows = {int(row["id"]): row for row in recorded_value(recording)}
    with client_for(replayer, recording) as client:
        if any(not sendable(name, value) for value in values):
            # Values that Moodle never finds, or that only a loose database finds, are not sent at all.
            with pytest.raises(BadRow):
                client.users_by_field(name, values)  # type: ignore[arg-type]
            return
        people = client.users_by_field(name, values)  # type: ignore[arg-type]
    lowered = {value.lower() for value in values}
    matching = [
        row
        for row in rows.values()
        if (str(row[name]).lower() in lowered if name == "email" else str(row[name]) in values)
    ]
    assert [user.id for user in people] == sorted(int(row["id"]) for row in matching)
    for user in people:
        same_user(user, rows[user.id])


@pytest.mark.parametrize("recording", of("core_user_get_users"), ids=lambda recording: recording.id)
def test_search_gives_the_users_and_never_a_loose_match(recording: Recording, replayer: str) -> None:
    values = [value for _key, value in recording.fields]
    criteria = dict(zip(values[0::2], values[1::2], strict=True))
    rows = recorded_value(recording)["users"]
    with client_for(replayer, recording) as client:
        if set(criteria) & {"suspended", "city"}:
            with pytest.raises(ValueError, match="not a criterion"):
                client.search_users(criteria)
            return
        people = client.search_users(criteria)
    exact = {key: value for key, value in criteria.items() if key in {"id", "username", "idnumber", "auth"}}
    matching = [row for row in rows if all(str(row[key]) == value for key, value in exact.items())]
    if "email" in criteria:
        matching = [row for row in matching if row["email"].lower() == criteria["email"].lower()]
    assert [user.id for user in people] == [int(row["id"]) for row in matching]
    for user, row in zip(people, matching, strict=True):
        same_user(user, row)


@pytest.mark.parametrize("recording", of("core_user_create_users"), ids=lambda recording: recording.id)
def test_create_users_gives_ids_for_the_names_sent(recording: Recording, replayer: str) -> None:
    rows = recorded_value(recording)
    new = [
        NewUser(username=row["username"], firstname="F", lastname="L", email=f"e{number}@example.test", auth="cas")
        for number, row in enumerate(rows)
    ]
    with client_for(replayer, recording) as client:
        if any(not sendable("username", row.username) for row in new):
            with pytest.raises(BadRow):
                client.create_users(new)
            return
        created = client.create_users(new)
    assert [(user.id, user.username) for user in created] == [(int(row["id"]), row["username"]) for row in rows]


@pytest.mark.parametrize("recording", of("core_user_update_users"), ids=lambda recording: recording.id)
def test_update_users_gives_every_row_its_outcome(recording: Recording, replayer: str) -> None:
    ids = list(dict.fromkeys(int(value) for key, value in recording.fields if re.fullmatch(r"users\[\d+\]\[id\]", key)))
    warnings = {int(item["itemid"]): item["warningcode"] for item in recorded_value(recording)["warnings"]}
    with client_for(replayer, recording) as client:
        outcomes = client.update_users([UserUpdate(id=number, suspended=True) for number in ids])
    for outcome in outcomes:
        if outcome.id <= 0:
            assert outcome.code == "badrow/id"
        elif outcome.id in warnings:
            assert (outcome.status, outcome.code) == (RowStatus.REFUSED, warnings[outcome.id])
        else:
            assert outcome.applied


@pytest.mark.parametrize("recording", of("core_webservice_get_site_info"), ids=lambda recording: recording.id)
def test_site_info_gives_the_site_without_its_secrets(recording: Recording, replayer: str) -> None:
    answer = recorded_value(recording)
    with client_for(replayer, recording) as client:
        info = client.site_info()
    assert (info.username, info.userid, info.siteurl) == (answer["username"], int(answer["userid"]), answer["siteurl"])
    assert (info.release, info.version) == (answer["release"], answer["version"])
    assert dict(info.functions) == {item["name"]: item["version"] for item in answer["functions"]}
    assert info.branch == tuple(int(part) for part in recording.version.split("."))
    assert (info.policyagreed is None) == ("policyagreed" not in answer)
    assert (info.usercanchangeconfig is None) == ("usercanchangeconfig" not in answer)
    assert "KEY" not in repr(info)


@pytest.mark.parametrize(
    "recording",
    of("core_cohort_get_cohorts", "core_cohort_search_cohorts", "core_cohort_create_cohorts"),
    ids=lambda recording: recording.id,
)
def test_cohorts_come_as_described(recording: Recording, replayer: str) -> None:
    answer = recorded_value(recording)
    rows = answer["cohorts"] if isinstance(answer, dict) else answer
    expected = [Cohort(row["id"], row["name"], row["idnumber"], row["description"], row["visible"]) for row in rows]
    with client_for(replayer, recording) as client:
        if recording.function == "core_cohort_search_cohorts":
            assert client.search_cohorts("sta") == expected
        elif recording.function == "core_cohort_create_cohorts" and all(row["idnumber"].strip() for row in rows):
            assert client.create_cohorts([NewCohort(name="C", idnumber=row["idnumber"]) for row in rows]) == expected
        else:
            assert client.cohorts([1] if recording.fields else []) == expected


@pytest.mark.parametrize("recording", of("core_cohort_get_cohort_members"), ids=lambda recording: recording.id)
def test_cohort_members_come_as_sets(recording: Recording, replayer: str) -> None:
    rows = recorded_value(recording)
    with client_for(replayer, recording) as client:
        members = client.cohort_members([int(row["cohortid"]) for row in rows])
    assert members == {int(row["cohortid"]): frozenset(int(item) for item in row["userids"]) for row in rows}


@pytest.mark.parametrize("recording", of("core_cohort_add_cohort_members"), ids=lambda recording: recording.id)
def test_a_member_added_and_a_member_already_are_both_members(recording: Recording, replayer: str) -> None:
    codes = {item["warningcode"] for item in recorded_value(recording)["warnings"]}
    with client_for(replayer, recording) as client:
        (outcome,) = client.add_cohort_members([Membership(1, 7)])
    assert outcome.applied == (codes <= {"3"})
    assert outcome.code == (None if outcome.applied else (codes - {"3"}).pop())


@pytest.mark.parametrize("recording", of("core_course_get_courses_by_field"), ids=lambda recording: recording.id)
def test_courses_come_as_described(recording: Recording, replayer: str) -> None:
    with client_for(replayer, recording) as client:
        (course,) = client.courses_by_field("shortname", "C1")
        assert client.courses_by_field("shortname", "c1") == []
    assert (course.id, course.shortname, course.fullname, course.visible) == (2, "C1", "Course one", True)


@pytest.mark.parametrize("recording", of("core_enrol_get_enrolled_users"), ids=lambda recording: recording.id)
def test_people_enrolled_come_as_users(recording: Recording, replayer: str) -> None:
    rows = recorded_value(recording)
    with client_for(replayer, recording) as client:
        people = client.enrolled_users(2)
    assert [user.id for user in people] == [row["id"] for row in rows]
    for user, row in zip(people, rows, strict=True):
        same_user(user, row)


@pytest.mark.parametrize(
    "recording",
    of("core_auth_request_password_reset", "core_auth_confirm_user", "auth_userkey_request_login_url"),
    ids=lambda recording: recording.id,
)
def test_the_functions_around_signing_in_give_their_word(recording: Recording, replayer: str) -> None:
    answer = recorded_value(recording)
    with client_for(replayer, recording) as client:
        if "status" in answer:
            assert client.request_password_reset(username="r1") == answer["status"]
        elif "success" in answer:
            assert client.confirm_user("uncon", "secret") is answer["success"]
        else:
            assert client.userkey_login_url({"email": "uk1@example.test"}) == answer["loginurl"]
