"""Looks at other servers, each bounded in time and size. They read; none of them writes, follows or signs in."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError, NameResolutionError

from lms_bridge.cas import outbound

CONNECT_SECONDS = 4.0
ANSWER_SECONDS = 8.0
LARGEST_PAGE = 1024 * 1024


class Silence(StrEnum):
    """Why nothing came."""

    NAME = "name"
    CERTIFICATE = "certificate"
    TIMEOUT = "timeout"
    CONNECTION = "connection"


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Nothing came. `detail` is OpenSSL's or the system's own short reason, for the certificate and the name."""

    why: Silence
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """An answer. `elapsed` is in seconds; `date` is the server's clock, `asked` ours at the middle of the call."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed: float
    asked: datetime

    @property
    def location(self) -> str:
        return self.headers.get("Location", "")

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def clock_ahead(self) -> float | None:
        """Seconds that the server's clock is ahead of ours, to a second; None when it does not say."""
        try:
            date = parsedate_to_datetime(self.headers.get("Date", ""))
        except (TypeError, ValueError):
            return None
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        ahead = (date - self.asked).total_seconds()
        # The header has whole seconds, cut off, and the answer was under way for a moment.
        return 0.0 if abs(ahead) < 1.5 + self.elapsed else ahead


def fetch(
    url: str,
    *,
    ca_file: Path | None = None,
    headers: Mapping[str, str] | None = None,
    form: bytes | None = None,
    connect: float = CONNECT_SECONDS,
    answer: float = ANSWER_SECONDS,
) -> Page | NoAnswer:
    """One request, GET or (with `form`) POST. No redirect is followed. `ca_file` replaces the usual authorities."""
    asked, began = datetime.now(UTC), time.monotonic()
    sent = dict(headers or {})
    if form is not None:
        sent["Content-Type"] = "application/x-www-form-urlencoded"
    try:
        with (
            outbound.session(ca_file) as http,
            http.request(
                "GET" if form is None else "POST",
                url,
                headers=sent,
                data=form,
                timeout=(connect, answer),
                allow_redirects=False,
                stream=True,
            ) as response,
        ):
            body = _read(response, began + connect + answer)
            elapsed = time.monotonic() - began
            return Page(response.status_code, response.headers, body, elapsed, asked + (datetime.now(UTC) - asked) / 2)
    # Everything of requests is an OSError, as is a connection that breaks while the answer is read.
    except (HTTPError, OSError) as error:
        return _why(error)


def _read(response: requests.Response, deadline: float) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while size < LARGEST_PAGE and (piece := response.raw.read1(65_536, decode_content=True)):
        pieces.append(piece)
        size += len(piece)
        if time.monotonic() > deadline:
            raise TimeoutError
    return b"".join(pieces)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _why(error: BaseException) -> NoAnswer:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return NoAnswer(Silence.CERTIFICATE, cause.verify_message)
        if isinstance(cause, ssl.SSLError):
            return NoAnswer(Silence.CERTIFICATE, cause.reason or "TLS")
        if isinstance(cause, NameResolutionError | socket.gaierror):
            return NoAnswer(Silence.NAME)
        if isinstance(cause, TimeoutError | requests.Timeout):
            return NoAnswer(Silence.TIMEOUT)
    return NoAnswer(Silence.CONNECTION)


def certificate_until(url: str, *, ca_file: Path | None = None) -> datetime | NoAnswer | None:
    """Until when the certificate behind an https address is good, its chain and host name verified; None for http."""
    parts = urlsplit(url)
    if parts.scheme != "https" or parts.hostname is None:
        return None
    try:
        context = ssl.create_default_context(cafile=ca_file or requests.utils.DEFAULT_CA_BUNDLE_PATH)
        with (
            socket.create_connection((parts.hostname, parts.port or 443), timeout=CONNECT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname) as secure,
        ):
            until = str((secure.getpeercert() or {})["notAfter"])
    except OSError as error:
        return _why(error)
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(until), UTC)
