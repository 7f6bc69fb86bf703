"""Forgotten user name or password, as people do it: from UPdago to the page, the mailbox, a new password, and in."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser import scenes
from tests.browser.conftest import OpenPage
from tests.browser.scenes import fresh_name, search, sign_in
from tests.browser.stage import Stage
from tests.browser.steps import LOCAL_DOOR, choose_door, expect_heading, press, sign_in_locally, whoami
from tests.running_demo import RunningDemo, code_in, link_in

pytestmark = pytest.mark.xdist_group("browser walks")

FORGOTTEN = "Nom d'utilisateur ou mot de passe oublié ?"
NEW = "une lampe dans le grenier"


def ask_for_the_message(page: Page, demo: RunningDemo) -> None:
    """From UPdago's deep link to the page that waits for the mail."""
    page.goto(f"{demo.moodle}/course/view.php?id=2")
    choose_door(page, LOCAL_DOOR)
    press(page.get_by_role("link", name=FORGOTTEN))
    expect_heading(page, FORGOTTEN)
    page.get_by_label("Adresse courriel").fill(demo.account("learner_confirmed")["email"])
    press(page.get_by_role("button", name="Rechercher").nth(1))
    expect_heading(page, "Regardez votre messagerie")
    expect(page.locator("main")).to_contain_text("Si les informations données correspondent à un compte")


def set_the_new_password(page: Page) -> None:
    expect_heading(page, "Choisir un nouveau mot de passe")
    page.get_by_label("Nouveau mot de passe").fill(NEW)
    page.get_by_label("Le même mot de passe, une seconde fois").fill(NEW)
    press(page.get_by_role("button", name="Enregistrer ce mot de passe"))
    expect_heading(page, "Votre nouveau mot de passe est enregistré")


def sign_in_and_arrive(page: Page, demo: RunningDemo) -> None:
    press(page.get_by_role("link", name="Se connecter"))
    sign_in_locally(page, {"identifier": "ext.alice.moreau", "password": NEW})
    expect(page).to_have_url(f"{demo.moodle}/course/view.php?id=2")
    assert whoami(page, demo) == "ext.alice.moreau"


def test_the_whole_way_by_the_link_of_the_mail(own_demo: RunningDemo, page: Page) -> None:
    ask_for_the_message(page, own_demo)
    mail = own_demo.mail("learner_confirmed")
    assert mail["subject"] == "UPdago – choisir un nouveau mot de passe"
    page.goto(link_in(mail))
    expect(page.locator("main")).to_contain_text("ext.alice.moreau")
    set_the_new_password(page)
    assert whoami(page, own_demo) is None, "a reset signs nobody in"
    sign_in_and_arrive(page, own_demo)
    assert "mot de passe a été changé" in own_demo.mail("learner_confirmed", 2)["subject"]


def test_the_whole_way_by_the_code_without_javascript(own_demo: RunningDemo, open_page: OpenPage) -> None:
    page = open_page(java_script_enabled=False)
    ask_for_the_message(page, own_demo)
    page.get_by_label("Code reçu dans le message").fill(code_in(own_demo.mail("learner_confirmed")))
    press(page.get_by_role("button", name="Utiliser le code"))
    expect(page.get_by_role("button", name="Afficher")).to_be_hidden()
    set_the_new_password(page)
    sign_in_and_arrive(page, own_demo)


def test_the_whole_way_with_the_keyboard_alone(stage: Stage, page: Page) -> None:
    name = stage.account(fresh_name())
    page.goto(stage.at("/account/forgot"))
    page.locator("#username").focus()
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    expect_heading(page, "Regardez votre messagerie")
    page.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Regardez aussi dans les indésirables")).to_be_visible()
    page.goto(stage.link_mailed_to(name))
    page.locator("#password").focus()
    page.keyboard.type(NEW)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#password")).to_have_attribute("type", "text")
    page.keyboard.press("Tab")
    page.keyboard.type(NEW)
    page.keyboard.press("Enter")
    expect_heading(page, "Votre nouveau mot de passe est enregistré")


def test_both_fields_are_shown_and_hidden_together_and_hidden_when_sent_pwd_05(stage: Stage, page: Page) -> None:
    scenes.reset_choose(stage, page)
    button = page.get_by_role("button", name="Afficher le mot de passe")
    button.click()
    for field in ("#password", "#password_again"):
        expect(page.locator(field)).to_have_attribute("type", "text")
    page.get_by_role("button", name="Masquer le mot de passe").click()
    for field in ("#password", "#password_again"):
        expect(page.locator(field)).to_have_attribute("type", "password")


def test_a_password_manager_and_pasted_text_are_welcome_pwd_05(stage: Stage, page: Page) -> None:
    scenes.reset_choose(stage, page)
    for field in ("#password", "#password_again"):
        place = page.locator(field)
        expect(place).to_have_attribute("autocomplete", "new-password")
        assert place.get_attribute("maxlength") is None
        assert place.evaluate(
            "(field) => field.dispatchEvent(new ClipboardEvent('paste', {bubbles: true, cancelable: true}))"
        )
    expect(page.locator("#username")).to_have_attribute("autocomplete", "username")


def test_the_hint_on_strength_follows_what_is_typed(stage: Stage, page: Page) -> None:
    scenes.reset_choose(stage, page)
    hint = page.locator("[data-strength]")
    expect(hint).to_have_text("")
    for typed, said in (
        ("court", "Pas encore assez long"),
        ("aaaaaaaaaaaaaaaa", "Pas encore assez long"),
        ("lampe grenier", "Assez long"),
        (NEW, "Long : difficile à deviner"),
    ):
        page.fill("#password", typed)
        expect(hint).to_have_text(re.compile(said.replace(" :", r"\s:")))


def test_a_refused_password_says_why_keeps_the_choice_and_uses_nothing_up(stage: Stage, page: Page) -> None:
    name = stage.account(fresh_name())
    other = fresh_name()
    stage.bridge.add_account(other, email=f"{name}@mail.example")
    search(stage, page, email=f"{name}@mail.example")
    page.goto(stage.link_mailed_to(name))
    page.get_by_label(other, exact=True).check()
    page.fill("#password", "azertyuiop123")
    page.fill("#password_again", "azertyuiop123")
    press(page.get_by_role("button", name="Enregistrer ce mot de passe"))
    expect(page.get_by_role("alert")).to_be_focused()
    expect(page.locator("#password-error")).to_contain_text("C'est un des premiers essayés")
    expect(page.get_by_label(other, exact=True)).to_be_checked()
    page.fill("#password", NEW)
    page.fill("#password_again", NEW)
    press(page.get_by_role("button", name="Enregistrer ce mot de passe"))
    expect_heading(page, "Votre nouveau mot de passe est enregistré")
    expect(page.locator("main")).to_contain_text(other)


def test_another_browser_of_the_account_is_signed_out_tok_12(stage: Stage, page: Page, open_page: OpenPage) -> None:
    elsewhere = open_page()
    name = stage.account(fresh_name())
    sign_in(stage, elsewhere, name)
    expect_heading(elsewhere, "Bonjour Ada Lovelace")
    search(stage, page, username=name)
    page.goto(stage.link_mailed_to(name))
    set_the_new_password(page)
    elsewhere.reload()
    expect_heading(elsewhere, "Se connecter")


def test_somebody_else_signed_in_on_this_browser_is_asked_for_the_new_password_d26(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name()))
    name = stage.account(fresh_name())
    search(stage, page, username=name)
    page.goto(stage.link_mailed_to(name))
    set_the_new_password(page)
    press(page.get_by_role("link", name="Se connecter"))
    sign_in_locally(page, {"identifier": name, "password": NEW})
    expect(page).to_have_url(f"{stage.moodle_url}/my/")
    assert page.context.request.get(f"{stage.moodle_url}/whoami.json").json()["username"] == name


def test_a_link_that_is_too_old_gives_a_new_one_with_one_click_d07(stage: Stage, page: Page) -> None:
    name = stage.account(fresh_name())
    search(stage, page, username=name)
    old = stage.link_mailed_to(name)
    stage.bridge.clock.forward(minutes=31)
    page.goto(old)
    expect_heading(page, "Ce lien est trop ancien")
    press(page.get_by_role("button", name="Recevoir un nouveau lien"))
    expect_heading(page, "Regardez votre messagerie")
    page.goto(stage.link_mailed_to(name))
    set_the_new_password(page)
