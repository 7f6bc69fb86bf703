"""Every page of the service, in both languages: readable by everybody, at every width, with nothing from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.browser.conftest import Watch
from tests.browser.scenes import SCENES
from tests.browser.stage import Stage

pytestmark = pytest.mark.xdist_group("browser pages")

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
NARROW = {"width": 320, "height": 568}
ZOOMED = {"width": 320, "height": 180}
"""What is left of 1280 × 720 at 400 % (WCAG 1.4.10)."""


@dataclass
class Shown:
    """A page as a browser shows it, in one language."""

    page: Page
    watch: Watch
    language: str


@pytest.fixture(
    scope="module",
    params=[(name, language) for name in SCENES for language in ("fr", "en")],
    ids="-".join,
)
def shown(request: pytest.FixtureRequest, chromium: Browser, stage: Stage) -> Iterator[Shown]:
    """Each scene, played once for all the tests that look at it."""
    name, language = request.param
    context = chromium.new_context(locale=language, viewport={"width": 1280, "height": 720}, reduced_motion="reduce")
    context.set_default_timeout(15_000)
    watch = Watch(context)
    page = context.new_page()
    SCENES[name](stage, page)
    yield Shown(page, watch, language)
    context.close()


def violations(page: Page, options: dict[str, object]) -> list[str]:
    found = Axe().run(page, options=options).response["violations"]
    return [f"{item['id']}: {node['html'][:200]} {node['failureSummary']}" for item in found for node in item["nodes"]]


def test_axe_finds_nothing_in_the_light(shown: Shown) -> None:
    shown.page.emulate_media(color_scheme="light")
    assert violations(shown.page, RULES) == []


def test_axe_finds_enough_contrast_in_the_dark(shown: Shown) -> None:
    shown.page.emulate_media(color_scheme="dark")
    assert violations(shown.page, COLOURS) == []


@pytest.mark.parametrize("viewport", [NARROW, ZOOMED], ids=["320 px wide", "at 400 %"])
def test_nothing_has_to_be_scrolled_sideways(shown: Shown, viewport: dict[str, int]) -> None:
    shown.page.set_viewport_size(viewport)
    wide = shown.page.evaluate(
        "() => [...document.querySelectorAll('body *')]"
        ".filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.visually-hidden-focusable'))"
        ".map((e) => e.outerHTML.slice(0, 100))"
    )
    scrolls = shown.page.evaluate("() => document.documentElement.scrollWidth > innerWidth")
    assert (scrolls, wide) == (False, [])


def test_the_page_says_in_its_language_where_one_is(shown: Shown) -> None:
    page = shown.page
    heading = page.locator("h1")
    assert heading.count() == 1
    assert page.locator("html").get_attribute("lang") == shown.language
    title = page.title().removeprefix("Erreur\u00a0: ").removeprefix("Error: ")
    assert title == f"{' '.join(heading.inner_text().split())} – Université de démonstration"


def test_whom_to_ask_stands_on_the_page(shown: Shown) -> None:
    assert shown.page.locator("footer a[href='mailto:assistance@univ-demo.example']").is_visible()


def test_one_button_at_most_is_the_primary_one(shown: Shown) -> None:
    cards = shown.page.locator("main .card, main form:not(.card form)")
    for card in cards.all():
        assert card.locator(".btn-primary").count() <= 1


def test_what_is_pressed_is_large_enough_for_a_thumb(shown: Shown) -> None:
    """44 CSS pixels high (screens: targets), links inside a sentence excepted."""
    shown.page.set_viewport_size({"width": 390, "height": 844})
    small = shown.page.evaluate(
        """() => [...document.querySelectorAll("a, button, input:not([type=hidden])")]
            .filter((e) => !e.closest(".skip, [role=alert], noscript") && e.checkVisibility())
            .map((e) => [e.type === "checkbox" ? e.parentElement : e, e])
            .filter(([area, e]) => area.getBoundingClientRect().height < 43.5 && !e.closest("p:not(.below)"))
            .map(([, e]) => e.outerHTML.slice(0, 120))"""
    )
    assert small == []


def test_nothing_improper_happened_on_the_way(shown: Shown) -> None:
    """No violation of the policy, no error in the console, no request to another host."""
    assert shown.watch.problems == []


def test_no_english_is_left_on_the_french_page(shown: Shown) -> None:
    if shown.language == "fr":
        text = shown.page.locator("body").inner_text().replace("English", "")
        assert re.findall(r"\b(?:the|your|you|sign|this|access)\b", text, re.IGNORECASE) == []
