"""A load driver for any CAS server whose login page is an HTML form. Loopback only, bounded in time and number."""

from __future__ import annotations

import asyncio
import html
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from urllib.parse import parse_qs, quote, urlencode, urlsplit

_HIDDEN = re.compile(rb'<input\b[^>]*type="hidden"[^>]*>', re.IGNORECASE)
_ATTRIBUTE = re.compile(rb'\b(name|value)="([^"]*)"', re.IGNORECASE)
_LENGTH = re.compile(rb"^content-length:\s*(\d+)", re.IGNORECASE | re.MULTILINE)
LOOPBACK = {"127.0.0.1", "localhost"}


@dataclass(frozen=True, slots=True)
class Target:
    """A CAS server under load."""

    name: str
    base: str
    login: str
    """Path of the password form."""
    sso: str
    """Path that gives a signed-in person a ticket."""
    validate: str
    service: str
    user: str
    password: str
    user_field: str
    password_field: str


@dataclass(slots=True)
class Figures:
    """What one run measured."""

    latencies: list[float] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """Milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else 0.0


class Connection:
    """One keep-alive connection and one cookie jar."""

    def __init__(self, base: str) -> None:
        parts = urlsplit(base)
        if parts.hostname not in LOOPBACK:
            raise ValueError("load is aimed at loopback only")
        self._host, self._port = parts.hostname, parts.port or 80
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self.cookies: dict[str, str] = {}
        self.forwarded_for = ""
        """The caller's address as a proxy would say it."""

    async def request(self, method: str, path: str, form: dict[str, str] | None = None) -> tuple[int, str, bytes]:
        """Status, Location and body. Opens the connection again once when the server had closed it."""
        for attempt in (1, 2):
            try:
                return await self._request(method, path, form)
            except (ConnectionError, asyncio.IncompleteReadError):
                self.close()
                if attempt == 2:
                    raise
        raise AssertionError

    async def _request(self, method: str, path: str, form: dict[str, str] | None) -> tuple[int, str, bytes]:
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        body = urlencode(form).encode() if form is not None else b""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}:{self._port}", "Accept: */*"]
        if self.cookies:
            lines.append("Cookie: " + "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        if self.forwarded_for:
            lines.append(f"X-Forwarded-For: {self.forwarded_for}")
        if form is not None:
            lines += [
                "Content-Type: application/x-www-form-urlencoded",
                f"Content-Length: {len(body)}",
                f"Referer: http://{self._host}:{self._port}/",
            ]
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        head = await self._reader.readuntil(b"\r\n\r\n")
        status, location, length, closing = int(head[9:12]), "", None, False
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            match name.lower():
                case b"content-length":
                    length = int(value)
                case b"location":
                    location = value.strip().decode()
                case b"connection":
                    closing = value.strip().lower() == b"close"
                case b"set-cookie":
                    cookie, _, content = value.strip().split(b";")[0].decode().partition("=")
                    self.cookies[cookie] = content
        if length is None and status not in (204, 304):
            data, closing = await self._reader.read(), True
        else:
            data = await self._reader.readexactly(length or 0)
        if closing:
            self.close()
        return status, location, data

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


def hidden_fields(page: bytes) -> dict[str, str]:
    found = {}
    for tag in _HIDDEN.findall(page):
        parts = {name.lower(): html.unescape(value.decode()) for name, value in _ATTRIBUTE.findall(tag)}
        if b"name" in parts:
            found[parts[b"name"]] = parts.get(b"value", "")
    return found


async def sign_in(target: Target, connection: Connection, user: str) -> tuple[float, str]:
    """GET the form, POST the password; returns the POST's seconds and where it led."""
    query = f"?service={quote(target.service, safe='')}"
    status, location, page = await connection.request("GET", target.login + query)
    if status != 200:
        raise RuntimeError(f"form {status} {location}")
    fields = hidden_fields(page) | {target.user_field: user, target.password_field: target.password}
    started = time.perf_counter()
    status, location, _ = await connection.request("POST", target.login + query, fields)
    took = time.perf_counter() - started
    if status not in (302, 303):
        raise RuntimeError(f"post {status}")
    return took, location


def ticket_in(location: str) -> str:
    return parse_qs(urlsplit(location).query)["ticket"][0]


async def fetch_ticket(target: Target, connection: Connection) -> str:
    status, location, _ = await connection.request("GET", f"{target.sso}?service={quote(target.service, safe='')}")
    if status not in (302, 303):
        raise RuntimeError(f"sso {status}")
    return ticket_in(location)


async def check_ticket(target: Target, connection: Connection, ticket: str) -> None:
    path = f"{target.validate}?service={quote(target.service, safe='')}&ticket={ticket}"
    status, _, body = await connection.request("GET", path)
    if status != 200 or b"authenticationSuccess" not in body:
        raise RuntimeError(f"validate {status}")


async def drive(work: Callable[[int], Awaitable[float | None]], *, seconds: float, clients: int) -> Figures:
    """Run `work(client)` over and over in `clients` coroutines; it returns seconds, or None when there is no more."""
    figures = Figures()
    end = time.perf_counter() + seconds

    async def client(number: int) -> None:
        while time.perf_counter() < end:
            started = time.perf_counter()
            try:
                took = await work(number)
            except (RuntimeError, OSError, KeyError, asyncio.IncompleteReadError) as error:
                text = str(error)[:60] or type(error).__name__
                figures.errors[text] = figures.errors.get(text, 0) + 1
                continue
            if took is None:
                return
            figures.latencies.append(took or time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(clients)))
    figures.seconds = time.perf_counter() - started
    return figures


async def signed_in(target: Target, count: int) -> list[Connection]:
    connections = []
    for _ in range(count):
        connection = Connection(target.base)
        await sign_in(target, connection, target.user)
        connections.append(connection)
    return connections


async def tickets(target: Target, count: int, sessions: int = 4) -> list[str]:
    found: list[str] = []

    async def collect(connection: Connection) -> None:
        while len(found) < count:
            found.append(await fetch_ticket(target, connection))

    await asyncio.gather(*(collect(connection) for connection in await signed_in(target, sessions)))
    return found


async def measure_page(target: Target, seconds: float, clients: int) -> Figures:
    path = f"{target.login}?service={quote(target.service, safe='')}"
    connections = [Connection(target.base) for _ in range(clients)]

    async def work(number: int) -> float:
        connections[number].cookies.clear()
        status, _, _ = await connections[number].request("GET", path)
        if status != 200:
            raise RuntimeError(f"page {status}")
        return 0.0

    return await drive(work, seconds=seconds, clients=clients)


class Volley(asyncio.Protocol):
    """Sends one request after the other on a kept connection, with as little work as Python can: on a small machine
    what the driver needs is missing to the servers."""

    def __init__(self, supply: Iterator[tuple[bytes, bytes]], figures: Figures, end: float) -> None:
        """`supply` gives a request and what a good answer to it holds."""
        self._supply, self._figures, self._end = supply, figures, end
        self._received = b""
        self._good = b""
        self._started = 0.0
        self.empty = False
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def _next(self) -> None:
        request, self._good = next(self._supply, (b"", b""))
        self.empty = not request
        if self.empty or time.perf_counter() >= self._end:
            self._transport.close()
            return
        self._started = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not found or (length and len(body) < int(length[1])):
            return
        assert length, "an answer without a length"
        if self._good in body:
            self._figures.latencies.append(time.perf_counter() - self._started)
        else:
            text = head[9:12].decode()
            self._figures.errors[text] = self._figures.errors.get(text, 0) + 1
        self._received = b""
        if b"onnection: close" in head:
            self._transport.close()
        else:
            self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(None)


def _same(volley: Volley) -> Volley:
    return volley


async def measure_validate(target: Target, fresh: Sequence[str], seconds: float, clients: int) -> Figures:
    parts = urlsplit(target.base)
    start = f"GET {target.validate}?service={quote(target.service, safe='')}&ticket="
    rest = f" HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: */*\r\n\r\n"
    supply = iter([(f"{start}{ticket}{rest}".encode(), b"authenticationSuccess") for ticket in fresh])
    figures = Figures()
    started = time.perf_counter()

    async def client() -> None:
        while time.perf_counter() < started + seconds:  # a server may close a connection after some requests
            made = Volley(supply, figures, started + seconds)
            await asyncio.get_running_loop().create_connection(partial(_same, made), parts.hostname, parts.port)
            await made.over
            if made.empty:
                return

    await asyncio.gather(*(client() for _ in range(clients)))
    figures.seconds = time.perf_counter() - started
    return figures


async def measure_sso(target: Target, seconds: float, clients: int) -> Figures:
    connections = await signed_in(target, clients)

    async def work(number: int) -> float:
        await check_ticket(target, connections[number], await fetch_ticket(target, connections[number]))
        return 0.0

    return await drive(work, seconds=seconds, clients=clients)


async def measure_sign_in(target: Target, seconds: float, clients: int) -> Figures:
    connections = [Connection(target.base) for _ in range(clients)]

    async def work(number: int) -> float:
        connections[number].cookies.clear()
        took, _ = await sign_in(target, connections[number], target.user)
        return took

    return await drive(work, seconds=seconds, clients=clients)


async def measure_race(target: Target, count: int, parallel: int) -> tuple[int, int]:
    """Of `count` tickets validated `parallel` times at once: how many were accepted more than once, and never."""
    connections = [Connection(target.base) for _ in range(parallel)]
    more = never = 0
    for ticket in await tickets(target, count):
        answers = await asyncio.gather(
            *(check_ticket(target, connection, ticket) for connection in connections), return_exceptions=True
        )
        accepted = sum(answer is None for answer in answers)
        more += accepted > 1
        never += accepted == 0
    return more, never


def replace_login(target: Target, path: str) -> Target:
    """The same server, its page taken at another path."""
    return replace(target, login=path)
