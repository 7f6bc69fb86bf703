"""Servers that behave as CAS servers do on their bad days: garbage, redirects, silence, one byte at a time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nConnection: close\r\n"


def answering(body: bytes, status: str = "200 OK", *headers: str) -> Callable[[socket.socket, threading.Event], None]:
    """Says `body` and hangs up."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]

    def behave(connection: socket.socket, _stop: threading.Event) -> None:
        connection.sendall("\r\n".join(lines).encode() + body)

    return behave


def silent_after(start: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Says `start`, then nothing, and keeps the line open."""

    def behave(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(start)
        stop.wait()

    return behave


def dripping(body: bytes, every: float) -> Callable[[socket.socket, threading.Event], None]:
    """Says `body` one byte every `every` seconds: never silent long enough for a time-out between two bytes."""

    def behave(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(HEAD + b"\r\n")
        for byte in body:
            connection.sendall(bytes([byte]))
            if stop.wait(every):
                return

    return behave


WELL = answering(
    b'<cas:serviceResponse xmlns:cas="http://www.yale.edu/tp/cas">'
    b'<cas:authenticationFailure code="INVALID_REQUEST">ticket and service are required'
    b"</cas:authenticationFailure></cas:serviceResponse>"
)


@contextmanager
def broken_server(behave: Callable[[socket.socket, threading.Event], None], port: int = 0) -> Iterator[str]:
    """A CAS on loopback that misbehaves when a ticket is to be validated, and is well otherwise; gives the address."""
    stop = threading.Event()
    threads: list[threading.Thread] = []
    listener = socket.create_server(("127.0.0.1", port))

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                head = b""
                while b"\r\n\r\n" not in head and (piece := connection.recv(65536)):
                    head += piece
                (behave if b"ticket=" in head else WELL)(connection, stop)
            except OSError:  # the client hung up first, as it should
                return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # closed: the end
                return
            threads.append(threading.Thread(target=serve, args=(connection,), daemon=True))
            threads[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(5)
        for thread in threads:
            thread.join(5)
