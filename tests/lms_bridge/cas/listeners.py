"""Applications behind the bridge, as far as the back channel sees them: sockets that note what arrives.

Written on bare sockets so that a test can look at the bytes, and so that an application can misbehave in ways that no
HTTP library would.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Received:
    """One request as it came over the wire."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)


Behaviour = Callable[[socket.socket, threading.Event], None]
"""What an application does with a connection after it read the request. The event says that the test is over."""


def says(status: str, *headers: str) -> Behaviour:
    """Answers with `status`, e.g. `204 No Content`, and closes."""

    def answer(connection: socket.socket, _over: threading.Event) -> None:
        lines = [f"HTTP/1.1 {status}", "Content-Length: 0", "Connection: close", *headers]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())

    return answer


accepts = says("200 OK")


def hangs(_connection: socket.socket, over: threading.Event) -> None:
    """Never answers."""
    over.wait(60)


def hangs_up(_connection: socket.socket, _over: threading.Event) -> None:
    """Closes without a word."""


def babbles(connection: socket.socket, _over: threading.Event) -> None:
    """Answers with something that is not HTTP."""
    connection.sendall(b"\x00\xff* not http *\r\n\r\n")


def trickles(connection: socket.socket, over: threading.Event) -> None:
    """Sends a header a byte at a time: every single read is in time, the whole never ends."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not over.wait(0.2):
        connection.sendall(b"a")


def floods(connection: socket.socket, over: threading.Event) -> None:
    """Answers with a body that never ends."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    while not over.is_set():
        connection.sendall(b"x" * 65536)


class Listener:
    """An application on a free loopback port. Use as a context manager."""

    def __init__(self, behaviour: Behaviour = accepts, *, tls: ssl.SSLContext | None = None) -> None:
        self.behaviour = behaviour
        self._tls = tls
        self._received: list[Received] = []
        self._changed = threading.Condition()
        self._over = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._socket.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Listener:
        self._threads[0].start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        # Closing alone does not wake a thread that waits in accept().
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(5)

    @property
    def url(self) -> str:
        """The application's address, below which it is registered."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/app"

    @property
    def received(self) -> list[Received]:
        with self._changed:
            return list(self._received)

    def wait_for(self, count: int, *, seconds: float = 10) -> list[Received]:
        """The requests so far, as soon as there are `count` of them."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while len(self._received) < count and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            assert len(self._received) >= count, f"{len(self._received)} of {count} requests within {seconds} s"
            return list(self._received)

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            connection.settimeout(10)
            with connection:
                request = _read(connection)
                if request is None:
                    return
                with self._changed:
                    self._received.append(request)
                    self._changed.notify_all()
                self.behaviour(connection, self._over)
        except OSError:  # the bridge hung up, or did not trust the certificate: what tests want to see
            connection.close()


def _read(connection: socket.socket) -> Received | None:
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return None
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(65536)
    method, target, _ = first.split(" ", 2)
    return Received(method, target, headers, body)
