"""Every page of the service, in both languages: readable by everybody, at every width, with nothing from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser import (
    scenes_of_activation,  # noqa: F401 (they add their scenes)
    scenes_of_acts,  # noqa: F401
    scenes_of_desk,  # noqa: F401
    scenes_of_directories,  # noqa: F401
    scenes_of_duplicates,  # noqa: F401
    scenes_of_extensions,  # noqa: F401
    scenes_of_links,  # noqa: F401
    scenes_of_lost_identifiers,  # noqa: F401
    scenes_of_merges,  # noqa: F401
    scenes_of_registration,  # noqa: F401
)
from tests.browser.conftest import Watch
from tests.browser.scenes import SCENES, Scene
from tests.browser.stage import Stage

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
NARROW = {"width": 320, "height": 568}, {"width": 320, "height": 180}
"""A small telephone, and what is left of 1280 × 720 at 400 % (WCAG 1.4.10)."""


@dataclass
class Shown:
    """A page as a browser shows it, in one language."""

    page: Page
    watch: Watch
    language: str
    scene: Scene


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test looks at every scene in both languages; a language stays on one worker."""
    scenes = [
        pytest.param((name, language), id=f"{name}-{language}", marks=pytest.mark.xdist_group(f"browser {language}"))
        for language in ("fr", "en")
        for name in SCENES
    ]
    metafunc.parametrize("shown", scenes, indirect=True, scope="module")


@pytest.fixture(scope="module")
def shown(request: pytest.FixtureRequest, chromium: Browser, stage: Stage) -> Iterator[Shown]:
    """Each scene, played once for all the tests that look at it."""
    name, language = request.param
    context = chromium.new_context(locale=language, viewport={"width": 1280, "height": 720}, reduced_motion="reduce")
    context.set_default_timeout(30_000)
    watch = Watch(context)
    page = context.new_page()
    SCENES[name].play(stage, page)
    yield Shown(page, watch, language, SCENES[name])
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


def test_nothing_has_to_be_scrolled_sideways_at_320_px_and_at_400_percent(shown: Shown) -> None:
    for viewport in NARROW:
        shown.page.set_viewport_size(viewport)
        too_wide = shown.page.evaluate(
            """() => [...document.querySelectorAll("html, body, body *")]
                .filter((e) => e.getBoundingClientRect().right > innerWidth + 1 || e === document.documentElement
                    && e.scrollWidth > innerWidth)
                .filter((e) => !e.closest(".skip") && e.checkVisibility())
                .map((e) => e.outerHTML.slice(0, 100))"""
        )
        assert too_wide == []


def test_the_page_says_in_its_language_where_one_is(shown: Shown) -> None:
    heading = shown.scene.headings[shown.language]
    expect(shown.page.locator("h1")).to_have_text(heading)
    expect(shown.page.locator("html")).to_have_attribute("lang", shown.language)
    mistake = {"fr": "Erreur\u00a0: ", "en": "Error: "}[shown.language] if shown.scene.alert else ""
    assert shown.page.title().replace("\u00a0", " ") == f"{mistake}{heading} – Université de démonstration".replace(
        "\u00a0", " "
    )


def test_a_mistake_is_told_first_and_has_the_focus(shown: Shown) -> None:
    alert = shown.page.get_by_role("alert")
    expect(alert).to_have_count(1 if shown.scene.alert else 0)
    if shown.scene.alert:
        expect(alert).to_be_focused()


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
            .map((e) => [["checkbox", "radio"].includes(e.type) ? e.parentElement : e, e])
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
