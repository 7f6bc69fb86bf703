"""Faults a test switches on: for one request by a header, or for the next requests through `Faults`.

`X-Simulate-Fault: slow=2` waits two seconds, `drop` closes the connection without an answer, `cut` closes it in the
middle of the answer, `noise` prints a PHP warning before the answer, `maintenance` answers as in maintenance mode,
`503`, `500` and `403` answer with that status, `empty` with an empty page, `redirect` with a redirect, `lost` does
the work and then closes the connection (the write happens, its answer is lost), `invalidresponse` does the work and
then fails on its own answer. Several are separated by commas.
"""

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Request, Response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

HEADER = "X-Simulate-Fault"

# Recording `noise-php-warning-before-json`.
NOISE = (
    b"<br />\n<b>Warning</b>:  Undefined variable $undefinedvar in <b>[dirroot]/config-extra.php</b> on line <b>3</b>"
    b"<br />\n"
)

_ALONE: dict[str, Callable[[], Response]] = {
    "503": lambda: Response("<html><body>Service Unavailable</body></html>", 503, content_type="text/html"),
    "500": lambda: Response("", 500, content_type="text/html"),
    "403": lambda: Response("", 403, content_type="text/html; charset=utf-8"),
    "empty": lambda: Response("", 200, content_type="text/html"),
    "redirect": lambda: Response("", 302, headers={"Location": "/login/index.php"}),
}


class Faults:
    """The faults of one simulated Moodle: those queued for the next web service requests."""

    def __init__(self) -> None:
        self._queued: deque[str] = deque()
        self._lock = threading.Lock()

    def next(self, *faults: str) -> None:
        """Queues one fault per coming web service request; "" lets one request pass."""
        with self._lock:
            self._queued.extend(faults)

    def of(self, request: Request) -> tuple[str, ...]:
        """The faults this request meets: its header's, else the next queued."""
        named = request.headers.get(HEADER)
        if named is None:
            with self._lock:
                named = self._queued.popleft() if self._queued else ""
        return tuple(part.strip() for part in named.split(",") if part.strip())


def before(faults: Iterable[str]) -> Response | None:
    """Waits, or gives the answer that stands in for Moodle's; None to go on."""
    for fault in faults:
        name, _sep, value = fault.partition("=")
        if name == "slow":
            time.sleep(float(value or "1"))
        if name in _ALONE:
            return _ALONE[name]()
    return None


def after(faults: Iterable[str], response: Response) -> Response:
    """The answer with noise before it."""
    if "noise" in faults:
        response.set_data(NOISE + response.get_data())
    return response


class Dropped:
    """A WSGI answer that breaks the connection, before its first byte or after half of the answer."""

    def __init__(self, half_of: Response | None = None) -> None:
        self._half_of = half_of

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        connection: Any = environ.get("werkzeug.socket")
        if self._half_of is not None:
            body = self._half_of.get_data()
            start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
            yield body[: len(body) // 2]
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        raise ConnectionAbortedError
