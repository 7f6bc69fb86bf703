"""Every page of the service by name: how a browser gets there. The tests look at each in both languages and schemes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page
from sqlalchemy.exc import OperationalError
from werkzeug import Response

from external_accounts.throttle import Throttled
from lms_bridge.selfservice import charter
from tests.bridge_under_test import PASSWORD, forms
from tests.browser.stage import SEL_USER, Stage
from tests.browser.steps import press

Play = Callable[[Stage, Page], None]


@dataclass(frozen=True)
class Scene:
    """How to get to a page, and what it is called there."""

    play: Play
    headings: dict[str, str]
    alert: bool


SCENES: dict[str, Scene] = {}
_numbers = itertools.count(1)


def scene(french: str, english: str, *, alert: bool = False) -> Callable[[Play], Play]:
    """Add a scene under its function's name; `alert` says that its page tells of a mistake."""

    def add(play: Play) -> Play:
        SCENES[play.__name__] = Scene(play, {"fr": french, "en": english}, alert)
        return play

    return add


def fresh_name() -> str:
    """A user name nobody had yet: scenes share one stage."""
    return f"ext.ada{next(_numbers)}"


def sign_in(stage: Stage, page: Page, username: str, service: str = "") -> None:
    """Come in by the Extérieurs door."""
    page.goto(stage.at("/signin/local", **({"service": service} if service else {})))
    page.fill("#identifier", username)
    page.fill("#password", PASSWORD)
    press(page.locator("main button[type=submit]"))


# --- The doors ---


@scene("Se connecter à UPdago", "Sign in to UPdago")
def doors(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/cas/login", service=stage.updago))


@scene("Se connecter à UPdago", "Sign in to UPdago")
def doors_used_before(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name()))
    page.goto(stage.at("/cas/logout"))
    page.goto(stage.at("/cas/login", service=stage.updago))


@scene("Se connecter", "Sign in")
def doors_without_service(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/"))


@scene("Se connecter à UPdago", "Sign in to UPdago")
def local_form(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/signin/local", service=stage.updago))


@scene("Se connecter à UPdago", "Sign in to UPdago", alert=True)
def local_form_wrong(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/signin/local", service=stage.updago))
    page.fill("#identifier", "nobody@mail.example")
    page.fill("#password", "not the password")
    press(page.locator("main button[type=submit]"))


@scene("Se connecter", "Sign in", alert=True)
def local_form_empty(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/signin/local"))
    page.fill("#identifier", "ext.somebody")
    page.fill("#password", "x")
    page.evaluate("document.getElementById('password').value = ''")
    page.evaluate("document.querySelector('main form').noValidate = true")
    press(page.locator("main button[type=submit]"))


@scene("Se connecter à UPdago", "Sign in to UPdago", alert=True)
def local_form_throttled(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/signin/local", service=stage.updago))
    name = fresh_name()
    stage.exhaust(name)
    page.fill("#identifier", name)
    page.fill("#password", PASSWORD)
    press(page.locator("main button[type=submit]"))


@scene("Vous êtes déjà connecté·e", "You are already signed in")
def already_signed_in_by_another_door(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name()))
    page.goto(stage.at("/signin/sel", service=stage.updago))


@scene("La porte « Enseignant·es, étudiant·es » ne répond pas", "The door “Teachers and students” does not answer")
def sel_unreachable(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/signin/sel", service=stage.updago))
    silent = Response(status=503)
    with patch.object(stage.sel, "_service_validate", return_value=silent):
        page.fill("#username", SEL_USER.username)
        page.fill("#password", SEL_USER.password)
        press(page.locator("button:not(.quiet)"))


@scene("La connexion a pris trop de temps", "The sign-in took too long")
def sel_took_too_long(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/signin/sel/callback", state="old", ticket="ST-1"))


@scene("La connexion n'a pas abouti", "You were not let in")
def sel_refused(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/signin/sel", service=stage.updago))
    callback = parse_qs(urlsplit(page.url).query)["service"][0]
    page.goto(f"{callback}&ticket=ST-nobodys")


# --- What stands in the way ---


@scene("E-mail non confirmé", "E-mail not confirmed")
def obstacle_unconfirmed(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name(), confirmed=False), stage.updago)


@scene("E-mail non confirmé", "E-mail not confirmed")
def obstacle_two_things(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name(), confirmed=False), stage.library)


@scene("Votre compte est suspendu", "Your account is suspended")
def obstacle_suspended(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name(), suspended_at=stage.bridge.clock()), stage.updago)


@scene("Votre compte est suspendu", "Your account is suspended")
def obstacle_suspended_for_a_time(stage: Stage, page: Page) -> None:
    now = stage.bridge.clock()
    name = stage.account(fresh_name(), suspended_at=now, suspended_until=now + timedelta(days=3))
    sign_in(stage, page, name, stage.updago)


@scene("Votre accès est terminé", "Your access has ended")
def obstacle_rights_ended(stage: Stage, page: Page) -> None:
    name = stage.account(fresh_name(), rights_end_at=stage.bridge.clock() - timedelta(days=2))
    sign_in(stage, page, name, stage.updago)


@scene("Votre compte n'est pas encore activé", "Your account is not activated yet")
def obstacle_not_activated(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name(), activated_at=None), stage.updago)


@scene("Cette application n'est pas ouverte à votre compte", "This application is not open to your account")
def obstacle_not_for_this_profile(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name()), stage.intranet)


@scene("Nous ne connaissons pas votre adresse courriel", "We do not know your e-mail address")
def obstacle_no_address(stage: Stage, page: Page) -> None:
    name = stage.account(fresh_name(), confirmed=False)
    stage.forget_address(name)
    sign_in(stage, page, name, stage.updago)


@scene("La charte attend votre accord", "The charter awaits your agreement")
def obstacle_charter(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name()), stage.library)


@scene("Votre accès est en préparation", "Your access is being prepared")
def obstacle_being_prepared(stage: Stage, page: Page) -> None:
    name = stage.account(fresh_name())
    stage.moodle.site.maintenance_cli = True
    try:
        sign_in(stage, page, name, stage.updago)
    finally:
        stage.moodle.site.maintenance_cli = False


@scene("L'assistance doit examiner votre compte", "The help desk must look at your account")
def obstacle_moodle_conflict(stage: Stage, page: Page) -> None:
    name = stage.account(fresh_name())
    stage.moodle.site.add_user(name, auth="manual", email="other@mail.example")
    sign_in(stage, page, name, stage.updago)


@scene("Vous êtes suspendu·e dans cette application", "You are suspended in this application")
def obstacle_suspended_in_moodle(stage: Stage, page: Page) -> None:
    name = stage.account(fresh_name())
    stage.moodle.site.add_user(name, auth="cas", email=f"{name}@mail.example", suspended=True)
    sign_in(stage, page, name, stage.updago)


@scene("Charte informatique", "IT charter")
def charter_text(stage: Stage, page: Page) -> None:
    obstacle_charter(stage, page)
    press(page.locator("main .btn-primary"))


@scene("Charte informatique", "IT charter", alert=True)
def charter_not_ticked(stage: Stage, page: Page) -> None:
    charter_text(stage, page)
    page.evaluate("document.querySelector('main form').noValidate = true")
    press(page.locator("main .btn-primary"))


# --- Confirming an address ---


@scene("Quelle est votre adresse courriel ?", "Where can we write to you?")
def address_form(stage: Stage, page: Page) -> None:
    obstacle_no_address(stage, page)
    press(page.locator("main .btn-primary"))


@scene("Quelle est votre adresse courriel ?", "Where can we write to you?", alert=True)
def address_form_wrong(stage: Stage, page: Page) -> None:
    address_form(stage, page)
    page.fill("#email", "somebody@nowhere")
    page.evaluate("document.querySelector('main form').noValidate = true")
    press(page.locator("main .btn-primary"))


@scene("Regardez votre messagerie", "Look in your mailbox")
def confirm_waiting(stage: Stage, page: Page) -> None:
    obstacle_unconfirmed(stage, page)
    press(page.locator("main .btn-primary"))


@scene("Regardez votre messagerie", "Look in your mailbox", alert=True)
def confirm_waiting_code_wrong(stage: Stage, page: Page) -> None:
    confirm_waiting(stage, page)
    page.fill("#code", "BCDF-GHJK")
    press(page.locator("main .btn-primary"))


@scene("Regardez votre messagerie", "Look in your mailbox")
def confirm_waiting_as_nobody(stage: Stage, page: Page) -> None:
    confirm_waiting(stage, page)
    waiting = page.url
    page.context.clear_cookies()
    page.goto(waiting)


@scene("Regardez votre messagerie", "Look in your mailbox")
def confirm_waiting_to_resend(stage: Stage, page: Page) -> None:
    confirm_waiting(stage, page)
    stage.bridge.clock.forward(seconds=61)
    page.reload()


@scene("Est-ce bien votre adresse ?", "Is this your address?")
def confirm_link(stage: Stage, page: Page) -> None:
    name = stage.account(fresh_name(), confirmed=False)
    sign_in(stage, page, name, stage.updago)
    press(page.locator("main .btn-primary"))
    page.goto(stage.link_mailed_to(name))


@scene("E-mail confirmé", "E-mail confirmed")
def confirm_done(stage: Stage, page: Page) -> None:
    confirm_link(stage, page)
    press(page.locator("main .btn-primary"))


@scene("E-mail confirmé", "E-mail confirmed")
def confirm_done_for_the_first_time(stage: Stage, page: Page) -> None:
    """Somebody who was in the account before its owner had added an address of their own."""
    name = stage.account(fresh_name(), confirmed=False)
    somebody = stage.bridge.browser()
    somebody.sign_in(name)
    somebody.get("/account/addresses")
    adding = [action for action, _method, _hidden in forms(somebody.page)].index("/account/addresses")
    somebody.submit(adding, email=f"{name}.autre@mail.example", role="recovery")
    sign_in(stage, page, name, stage.updago)
    press(page.locator("main .btn-primary"))
    page.goto(stage.link_mailed_to(name))
    press(page.locator("main .btn-primary"))


@scene("Cette adresse est déjà confirmée", "This address is already confirmed")
def confirm_already(stage: Stage, page: Page) -> None:
    confirm_link(stage, page)
    link = page.url
    press(page.locator("main .btn-primary"))
    page.goto(link)


@scene("Ce lien est trop ancien", "This link is too old")
def confirm_expired(stage: Stage, page: Page) -> None:
    confirm_link(stage, page)
    stage.bridge.clock.forward(hours=25)
    page.reload()


@scene("Ce lien ne fonctionne pas", "This link does not work")
def confirm_invalid(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/account/confirm/cut-in-tw"))


@scene("Ce lien concerne un autre compte", "This link is for another account")
def confirm_other_account(stage: Stage, page: Page) -> None:
    confirm_link(stage, page)
    link = page.url
    page.context.clear_cookies()
    sign_in(stage, page, stage.account(fresh_name()))
    page.goto(link)


# --- Forgotten user name or password ---


def search(stage: Stage, page: Page, *, username: str = "", email: str = "") -> None:
    """Open the two searches and use one of them."""
    page.goto(stage.at("/account/forgot", service=stage.updago))
    field = "email" if email else "username"
    page.fill(f"#{field}", email or username)
    press(page.locator(f"form:has(#{field}) button[type=submit]"))


@scene("Nom d'utilisateur ou mot de passe oublié ?", "Forgotten your user name or password?")
def forgot_searches(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/account/forgot", service=stage.updago))


@scene("Nom d'utilisateur ou mot de passe oublié ?", "Forgotten your user name or password?", alert=True)
def forgot_searches_wrong(stage: Stage, page: Page) -> None:
    forgot_searches(stage, page)
    page.fill("#email", "somebody@nowhere")
    page.evaluate("document.querySelectorAll('main form')[1].noValidate = true")
    press(page.locator("form:has(#email) button[type=submit]"))


@scene("Regardez votre messagerie", "Look in your mailbox")
def forgot_waiting(stage: Stage, page: Page) -> None:
    search(stage, page, username=fresh_name())


@scene("Regardez votre messagerie", "Look in your mailbox")
def forgot_waiting_unfolded(stage: Stage, page: Page) -> None:
    forgot_waiting(stage, page)
    page.locator("summary").click()


@scene("Regardez votre messagerie", "Look in your mailbox", alert=True)
def forgot_waiting_code_wrong(stage: Stage, page: Page) -> None:
    forgot_waiting(stage, page)
    page.fill("#code", "BCDF-GHJK")
    press(page.locator("main .btn-primary"))


@scene("Ce lien est trop ancien", "This link is too old")
def forgot_expired(stage: Stage, page: Page) -> None:
    reset_choose(stage, page)
    stage.bridge.clock.forward(minutes=31)
    page.reload()


@scene("Ce lien ne fonctionne pas", "This link does not work")
def forgot_invalid(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/account/reset/cut-in-tw"))


@scene("Choisir un nouveau mot de passe", "Choose a new password")
def reset_choose(stage: Stage, page: Page) -> None:
    name = stage.account(fresh_name())
    search(stage, page, username=name)
    page.goto(stage.link_mailed_to(name))


@scene("Choisir un nouveau mot de passe", "Choose a new password", alert=True)
def reset_choose_refused(stage: Stage, page: Page) -> None:
    reset_choose(stage, page)
    page.fill("#password", "Ada1234")
    page.fill("#password_again", "Ada12345")
    press(page.locator("main .btn-primary"))


@scene("Choisir un nouveau mot de passe", "Choose a new password", alert=True)
def reset_choose_between_accounts(stage: Stage, page: Page) -> None:
    name = stage.account(fresh_name())
    stage.bridge.add_account(fresh_name(), email=f"{name}@mail.example")
    search(stage, page, email=f"{name}@mail.example")
    page.goto(stage.link_mailed_to(name))
    page.fill("#password", "une lampe dans le grenier")
    page.fill("#password_again", "une lampe dans le grenier")
    page.evaluate("document.querySelector('main form').noValidate = true")
    press(page.locator("main .btn-primary"))


@scene("Votre nouveau mot de passe est enregistré", "Your new password is set")
def reset_done(stage: Stage, page: Page) -> None:
    reset_choose(stage, page)
    page.fill("#password", "une lampe dans le grenier")
    page.fill("#password_again", "une lampe dans le grenier")
    press(page.locator("main .btn-primary"))


@scene("Ce lien a déjà servi", "This link has been used")
def reset_used(stage: Stage, page: Page) -> None:
    reset_done(stage, page)
    page.goto(page.url)


# --- Home and the way out ---


@scene("Bonjour Ada Lovelace", "Hello Ada Lovelace")
def home_several_services(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name()))


@scene("Bonjour Ada Lovelace", "Hello Ada Lovelace")
def home_unconfirmed(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name(), confirmed=False))


@scene("Se déconnecter partout ?", "Sign out everywhere?")
def sign_out_everywhere_question(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name()), stage.updago)
    page.goto(stage.at("/account/sign-out"))


@scene("Vous êtes déconnecté·e", "You are signed out")
def signed_out(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name()), stage.updago)
    page.goto(stage.at("/cas/logout"))


# --- My account ---


@scene("Bonjour Ada Lovelace", "Hello Ada Lovelace")
def home_with_the_yearly_question(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name(), created_at=stage.bridge.clock() - timedelta(days=370)))


@scene("Mon compte", "My account")
def account(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name()))
    page.goto(stage.at("/account"))


@scene("Mon compte", "My account")
def account_unconfirmed(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name(), confirmed=False))
    page.goto(stage.at("/account"))


@scene("Mon compte", "My account")
def account_at_sel(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/signin/sel"))
    page.fill("#username", SEL_USER.username)
    page.fill("#password", SEL_USER.password)
    press(page.locator("button:not(.quiet)"))
    page.goto(stage.at("/account"))


def at_addresses(stage: Stage, page: Page) -> str:
    """An account with two confirmed addresses and one that is not; returns its user name."""
    name = stage.account(fresh_name())
    sign_in(stage, page, name)
    for address, confirmed in ((f"{name}.second@mail.example", True), (f"{name}.third@mail.example", False)):
        page.goto(stage.at("/account/addresses"))
        page.fill("#email", address)
        press(page.locator("form:has(#email) .btn-primary"))
        if confirmed:
            page.goto(stage.link_mailed_to(f"{name}.second"))
            press(page.locator("main .btn-primary"))
    page.goto(stage.at("/account/addresses"))
    return name


@scene("Mes adresses", "My addresses")
def account_addresses(stage: Stage, page: Page) -> None:
    at_addresses(stage, page)


@scene("Mes adresses", "My addresses")
def account_addresses_changed(stage: Stage, page: Page) -> None:
    at_addresses(stage, page)
    press(page.locator("form[action$='/primary'] button"))


@scene("Mes adresses", "My addresses")
def account_addresses_bounced(stage: Stage, page: Page) -> None:
    name = stage.account(fresh_name())
    stage.bounce(name)
    sign_in(stage, page, name)
    page.goto(stage.at("/account/addresses"))


@scene("Mes adresses", "My addresses")
def account_addresses_at_sel(stage: Stage, page: Page) -> None:
    account_at_sel(stage, page)
    page.goto(stage.at("/account/addresses"))


@scene("Mes adresses", "My addresses", alert=True)
def account_addresses_wrong(stage: Stage, page: Page) -> None:
    at_addresses(stage, page)
    page.fill("#email", "somebody@nowhere")
    page.evaluate("document.querySelector('form:has(#email)').noValidate = true")
    press(page.locator("form:has(#email) .btn-primary"))


@scene("Mes adresses", "My addresses", alert=True)
def account_addresses_too_late(stage: Stage, page: Page) -> None:
    name = at_addresses(stage, page)
    stage.bounce(name, number=1)
    press(page.locator("form[action$='/primary'] button"))


@scene("C'est bien vous ?", "Is it really you?")
def identity(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name()))
    page.goto(stage.at("/account/addresses"))
    stage.bridge.clock.forward(minutes=6)
    page.fill("#email", "ada@new.example")
    press(page.locator("form:has(#email) .btn-primary"))


@scene("C'est bien vous ?", "Is it really you?", alert=True)
def identity_wrong(stage: Stage, page: Page) -> None:
    identity(stage, page)
    page.fill("#password", "not the password")
    press(page.locator("main .btn-primary"))


@scene("C'est bien vous ?", "Is it really you?")
def identity_at_sel(stage: Stage, page: Page) -> None:
    account_addresses_at_sel(stage, page)
    stage.bridge.clock.forward(minutes=6)
    page.fill("#email", f"{fresh_name()}@new.example")
    press(page.locator("form:has(#email) .btn-primary"))


@scene("C'est bien vous", "It is really you")
def identity_shown_at_sel(stage: Stage, page: Page) -> None:
    identity_at_sel(stage, page)
    press(page.locator("main .btn-primary"))
    page.fill("#username", SEL_USER.username)
    page.fill("#password", SEL_USER.password)
    press(page.locator("button:not(.quiet)"))


@scene("Mon mot de passe", "My password")
def account_password(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name()))
    page.goto(stage.at("/account/password"))


def change_password(page: Page, current: str, new: str) -> None:
    page.fill("#current_password", current)
    page.fill("#password", new)
    page.fill("#password_again", new)
    press(page.locator("main form .btn-primary"))


@scene("Mon mot de passe", "My password", alert=True)
def account_password_wrong(stage: Stage, page: Page) -> None:
    account_password(stage, page)
    change_password(page, "not the password", "sept violons dans la brume")


@scene("Mon mot de passe", "My password", alert=True)
def account_password_weak(stage: Stage, page: Page) -> None:
    account_password(stage, page)
    change_password(page, PASSWORD, "azerty")


@scene("Mon mot de passe", "My password")
def account_password_changed(stage: Stage, page: Page) -> None:
    account_password(stage, page)
    change_password(page, PASSWORD, "sept violons dans la brume")


@scene("Mon mot de passe", "My password")
def account_password_at_sel(stage: Stage, page: Page) -> None:
    account_at_sel(stage, page)
    page.goto(stage.at("/account/password"))


@scene("Mes sessions", "My sessions")
def account_sessions(stage: Stage, page: Page) -> None:
    name = stage.account(fresh_name())
    other = stage.bridge.browser()
    other.sign_in(name)
    sign_in(stage, page, name, stage.updago)
    page.goto(stage.at("/account/sessions"))


@scene("Pourquoi je n'entre pas\N{NO-BREAK SPACE}?", "Why can't I enter?")
def why(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/pourquoi"))


@scene("Pourquoi je n'entre pas\N{NO-BREAK SPACE}?", "Why can't I enter?")
def why_sent(stage: Stage, page: Page) -> None:
    why(stage, page)
    page.fill("#identifier", fresh_name())
    press(page.locator("main button[type=submit]"))


@scene("Mon activité", "My activity")
def account_activity(stage: Stage, page: Page) -> None:
    name = stage.account(fresh_name())
    stage.bridge.browser().sign_in(name, "not the password")
    sign_in(stage, page, name, stage.updago)
    page.goto(stage.at("/account/activity"))


@scene("Mon activité", "My activity")
def account_activity_earlier(stage: Stage, page: Page) -> None:
    account_activity(stage, page)
    page.goto(stage.at("/account/activity", before="1"))


@scene("Mes sessions", "My sessions")
def account_sessions_ended(stage: Stage, page: Page) -> None:
    account_sessions(stage, page)
    press(page.locator("form[action$='/end-others'] button"))


@scene("Mes consentements", "My consents")
def account_consents(stage: Stage, page: Page) -> None:
    charter_text(stage, page)
    page.check("#charter")
    press(page.locator("main .btn-primary"))
    page.goto(stage.at("/account/data/consents"))


@scene("Mes consentements", "My consents")
def account_consents_none(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name()))
    page.goto(stage.at("/account/data/consents"))


@scene("Mes données", "My data")
def account_data(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name()))
    page.goto(stage.at("/account/data"))


@scene("Supprimer mon compte ?", "Delete my account?")
def account_deletion(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name()))
    page.goto(stage.at("/account/deletion"))


@scene("Supprimer mon compte ?", "Delete my account?")
def account_deletion_at_sel(stage: Stage, page: Page) -> None:
    account_at_sel(stage, page)
    page.goto(stage.at("/account/deletion"))


@scene("Votre compte va être supprimé", "Your account will be deleted")
def account_deletion_asked(stage: Stage, page: Page) -> None:
    account_deletion(stage, page)
    press(page.locator("main .btn-primary"))


@scene("Bonjour Ada Lovelace", "Hello Ada Lovelace")
def home_before_the_deletion(stage: Stage, page: Page) -> None:
    account_deletion_asked(stage, page)
    page.goto(stage.at("/"))


@scene("Annuler ce changement ?", "Undo this change?")
def undo_link(stage: Stage, page: Page) -> None:
    name = at_addresses(stage, page)
    page.goto(stage.link_mailed_to(name, "undo"))


@scene("Le changement est annulé", "The change is undone")
def undo_done(stage: Stage, page: Page) -> None:
    undo_link(stage, page)
    press(page.locator("main .btn-primary"))


@scene("Ce lien ne fonctionne plus", "This link does not work any more")
def undo_over(stage: Stage, page: Page) -> None:
    undo_link(stage, page)
    link = page.url
    press(page.locator("main .btn-primary"))
    page.goto(link)


@scene("Garder ce compte ?", "Keep this account?")
def keep_link(stage: Stage, page: Page) -> None:
    name = stage.account(fresh_name())
    sign_in(stage, page, name)
    page.goto(stage.at("/account/deletion"))
    press(page.locator("main .btn-primary"))
    page.goto(stage.link_mailed_to(name, "keep"))


@scene("Le compte est gardé", "The account is kept")
def keep_done(stage: Stage, page: Page) -> None:
    keep_link(stage, page)
    press(page.locator("main .btn-primary"))


# --- Errors ---


@scene("Nous n'avons pas compris cette demande", "We did not understand this request")
def error_400_malformed(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/cas/login") + "?service=a&service=b")


@scene("Le formulaire est resté ouvert trop longtemps", "The form has been open too long")
def error_400_form_too_old(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/signin/local", service=stage.updago))
    page.fill("#identifier", "ext.ada")
    page.fill("#password", PASSWORD)
    page.context.clear_cookies()
    press(page.locator("main button[type=submit]"))


@scene("Vous ne pouvez pas y aller d'ici", "You cannot go there from here")
def error_403(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/cas/login", service="https://stranger.example/"))


@scene("Cette page n'existe pas", "This page does not exist")
def error_404(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/nowhere"))


@scene("Cette page ne s'ouvre pas ainsi", "This page cannot be opened that way")
def error_405(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/account/confirm/x/resend"))


@scene("C'est trop de données en une fois", "That is too much to send at once")
def error_413(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/signin/local"))
    page.evaluate("document.getElementById('identifier').removeAttribute('maxlength')")
    page.evaluate("document.getElementById('identifier').value = 'x'.repeat(80000)")
    page.fill("#password", PASSWORD)
    press(page.locator("main button[type=submit]"))


def _failing_charter(stage: Stage, page: Page, error: Exception) -> None:
    with patch.object(charter, "text_in", side_effect=error):
        page.goto(stage.at("/account/charter"))


@scene("Trop de tentatives", "Too many attempts")
def error_429(stage: Stage, page: Page) -> None:
    _failing_charter(stage, page, Throttled(40))


@scene("Une panne de notre côté", "Something broke on our side")
def error_500(stage: Stage, page: Page) -> None:
    _failing_charter(stage, page, RuntimeError("broken on purpose"))


@scene("De retour dans quelques minutes", "Back in a few minutes")
def error_503(stage: Stage, page: Page) -> None:
    _failing_charter(stage, page, OperationalError("select 1", {}, Exception("gone")))


@scene("Agenda vous renvoie sans cesse ici", "Calendar keeps sending you back here")
def error_508_loop(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name()))
    for _ in range(12):
        page.goto(stage.at("/cas/login", service=stage.agenda))
        if not page.url.startswith(stage.agenda):
            return
