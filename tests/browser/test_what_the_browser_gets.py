"""What reaches the browser besides the words: few bytes, closed cookies, a policy that bites."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, Response, expect

from tests.browser.conftest import OpenPage, Watch
from tests.browser.steps import expect_heading, sign_in_at_sel, sign_in_locally
from tests.running_demo import RunningDemo

pytestmark = pytest.mark.xdist_group("browser walks")

MOST_BYTES = 30 * 1024


@pytest.mark.parametrize("path", ["/cas/login", "/signin/local"])
def test_a_sign_in_page_with_all_it_loads_is_under_30_kb(demo: RunningDemo, page: Page, path: str) -> None:
    loaded: list[Response] = []

    def note(response: Response) -> None:
        loaded.append(response)

    page.on("response", note)
    page.goto(f"{demo.bridge}{path}?{urlencode({'service': demo.updago})}")
    page.wait_for_load_state("networkidle")
    sizes = {response.url: len(response.body()) for response in loaded}
    assert len(sizes) >= 4, "the page, its style sheets and its script"
    assert sum(sizes.values()) < MOST_BYTES, sizes


def test_a_second_visit_loads_the_page_only(demo: RunningDemo, page: Page) -> None:
    page.goto(f"{demo.bridge}/signin/local")
    page.wait_for_load_state("networkidle")
    page.goto(f"{demo.bridge}/cas/login?{urlencode({'service': demo.updago})}")
    transferred = page.evaluate(
        "() => performance.getEntriesByType('resource').filter((e) => e.transferSize > 0).map((e) => e.name)"
    )
    assert transferred == []


def test_every_cookie_is_closed_to_scripts_and_to_other_sites(demo: RunningDemo, page: Page) -> None:
    """SES-05, as far as plain http on loopback goes."""
    page.goto(f"{demo.bridge}/signin/sel?{urlencode({'service': demo.updago})}")
    sign_in_at_sel(page, demo.account("teacher"))
    page.goto(f"{demo.bridge}/cas/logout")
    page.goto(f"{demo.bridge}/signin/local?lang=fr")
    page.get_by_label("Se souvenir du nom d'utilisateur").check()
    sign_in_locally(page, demo.account("learner_confirmed"))
    expect_heading(page, "Bonjour Alice Moreau")
    ours = [cookie for cookie in page.context.cookies() if str(cookie["name"]).startswith("lms-bridge-")]
    purposes = {str(cookie["name"]).split("-")[2] for cookie in ours}
    assert {"session", "form", "browser", "device", "door", "username", "language"} <= purposes
    assert {(cookie["httpOnly"], cookie["sameSite"], cookie["path"]) for cookie in ours} == {(True, "Lax", "/")}
    assert page.evaluate("document.cookie") == ""


def test_the_session_s_cookie_ends_with_the_browser(demo: RunningDemo, page: Page) -> None:
    page.goto(f"{demo.bridge}/signin/local")
    sign_in_locally(page, demo.account("learner_confirmed"))
    expect_heading(page, "Bonjour Alice Moreau")
    session = next(cookie for cookie in page.context.cookies() if "-session-" in str(cookie["name"]))
    assert session["expires"] == -1


@pytest.mark.parametrize(
    "attack",
    [
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.broken = 1'}))",
        "document.body.append(Object.assign(document.createElement('img'), {src: 'http://127.0.0.1:9/x.png'}))",
        "document.body.setAttribute('onclick', 'window.broken = 1')",
    ],
    ids=["a script in the page", "a picture from elsewhere", "a script in an attribute"],
)
def test_the_policy_stops_what_does_not_belong_to_the_page(
    demo: RunningDemo, page: Page, watches: list[Watch], attack: str
) -> None:
    page.goto(f"{demo.bridge}/signin/local")
    page.evaluate(f"() => {{ {attack} }}")
    page.locator("body").click()
    assert page.evaluate("window.broken") is None
    found = [problem for problem in watches[0].problems if "Content Security Policy" in problem]
    assert found, "the watch of these tests sees it, too"
    watches[0].problems.clear()


def test_no_other_site_can_show_the_sign_in_page_in_a_frame(
    demo: RunningDemo, page: Page, watches: list[Watch]
) -> None:
    page.goto(f"{demo.moodle}/")
    page.evaluate(
        "url => { const frame = document.createElement('iframe'); frame.src = url; document.body.append(frame) }",
        f"{demo.bridge}/signin/local",
    )
    expect(page.locator("iframe")).to_be_attached()
    page.wait_for_load_state("networkidle")
    assert page.frames[1].locator("#password").count() == 0
    watches[0].problems.clear()


def test_the_watch_sees_a_request_to_another_host(demo: RunningDemo, page: Page, watches: list[Watch]) -> None:
    """The suite's own assertion can fail: a page that asks elsewhere is noticed."""
    page.goto(f"{demo.mailbox}/")
    page.evaluate("() => { location.href = 'http://elsewhere.invalid/' }")
    page.wait_for_event("requestfailed")
    assert watches[0].problems == ["asked elsewhere: http://elsewhere.invalid/"]
    watches[0].problems.clear()


@pytest.mark.parametrize("path", ["/%5Celsewhere.invalid/", "/%2F/elsewhere.invalid/", "//elsewhere.invalid/"])
def test_the_language_switch_of_a_strange_address_stays_here(demo: RunningDemo, page: Page, path: str) -> None:
    """SES-05: browsers read a backslash as a slash, and two slashes as the beginning of a host."""
    page.goto(f"{demo.bridge}{path}")
    expect_heading(page, "Cette page n'existe pas")
    page.get_by_role("link", name="English").click()
    expect_heading(page, "This page does not exist")
    assert page.url.startswith(f"{demo.bridge}/")


@pytest.mark.parametrize("language", ["fr", "en"])
def test_a_page_is_announced_in_its_language(demo: RunningDemo, open_page: OpenPage, language: str) -> None:
    page = open_page(locale=language)
    answer = page.goto(f"{demo.bridge}/cas/login")
    assert answer is not None
    assert answer.headers["content-language"] == language
    assert re.match(rf'<!doctype html>\s*<html lang="{language}">', answer.text())
