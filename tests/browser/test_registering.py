"""Registration in the demo, as people walk it: with and without JavaScript, with the keyboard, on two devices."""

from __future__ import annotations

import re
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.steps import LOCAL_DOOR, SEL_DOOR, choose_door, expect_heading, press, sign_in_at_sel, whoami
from tests.running_demo import RunningDemo, eventually

pytestmark = pytest.mark.xdist_group("browser walks")

PASSWORD = "seven green kettles sing"


def ask(page: Page, demo: RunningDemo, email: str) -> None:
    """From UPdago to the form, and send it."""
    page.goto(f"{demo.moodle}/course/view.php?id=2")
    press(page.get_by_role("link", name="Demander un compte"))
    expect_heading(page, "Demander un compte")
    page.get_by_label("Prénom").fill("Émilie")
    page.get_by_label("Nom", exact=True).fill("du Châtelet")
    page.get_by_label("Adresse courriel", exact=True).fill(email)
    page.get_by_label("Pourquoi vous faut-il ce compte").fill("Le cours de physique")
    page.locator("#charter").check()
    press(page.get_by_role("button", name="Demander le compte"))
    expect_heading(page, "Regardez votre messagerie")


def mails_to(demo: RunningDemo, email: str, count: int) -> list[dict[str, Any]]:
    """The messages to this address, once there are `count`."""

    def look() -> list[dict[str, Any]]:
        found = requests.get(f"{demo.mailbox}/api/messages", timeout=20).json()
        mails = [mail for mail in found if mail["to"] == email]
        return mails if len(mails) >= count else []

    return eventually(look)


def link_to(demo: RunningDemo, email: str, count: int = 1) -> str:
    """The link of the newest of `count` mails, once they are there."""
    mails = mails_to(demo, email, count)
    found = re.search(r"http://\S+/account/register/\S+", mails[-1]["text"])
    assert found, mails[-1]["text"]
    return found.group(0)


def accept(page: Page, demo: RunningDemo) -> None:
    """Hélène of the help desk opens the link she was sent, and agrees."""
    mails = mails_to(demo, "helene.bernard@univ-demo.example", 1)
    found = re.search(r"http://\S+/helpdesk/registrations/\d+", mails[-1]["text"])
    assert found
    page.goto(found.group(0))
    choose_door(page, SEL_DOOR)
    sign_in_at_sel(page, demo.account("helpdesk"))
    expect_heading(page, "Émilie du Châtelet")
    press(page.get_by_role("button", name="Accepter la demande"))
    expect(page.get_by_role("heading", name="Acceptée")).to_be_visible()


def finish(page: Page, link: str) -> None:
    page.goto(link)
    expect_heading(page, "Créez votre compte")
    page.locator("#password").fill(PASSWORD)
    page.locator("#password_again").fill(PASSWORD)
    press(page.get_by_role("button", name="Créer mon compte"))
    expect_heading(page, "Votre compte est prêt")


def test_a_stranger_asks_the_help_desk_agrees_and_updago_opens(own_demo: RunningDemo, open_page: OpenPage) -> None:
    email = "emilie@courriel.example"
    first, telephone, desk = open_page(), open_page(), open_page()
    ask(first, own_demo, email)
    telephone.goto(link_to(own_demo, email))
    press(telephone.get_by_role("button", name="Confirmer mon adresse"))
    expect_heading(telephone, "Votre demande est examinée")
    # D04: the page that waited moves on by itself.
    expect_heading(first, "Votre demande est examinée")
    accept(desk, own_demo)
    finish(telephone, link_to(own_demo, email, 2))
    press(telephone.get_by_role("link", name="Se connecter"))
    telephone.get_by_label("Nom d'utilisateur ou adresse courriel").fill(email)
    telephone.locator("#password").fill(PASSWORD)
    press(telephone.get_by_role("button", name="Se connecter"))
    assert whoami(telephone, own_demo) == "ext.emilie.du-chatelet"


def test_all_of_it_works_without_a_script_and_with_the_keyboard_alone(
    own_demo: RunningDemo, open_page: OpenPage
) -> None:
    email = "sans.script@courriel.example"
    page, desk = open_page(java_script_enabled=False), open_page(java_script_enabled=False)
    page.goto(f"{own_demo.bridge}/account/register")
    page.get_by_label("Prénom").focus()
    for text in ("Émilie", "du Châtelet", email):
        page.keyboard.type(text)
        page.keyboard.press("Tab")
    for _ in ("why", "who answers", "to the charter, past its text"):
        page.keyboard.press("Tab")
    expect(page.locator("#charter")).to_be_focused()
    page.keyboard.press("Space")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect_heading(page, "Regardez votre messagerie")
    waiting = page.url
    page.goto(link_to(own_demo, email))
    press(page.get_by_role("button", name="Confirmer mon adresse"))
    page.goto(waiting)
    expect_heading(page, "Votre demande est examinée")
    accept(desk, own_demo)
    finish(page, link_to(own_demo, email, 2))


def test_whoever_has_an_account_is_told_in_the_mailbox_alone(demo: RunningDemo, page: Page) -> None:
    email = demo.account("learner_confirmed")["email"]
    ask(page, demo, email)
    text = mails_to(demo, email, 1)[-1]["text"]
    assert "ext.alice.moreau" in text
    assert "/account/register/" not in text
    expect_heading(page, "Regardez votre messagerie")


def test_the_doors_of_the_demo_are_where_they_were(demo: RunningDemo, page: Page) -> None:
    page.goto(f"{demo.moodle}/course/view.php?id=2")
    choose_door(page, LOCAL_DOOR)
    expect(page.get_by_role("link", name="Demander un compte")).to_be_visible()
