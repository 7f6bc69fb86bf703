"""The ways people come in, from the place they start to the page they wanted, in a real browser."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.steps import (
    LOCAL_DOOR,
    SEL_DOOR,
    choose_door,
    expect_heading,
    sign_in_at_sel,
    sign_in_locally,
    whoami,
)
from tests.running_demo import RunningDemo

pytestmark = pytest.mark.xdist_group("browser walks")


@pytest.fixture(params=[True, False], ids=["with JavaScript", "without JavaScript"])
def any_page(request: pytest.FixtureRequest, open_page: OpenPage) -> Page:
    """A browser, once with JavaScript and once without."""
    return open_page(java_script_enabled=request.param)


def portal_tile(demo: RunningDemo) -> str:
    """The link behind the portal's tile."""
    return f"{demo.bridge}/signin/sel?{urlencode({'service': demo.updago})}"


def test_the_portal_tile_leads_through_sel_into_updago(demo: RunningDemo, any_page: Page) -> None:
    any_page.goto(portal_tile(demo))
    assert any_page.url.startswith(f"{demo.sel}/cas/login"), "no chooser on the way"
    sign_in_at_sel(any_page, demo.account("teacher"))
    expect(any_page).to_have_url(f"{demo.moodle}/my/")
    assert whoami(any_page, demo) == "tmartin"


def test_a_deep_link_leads_through_exterieurs_to_the_page_asked_for(demo: RunningDemo, any_page: Page) -> None:
    any_page.goto(f"{demo.moodle}/course/view.php?id=2")
    expect_heading(any_page, "Se connecter à UPdago")
    choose_door(any_page, LOCAL_DOOR)
    sign_in_locally(any_page, demo.account("learner_confirmed"))
    expect(any_page).to_have_url(f"{demo.moodle}/course/view.php?id=2")
    assert whoami(any_page, demo) == "ext.alice.moreau"


def test_a_deep_link_leads_through_sel_to_the_page_asked_for(demo: RunningDemo, page: Page) -> None:
    page.goto(f"{demo.moodle}/course/view.php?id=2")
    choose_door(page, SEL_DOOR)
    sign_in_at_sel(page, demo.account("student"))
    expect(page).to_have_url(f"{demo.moodle}/course/view.php?id=2")
    assert whoami(page, demo) == "sdiallo"


def test_a_person_signed_in_enters_without_being_asked_again(demo: RunningDemo, page: Page) -> None:
    page.goto(portal_tile(demo))
    sign_in_at_sel(page, demo.account("teacher"))
    expect(page).to_have_url(f"{demo.moodle}/my/")
    page.goto(f"{demo.bridge}/")
    expect_heading(page, "Bonjour Théo Martin")
    page.get_by_role("link", name="Entrer dans UPdago").click()
    expect(page).to_have_url(f"{demo.moodle}/my/")


def test_the_anonymous_door_opens_the_public_course(demo: RunningDemo, page: Page) -> None:
    page.goto(f"{demo.moodle}/course/view.php?id=2")
    choose_door(page, "Accéder en tant qu'anonyme")
    expect(page).to_have_url(f"{demo.moodle}/course/view.php?id=4")
    assert whoami(page, demo) == "guest"


def test_a_suspended_person_reads_why_and_whom_to_ask(demo: RunningDemo, page: Page) -> None:
    page.goto(f"{demo.moodle}/course/view.php?id=2")
    choose_door(page, LOCAL_DOOR)
    sign_in_locally(page, demo.account("learner_suspended"))
    expect_heading(page, "Votre compte est suspendu")
    expect(page.get_by_role("heading", name="Accès à UPdago fermé")).to_be_visible()
    expect(page.get_by_role("link", name="assistance@univ-demo.example")).to_be_visible()
    assert whoami(page, demo) is None


def test_a_wrong_password_is_explained_and_the_name_kept(demo: RunningDemo, page: Page) -> None:
    page.goto(f"{demo.bridge}/signin/local")
    sign_in_locally(page, {"identifier": "ext.alice.moreau", "password": "not hers"})
    alert = page.get_by_role("alert")
    expect(alert).to_be_focused()
    expect(alert).to_contain_text("Identifiant ou mot de passe incorrect.")
    expect(page).to_have_title(re.compile("^Erreur"))
    expect(page.locator("#identifier")).to_have_value("ext.alice.moreau")
    expect(page.locator("#password")).to_have_value("")


def test_an_empty_password_is_asked_for_without_talk_of_capital_letters(demo: RunningDemo, page: Page) -> None:
    page.goto(f"{demo.bridge}/signin/local")
    page.evaluate("document.querySelector('main form').noValidate = true")
    sign_in_locally(page, {"identifier": "ext.alice.moreau", "password": ""})
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Saisissez votre nom d'utilisateur ou votre adresse courriel, et votre mot de passe.")
    expect(alert).not_to_contain_text("majuscules")


def test_the_door_used_last_time_comes_first_and_says_so(demo: RunningDemo, page: Page) -> None:
    page.goto(f"{demo.bridge}/signin/local")
    sign_in_locally(page, demo.account("learner_confirmed"))
    page.get_by_role("link", name="Se déconnecter", exact=True).click()
    expect_heading(page, "Vous êtes déconnecté·e")
    page.get_by_role("link", name="Se reconnecter").click()
    first = page.locator("a.door").first
    expect(first).to_contain_text(LOCAL_DOOR)
    expect(first).to_contain_text("Utilisée la dernière fois")


def test_a_remembered_user_name_is_filled_in_next_time(demo: RunningDemo, page: Page) -> None:
    page.goto(f"{demo.bridge}/signin/local")
    expect(page.get_by_label("Se souvenir du nom d'utilisateur")).not_to_be_checked()
    page.get_by_label("Se souvenir du nom d'utilisateur").check()
    sign_in_locally(page, demo.account("learner_confirmed"))
    page.goto(f"{demo.bridge}/cas/logout")
    page.goto(f"{demo.bridge}/signin/local")
    expect(page.locator("#identifier")).to_have_value("ext.alice.moreau")


def test_the_password_can_be_shown_and_is_hidden_again_when_sent(demo: RunningDemo, page: Page) -> None:
    page.goto(f"{demo.bridge}/signin/local")
    page.locator("#password").fill("learner-demo-1")
    page.get_by_role("button", name="Afficher le mot de passe").click()
    expect(page.locator("#password")).to_have_attribute("type", "text")
    page.get_by_role("button", name="Masquer le mot de passe").click()
    expect(page.locator("#password")).to_have_attribute("type", "password")


def test_somebody_signed_in_by_the_other_door_is_asked_who_they_want_to_be(demo: RunningDemo, page: Page) -> None:
    page.goto(f"{demo.bridge}/signin/local")
    sign_in_locally(page, demo.account("learner_confirmed"))
    page.goto(portal_tile(demo))
    expect_heading(page, "Vous êtes déjà connecté·e")
    page.get_by_role("link", name="Se connecter avec un autre compte").click()
    sign_in_at_sel(page, demo.account("student"))
    expect(page).to_have_url(f"{demo.moodle}/my/")
    assert whoami(page, demo) == "sdiallo"


def test_two_tabs_sign_in_at_once_and_both_arrive(demo: RunningDemo, page: Page) -> None:
    other = page.context.new_page()
    for tab in (page, other):
        tab.goto(f"{demo.bridge}/signin/local?{urlencode({'service': demo.updago})}")
    for tab in (page, other):
        sign_in_locally(tab, demo.account("learner_confirmed"))
    for tab in (page, other):
        expect(tab).to_have_url(f"{demo.moodle}/my/")


def test_two_tabs_at_sel_both_arrive(demo: RunningDemo, page: Page) -> None:
    other = page.context.new_page()
    for tab in (page, other):
        tab.goto(portal_tile(demo))
    for tab in (page, other):
        sign_in_at_sel(tab, demo.account("student"))
        expect(tab).to_have_url(f"{demo.moodle}/my/")


def test_the_language_switch_keeps_the_page_and_the_way_on(demo: RunningDemo, page: Page) -> None:
    page.goto(f"{demo.moodle}/course/view.php?id=2")
    choose_door(page, LOCAL_DOOR)
    page.get_by_role("link", name="English").click()
    expect_heading(page, "Sign in to UPdago")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    assert page.url.startswith(f"{demo.bridge}/signin/local?")
    page.get_by_label("User name or e-mail address").fill("ext.alice.moreau")
    page.locator("#password").fill("learner-demo-1")
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{demo.moodle}/course/view.php?id=2")
    page.goto(f"{demo.bridge}/")
    expect_heading(page, "Hello Alice Moreau")


def test_the_browser_s_language_is_spoken_until_somebody_chooses(demo: RunningDemo, open_page: OpenPage) -> None:
    page = open_page(locale="en-GB")
    page.goto(f"{demo.bridge}/")
    expect_heading(page, "Sign in")
    page.get_by_role("link", name="Français").click()
    expect_heading(page, "Se connecter")
    page.goto(f"{demo.bridge}/signin/local")
    expect_heading(page, "Se connecter")


def tab_to(page: Page, words: str) -> None:
    """Press Tab until the element that has the focus carries these words."""
    for _ in range(25):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "() => { const at = document.activeElement;"
            " return (at.labels?.[0] ?? at).innerText.replace(/\\s+/g, ' ').trim() }"
        )
        if focused.startswith(words):
            return
    raise AssertionError(f"Tab never came to “{words}”")


def test_the_keyboard_alone_signs_in(demo: RunningDemo, page: Page) -> None:
    page.goto(f"{demo.moodle}/course/view.php?id=2")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Aller au contenu")).to_be_in_viewport()
    page.keyboard.press("Enter")
    tab_to(page, LOCAL_DOOR)
    page.keyboard.press("Enter")
    expect(page.locator("#identifier")).to_be_visible()
    tab_to(page, "Nom d'utilisateur ou adresse courriel")
    page.keyboard.type("ext.alice.moreau")
    tab_to(page, "Mot de passe")
    page.keyboard.type("learner-demo-1")
    tab_to(page, "Se souvenir du nom d'utilisateur")
    page.keyboard.press("Space")
    expect(page.locator("#remember")).to_be_checked()
    tab_to(page, "Se connecter")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{demo.moodle}/course/view.php?id=2")
    assert whoami(page, demo) == "ext.alice.moreau"
