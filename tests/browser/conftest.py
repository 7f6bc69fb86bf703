"""One Chromium for the suite, watched browsers for each test, demos and stages to walk through."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Response, sync_playwright

from tests.browser.stage import Stage, raised_stage
from tests.outside_programs import require
from tests.running_demo import RunningDemo, running_demo

QUIET = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Watch:
    """Writes down what must never happen in a browser: errors of scripts and of the policy, requests to elsewhere."""

    def __init__(self, context: BrowserContext) -> None:
        self.problems: list[str] = []
        context.on("console", self._console)
        context.on("weberror", lambda error: self.problems.append(f"script: {error.error}"))
        context.on("request", self._request)
        context.on("response", self._response)

    def _console(self, message: ConsoleMessage) -> None:
        # What failed to load is noted with its status below; a page that answers 403 on purpose is no error.
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            self.problems.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname != "127.0.0.1":
            self.problems.append(f"asked elsewhere: {request.url}")

    def _response(self, response: Response) -> None:
        asset = response.request.resource_type != "document" and not response.url.endswith("/favicon.ico")
        if asset and response.status >= 400:
            self.problems.append(f"asset: {response.status} {response.url}")


OpenPage = Callable[..., Page]


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    path = require("Chromium (chromium)", shutil.which("chromium"))
    # Chromium's sandbox refuses to run as root, which containers often are.
    alone = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(path), args=[*QUIET, *alone])
        yield browser
        browser.close()


@pytest.fixture
def watches() -> list[Watch]:
    """The watches of the browsers opened in this test."""
    return []


@pytest.fixture
def open_page(chromium: Browser, watches: list[Watch]) -> Iterator[OpenPage]:
    """Open a page in a fresh browser of its own (cookies, storage); takes Playwright's context options.

    Each is watched: at the end of the test nothing improper may have happened in any.
    """
    contexts: list[BrowserContext] = []

    def open_fresh(**options: Any) -> Page:
        context = chromium.new_context(**({"locale": "fr-FR"} | options))
        context.set_default_timeout(15_000)
        contexts.append(context)
        watches.append(Watch(context))
        return context.new_page()

    yield open_fresh
    for context in contexts:
        context.close()
    assert [problem for watch in watches for problem in watch.problems] == []


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    return open_page()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    """The demo that a module's tests share."""
    with running_demo(tmp_path_factory.mktemp("demo")) as demo:
        yield demo


@pytest.fixture
def own_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    """A demo for one test, with its people as they are at first."""
    with running_demo(tmp_path_factory.mktemp("demo")) as demo:
        yield demo


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with raised_stage(tmp_path_factory.mktemp("stage")) as stage:
        yield stage
