"""A simulated Moodle behind a real HTTP server on loopback."""

import contextlib
import socket
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Request, Response

from moodle_ws.simulator import browser, faults, webservice
from moodle_ws.simulator.options import SimulatorOptions
from moodle_ws.simulator.pace import Workers, rows_of
from moodle_ws.simulator.site import Site

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_ENDPOINT = "/webservice/rest/server.php"


class SimulatedMoodle:
    """A Moodle made of recordings: its state in `site`, its faults in `faults`, its face in `wsgi_app`.

    `calls` lists the web service functions asked for so far, in order, those that met a fault included.

    >>> moodle = SimulatedMoodle(SimulatorOptions(cas_url="http://127.0.0.1:8400/cas"))
    >>> with moodle.serve("127.0.0.1", 8401) as handle:
    ...     print(handle.url)
    """

    def __init__(self, options: SimulatorOptions | None = None) -> None:
        self.site = Site(options or SimulatorOptions())
        self.faults = faults.Faults()
        self.calls: list[str] = []
        pace = self.site.options.pace
        self._workers = None if pace is None else Workers(pace)

    def wsgi_app(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """The WSGI application: the web service endpoint and the pages."""
        request = Request(environ)
        request.max_content_length = 64 * 1024 * 1024
        request.max_form_memory_size = None
        if request.path != _ENDPOINT:
            return browser.answer(self.site, request)(environ, start_response)
        return self._web_service(request)(environ, start_response)

    def _web_service(self, request: Request) -> "Response | faults.Dropped | faults.Dripping":
        # The form is read before anything goes wrong, as PHP does: a client must have sent all of it.
        form = webservice.read_form(self.site, request)
        function = str(form.get("wsfunction", ""))
        self.calls.append(function)
        try:
            met = self.faults.of(request, function)
        except ValueError as error:
            return Response(str(error), 400)
        if "max_input_vars" in met:
            form = webservice.read_form(self.site, request, max_input_vars=int(met["max_input_vars"]))
        stands_in = faults.before(met)
        if stands_in is not None:
            return stands_in
        if "drop" in met:
            return faults.Dropped()
        if self.site.maintenance_cli or "maintenance" in met:
            return Response("<html><body>CLI maintenance</body></html>", 503, content_type="text/html; charset=utf-8")
        return faults.after(met, self._worked(function, form, faults.twists(met)))

    def _worked(self, function: str, form: dict[str, Any], twists: faults.Twists) -> Response:
        if self._workers is None:
            return webservice.answer(self.site, form, twists).response
        with self._workers.working(function) as counted:
            answered = webservice.answer(self.site, form, twists)
            counted(rows_of(form, answered.value))
        return answered.response

    def serve(self, host: str = "127.0.0.1", port: int = 0) -> "ServerHandle":
        """Serves in a thread of its own until `stop()`; port 0 takes a free one. Unless the options name an address,
        the site's wwwroot becomes the one it is served at."""
        server = _Server(host, port, self.wsgi_app, handler=_Handler)
        handle = ServerHandle(server, host)
        if self.site.options.url is None:
            self.site.wwwroot = handle.url
        return handle


class ServerHandle:
    """A running server: `url` without a slash at its end, `connections` made to it so far, and `stop()`."""

    def __init__(self, server: "_Server", host: str) -> None:
        self._server = server
        self.url = f"http://{host}:{server.server_port}"
        self._thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.02}, name=f"simulated-moodle-{server.server_port}"
        )
        self._thread.daemon = True
        self._thread.start()

    def __enter__(self) -> "ServerHandle":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def connections(self) -> int:
        """How many connections were made so far."""
        return self._server.accepted

    def close_connections(self) -> None:
        """Closes every open connection, as a web server does with idle ones."""
        self._server.close_connections()

    def stop(self) -> None:
        """Stops serving and closes every connection. Safe to call twice."""
        self._server.shutdown()
        self._server.server_close()
        self._server.close_connections()
        self._thread.join(timeout=5)


class _Server(ThreadedWSGIServer):
    """Remembers its open connections, so that stopping leaves none behind."""

    def __init__(self, host: str, port: int, app: Any, handler: type[WSGIRequestHandler]) -> None:
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        self.accepted = 0
        super().__init__(host, port, app, handler=handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._connections_lock:
            self._connections.add(request)
            self.accepted += 1
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._connections_lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """Closes what keep-alive left open."""
        with self._connections_lock:
            left, self._connections = list(self._connections), set()
        for connection in left:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that left, or a dropped connection asked for: nothing to report."""

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's signature
        """Silent: a form carries the token."""


class _Handler(WSGIRequestHandler):
    """HTTP/1.1 with connections that are kept, as by a real site behind its web server.

    Werkzeug's own handler closes every connection, and reads on after each request for 10 ms to find out whether a
    body was left over. Here the web service reads its whole form, so the next request can follow; every other
    request closes its connection.
    """

    protocol_version = "HTTP/1.1"
    timeout = 30
    disable_nagle_algorithm = True  # head and body are two writes, the second of which must not wait for an answer

    def run_wsgi(self) -> None:
        """Answers one request."""
        environ = self.make_environ()
        begun: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], _error: Any = None) -> Any:
            begun[:] = [(status, headers)]
            return self.wfile.write

        try:
            answer = self.server.app(environ, start_response)
            for piece in answer:
                if begun:
                    self._begin(*begun.pop())
                self.wfile.write(piece)
            if begun:
                self._begin(*begun.pop())
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _begin(self, status: str, headers: list[tuple[str, str]]) -> None:
        code, _blank, words = status.partition(" ")
        self.send_response(int(code), words)
        for name, value in headers:
            self.send_header(name, value)
        told_the_end = any(name.lower() == "content-length" for name, _value in headers)
        if self.path.partition("?")[0] != _ENDPOINT or not told_the_end:
            self.send_header("Connection", "close")
        self.end_headers()

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's signature
        """Silent: an address carries tickets and a form the token."""

    def address_string(self) -> str:
        """Without asking a name server."""
        return str(self.client_address[0])
