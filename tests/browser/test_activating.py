"""Activating an account as people do it: from the mail through the steps to the door, and into UPdago."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser import scenes_of_activation as scenes
from tests.browser.conftest import OpenPage
from tests.browser.stage import Stage
from tests.browser.steps import expect_heading, press, sign_in_at_sel, whoami
from tests.lms_bridge.selfservice.activation.town import CHOSEN
from tests.running_demo import RunningDemo

pytestmark = pytest.mark.xdist_group("browser walks")

STEPS = ["Identité", "Charte", "Annuaire", "Messagerie", "Redirection", "Mot de passe", "Terminé"]
TITLES = [
    "Est-ce bien vous ?",
    "Charte informatique",
    "Voulez-vous figurer dans l'annuaire public ?",
    "Votre boîte de l'université",
    "Voulez-vous rediriger votre courrier de l'université ?",
    "Choisissez votre mot de passe",
    "Votre compte est activé",
]


def link_in(mail: dict[str, str]) -> str:
    return next(word for word in mail["text"].split() if "/account/activate/" in word)


def expect_step(page: Page, number: int) -> None:
    """The step's title, and its name as the current one of all seven."""
    expect_heading(page, TITLES[number - 1])
    items = page.locator(".stepper li")
    expect(items).to_have_count(len(STEPS))
    expect(page.locator(".stepper [aria-current=step]")).to_contain_text(STEPS[number - 1])


def walk_the_steps(page: Page) -> None:
    expect_step(page, 1)
    expect(page.locator("main")).to_contain_text("nlopez")
    press(page.get_by_role("button", name="C'est moi : continuer"))
    for number, box in enumerate(("Je l'ai lue et je l'accepte", "Oui, je veux y figurer", None, None), start=2):
        expect_step(page, number)
        if box is not None:
            page.get_by_label(box).check()
        press(page.get_by_role("button", name="Enregistrer et continuer"))
    expect_step(page, 6)


def choose_the_password(page: Page) -> None:
    page.get_by_label("Nouveau mot de passe").fill(CHOSEN)
    page.get_by_label("Le même mot de passe, une seconde fois").fill(CHOSEN)
    press(page.get_by_role("button", name="Activer mon compte"))
    expect_heading(page, TITLES[-1])
    expect(page.locator("main")).to_contain_text("Vous y figurez")


def into_updago(page: Page, demo: RunningDemo) -> None:
    assert whoami(page, demo) is None, "activating signs nobody in"
    press(page.get_by_role("link", name="Se connecter"))
    sign_in_at_sel(page, {"identifier": "nlopez", "password": CHOSEN})
    page.goto(f"{demo.moodle}/login/index.php")
    assert whoami(page, demo) == "nlopez"


def test_from_the_first_mail_into_updago(own_demo: RunningDemo, page: Page) -> None:
    page.goto(link_in(own_demo.mail("not_activated")))
    walk_the_steps(page)
    choose_the_password(page)
    into_updago(page, own_demo)


def test_asked_for_on_the_sign_in_page_without_javascript_on_two_devices(
    own_demo: RunningDemo, open_page: OpenPage
) -> None:
    page = open_page(java_script_enabled=False)
    page.goto(f"{own_demo.moodle}/course/view.php?id=2")
    press(page.get_by_role("link", name="Première connexion ou problème de connexion ?"))
    page.locator("#identifier").fill("nlopez@univ-demo.example")
    press(page.get_by_role("button", name="Recevoir le lien"))
    expect_heading(page, "Regardez votre messagerie privée")
    expect(page.locator("main")).to_contain_text("la scolarité de votre composante")
    link = link_in(own_demo.mail("not_activated", 2))
    page.goto(link)
    walk_the_steps(page)
    other = open_page(java_script_enabled=False, viewport={"width": 320, "height": 568})
    other.goto(link)
    expect_heading(other, TITLES[5])
    press(other.get_by_role("link", name="Annuaire"))
    expect(other.get_by_label("Oui, je veux y figurer")).to_be_checked()
    press(other.get_by_role("button", name="Revenir"))
    expect(other.get_by_label("Je l'ai lue et je l'accepte")).to_be_checked()
    press(other.get_by_role("link", name="Mot de passe"))
    choose_the_password(other)
    page.reload()
    expect_heading(page, TITLES[-1])


def test_the_whole_way_with_the_keyboard_alone(stage: Stage, page: Page) -> None:
    """Tab and Enter and blank and arrows; the focus is always to be seen."""
    _, link = scenes.announce(stage)
    page.goto(link)
    expect_step(page, 1)
    tab_to(page, "button", "C'est moi : continuer")
    page.keyboard.press("Enter")
    expect_step(page, 2)
    tab_to(page, "input", "charter")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect_step(page, 3)
    tab_to(page, "input", "directory-no")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect_step(page, 4)
    tab_to(page, "button", "Enregistrer et continuer")
    page.keyboard.press("Enter")
    expect_step(page, 5)
    tab_to(page, "button", "Revenir")
    page.keyboard.press("Enter")
    expect_step(page, 4)
    tab_to(page, "a", "Redirection")
    page.keyboard.press("Enter")
    expect_step(page, 5)
    tab_to(page, "input", "forward-no")
    page.keyboard.press("Enter")
    expect_step(page, 6)
    tab_to(page, "input", "password")
    page.keyboard.type(CHOSEN)
    tab_to(page, "input", "password_again")
    page.keyboard.type(CHOSEN)
    page.keyboard.press("Enter")
    expect_heading(page, TITLES[-1])
    expect(page.locator("main")).to_contain_text("Vous y figurez")


def tab_to(page: Page, tag: str, what: str) -> None:
    """Press Tab until the focus is on that element, by its id or its text; it must show."""
    for _ in range(40):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            """() => {
                const e = document.activeElement, words = e.querySelector(".stepper-name") || e;
                return [e.tagName.toLowerCase(), e.id, words.innerText.replace(/\\s+/g, " ").trim(),
                        getComputedStyle(e).outlineStyle];
            }"""
        )
        if focused[0] == tag and what in (focused[1], focused[2].replace("\u00a0", " ")):
            assert focused[3] != "none"
            return
    raise AssertionError(f"{what} is not reached by Tab")
