"""Calls to applications (proxy callbacks, logout messages), bounded as a whole.

`requests` bounds every single read. An application that sends a byte now and then, or a body without end, would hold a
thread for ever; so the head of an answer has one deadline, and its body is never read: the status says it all.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection


@dataclass(frozen=True, slots=True)
class Answer:
    """What the head of an answer says."""

    status: int
    retry_after: str = ""
    """The header of that name, as it came."""


def call(http: requests.Session, method: str, url: str, *, timeout: tuple[float, float], **options: Any) -> Answer:
    """Call an application. `timeout` is seconds to connect, then to answer.

    Raises:
        RequestException: no answer in time, or none that is HTTP.
    """
    with http.request(method, url, timeout=timeout, allow_redirects=False, stream=True, **options) as answer:
        return Answer(answer.status_code, answer.headers.get("Retry-After", ""))


def session(ca_file: Path | None = None) -> requests.Session:
    """A session for `call`. Safe to share between threads: it keeps no cookies, of one application for the next.

    `ca_file` is a CA bundle to trust instead of the usual one.
    """
    http = requests.Session()
    http.headers["User-Agent"] = "LMS-Bridge"
    http.trust_env = False
    if ca_file is not None:
        http.verify = str(ca_file)
    http.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("http://", "https://"):
        http.mount(scheme, _Adapter())
    return http


class _Deadline:
    """Mixed into a connection: the answer's head is there within the time-out, or the connection is shut."""

    sock: Any
    timeout: Any

    def getresponse(self) -> HTTPResponse:
        late = threading.Event()

        def hang_up(connection: socket.socket) -> None:
            late.set()
            with contextlib.suppress(OSError):  # the other side was faster
                # TLS must not be told: another thread reads from it. The read ends all the same.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

        watch = threading.Timer(self.timeout, hang_up, [self.sock])
        watch.daemon = True
        watch.start()
        try:
            response: HTTPResponse = super().getresponse()  # type: ignore[misc]
        finally:
            watch.cancel()
        if late.is_set():  # half a head looks like a whole one when the connection ends in it
            raise TimeoutError("the answer did not end")
        return response


class _Http(_Deadline, HTTPConnection):  # type: ignore[misc]  # the mixed-in answer is the same class
    pass


class _Https(_Deadline, HTTPSConnection):  # type: ignore[misc]
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        manager: PoolManager = self.poolmanager
        manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
