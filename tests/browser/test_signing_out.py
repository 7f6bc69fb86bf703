"""The way out: one click, everywhere, and nothing private left behind."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.steps import expect_heading, sign_in_at_sel, sign_in_locally, whoami
from tests.running_demo import RunningDemo, eventually, running_demo

pytestmark = pytest.mark.xdist_group("browser walks")


def enter_through_sel(page: Page, demo: RunningDemo, case: str) -> None:
    page.goto(f"{demo.bridge}/signin/sel?{urlencode({'service': demo.updago})}")
    sign_in_at_sel(page, demo.account(case))
    expect(page).to_have_url(f"{demo.moodle}/my/")


def sign_out_everywhere(page: Page, demo: RunningDemo) -> None:
    page.goto(f"{demo.bridge}/")
    page.get_by_role("link", name="Se déconnecter partout").click()
    expect(page.get_by_role("listitem").filter(has_text="UPdago")).to_be_visible()
    page.get_by_role("button", name="Se déconnecter partout").click()
    expect_heading(page, "Vous êtes déconnecté·e")


def test_signing_out_everywhere_ends_sel_the_bridge_and_moodle(demo: RunningDemo, page: Page) -> None:
    enter_through_sel(page, demo, "teacher")
    sign_out_everywhere(page, demo)
    page.goto(f"{demo.sel}/cas/login")
    expect(page.get_by_label("Identifiant SEL")).to_be_visible()
    page.goto(f"{demo.bridge}/")
    expect_heading(page, "Se connecter")
    eventually(lambda: whoami(page, demo) is None)


def test_signing_out_everywhere_reaches_other_devices(demo: RunningDemo, open_page: OpenPage) -> None:
    computer, phone = open_page(), open_page()
    for page in (computer, phone):
        enter_through_sel(page, demo, "student")
    sign_out_everywhere(computer, demo)
    phone.goto(f"{demo.bridge}/")
    expect_heading(phone, "Se connecter")
    eventually(lambda: whoami(phone, demo) is None)


def test_signing_out_everywhere_works_without_javascript(demo: RunningDemo, open_page: OpenPage) -> None:
    page = open_page(java_script_enabled=False)
    page.goto(f"{demo.bridge}/signin/local?{urlencode({'service': demo.updago})}")
    sign_in_locally(page, demo.account("learner_confirmed"))
    sign_out_everywhere(page, demo)
    page.goto(f"{demo.bridge}/")
    expect_heading(page, "Se connecter")
    eventually(lambda: whoami(page, demo) is None)


def test_signing_out_of_updago_signs_out_of_the_bridge_and_of_sel(demo: RunningDemo, page: Page) -> None:
    enter_through_sel(page, demo, "teacher")
    page.get_by_role("button", name="Se déconnecter").click()
    expect(page).not_to_have_url(f"{demo.moodle}/my/")
    page.goto(f"{demo.bridge}/")
    expect_heading(page, "Se connecter")
    page.goto(f"{demo.sel}/cas/login")
    expect(page.get_by_label("Identifiant SEL")).to_be_visible()
    assert whoami(page, demo) is None


def test_somebody_may_stay_signed_in_after_all(demo: RunningDemo, page: Page) -> None:
    page.goto(f"{demo.bridge}/signin/local")
    sign_in_locally(page, demo.account("learner_confirmed"))
    page.get_by_role("link", name="Se déconnecter partout").click()
    page.get_by_role("link", name="Rester connecté·e").click()
    expect_heading(page, "Bonjour Alice Moreau")


def test_the_back_button_after_signing_out_shows_nothing_private(demo: RunningDemo, page: Page) -> None:
    page.goto(f"{demo.bridge}/signin/local")
    sign_in_locally(page, demo.account("learner_confirmed"))
    expect_heading(page, "Bonjour Alice Moreau")
    page.get_by_role("link", name="Se déconnecter", exact=True).click()
    expect_heading(page, "Vous êtes déconnecté·e")
    page.go_back()
    expect_heading(page, "Se connecter")
    assert "Alice" not in page.content()
    assert "ext.alice" not in page.content()


def test_two_demos_side_by_side_keep_their_people_apart(demo: RunningDemo, page: Page) -> None:
    with running_demo() as other:
        enter_through_sel(page, demo, "teacher")
        enter_through_sel(page, other, "student")
        assert (whoami(page, demo), whoami(page, other)) == ("tmartin", "sdiallo")
        page.goto(f"{other.bridge}/cas/logout")
        expect_heading(page, "Vous êtes déconnecté·e")
        page.goto(f"{demo.bridge}/")
        expect_heading(page, "Bonjour Théo Martin")
