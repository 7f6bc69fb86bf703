"""The help desk's pages with nothing, one, thirty and a hundred thousand entries: whole, narrow enough, one page long.

Pictures of all of them are kept where `PICTURES_IN` says, for people to look at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from lms_bridge.helpdesk.queues import PAGE
from lms_bridge.i18n import figure, use_locale
from tests.browser.conftest import Watch
from tests.browser.crowd import fill
from tests.browser.test_every_page import NARROW
from tests.lms_bridge.helpdesk.conftest import console_with

SITE = {"name": "updago", "url": "http://127.0.0.1:9", "token": "nobody", "nightly": ""}
QUEUES = ["registrations", "extensions", "assistance", "bounces", "corrections", "conflicts", "duplicates", "merges"]
UNDELIVERED = "bounces?list=mails"
"""Says how many there are of the other kind."""
LISTS = [*QUEUES, "duplicates/moodle", UNDELIVERED]
PAGES = ["", *LISTS, "?q=martin", "bulk", "letters", "invitations", "accounts/{someone}", "accounts/{someone}/timeline"]
COUNTS = [0, 1, 30, 100_000]


@dataclass
class Desk:
    """A help desk's browser in one language, and how many entries wait on each of its lists."""

    page: Page
    watch: Watch
    url: str
    language: str
    count: int
    someone: int

    def open(self, path: str) -> None:
        address = f"{self.url}/helpdesk/{path}" if path and path[0] != "?" else f"{self.url}/helpdesk{path}"
        answer = self.page.goto(address.format(someone=self.someone))
        assert answer is not None
        assert answer.status == 200, address

    @property
    def text(self) -> str:
        return self.page.locator("main").inner_text()


@pytest.fixture(scope="module", params=COUNTS, ids=[f"{count}" for count in COUNTS])
def desks(
    request: pytest.FixtureRequest, chromium: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Desk]]:
    with console_with(tmp_path_factory.mktemp("crowd"), sites=[SITE]) as console:
        someone = fill(console.bridge, request.param)
        agent = console.as_("ext.admin")
        found = {}
        for language in ("fr", "en"):
            context = chromium.new_context(locale=language, viewport={"width": 1280, "height": 900})
            context.set_default_timeout(60_000)
            context.add_cookies(
                [
                    {"name": one.name, "value": one.value or "", "url": console.bridge.url}
                    for one in agent.session.cookies
                ]
            )
            watch = Watch(context)
            found[language] = Desk(context.new_page(), watch, console.bridge.url, language, request.param, someone)
        yield found
        for desk in found.values():
            desk.page.context.close()


@pytest.mark.xdist_group("crowded console")
@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path or "start")
def test_a_page_is_whole_however_much_waits(desks: dict[str, Desk], path: str, language: str, tmp_path: Path) -> None:
    desk = desks[language]
    desk.page.set_viewport_size({"width": 1280, "height": 900})
    desk.open(path)
    if path in LISTS:
        rows = desk.page.locator("main .doors > li, main section.card").count()
        assert rows == min(desk.count, PAGE)
        assert desk.page.locator("main a[href*='after='], main a[href*='before=']").count() == (rows < desk.count)
        if desk.count and path != UNDELIVERED:
            with use_locale(language):
                assert figure(desk.count) in desk.text
    for viewport in NARROW:
        desk.page.set_viewport_size(viewport)
        assert desk.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert desk.watch.problems == []
    folder = Path(os.environ.get("PICTURES_IN", tmp_path))
    width = {"fr": 390, "en": 1280}[language]
    desk.page.set_viewport_size({"width": width, "height": 900})
    name = "".join(letter if letter.isalnum() else "-" for letter in path) or "start"
    picture = folder / f"{name}-{desk.count}-{language}-{width}.png"
    assert len(desk.page.screenshot(path=picture, full_page=True)) > 5000
