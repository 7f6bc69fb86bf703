"""Looking after one's account, as people do it: addresses there and back, another password, other devices, the end."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.bridge_under_test import PASSWORD
from tests.browser.conftest import OpenPage
from tests.browser.scenes import fresh_name, sign_in
from tests.browser.stage import SEL_USER, Stage
from tests.browser.steps import expect_heading, press, sign_in_at_sel, sign_in_locally, whoami
from tests.running_demo import RunningDemo, eventually

pytestmark = pytest.mark.xdist_group("browser walks")

NEW_PASSWORD = "sept violons dans la brume"


def open_account(page: Page, demo: RunningDemo, case: str = "learner_confirmed") -> None:
    page.goto(f"{demo.bridge}/signin/local")
    sign_in_locally(page, demo.account(case))
    press(page.get_by_role("link", name="Mon compte"))
    expect_heading(page, "Mon compte")


def mailed_link(demo: RunningDemo, address: str, family: str, number: int = 0) -> str:
    """The link number `number` to `/account/<family>/…` that reached this mailbox, as soon as it is there."""

    def links() -> list[str]:
        mails = requests.get(f"{demo.mailbox}/api/messages", timeout=20).json()
        texts = [mail["text"] for mail in mails if mail["to"] == address]
        return [link for text in texts for link in re.findall(rf"http://\S+/account/{family}/\S+", text)]

    return eventually(lambda: links()[number : number + 1])[0]


def test_a_stolen_account_is_taken_back_by_the_old_mailbox_without_javascript(
    own_demo: RunningDemo, open_page: OpenPage
) -> None:
    thief, owner = open_page(java_script_enabled=False), open_page(java_script_enabled=False)
    open_account(thief, own_demo)
    press(thief.get_by_role("link", name="Mes adresses"))
    thief.get_by_label("Adresse courriel").fill("thief@courriel.example")
    press(thief.locator("form:has(#email) .btn-primary"))
    expect_heading(thief, "Regardez votre messagerie")
    thief.goto(mailed_link(own_demo, "thief@courriel.example", "confirm"))
    press(thief.get_by_role("button", name="Confirmer mon adresse"))
    press(thief.get_by_role("link", name="Revenir à mes adresses"))
    press(thief.get_by_role("button", name="En faire la principale"))
    press(thief.get_by_role("button", name="Retirer"))
    expect(thief.get_by_role("status")).to_contain_text("L'adresse est retirée")

    owner.goto(mailed_link(own_demo, own_demo.account("learner_confirmed")["email"], "undo"))
    expect_heading(owner, "Annuler ce changement ?")
    press(owner.get_by_role("button", name="Annuler le changement"))
    expect_heading(owner, "Le changement est annulé")
    thief.goto(f"{own_demo.bridge}/account")
    expect_heading(thief, "Se connecter")
    open_account(owner, own_demo)
    press(owner.get_by_role("link", name="Mes adresses"))
    expect(owner.get_by_role("heading", level=2).first).to_have_text("alice.moreau@courriel.example")
    expect(owner.get_by_text("thief@courriel.example")).to_have_count(0)


def test_another_password_signs_other_devices_and_moodle_out(own_demo: RunningDemo, open_page: OpenPage) -> None:
    computer, phone = open_page(), open_page()
    phone.goto(f"{own_demo.moodle}/course/view.php?id=2")
    press(phone.locator("a.door", has_text="Extérieurs"))
    sign_in_locally(phone, own_demo.account("learner_confirmed"))
    eventually(lambda: whoami(phone, own_demo) == "ext.alice.moreau")
    open_account(computer, own_demo)
    press(computer.get_by_role("link", name="Changer mon mot de passe"))
    computer.get_by_label("Mot de passe actuel").fill(own_demo.account("learner_confirmed")["password"])
    computer.locator("#password").fill(NEW_PASSWORD)
    computer.locator("#password_again").fill(NEW_PASSWORD)
    press(computer.get_by_role("button", name="Changer mon mot de passe"))
    expect(computer.get_by_role("status").first).to_contain_text("Votre mot de passe est changé")
    phone.goto(f"{own_demo.bridge}/account")
    expect_heading(phone, "Se connecter")
    eventually(lambda: whoami(phone, own_demo) is None)
    computer.goto(f"{own_demo.bridge}/account")
    expect_heading(computer, "Mon compte")


def test_a_phone_left_behind_is_signed_out_from_the_computer(own_demo: RunningDemo, open_page: OpenPage) -> None:
    computer = open_page()
    phone = open_page(user_agent="Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Version/17.5 Safari/604.1")
    phone.goto(f"{own_demo.moodle}/course/view.php?id=2")
    press(phone.locator("a.door", has_text="Extérieurs"))
    sign_in_locally(phone, own_demo.account("learner_confirmed"))
    eventually(lambda: whoami(phone, own_demo) == "ext.alice.moreau")
    open_account(computer, own_demo)
    press(computer.get_by_role("link", name="Mes sessions"))
    left = computer.locator("section", has_text="Safari sur iPhone")
    expect(left).to_contain_text("UPdago")
    press(left.get_by_role("button", name="Déconnecter cet appareil"))
    expect(computer.get_by_text("Safari sur iPhone")).to_have_count(0)
    phone.goto(f"{own_demo.bridge}/account")
    expect_heading(phone, "Se connecter")
    eventually(lambda: whoami(phone, own_demo) is None)


def test_a_teacher_shows_at_the_sel_who_she_is_and_goes_on(own_demo: RunningDemo, page: Page) -> None:
    page.goto(f"{own_demo.bridge}/signin/sel")
    sign_in_at_sel(page, own_demo.account("teacher"))
    # A second sign-in by the SEL's own session is no proof of who sits there.
    page.context.clear_cookies(name=re.compile("session"))
    page.goto(f"{own_demo.bridge}/signin/sel")
    page.goto(f"{own_demo.bridge}/account/addresses")
    page.get_by_label("Adresse courriel").fill("theo@courriel.example")
    page.get_by_label("Comme adresse de secours").check()
    press(page.locator("form:has(#email) .btn-primary"))
    expect_heading(page, "C'est bien vous ?")
    press(page.get_by_role("button", name="Montrer qui je suis"))
    sign_in_at_sel(page, own_demo.account("teacher"))
    expect_heading(page, "C'est bien vous")
    expect(page.get_by_text("theo@courriel.example")).to_be_visible()
    press(page.get_by_role("button", name="Continuer"))
    expect_heading(page, "Regardez votre messagerie")


def test_the_question_and_the_change_by_keyboard_alone(stage: Stage, page: Page) -> None:
    name = stage.account(fresh_name())
    sign_in(stage, page, name)
    page.goto(stage.at("/account/addresses"))
    stage.bridge.clock.forward(minutes=6)
    page.locator("#email").focus()
    page.keyboard.type(f"{name}@new.example")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect_heading(page, "C'est bien vous ?")
    expect(page.locator("#password")).to_be_focused()
    page.keyboard.type(PASSWORD)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect_heading(page, "Regardez votre messagerie")
    page.goto(stage.at("/account/addresses"))
    expect(page.get_by_text("Adresse de secours", exact=True)).to_have_count(1)


def test_my_data_comes_as_a_file_after_the_question(stage: Stage, page: Page, tmp_path: Path) -> None:
    name = stage.account(fresh_name())
    sign_in(stage, page, name)
    page.goto(stage.at("/account/data"))
    stage.bridge.clock.forward(minutes=6)
    press(page.get_by_role("button", name="Pour un programme (JSON)"))
    expect_heading(page, "C'est bien vous ?")
    page.fill("#password", PASSWORD)
    with page.expect_download() as download:
        page.locator("main .btn-primary").click()
    download.value.save_as(tmp_path / "data.json")
    assert download.value.suggested_filename == f"{name}.json"
    assert json.loads((tmp_path / "data.json").read_text("utf-8"))["account"]["username"] == name


def test_the_end_of_an_account_is_taken_back_from_the_mail(own_demo: RunningDemo, open_page: OpenPage) -> None:
    page, reader = open_page(), open_page()
    open_account(page, own_demo)
    press(page.get_by_role("link", name="Mes données"))
    press(page.get_by_role("link", name="Supprimer mon compte"))
    press(page.get_by_role("button", name="Demander la suppression de mon compte"))
    expect_heading(page, "Votre compte va être supprimé")
    reader.goto(mailed_link(own_demo, own_demo.account("learner_confirmed")["email"], "keep"))
    press(reader.get_by_role("button", name="Garder mon compte"))
    expect_heading(reader, "Le compte est gardé")
    page.goto(f"{own_demo.bridge}/account/deletion")
    expect_heading(page, "Supprimer mon compte ?")


def test_a_university_member_is_told_where_the_password_is(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/signin/sel"))
    page.fill("#username", SEL_USER.username)
    page.fill("#password", SEL_USER.password)
    press(page.locator("button:not(.quiet)"))
    page.goto(stage.at("/account/password"))
    expect(page.locator("main")).to_contain_text("votre mot de passe est gardé par l'université")
