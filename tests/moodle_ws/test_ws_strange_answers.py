"""Answers that no Moodle should give: named, never crashed on."""

import gzip
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from moodle_ws import Enrolment, Membership, MoodleClient, NewCohort, NewUser, Truncated, UnreadableAnswer, UserUpdate

ANNE = NewUser(username="anne", firstname="A", lastname="D", email="anne@example.test", auth="cas")

CALLS: dict[str, Callable[[MoodleClient], Any]] = {
    "site_info": lambda client: client.site_info(),
    "users_by_field": lambda client: client.users_by_field("id", [7]),
    "search_users": lambda client: client.search_users({"username": "anne"}),
    "create_users": lambda client: client.create_users([ANNE]),
    "update_users": lambda client: client.update_users([UserUpdate(id=7, suspended=True)]),
    "create_cohorts": lambda client: client.create_cohorts([NewCohort(name="A", idnumber="a")]),
    "cohorts": lambda client: client.cohorts(),
    "search_cohorts": lambda client: client.search_cohorts("a"),
    "cohort_members": lambda client: client.cohort_members([1]),
    "add_cohort_members": lambda client: client.add_cohort_members([Membership(1, 7)]),
    "request_password_reset": lambda client: client.request_password_reset(username="anne"),
    "confirm_user": lambda client: client.confirm_user("anne", "s"),
    "userkey_login_url": lambda client: client.userkey_login_url({"email": "anne@example.test"}),
}


@pytest.fixture
def answering() -> Iterator[Callable[[Response], MoodleClient]]:
    """A client of a server that gives one and the same answer to everything."""
    given: list[Response] = []

    @Request.application
    def answer(_request: Request) -> Response:
        return given[-1]

    server = make_server("127.0.0.1", 0, answer, threaded=True)
    server.log = lambda *_arguments: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    client = MoodleClient(f"http://127.0.0.1:{server.server_port}", "t")

    def with_answer(response: Response) -> MoodleClient:
        given.append(response)
        return client

    yield with_answer
    client.close()
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize(
    "body", ["17", '"text"', '{"users":7,"warnings":"w","cohorts":0}', "[[]]", '[{"name":"x"}]', '{"x":[{}]}']
)
def test_an_answer_of_another_shape_is_unreadable(
    answering: Callable[[Response], MoodleClient], call: Callable[[MoodleClient], Any], body: str
) -> None:
    with pytest.raises(UnreadableAnswer):
        call(answering(Response(body, content_type="application/json")))


def test_functions_without_an_answer_do_not_mind_one(answering: Callable[[Response], MoodleClient]) -> None:
    client = answering(Response("null"))
    client.enrol_users([Enrolment(roleid=5, userid=7, courseid=2)])
    client.remove_cohort_members([Membership(1, 7)])


def test_names_that_are_not_those_sent_are_not_taken_for_created(answering: Callable[[Response], MoodleClient]) -> None:
    with pytest.raises(UnreadableAnswer, match="not those"):
        answering(Response('[{"id":4,"username":"bob"}]')).create_users([ANNE])


def test_a_compressed_answer_is_read_and_a_broken_one_named(answering: Callable[[Response], MoodleClient]) -> None:
    headers = {"Content-Encoding": "gzip"}
    assert answering(Response(gzip.compress(b"[]"), headers=headers)).users_by_field("id", [7]) == []
    with pytest.raises(UnreadableAnswer, match="compression"):
        answering(Response(b"\x1f\x8bbroken", headers=headers)).users_by_field("id", [7])


def test_an_answer_without_end_is_cut_off(
    answering: Callable[[Response], MoodleClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moodle_ws.transport._LARGEST_ANSWER", 100_000)
    with pytest.raises(UnreadableAnswer, match="larger"):
        answering(Response(b" " * 1_000_000)).users_by_field("id", [7])


@pytest.mark.parametrize("status", [201, 301, 401, 404, 418])
def test_a_status_moodle_never_gives_is_named(answering: Callable[[Response], MoodleClient], status: int) -> None:
    with pytest.raises(UnreadableAnswer, match=f"HTTP {status}"):
        answering(Response("[]", status)).users_by_field("id", [7])


def test_text_that_cannot_be_encoded_is_the_callers_mistake(answering: Callable[[Response], MoodleClient]) -> None:
    with pytest.raises(ValueError, match="Unicode"):
        answering(Response("[]")).call("f", {"x": "\ud800"}, read=True)


@pytest.mark.parametrize("call", ["users_by_field", "update_users"])
def test_a_form_that_php_says_it_cut_is_not_taken_for_complete(
    answering: Callable[[Response], MoodleClient], call: str
) -> None:
    """What PHP prints before the answer where it displays warnings; the answer itself looks complete."""
    warning = (
        "<br />\n<b>Warning</b>:  PHP Request Startup: Input variables exceeded 5000. To increase the limit change "
        "max_input_vars in php.ini. in <b>Unknown</b> on line <b>0</b><br />\n"
    )
    body = warning + ("[]" if call == "users_by_field" else '{"warnings":[]}')
    with pytest.raises(Truncated):
        CALLS[call](answering(Response(body, content_type="text/html; charset=UTF-8")))
