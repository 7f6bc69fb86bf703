"""The loopback server: connections that stay open, hostile bytes, a clean end."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from contextlib import suppress

import pytest
import requests
from werkzeug import Request, Response

from lms_bridge.demo.server import LoopbackServer


@Request.application
def echo(request: Request) -> Response:
    if request.path == "/crash":
        raise RuntimeError("the application is broken")
    if request.path == "/slow":
        time.sleep(0.3)
    if request.path == "/empty":
        return Response(status=204)
    return Response(f"{request.method} {request.path} {request.get_data(as_text=True)}")


@pytest.fixture
def server():
    server = LoopbackServer(echo, 0)
    server.start()
    yield server
    server.stop()


def raw(server: LoopbackServer, data: bytes) -> bytes:
    with socket.create_connection((server.host, server.port), timeout=5) as connection:
        answer = bytearray()
        # A server may answer and hang up before it has read to the end of what it refuses.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        while part := _received(connection):
            answer += part
    return bytes(answer)


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except ConnectionResetError:
        return b""


def test_a_connection_serves_many_requests(server):
    connection = http.client.HTTPConnection(server.host, server.port, timeout=5)
    connection.connect()
    first = connection.sock
    for number in range(5):
        connection.request("POST", f"/{number}", body=b"x" * number)
        assert connection.getresponse().read().decode() == f"POST /{number} {'x' * number}"
        connection.request("HEAD", "/head")
        answer = connection.getresponse()
        assert (answer.read(), answer.headers["Content-Length"]) == (b"", "11")
        connection.request("GET", "/empty")
        assert connection.getresponse().read() == b""
    assert connection.sock is first
    connection.close()


def test_a_body_the_application_leaves_unread_is_not_the_next_request(server):
    answer = raw(
        server,
        b"POST /empty HTTP/1.1\r\nHost: x\r\nContent-Length: 21\r\n\r\nGET /smuggled HTTP/1.1"[:-1]
        + b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n",
    )
    assert answer.count(b"HTTP/1.1 ") == 2
    assert b"GET /next" in answer
    assert b"smuggled" not in answer


def test_a_chunked_body_is_read(server):
    assert requests.post(server.url + "/c", data=iter([b"ab", b"cd"]), timeout=5).text == "POST /c abcd"


def test_a_request_without_keep_alive_ends_the_connection(server):
    assert b"Connection: close" in raw(server, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"GET / " in raw(server, b"GET / HTTP/1.0\r\n\r\n")


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\xff\xfe\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET " + b"/a" * 40_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 12abc\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\ncut short",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnot hexadecimal\r\n",
        b"GET /%ff%00 HTTP/1.1\r\nHost: \xff\r\nCookie: \xff\x00=;;\r\n\r\n",
    ],
)
def test_a_hostile_request_gets_an_answer_below_500_and_leaves_no_trace_on_stderr(server, capfd, data):
    answer = raw(server, data)
    status = answer.split(b" ", 2)[1] if answer.startswith(b"HTTP/") else b"400"
    assert status < b"500" or status == b"505"
    assert requests.get(server.url + "/after", timeout=5).text.startswith("GET /after")
    assert capfd.readouterr().err == ""


def test_a_client_that_hangs_up_leaves_no_trace_on_stderr(server, capfd):
    for _ in range(5):
        with socket.create_connection((server.host, server.port)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            connection.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(0.5)
    assert capfd.readouterr().err == ""


def test_an_error_of_the_application_is_a_500_and_is_logged(server, caplog):
    assert requests.get(server.url + "/crash", timeout=5).status_code == 500
    assert "the application is broken" in caplog.text


def test_many_connect_at_once(server):
    results: list[int] = []

    def ask() -> None:
        results.append(requests.get(server.url + "/slow", timeout=10).status_code)

    threads = [threading.Thread(target=ask) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [200] * 60


def test_stopping_finishes_the_answer_under_way_and_frees_the_port():
    server = LoopbackServer(echo, 0)
    server.start()
    idle = http.client.HTTPConnection(server.host, server.port, timeout=5)
    idle.request("GET", "/idle")
    idle.getresponse().read()
    answers: list[str] = []
    busy = threading.Thread(target=lambda: answers.append(requests.get(server.url + "/slow", timeout=5).text))
    busy.start()
    time.sleep(0.1)
    server.stop()
    busy.join()
    assert answers == ["GET /slow "]
    assert idle.sock.recv(1) == b""
    idle.close()
    again = LoopbackServer(echo, server.port)
    again.start()
    assert requests.get(again.url + "/again", timeout=5).ok
    again.stop()
    again.stop()


def test_a_port_in_use_is_refused_at_once(server):
    with pytest.raises(OSError, match="in use"):
        LoopbackServer(echo, server.port)


def test_a_server_that_never_started_can_be_stopped():
    LoopbackServer(echo, 0).stop()
