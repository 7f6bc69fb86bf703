"""A small threaded HTTP/1.1 server for WSGI applications on loopback.

Werkzeug's development server closes every connection and lingers 10 ms after each answer to see whether the client
still sends. Here a request is read whole before the application runs and an answer is sent whole, so connections can
stay open and no byte of one request is mistaken for the next. The price: answers cannot be streamed.
"""

from __future__ import annotations

import io
import logging
import socket
import threading
import time
from typing import IO, TYPE_CHECKING, Any, cast

from werkzeug.serving import DechunkedInput, ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.test import run_wsgi_app

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

BACKLOG = 256
IDLE_SECONDS = 30
LARGEST_BODY = 32 * 1024 * 1024
GRACE_SECONDS = 2.0

_log = logging.getLogger(__name__)


class BodyRefused(Exception):
    """The request's body cannot be read; `status` is the HTTP status to answer."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = IDLE_SECONDS

    def run_wsgi(self) -> None:
        try:
            body = self._body()
            environ = self.make_environ()
        except BodyRefused as refused:
            self.send_error(refused.status)
            return
        except ValueError:  # a request target that is no URL, such as http://[
            self.send_error(400)
            return
        environ["wsgi.input"] = io.BytesIO(body)
        environ["wsgi.input_terminated"] = True
        self.environ = environ
        try:
            chunks, status, headers = run_wsgi_app(self.server.app, environ, buffered=True)
            content = b"".join(chunks)
            head = self._head(status, list(headers), len(content))
        except Exception:  # noqa: BLE001 (the edge: whatever an application raises becomes a logged 500)
            _log.exception("The application failed on %s %r", self.command, self.path)
            self.send_error(500)
            return
        bodiless = self.command == "HEAD" or status[:3] in ("204", "304") or status.startswith("1")
        self.wfile.write(head if bodiless else head + content)

    def _body(self) -> bytes:
        """Read the request's body whole.

        Raises: BodyRefused for a length that is none, a body too large or cut short.
        """
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            # Where both framings are given, trusting the connection afterwards invites request smuggling.
            self.close_connection = True
            return self._chunked_body()
        length = self.headers.get("Content-Length", "0").strip()
        if not (length.isascii() and length.isdigit()) or len(length) > 18:
            raise BodyRefused(400)
        if int(length) > LARGEST_BODY:
            raise BodyRefused(413)
        body = self.rfile.read(int(length))
        if len(body) != int(length):
            raise BodyRefused(400)
        return body

    def _chunked_body(self) -> bytes:
        stream, body = DechunkedInput(cast(IO[bytes], self.rfile)), bytearray()
        try:
            while part := stream.read(65536):
                body += part
                if len(body) > LARGEST_BODY:
                    raise BodyRefused(413)
        except OSError as malformed:
            raise BodyRefused(400) from malformed
        return bytes(body)

    def _head(self, status: str, headers: list[tuple[str, str]], length: int) -> bytes:
        names = {name.lower() for name, _ in headers}
        lines = [f"HTTP/1.1 {status}"]
        lines += [f"{name}: {value}" for name, value in headers if name.lower() != "connection"]
        if "content-length" not in names and not status.startswith(("1", "204", "304")):
            lines.append(f"Content-Length: {length}")
        if "date" not in names:
            lines.append(f"Date: {self.date_time_string()}")
        if self.close_connection:
            lines.append("Connection: close")
        elif self.request_version == "HTTP/1.0":
            lines.append("Connection: keep-alive")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 (werkzeug's name)
        _log.debug("%s: " + message, type, *args)


class _Server(ThreadedWSGIServer):
    """Knows its open connections, so that stopping ends the idle ones too."""

    def __init__(self, app: WSGIApplication, host: str, listener: socket.socket) -> None:
        super().__init__(host, listener.getsockname()[1], app, handler=_Handler, fd=listener.fileno())
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._changed:
            self._open.discard(request)
            self._changed.notify_all()
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # The application's own errors are logged by the handler; what ends here is a broken or hostile connection.
        _log.debug("Connection from %s failed", client_address, exc_info=True)

    def hang_up(self) -> None:
        """End idle connections now and busy ones after their answer, or after GRACE_SECONDS."""
        self._shut(socket.SHUT_RD)
        deadline = time.monotonic() + GRACE_SECONDS
        with self._changed:
            while self._open and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
        self._shut(socket.SHUT_RDWR)

    def _shut(self, how: int) -> None:
        with self._changed:
            for connection in self._open:
                try:
                    connection.shutdown(how)
                except OSError:  # the peer was faster
                    continue


class LoopbackServer:
    """Serve `wsgi_app` on `host`:`port` from threads of this process; port 0 takes a free one.

    The port is bound at once: a port in use raises OSError here, and requests sent before `start` wait.
    """

    def __init__(self, wsgi_app: WSGIApplication, port: int, host: str = "127.0.0.1") -> None:
        with socket.create_server((host, port), backlog=BACKLOG) as listener:  # sets SO_REUSEADDR
            self._server = _Server(wsgi_app, host, listener)
        self.host = host
        self.port: int = self._server.port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name=f"loopback-{self.port}", daemon=True
        )

    @property
    def url(self) -> str:
        """The server's origin, without a slash at the end."""
        return f"http://{self.host}:{self.port}"

    def start(self) -> None:
        """Begin to answer. A server starts once.

        Raises: RuntimeError when started a second time.
        """
        self._thread.start()

    def stop(self) -> None:
        """Take no more connections, finish the answers under way and free the port. May be called twice."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.hang_up()
        self._server.server_close()
