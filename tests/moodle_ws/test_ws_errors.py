"""Errors are named by meaning and carry no secret."""

import logging
import pickle
import re
import traceback
from collections.abc import Callable

import pytest

from moodle_ws import (
    AccessDenied,
    AnswerLost,
    BadRequest,
    BadRow,
    InvalidResponse,
    Maintenance,
    MissingCapability,
    MoodleClient,
    MoodleError,
    NewUser,
    NotFound,
    Refused,
    RowStatus,
    ServiceUserBlocked,
    TokenInvalid,
    Truncated,
    Unavailable,
    UnknownOutcome,
    UserUpdate,
    WeakPassword,
)
from moodle_ws.errors import from_answer
from moodle_ws.redaction import redact, without_secrets
from moodle_ws.simulator import Debug, SimulatedMoodle, UserKeySettings

ANNE = NewUser(username="anne", firstname="A", lastname="D", email="anne@example.test", auth="cas")


@pytest.mark.parametrize("namespace", ["", "core\\exception\\", "some\\other\\"])
@pytest.mark.parametrize(
    ("kind", "code", "expected"),
    [
        ("moodle_exception", "invalidtoken", TokenInvalid),
        ("webservice_access_exception", "accessexception", AccessDenied),
        ("required_capability_exception", "nopermissions", MissingCapability),
        ("dml_missing_record_exception", "invaliduser", NotFound),
        ("dml_missing_record_exception", "invalidrecord", NotFound),
        ("dml_missing_record_exception", "invalidrecordunknown", NotFound),
        ("invalid_response_exception", "invalidresponse", InvalidResponse),
        ("moodle_exception", "sitemaintenance", Maintenance),
        ("moodle_exception", "sitepolicynotagreed", ServiceUserBlocked),
        ("moodle_exception", "<div>Passwords must …</div>", WeakPassword),
        ("moodle_exception", "somethingnew", Refused),
        ("dml_missing_record_exception", "somethingnew", NotFound),
        ("invalid_parameter_exception", None, BadRequest),
    ],
)
def test_an_error_is_named_by_its_code_or_the_last_segment_of_its_class(
    namespace: str, kind: str, code: str | None, expected: type[MoodleError]
) -> None:
    answer = {"exception": namespace + kind, "message": "Etwas anderes"} | ({} if code is None else {"errorcode": code})
    error = from_answer(answer, "core_user_get_users")
    assert type(error) is expected
    assert error.kind == kind


def test_the_sentence_never_decides() -> None:
    answer = {"exception": "moodle_exception", "errorcode": "x", "message": "Invalid token - token not found"}
    assert type(from_answer(answer, "f")) is Refused


def test_a_missing_capability_is_named_although_moodle_names_it_only_in_a_sentence(
    moodle: SimulatedMoodle, client: MoodleClient
) -> None:
    moodle.site.tokens[moodle.site.options.token].capabilities = frozenset({"webservice/rest:use"})
    with pytest.raises(MissingCapability) as caught:
        client.update_users([UserUpdate(id=2, suspended=True)])
    assert caught.value.capability == "moodle/user:update"
    assert "moodle/user:update" in str(caught.value)


def test_two_classes_answer_the_two_questions_a_caller_has() -> None:
    assert issubclass(AnswerLost, Unavailable)
    assert issubclass(AnswerLost, UnknownOutcome)
    assert not issubclass(Unavailable, UnknownOutcome)
    assert issubclass(Maintenance, Unavailable)
    assert issubclass(Truncated, UnknownOutcome)


def test_debug_information_is_noticed_and_thrown_away(
    serve: Callable[..., SimulatedMoodle], connect: Callable[..., MoodleClient]
) -> None:
    simulated = serve(debug=Debug.NORMAL)
    fields = {
        "username": "x",
        "firstname": "F",
        "lastname": "L",
        "email": "secret.person@example.test",
        "idnumber": "N" * 300,
    }
    with pytest.raises(MoodleError) as caught:
        connect(simulated).call("core_user_create_users", {"users": [{**fields, "auth": "cas"}]}, read=False)
    assert caught.value.debug_visible
    assert "INSERT" not in repr(caught.value.__dict__)


def test_the_token_appears_in_no_message_traceback_or_log(
    serve: Callable[..., SimulatedMoodle], connect: Callable[..., MoodleClient], caplog: pytest.LogCaptureFixture
) -> None:
    token = "0123456789abcdef0123456789abcdef"
    simulated = serve(token=token)
    client = connect(simulated)
    caplog.set_level(logging.DEBUG)
    shown = [repr(client), str(client)]
    for fault in ("drop", "cut", "503", "500", "empty", "redirect", "403", "noise"):
        simulated.faults.next(fault, fault)
        error = error_of(lambda: client.update_users([UserUpdate(id=2, suspended=True)]))
        if error is not None:
            shown += [str(error), repr(error), "".join(traceback.format_exception(error))]
            assert error.__cause__ is None
            assert not re.search(token, repr(error.__context__.__dict__ if error.__context__ else ""))
    assert token not in "\n".join(shown)
    assert token not in caplog.text


def error_of(call: Callable[[], object]) -> MoodleError | None:
    try:
        call()
    except MoodleError as error:
        return error
    return None


def test_a_password_does_not_show_in_a_row() -> None:
    row = NewUser(username="a", firstname="A", lastname="B", email="a@b.fr", auth="manual", password="Hidden-1234")
    assert "Hidden-1234" not in repr(row)
    assert "Hidden-1234" not in repr(UserUpdate(id=1, password="Hidden-1234"))


def test_secrets_in_the_site_information_are_hidden_from_plain_calls_too(client: MoodleClient) -> None:
    answer = client.call("core_webservice_get_site_info", read=True)
    assert answer["userprivateaccesskey"] == "[hidden]"
    assert without_secrets({"sitesecret": "s", "name": "n"}) == {"sitesecret": "[hidden]", "name": "n"}


def test_text_that_looks_like_a_token_is_hidden() -> None:
    assert "abc123" not in redact("POST wstoken=abc123&wsfunction=f")
    assert "abc123" not in redact('{"token":"abc123"}')
    assert "zzz" not in redact("the value zzz stands alone", "zzz")


def test_no_secret_shows_in_a_traceback_with_local_variables(moodle: SimulatedMoodle, client: MoodleClient) -> None:
    """As error trackers write them."""
    for number, fault in enumerate(
        ("drop", "cut", "lost", "500", "503", "empty", "redirect", "invalidresponse", "403")
    ):
        moodle.faults.next(fault)
        given = {"username": f"a{number}", "firstname": "A", "lastname": "B", "email": f"a{number}@b.fr"}
        row = NewUser(**given, auth="manual", password=word("hidden"))
        error = error_of(lambda row=row: client.create_users([row]))  # type: ignore[misc]
        assert error is not None
        told = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
        assert word("hidden") not in told
        assert moodle.site.options.token not in told
        assert "<form of" in told


def word(first: str) -> str:
    """A password that stands nowhere in a line of code."""
    return "-".join([first.title(), "1234"])


@pytest.mark.parametrize(
    "error",
    [
        BadRow("detail", index=7, field="email", function="f", kind="k", code="c"),
        MissingCapability(capability="moodle/user:create", function="f", code="nopermissions"),
        AnswerLost("lost", function="f"),
    ],
)
def test_an_error_survives_a_job_queue(error: MoodleError) -> None:
    error.outcomes = (RowStatus.UNKNOWN,)
    back = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(back) is type(error)
    assert (str(back), back.args, back.__dict__) == (str(error), error.args, error.__dict__)


@pytest.mark.parametrize(
    ("function", "call", "capability"),
    [
        ("core_user_create_users", lambda client: client.create_users_each([ANNE]), "moodle/user:create"),
        ("core_cohort_get_cohorts", lambda client: client.cohorts(), "moodle/cohort:view"),
        ("core_cohort_search_cohorts", lambda client: client.search_cohorts("a"), "moodle/cohort:view"),
        ("core_enrol_get_enrolled_users", lambda client: client.enrolled_users(2), "moodle/course:viewparticipants"),
        (
            "auth_userkey_request_login_url",
            lambda client: client.userkey_login_url({"email": "a@b.fr"}),
            "auth/userkey:generatekey",
        ),
    ],
)
def test_the_missing_right_is_named_for_each_function(
    serve: Callable[..., SimulatedMoodle],
    connect: Callable[..., MoodleClient],
    function: str,
    call: Callable[[MoodleClient], object],
    capability: str,
) -> None:
    simulated = serve(userkey=UserKeySettings())
    simulated.faults.at(function, 1, f"without={capability}|moodle/cohort:manage")
    with pytest.raises(MissingCapability) as caught:
        call(connect(simulated))
    assert caught.value.capability == capability
