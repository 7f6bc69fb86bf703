"""The pages of lost identifiers, of assistance and of account letters: how a browser gets there."""

from __future__ import annotations

import itertools

import pytest
from playwright.sync_api import Page

from external_accounts.schema import Account
from tests.browser.scenes import fresh_name, scene
from tests.browser.scenes_of_registration import as_desk, send
from tests.browser.stage import Stage
from tests.browser.steps import press

NEW = "seven green kettles sing"
_numbers = itertools.count(1)


def reader(stage: Stage) -> str:
    """A library reader whose private address is confirmed."""
    username = stage.account(fresh_name())
    with stage.bridge.runtime.database.begin() as session:
        session.query(Account).filter_by(username=username).one().profile = "library_reader"
    return username


def ask(stage: Stage, page: Page, username: str) -> None:
    page.goto(stage.at("/perte-identifiant"))
    page.check("input[value=library_reader]")
    page.fill("#email", f"{username}@mail.example")
    send(page)


def open_link(stage: Stage, page: Page) -> str:
    username = reader(stage)
    ask(stage, page, username)
    link = stage.link_mailed_to(username, family="perte-identifiant")
    page.goto(link)
    return link


def choose(page: Page, password: str = NEW) -> None:
    page.fill("#password", password)
    page.fill("#password_again", password)
    send(page)


@scene("J'ai perdu mes identifiants", "I have lost my identifiers")
def lost_form(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/perte-identifiant", service=stage.updago))


@scene("J'ai perdu mes identifiants", "I have lost my identifiers", alert=True)
def lost_form_wrong(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/perte-identifiant"))
    page.evaluate("document.querySelector('main form').noValidate = true")
    page.fill("#email", "nobody")
    send(page)


@scene("Regardez votre messagerie", "Look in your mailbox")
def lost_waiting(stage: Stage, page: Page) -> None:
    ask(stage, page, fresh_name())
    page.locator("summary").click()


@scene("Choisir un nouveau mot de passe", "Choose a new password")
def lost_link(stage: Stage, page: Page) -> None:
    open_link(stage, page)


@scene("Choisir un nouveau mot de passe", "Choose a new password", alert=True)
def lost_link_wrong(stage: Stage, page: Page) -> None:
    open_link(stage, page)
    page.evaluate("document.querySelector('main form').noValidate = true")
    choose(page, "court")


@scene("Votre nouveau mot de passe est enregistré", "Your new password is set")
def lost_done(stage: Stage, page: Page) -> None:
    open_link(stage, page)
    choose(page)


@scene("Ce lien a déjà servi", "This link has been used")
def lost_link_used(stage: Stage, page: Page) -> None:
    link = open_link(stage, page)
    choose(page)
    page.goto(link)


@scene("Ce lien est trop ancien", "This link is too old")
def lost_link_too_old(stage: Stage, page: Page) -> None:
    open_link(stage, page)
    stage.bridge.clock.forward(minutes=31)
    page.reload()


@scene("Ce lien ne fonctionne pas", "This link does not work")
def lost_link_cut(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/perte-identifiant/cut-in-tw"))


# --- Assistance ---


def fill_assistance(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/assistance", subject="lost_identifier"))
    page.fill("#given_name", "Nora")
    page.fill("#family_name", "Lopez")
    page.fill("#contact", "nora@private.example")
    page.fill("#message", "Je ne lis plus ma messagerie privée.\nLe cours commence lundi.")


@scene("Demander de l'aide", "Ask for assistance")
def assistance_form(stage: Stage, page: Page) -> None:
    fill_assistance(stage, page)


@scene("Demander de l'aide", "Ask for assistance", alert=True)
def assistance_form_wrong(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/assistance"))
    page.evaluate("document.querySelector('main form').noValidate = true")
    send(page)


@scene("Demander de l'aide", "Ask for assistance")
def assistance_asked_once_more(stage: Stage, page: Page) -> None:
    fill_assistance(stage, page)
    page.evaluate("document.getElementById('leave_empty').value = 'filled in by a program'")
    send(page)


@scene("Nous avons reçu votre demande", "We have received your request")
def assistance_receipt(stage: Stage, page: Page) -> None:
    fill_assistance(stage, page)
    send(page)
    stage.bridge.clock.forward(minutes=6)  # the network's budget


@scene("Demandes d'aide", "Requests for assistance")
def desk_assistance(stage: Stage, page: Page) -> None:
    assistance_receipt(stage, page)
    as_desk(stage, page)
    page.goto(stage.at("/helpdesk/assistance"))


@scene("Demandes d'aide", "Requests for assistance")
def desk_assistance_none(stage: Stage, page: Page) -> None:
    as_desk(stage, page)
    page.goto(stage.at("/helpdesk/assistance", after="99999999"))


@scene("Nora Lopez", "Nora Lopez")
def desk_assistance_request(stage: Stage, page: Page) -> None:
    desk_assistance(stage, page)
    press(page.get_by_role("link", name="Nora Lopez").first)


@scene("Nora Lopez", "Nora Lopez", alert=True)
def desk_assistance_request_without_note(stage: Stage, page: Page) -> None:
    desk_assistance_request(stage, page)
    page.evaluate("document.querySelector('main form').noValidate = true")
    send(page)


@scene("Nora Lopez", "Nora Lopez")
def desk_assistance_request_closed(stage: Stage, page: Page) -> None:
    desk_assistance_request(stage, page)
    page.fill("#note", "Appelée, pièce d'identité vue")
    send(page)


# --- Letters ---


def announced(stage: Stage) -> str:
    """A library reader whose account is not active yet."""
    username = reader(stage)
    with stage.bridge.runtime.database.begin() as session:
        session.query(Account).filter_by(username=username).one().activated_at = None
    return username


@scene("Lettres d'ouverture de compte", "Account letters")
def desk_letters(stage: Stage, page: Page) -> None:
    as_desk(stage, page)
    page.goto(stage.at("/helpdesk/letters"))


@scene("Lettres d'ouverture de compte", "Account letters", alert=True)
def desk_letters_none(stage: Stage, page: Page) -> None:
    desk_letters(stage, page)
    send(page)


@scene("Imprimer des lettres d'ouverture de compte", "Print account letters")
def desk_letters_preview(stage: Stage, page: Page) -> None:
    pytest.importorskip("weasyprint")
    username = announced(stage)
    desk_letters(stage, page)
    page.fill("#identifiers", f"{username}\nnobody")
    send(page)


@scene("Activez votre compte avec votre lettre", "Activate your account with your letter")
def letter_form(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/account/activate/letter"))


@scene("Activez votre compte avec votre lettre", "Activate your account with your letter", alert=True)
def letter_form_wrong(stage: Stage, page: Page) -> None:
    letter_form(stage, page)
    page.fill("#letter-identifier", f"nobody{next(_numbers)}")
    page.fill("#code", "BBBB-BBBB-BBBB")
    send(page)


@scene("Première connexion ou problème de connexion ?", "First sign-in or trouble signing in?")
def activation_form_with_letter(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/account/activate"))
