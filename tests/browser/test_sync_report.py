"""The report of a run is opened from a file: readable by everybody, with nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from lms_bridge.sync import report
from tests.browser.test_every_page import COLOURS, RULES, violations
from tests.lms_bridge.sync.site_runs import add_people, edit, run, site_world

CLOSE_FEW = {"guard": {"close": {"percent": 1, "floor": 1}}, "cohorts": [{"idnumber": "learners", "name": "Learners"}]}


@pytest.fixture(scope="module", params=["fr", "en"])
def page_of_a_plan(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A plan with everything in it: a stop, conflicts of both kinds, closings, changes, creations, cohorts."""
    with site_world(tmp_path_factory.mktemp("report"), site=CLOSE_FEW) as world:
        names = add_people(world, 6)
        run(world)
        world.suspend(names[0])
        world.suspend(names[1])
        edit(world, names[2], family_name="Changed")
        edit(world, names[3], family_name="Here")
        world.user(names[3]).lastname = "There"
        world.user(names[4]).auth = "manual"
        add_people(world, 1, first=50)
        found = run(world, write=False)
        assert (len(found.stops), found.plan.conflicts) == (1, 2)
        settings = world.bridge.runtime.settings
        yield report.write_html(found, settings, world.bridge.clock(), locale=request.param)


@pytest.mark.parametrize(("scheme", "rules"), [("light", RULES), ("dark", COLOURS)])
def test_axe_finds_nothing_in_the_report_of_a_run(
    chromium: Browser, page_of_a_plan: Path, scheme: str, rules: dict[str, object]
) -> None:
    page = chromium.new_page(viewport={"width": 1280, "height": 720}, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(page_of_a_plan.as_uri())
    assert violations(page, rules) == []
    page.close()


def test_the_report_scrolls_its_tables_and_not_itself_on_a_telephone(chromium: Browser, page_of_a_plan: Path) -> None:
    page = chromium.new_page(viewport={"width": 320, "height": 568})
    page.goto(page_of_a_plan.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()
