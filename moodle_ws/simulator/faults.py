"""Faults a test switches on: for one request by a header, for the next requests, or for the n-th of a function.

The header `X-Simulate-Fault: slow=2`, `Faults.next("slow=2")` and `Faults.at("core_user_update_users", 3, "lost")`
take the same words, several separated by commas:

* the way there and back: `slow=SECONDS` waits before anything else; `drop` closes the connection without an answer;
  `cut` closes it in the middle of the answer; `drip=SECONDS` gives the answer piece by piece over that time; `lost`
  does the work and then closes the connection (the write happens, its answer is lost); `noise` prints a PHP warning
  before the answer;
* an answer that is none: `503`, `500`, `403`, `empty`, `redirect`, `maintenance` (the command line's: HTTP 503);
* Moodle's traps: `sitemaintenance` (the administration's: an error answer); `invalidresponse` does the work and then
  fails on its own answer; `max_input_vars=N` cuts this form as PHP does (below 0 the token is lost too);
  `database=mariadb` or `postgresql` compares as that database does; `poison=ID` makes that user's row unfit, `hide=ID`
  invisible; `without=CAPABILITY` takes a right from the token; `refuse=TEXT` makes a write invalid when a value of it
  is TEXT. Several ids, rights or texts are separated by `|`.
"""

import contextlib
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Request, Response

from moodle_ws.simulator.flavours import Database

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

HEADER = "X-Simulate-Fault"

# Recording `noise-php-warning-before-json`.
NOISE = (
    b"<br />\n<b>Warning</b>:  Undefined variable $undefinedvar in <b>[dirroot]/config-extra.php</b> on line <b>3</b>"
    b"<br />\n"
)

_DRIPS = 10

_ALONE: dict[str, Callable[[], Response]] = {
    "503": lambda: Response("<html><body>Service Unavailable</body></html>", 503, content_type="text/html"),
    "500": lambda: Response("", 500, content_type="text/html"),
    "403": lambda: Response("", 403, content_type="text/html; charset=utf-8"),
    "empty": lambda: Response("", 200, content_type="text/html"),
    "redirect": lambda: Response("", 302, headers={"Location": "/login/index.php"}),
}
_NAMES = _ALONE.keys() | {
    *("slow", "drop", "cut", "drip", "lost", "noise", "maintenance", "sitemaintenance", "invalidresponse"),
    *("max_input_vars", "database", "poison", "hide", "without", "refuse"),
}

Met = Mapping[str, str]


@dataclass(frozen=True)
class Twists:
    """How one call differs from what the site's state would give."""

    sitemaintenance: bool = False
    spoil: bool = False
    database: Database | None = None
    poisoned: frozenset[int] = frozenset()
    hidden: frozenset[int] = frozenset()
    without: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()


def twists(met: Met) -> Twists:
    """The traps among the faults a request meets."""
    return Twists(
        sitemaintenance="sitemaintenance" in met,
        spoil="invalidresponse" in met,
        database=Database(met["database"]) if "database" in met else None,
        poisoned=frozenset(map(int, _several(met, "poison"))),
        hidden=frozenset(map(int, _several(met, "hide"))),
        without=frozenset(_several(met, "without")),
        refused=frozenset(_several(met, "refuse")),
    )


def _several(met: Met, name: str) -> list[str]:
    return met[name].split("|") if name in met else []


def parse(words: str) -> dict[str, str]:
    """The faults named in `words`. Raises ValueError for an unknown one."""
    parts = [part.strip().partition("=") for part in words.split(",") if part.strip()]
    met = {name: value for name, _sep, value in parts}
    unknown = met.keys() - _NAMES
    if unknown:
        raise ValueError(f"not a fault: {', '.join(sorted(unknown))}")
    return met


class Faults:
    """The faults of one simulated Moodle: those queued for coming web service requests."""

    def __init__(self) -> None:
        self._queued: deque[Met] = deque()
        self._at: dict[tuple[str, int], Met] = {}
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()

    def next(self, *faults: str) -> None:
        """Queues one fault per coming web service request; "" lets one request pass. Raises ValueError."""
        parsed = [parse(words) for words in faults]
        with self._lock:
            self._queued.extend(parsed)

    def at(self, function: str, number: int, fault: str) -> None:
        """The `number`-th request for `function` from now on (1 is the next) meets `fault`, whatever is queued.
        Raises ValueError."""
        parsed = parse(fault)
        with self._lock:
            self._at[function, self._seen[function] + number] = parsed

    def of(self, request: Request, function: str) -> Met:
        """The faults this request meets: its header's, else those set for this one of the function, else the next
        queued. Raises ValueError for an unknown word in the header."""
        named = request.headers.get(HEADER)
        with self._lock:
            self._seen[function] += 1
            ordered = self._at.pop((function, self._seen[function]), None)
            if named is None and ordered is None:
                return self._queued.popleft() if self._queued else {}
        return parse(named) if named is not None else ordered or {}


def before(met: Met) -> Response | None:
    """Waits, or gives the answer that stands in for Moodle's; None to go on."""
    if "slow" in met:
        time.sleep(float(met["slow"] or "1"))
    return next((_ALONE[name]() for name in met if name in _ALONE), None)


def after(met: Met, response: Response) -> "Response | Dropped | Dripping":
    """The answer as it leaves: with noise before it, in pieces, in part, or not at all."""
    if "noise" in met:
        response.set_data(NOISE + response.get_data())
    if "lost" in met:
        return Dropped()
    if "cut" in met:
        return Dropped(half_of=response)
    return Dripping(response, float(met["drip"] or "1")) if "drip" in met else response


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


class Dripping:
    """A WSGI answer that comes in ten pieces, spread over some seconds."""

    def __init__(self, response: Response, seconds: float) -> None:
        self._response = response
        self._seconds = seconds

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        body = self._response.get_data()
        start_response(self._response.status, self._response.get_wsgi_headers(environ).to_wsgi_list())
        size = len(body) // _DRIPS + 1
        for start in range(0, len(body), size):
            yield body[start : start + size]
            time.sleep(self._seconds / _DRIPS)
