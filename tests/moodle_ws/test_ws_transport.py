"""One call: time-outs, what is repeated, what is not followed, what is understood."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.cookiejar import CookieJar

import pytest
import requests
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from moodle_ws import (
    AnswerLost,
    Maintenance,
    MoodleClient,
    TokenInvalid,
    Truncated,
    Unavailable,
    UnreadableAnswer,
    UserUpdate,
    WebServiceDisabled,
)
from moodle_ws.simulator import SimulatedMoodle

LOCK_ADMIN = [UserUpdate(id=2, suspended=True)]


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port on which connections are taken and never answered."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_a_site_that_never_answers_is_given_up_after_the_read_time_out(deaf_port: int) -> None:
    client = MoodleClient(f"http://127.0.0.1:{deaf_port}", "t", read_timeout=0.2)
    started = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        client.site_info()
    assert time.monotonic() - started < 2
    assert not isinstance(caught.value, AnswerLost), "a read has no outcome to lose"


def test_a_write_without_an_answer_has_an_unknown_outcome(deaf_port: int) -> None:
    client = MoodleClient(f"http://127.0.0.1:{deaf_port}", "t", read_timeout=0.2)
    with pytest.raises(AnswerLost) as caught:
        client.update_users(LOCK_ADMIN)
    assert [outcome.status for outcome in caught.value.outcomes] == ["unknown"]


def test_a_site_that_drips_its_answer_is_given_up_after_the_answer_time_out() -> None:
    stop = threading.Event()

    def drip(listening: socket.socket) -> None:
        connection, _address = listening.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not stop.is_set():
                try:
                    connection.sendall(b" ")
                except OSError:
                    return
                time.sleep(0.02)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=drip, args=(listening,), daemon=True)
        thread.start()
        port = listening.getsockname()[1]
        client = MoodleClient(f"http://127.0.0.1:{port}", "t", read_timeout=5, answer_timeout=0.3)
        started = time.monotonic()
        with pytest.raises(Unavailable):
            client.site_info()
        assert time.monotonic() - started < 3
        client.close()
        stop.set()
        thread.join(timeout=5)


@pytest.mark.parametrize("read", [True, False])
def test_a_site_that_is_not_there_changes_nothing(read: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closing:
        port = closing.getsockname()[1]
    with pytest.raises(Unavailable) as caught:
        MoodleClient(f"http://127.0.0.1:{port}", "t").call("f", read=read)
    assert not isinstance(caught.value, AnswerLost)


def test_a_read_is_repeated_once_when_the_connection_breaks(moodle: SimulatedMoodle, client: MoodleClient) -> None:
    moodle.faults.next("drop")
    assert client.site_info().userid == 3
    moodle.faults.next("cut")
    assert client.site_info().userid == 3
    moodle.faults.next("drop", "drop")
    with pytest.raises(Unavailable):
        client.site_info()
    assert len(moodle.calls) == 6


def test_a_write_is_never_repeated(moodle: SimulatedMoodle, client: MoodleClient) -> None:
    moodle.faults.next("lost", "500")
    with pytest.raises(AnswerLost):
        client.update_users(LOCK_ADMIN)
    with pytest.raises(AnswerLost, match="HTTP 500"):
        client.update_users(LOCK_ADMIN)
    assert len(moodle.calls) == 2


def test_a_slow_answer_is_not_repeated(moodle: SimulatedMoodle, connect: Callable[..., MoodleClient]) -> None:
    moodle.faults.next("slow=0.6")
    with pytest.raises(Unavailable):
        connect(moodle, read_timeout=0.2).site_info()
    assert moodle.calls == ["core_webservice_get_site_info"]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("503", Maintenance),
        ("maintenance", Maintenance),
        ("500", Unavailable),
        ("403", WebServiceDisabled),
        ("empty", UnreadableAnswer),
        ("redirect", UnreadableAnswer),
    ],
)
def test_answers_that_are_no_answers_have_names(
    moodle: SimulatedMoodle, client: MoodleClient, fault: str, expected: type[Exception]
) -> None:
    moodle.faults.next(fault)
    with pytest.raises(expected) as caught:
        client.site_info()
    assert type(caught.value) is expected


def test_noise_before_the_answer_is_skipped_in_both_formats(
    moodle: SimulatedMoodle, connect: Callable[..., MoodleClient], caplog: pytest.LogCaptureFixture
) -> None:
    for answer_format in ("json", "xml"):
        moodle.faults.next("noise")
        assert connect(moodle, answer_format=answer_format).site_info().userid == 3
    assert "prints text before its answer" in caplog.text


def test_no_redirect_is_followed_with_the_token() -> None:
    asked: list[str] = []

    @Request.application
    def elsewhere(request: Request) -> Response:
        asked.append(request.path)
        return Response(status=307, headers={"Location": "/stolen"})

    server = make_server("127.0.0.1", 0, elsewhere, threaded=True)
    server.log = lambda *_arguments: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    with MoodleClient(f"http://127.0.0.1:{server.server_port}", "t") as client, pytest.raises(UnreadableAnswer):
        client.site_info()
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)
    assert asked == ["/webservice/rest/server.php"]


def test_a_token_lost_together_with_the_format_means_a_cut_form(
    serve: Callable[..., SimulatedMoodle], connect: Callable[..., MoodleClient]
) -> None:
    """PHP's limit so low that even the control fields do not fit: not a bad token but a bad limit."""
    with pytest.raises(Truncated):
        connect(serve(max_input_vars=-1)).site_info()


def test_a_wrong_token_is_a_wrong_token(moodle: SimulatedMoodle, connect: Callable[..., MoodleClient]) -> None:
    with pytest.raises(TokenInvalid):
        connect(moodle, token="wrong").site_info()
    with pytest.raises(TokenInvalid):
        connect(moodle, token="wrong", answer_format="xml").site_info()


def test_a_session_passed_in_is_used_and_left_open(moodle: SimulatedMoodle) -> None:
    with requests.Session() as session:
        session.headers["X-Simulate-Fault"] = "503"
        client = MoodleClient(moodle.site.wwwroot, moodle.site.options.token, session=session)
        with pytest.raises(Maintenance):
            client.site_info()
        client.close()
        assert session.adapters
        assert isinstance(session.cookies, CookieJar)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "moodle.example.org",
        "ftp://moodle.example.org",
        "https://",
        "https://u:p@m.example.org",
        "https://m.example.org/?x=1",
    ],
)
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        MoodleClient(url, "t")
