"""Running peers of the demo, each on a free port of loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from werkzeug import Request, Response

from lms_bridge.demo.mailbox import Mailbox
from lms_bridge.demo.sel import SelDirectory, SelUser, SimulatedSel
from lms_bridge.demo.server import LoopbackServer


class Clock:
    """A clock that stands until a test moves it."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class Application:
    """An application behind SEL: remembers the requests it got."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.arrived = threading.Event()

    def wsgi_app(self, environ, start_response):
        request = Request(environ)
        self.requests.append((request.method, request.full_path, request.form.to_dict()))
        self.arrived.set()
        return Response("ok")(environ, start_response)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def application() -> Iterator[Application]:
    application = Application()
    server = LoopbackServer(application.wsgi_app, 0)
    application.url = f"{server.url}/app"
    server.start()
    yield application
    server.stop()


@pytest.fixture
def directory() -> SelDirectory:
    directory = SelDirectory()
    directory.add(
        SelUser(
            "mdupont",
            "craie-tableau-soleil",
            {
                "mail": "marie.dupont@univ.example",
                "displayName": "Marie <Dupont> & fils",
                "eduPersonAffiliation": ["member", "employee", "teacher"],
                "supannEtablissement": "{UAI}0860856N",
            },
        )
    )
    directory.add(SelUser("jmartin", "étang-bleu-matin", {"displayName": "José Martin"}))
    return directory


@pytest.fixture
def sel(directory, clock) -> Iterator[SimulatedSel]:
    # The base URL needs the port, and the port is known once the server is bound.
    running: list[SimulatedSel] = []

    def wsgi_app(environ, start_response):
        return running[0].wsgi_app(environ, start_response)

    server = LoopbackServer(wsgi_app, 0)
    sel = SimulatedSel(directory, server.url, now=clock)
    running.append(sel)
    server.start()
    yield sel
    server.stop()


@pytest.fixture
def demo_document() -> dict:
    return {
        "urls": {
            "bridge": "http://127.0.0.1:8400",
            "moodle": "http://127.0.0.1:8401",
            "sel": "http://127.0.0.1:8402",
            "mailbox": "http://127.0.0.1:8403",
        },
        "moodle_token": "0123456789abcdef",
        "accounts": [
            {
                "case": "teacher",
                "door": "sel",
                "identifier": "mdupont",
                "password": "craie-tableau-soleil",
                "email": "marie.dupont@univ.example",
            },
            {"case": "not_activated", "door": "sel", "identifier": "nouveau", "password": None, "email": "n@x.example"},
        ],
    }


@pytest.fixture
def mailbox(demo_document, clock) -> Iterator[Mailbox]:
    mailbox = Mailbox(lambda: demo_document, now=clock)
    mailbox.start()
    yield mailbox
    mailbox.stop()


@pytest.fixture
def viewer(mailbox) -> Iterator[str]:
    server = LoopbackServer(mailbox.wsgi_app, 0)
    server.start()
    yield server.url
    server.stop()
