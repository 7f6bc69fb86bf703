"""The university's CAS server of the recorded walks: it says what the test wants, over HTTP or TLS."""

import contextlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response


@dataclass
class University:
    """A CAS server that says what the test wants. `sso` is whether the browser has a session there already."""

    user: str = "b1"
    sso: bool = True
    ticket: str = "ST-1"
    answer: bytes | None = None
    status: int = 200
    content_type: str = "application/xml"
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    address: str = ""

    def __call__(self, environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        if request.path.endswith("/login"):
            return self._login(request)(environ, start_response)
        if request.path.endswith("alidate"):
            query = request.query_string.decode()
            self.seen.append((request.method, f"{request.path}?{query}", request.headers["User-Agent"]))
            response = Response(self._validation(request.path), self.status, content_type=self.content_type)
            return response(environ, start_response)
        return Response("cas logged out")(environ, start_response)

    def _login(self, request: Request) -> Response:
        service = request.args["service"]
        if request.args.get("gateway") == "true" and not self.sso:
            return Response(status=302, headers={"Location": service})
        mark = "&" if "?" in service else "?"
        return Response(status=302, headers={"Location": f"{service}{mark}ticket={self.ticket}"})

    def _validation(self, path: str) -> bytes:
        if self.answer is not None:
            return self.answer
        if path.endswith("/validate"):
            return f"yes\n{self.user}\n".encode()
        return success(f"<cas:user>{self.user}</cas:user>")


def success(inner: str, namespace: str = 'xmlns:cas="http://www.yale.edu/tp/cas"', prefix: str = "cas:") -> bytes:
    return (
        f"<{prefix}serviceResponse {namespace}><{prefix}authenticationSuccess>{inner}"
        f"</{prefix}authenticationSuccess></{prefix}serviceResponse>"
    ).encode()


def failure(code: str) -> bytes:
    inner = f'<cas:authenticationFailure code="{code}">no</cas:authenticationFailure>'
    return f'<cas:serviceResponse xmlns:cas="http://www.yale.edu/tp/cas">{inner}</cas:serviceResponse>'.encode()


PLAIN = success("<cas:user>b1</cas:user>")
DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'

# What the CAS server answered in the traces about its answer (ground truth §7, "Validation response").
ANSWERS: dict[str, bytes] = {
    "casxml-attr-dtd-entity": b'<!DOCTYPE r [<!ENTITY u "b1">]>' + success("<cas:user>&u;</cas:user>"),
    "casxml-attr-named-user-before": success(
        "<cas:attributes><cas:user>b2</cas:user></cas:attributes><cas:user>b1</cas:user>"
    ),
    "casxml-attributes-cas3": success(
        "<cas:user>b1</cas:user><cas:attributes><cas:mail>b1@example.test</cas:mail></cas:attributes>"
    ),
    "casxml-bom": b"\xef\xbb\xbf" + PLAIN,
    "casxml-bom-with-decl": b"\xef\xbb\xbf" + DECLARATION + PLAIN,
    "casxml-content-type-json-body": b'{"serviceResponse":{"authenticationSuccess":{"user":"b1"}}}',
    "casxml-empty-body": b"",
    "casxml-failure-INTERNAL_ERROR": failure("INTERNAL_ERROR"),
    "casxml-failure-INVALID_TICKET": failure("INVALID_TICKET"),
    "casxml-html-body": b"<html><body>Service unavailable</body></html>",
    "casxml-leading-newline-with-decl": b"\n" + DECLARATION + PLAIN,
    "casxml-no-namespace": success("<user>b1</user>", namespace="", prefix=""),
    "casxml-other-prefix": success("<sel:user>b1</sel:user>", 'xmlns:sel="http://other.example/"', "sel:"),
    "casxml-pretty": success("\n    <cas:user>\n      b1\n    </cas:user>\n  "),
    "casxml-success-and-failure": success("<cas:user>b1</cas:user>").replace(
        b"</cas:serviceResponse>",
        b'<cas:authenticationFailure code="INVALID_TICKET">no</cas:authenticationFailure></cas:serviceResponse>',
    ),
    "casxml-two-users": success("<cas:user>b1</cas:user><cas:user>b2</cas:user>"),
    "casxml-undeclared-prefix": success("<cas:user>b1</cas:user>", namespace=""),
    "casxml-with-proxies": success("<cas:user>b1</cas:user><cas:proxies><cas:proxy>p</cas:proxy></cas:proxies>"),
    "casxml-xml-declaration": DECLARATION + PLAIN,
    "cas-bogus-ticket-then-retry": PLAIN,
    "cas-ticket-replay-fresh-session": failure("INVALID_TICKET"),
    "cas-validate-hangs-25s": b"garbage",
    "casattras-bogus-ticket": failure("INVALID_TICKET"),
    "casversion-1.0-invalid": b"no\n\n",
    "language-french-invalid-ticket": failure("INVALID_TICKET"),
    "login-empty-user": success("<cas:user></cas:user>"),
}
STATUSES = {"casxml-http-404-with-success": 404, "casxml-http-500-with-success": 500}


@contextlib.contextmanager
def serving(university: University, certificate: Path | None = None) -> Iterator[None]:
    """Serves it, over TLS with the key and certificate in one file, and tells it its address."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    server = make_server("127.0.0.1", 0, university, threaded=True, ssl_context=context)
    server.log = lambda *_arguments: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True)
    thread.start()
    university.address = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}"
    yield
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)
