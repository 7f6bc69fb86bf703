"""The pages of the end of an account's rights and of extensions: how a browser gets there."""

from __future__ import annotations

from datetime import timedelta

from playwright.sync_api import Page
from sqlalchemy import select

from external_accounts.institution_schema import Extension
from external_accounts.schema import Account
from tests.browser.scenes import fresh_name, scene, sign_in
from tests.browser.scenes_of_registration import as_desk
from tests.browser.stage import Stage
from tests.browser.steps import press

PAGE = "/account/extension"
DESK = "/helpdesk/extensions"


def hosted(stage: Stage, page: Page, *, days: int = 20, profile: str = "hosted") -> tuple[str, str]:
    """Somebody whose rights end in so many days, signed in on the page; and who answers for them."""
    sponsor, person = stage.account(fresh_name(), profile="staff"), fresh_name()
    with stage.bridge.runtime.database.read() as session:
        sponsor_id = session.scalar(select(Account.id).where(Account.username == sponsor))
    end = stage.bridge.clock() + timedelta(days=days)
    stage.account(person, profile=profile, rights_end_at=end, sponsor_id=sponsor_id)
    page.context.clear_cookies()
    sign_in(stage, page, person)
    page.goto(stage.at(PAGE))
    return person, sponsor


def ask(stage: Stage, page: Page, *, days: int = 20) -> tuple[str, str]:
    people = hosted(stage, page, days=days)
    page.fill("#reason", "Le cours de compilation")
    press(page.locator("main .btn-primary"))
    return people


def open_link(stage: Stage, page: Page) -> tuple[str, str]:
    """Whoever answers for somebody opens the link of their mail, in another browser."""
    person, sponsor = ask(stage, page)
    page.context.clear_cookies()
    page.goto(link_of(stage, sponsor))
    return person, sponsor


def link_of(stage: Stage, sponsor: str) -> str:
    mails = stage.mails_to(sponsor)
    return next(word for mail in reversed(mails) for word in mail.text.split() if "/extension/" in word)


def number(stage: Stage) -> int:
    with stage.bridge.runtime.database.read() as session:
        return session.scalars(select(Extension.id).order_by(Extension.id.desc())).first() or 0


@scene("Ma demande de prolongation", "My extension request")
def extension_form(stage: Stage, page: Page) -> None:
    hosted(stage, page)


@scene("Ma demande de prolongation", "My extension request", alert=True)
def extension_form_wrong(stage: Stage, page: Page) -> None:
    hosted(stage, page)
    page.fill("#until", "2099-12-31")
    press(page.locator("main .btn-primary"))


@scene("Ma demande de prolongation", "My extension request")
def extension_waits(stage: Stage, page: Page) -> None:
    ask(stage, page)


@scene("Ma demande de prolongation", "My extension request")
def extension_withdrawn(stage: Stage, page: Page) -> None:
    ask(stage, page)
    press(page.locator("main .btn-outline"))


@scene("Ma demande de prolongation", "My extension request")
def extension_waits_after_the_end(stage: Stage, page: Page) -> None:
    ask(stage, page, days=-3)


@scene("Ma demande de prolongation", "My extension request")
def extension_granted(stage: Stage, page: Page) -> None:
    person, _sponsor = open_link(stage, page)
    press(page.locator("main .btn-primary"))
    sign_in(stage, page, person)
    page.goto(stage.at(PAGE))


@scene("Ma demande de prolongation", "My extension request")
def extension_not_for_this_profile(stage: Stage, page: Page) -> None:
    hosted(stage, page, profile="learner")


@scene("Ma demande de prolongation", "My extension request")
def extension_without_an_end(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name()))
    page.goto(stage.at(PAGE))


@scene("Mon compte", "My account")
def account_that_ends(stage: Stage, page: Page) -> None:
    hosted(stage, page)
    page.goto(stage.at("/account"))


@scene("Votre accès est terminé", "Your access has ended")
def gate_after_the_end(stage: Stage, page: Page) -> None:
    hosted(stage, page, days=-3)
    page.goto(stage.at("/cas/login", service=stage.updago))


@scene("Prolongation pour Ada Lovelace", "Extension for Ada Lovelace")
def extension_link(stage: Stage, page: Page) -> None:
    open_link(stage, page)


@scene("Prolongation pour Ada Lovelace", "Extension for Ada Lovelace", alert=True)
def extension_link_wrong(stage: Stage, page: Page) -> None:
    open_link(stage, page)
    page.fill("#until", "2099-12-31")
    press(page.locator("main .btn-primary"))


@scene("Prolongation pour Ada Lovelace", "Extension for Ada Lovelace")
def extension_link_used(stage: Stage, page: Page) -> None:
    open_link(stage, page)
    page.fill("#reason", "Le cours n'a pas lieu.")
    press(page.locator("main .btn-outline"))


@scene("Ce lien ne fonctionne plus", "This link does not work any more")
def extension_link_too_old(stage: Stage, page: Page) -> None:
    _person, sponsor = ask(stage, page)
    link = link_of(stage, sponsor)
    stage.bridge.clock.forward(days=15)
    page.goto(link)


@scene("Demandes de prolongation", "Requests for extensions")
def desk_extensions(stage: Stage, page: Page) -> None:
    ask(stage, page)
    as_desk(stage, page)
    page.goto(stage.at(DESK))


@scene("Prolongation pour Ada Lovelace", "Extension for Ada Lovelace")
def desk_extension(stage: Stage, page: Page) -> None:
    ask(stage, page)
    wanted = number(stage)
    as_desk(stage, page)
    page.goto(stage.at(f"{DESK}/{wanted}"))
