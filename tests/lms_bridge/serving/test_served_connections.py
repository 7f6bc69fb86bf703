"""How the workers of `lms-bridge serve` treat connections: framing, fairness, and the end."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from lms_bridge.serving.worker import ConnectionCounts
from tests.bridge_under_test import settings_values
from tests.served_bridge import served_process


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with served_process(tmp_path, settings_values(tmp_path)) as found:
        yield found


def kept_connection(url: str) -> HTTPConnection:
    connection = HTTPConnection(urlsplit(url).netloc, timeout=20)
    connection.request("GET", "/healthz")
    assert connection.getresponse().read() == b'{"status":"ok"}\n'
    return connection


def established(process: subprocess.Popen[bytes], url: str) -> dict[int, int]:
    """Connections to `url` each worker holds, by its process id."""
    port = f"{urlsplit(url).port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port}") and row[3] == "01"}
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return {
        int(worker): sum(str(entry.readlink()) in ours for entry in Path(f"/proc/{worker}/fd").iterdir())
        for worker in workers
    }


def test_many_requests_follow_each_other_on_one_connection(served: tuple[str, subprocess.Popen[bytes]]) -> None:
    connection = kept_connection(served[0])
    for _ in range(50):
        connection.request("GET", "/cas/serviceValidate?service=x&ticket=ST-1")
        assert b"INVALID_TICKET" in connection.getresponse().read()


def test_a_body_nobody_reads_is_not_taken_for_the_next_request(served: tuple[str, subprocess.Popen[bytes]]) -> None:
    connection = kept_connection(served[0])
    connection.request("POST", "/healthz", body=b"GET /nonsense HTTP/1.1\r\n\r\n" * 100)
    refused = connection.getresponse()
    assert refused.status == 405
    refused.read()
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == 200


def test_requests_sent_together_are_answered_in_order(served: tuple[str, subprocess.Popen[bytes]]) -> None:
    address = urlsplit(served[0])
    request = "GET {} HTTP/1.1\r\nHost: {}\r\n{}\r\n"
    together = request.format("/healthz", address.netloc, "") + request.format(
        "/nowhere", address.netloc, "Connection: close\r\n"
    )
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(together.encode())
        answers = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answers.index(b" 200 ") < answers.index(b" 404 ")


def spread(process: subprocess.Popen[bytes], url: str, count: int) -> list[int]:
    """How many of `count` kept connections each worker has. They are closed again."""
    connections = [kept_connection(url) for _ in range(count)]
    held = list(established(process, url).values())
    for connection in connections:
        connection.close()
    return held


def test_kept_connections_are_spread_over_the_workers(served: tuple[str, subprocess.Popen[bytes]]) -> None:
    url, process = served
    deadline = time.monotonic() + 30
    while len(held := spread(process, url, 4)) < 2 or not min(held):  # a worker is still on its way
        assert time.monotonic() < deadline, held
    held = spread(process, url, 12)
    assert sum(held) == 12
    assert min(held) >= 4, held


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_kept_connection_does_not_hold_up_the_end(
    served: tuple[str, subprocess.Popen[bytes]], how: signal.Signals
) -> None:
    url, process = served
    connection = kept_connection(url)
    process.send_signal(how)
    assert process.wait(20) == 0
    connection.close()


def test_workers_end_when_their_master_was_killed(served: tuple[str, subprocess.Popen[bytes]]) -> None:
    url, process = served
    kept_connection(url).close()
    process.kill()
    process.wait(20)
    address = urlsplit(url)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection((address.hostname, address.port), timeout=5).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            continue  # it is just going
    pytest.fail("somebody still listens")


def test_a_seat_is_free_again_when_its_worker_is_gone() -> None:
    counts = ConnectionCounts(2)
    first = counts.free_seat(set())
    second = counts.free_seat({first})
    counts.note(first, 3)
    counts.note(second, 1)
    assert counts.someone_has_fewer(3)
    assert counts.free_seat({first}) == second
    assert not counts.someone_has_fewer(3), "the worker that is gone has no connections to offer"
