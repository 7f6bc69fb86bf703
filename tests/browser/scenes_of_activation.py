"""The pages of activation, and of the institutional part of my account: how a browser gets there."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

from playwright.sync_api import Page

from external_accounts.schema import Account
from tests.browser.scenes import fresh_name, scene, sign_in
from tests.browser.stage import SEL_USER, Stage
from tests.browser.steps import press
from tests.lms_bridge.mailing import Mailbox
from tests.lms_bridge.selfservice.activation.town import CHOSEN, Town

_numbers = itertools.count(1)


def announce(stage: Stage, **details: Any) -> tuple[int, str]:
    """Somebody whom the staff office announces; returns the account's id and the link of the first mail."""
    name = f"nora{next(_numbers)}"
    town = Town(stage.bridge, Mailbox(stage.mails, stage.bridge))
    account_id = town.announce(name, private=f"{name}@mail.example", **details)
    return account_id, stage.link_mailed_to(name, "activate")


def go_on(page: Page) -> None:
    press(page.locator("main .btn-primary"))


def change(stage: Stage, account_id: int, **changes: Any) -> None:
    with stage.bridge.runtime.database.begin() as session:
        for name, value in changes.items():
            setattr(session.get_one(Account, account_id), name, value)


# --- Asking ---


@scene("Première connexion ou problème de connexion ?", "First sign-in or trouble signing in?")
def activation_ask(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/account/activate"))


@scene("Première connexion ou problème de connexion ?", "First sign-in or trouble signing in?", alert=True)
def activation_ask_empty(stage: Stage, page: Page) -> None:
    activation_ask(stage, page)
    page.evaluate("document.querySelector('main form').noValidate = true")
    go_on(page)


@scene("Regardez votre messagerie privée", "Look in your private mailbox")
def activation_waiting(stage: Stage, page: Page) -> None:
    activation_ask(stage, page)
    page.fill("#identifier", f"nobody{next(_numbers)}")
    go_on(page)


@scene("Regardez votre messagerie privée", "Look in your private mailbox", alert=True)
def activation_code_wrong(stage: Stage, page: Page) -> None:
    activation_waiting(stage, page)
    page.fill("#code", "BCDF-GHJK")
    go_on(page)


# --- The steps ---


@scene("Est-ce bien vous ?", "Is this you?")
def activation_identity(stage: Stage, page: Page) -> None:
    _, link = announce(stage)
    page.goto(link)


@scene("Est-ce bien vous ?", "Is this you?")
def activation_as_somebody_else(stage: Stage, page: Page) -> None:
    _, link = announce(stage)
    sign_in(stage, page, stage.account(fresh_name()))
    page.goto(link)


@scene("Charte informatique", "IT charter")
def activation_charter(stage: Stage, page: Page) -> None:
    activation_identity(stage, page)
    go_on(page)


@scene("Charte informatique", "IT charter", alert=True)
def activation_charter_not_ticked(stage: Stage, page: Page) -> None:
    activation_charter(stage, page)
    page.evaluate("document.querySelector('main form').noValidate = true")
    go_on(page)


@scene("Voulez-vous figurer dans l'annuaire public ?", "Do you want to stand in the public directory?")
def activation_directory(stage: Stage, page: Page) -> None:
    activation_charter(stage, page)
    page.check("#charter")
    go_on(page)


@scene("Votre boîte de l'université", "Your university mailbox")
def activation_mailbox(stage: Stage, page: Page) -> None:
    activation_directory(stage, page)
    go_on(page)


@scene("Votre adresse de l'université", "Your university address")
def activation_address_only(stage: Stage, page: Page) -> None:
    _, link = announce(stage, profile="student")
    page.goto(link)
    go_on(page)
    page.check("#charter")
    go_on(page)


@scene("Voulez-vous rediriger votre courrier de l'université ?", "Do you want your university mail forwarded?")
def activation_forwarding(stage: Stage, page: Page) -> None:
    activation_mailbox(stage, page)
    go_on(page)


@scene(
    "Voulez-vous rediriger votre courrier de l'université ?", "Do you want your university mail forwarded?", alert=True
)
def activation_forwarding_wrong(stage: Stage, page: Page) -> None:
    activation_forwarding(stage, page)
    page.check("#forward-yes")
    page.fill("#forward_to", "nora@nowhere")
    go_on(page)


@scene("Où doit aller votre courrier de l'université ?", "Where is your university mail to go?")
def activation_forwarding_only(stage: Stage, page: Page) -> None:
    activation_address_only(stage, page)
    go_on(page)


@scene("Choisissez votre mot de passe", "Choose your password")
def activation_password(stage: Stage, page: Page) -> None:
    activation_forwarding(stage, page)
    go_on(page)


@scene("Choisissez votre mot de passe", "Choose your password", alert=True)
def activation_password_weak(stage: Stage, page: Page) -> None:
    activation_password(stage, page)
    page.fill("#password", "azertyuiop")
    page.fill("#password_again", "azertyuiop!")
    go_on(page)


@scene("Votre compte est activé", "Your account is activated")
def activation_done(stage: Stage, page: Page) -> None:
    activation_forwarding(stage, page)
    page.check("#forward-yes")
    page.fill("#forward_to", f"home{next(_numbers)}@mail.example")
    go_on(page)
    page.fill("#password", CHOSEN)
    page.fill("#password_again", CHOSEN)
    go_on(page)


# --- What can stand in the way ---


@scene("Ce lien est trop ancien", "This link is too old")
def activation_expired(stage: Stage, page: Page) -> None:
    _, link = announce(stage)
    stage.bridge.clock.forward(days=3)
    page.goto(link)


@scene("Ce lien ne fonctionne pas", "This link does not work")
def activation_invalid(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/account/activate/cut-short"))


@scene("Ce compte est déjà activé", "This account is already activated")
def activation_of_an_active_account(stage: Stage, page: Page) -> None:
    account_id, link = announce(stage)
    change(stage, account_id, activated_at=stage.bridge.clock())
    page.goto(link)


@scene("Votre compte est suspendu", "Your account is suspended")
def activation_of_a_suspended_account(stage: Stage, page: Page) -> None:
    account_id, link = announce(stage)
    now = stage.bridge.clock()
    change(stage, account_id, suspended_at=now, suspended_until=now + timedelta(days=3))
    page.goto(link)


@scene("Votre temps à l'université est terminé", "Your time at the university is over")
def activation_of_an_account_that_ended(stage: Stage, page: Page) -> None:
    account_id, link = announce(stage)
    change(stage, account_id, rights_end_at=stage.bridge.clock() - timedelta(days=1))
    page.goto(link)


# --- My account ---


def at_hosted(stage: Stage, page: Page, path: str = "/account", **changes: Any) -> str:
    name = stage.account(fresh_name(), profile="hosted", unit="UFR Sciences", **changes)
    sign_in(stage, page, name)
    page.goto(stage.at(path))
    return name


@scene("Mon compte", "My account")
def account_with_a_mailbox(stage: Stage, page: Page) -> None:
    at_hosted(stage, page)


@scene("Mon compte", "My account")
def account_after_the_end_of_rights(stage: Stage, page: Page) -> None:
    at_hosted(stage, page, rights_end_at=stage.bridge.clock() - timedelta(days=2))


@scene("Mon courrier de l'université", "My university mail")
def forwarding_page(stage: Stage, page: Page) -> None:
    at_hosted(stage, page, "/account/forwarding")


@scene("Mon courrier de l'université", "My university mail", alert=True)
def forwarding_page_wrong(stage: Stage, page: Page) -> None:
    forwarding_page(stage, page)
    page.check("#forward-yes")
    page.fill("#forward_to", "nora@nowhere")
    go_on(page)


@scene("Regardez votre messagerie", "Look in your mailbox")
def forwarding_page_waits(stage: Stage, page: Page) -> None:
    forwarding_page(stage, page)
    page.check("#forward-yes")
    page.fill("#forward_to", f"home{next(_numbers)}@mail.example")
    go_on(page)


@scene("Mon courrier de l'université", "My university mail")
def forwarding_page_not_in_force(stage: Stage, page: Page) -> None:
    forwarding_page_waits(stage, page)
    page.goto(stage.at("/account/forwarding"))


@scene("Est-ce bien votre adresse ?", "Is this your address?")
def forwarding_link(stage: Stage, page: Page) -> None:
    forwarding_page(stage, page)
    name = f"home{next(_numbers)}"
    page.check("#forward-yes")
    page.fill("#forward_to", f"{name}@mail.example")
    go_on(page)
    page.goto(stage.link_mailed_to(name))


@scene("Ma fiche dans l'annuaire", "My entry in the directory")
def directory_page(stage: Stage, page: Page) -> None:
    at_hosted(stage, page, "/account/directory")


@scene("Ma fiche dans l'annuaire", "My entry in the directory")
def directory_page_changed(stage: Stage, page: Page) -> None:
    directory_page(stage, page)
    page.check("#directory-yes")
    go_on(page)


@scene("Second facteur", "Second factor")
def second_factor(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/signin/sel"))
    page.fill("#username", SEL_USER.username)
    page.fill("#password", SEL_USER.password)
    press(page.locator("button:not(.quiet)"))
    page.goto(stage.at("/account/mfa"))
