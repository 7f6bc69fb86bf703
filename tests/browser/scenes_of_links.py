"""The pages of joining two accounts, of parting them, and of ways in: how a browser gets there."""

from __future__ import annotations

from datetime import timedelta

from playwright.sync_api import Page
from sqlalchemy import select

from external_accounts.accounts import Person, create_account
from external_accounts.linking_schema import LikelyPair
from external_accounts.schema import Account, SignInIdentity
from lms_bridge.demo.sel import SelUser
from tests.bridge_under_test import PASSWORD
from tests.browser.scenes import fresh_name, scene, sign_in
from tests.browser.stage import SEL_USER, Stage
from tests.browser.steps import press

LINKS = "/account/links"


def begin(stage: Stage, page: Page) -> str:
    """Somebody signed in has begun: the page that asks for the other account. Returns the name of another one."""
    sign_in(stage, page, stage.account(fresh_name()))
    page.goto(stage.at(LINKS))
    press(page.locator("main .btn-primary").first)
    return stage.account(fresh_name())


def show(stage: Stage, page: Page) -> str:
    """The right password of the other one: the page that waits for its message."""
    other = begin(stage, page)
    page.fill("#identifier", other)
    page.fill("#password", PASSWORD)
    press(page.locator("form:has(#identifier) button[type=submit]"))
    return other


def both(stage: Stage, page: Page) -> str:
    other = show(stage, page)
    page.goto(stage.link_mailed_to(other, "links/proof"))
    press(page.locator("main .btn-primary"))
    return other


def joined(stage: Stage, page: Page) -> str:
    other = both(stage, page)
    press(page.locator("main .btn-primary"))
    return other


def account_of(stage: Stage, username: str) -> int:
    with stage.bridge.runtime.database.read() as session:
        return session.scalars(select(Account.id).where(Account.username == username)).one()


@scene("Mes moyens de connexion", "My ways in")
def links_overview(stage: Stage, page: Page) -> None:
    """Proposed by the help desk, with a way in that was removed, a joined account, and an end of rights."""
    name, other = fresh_name(), fresh_name()
    stage.account(name)
    stage.account(other)
    first, second = sorted((account_of(stage, name), account_of(stage, other)))
    now = stage.bridge.clock()
    with stage.bridge.runtime.database.begin() as session:
        session.add(LikelyPair(first_id=first, second_id=second, points=80, facts=[], state="proposed", found_at=now))
        mine = account_of(stage, name)
        session.add(
            SignInIdentity(account_id=mine, issuer="sel", subject=name, attributes={}, created_at=now, refreshed_at=now)
        )
    sign_in(stage, page, name)
    page.goto(stage.at(LINKS))


@scene("Mes moyens de connexion", "My ways in")
def links_joined_and_removed(stage: Stage, page: Page) -> None:
    joined(stage, page)
    with stage.bridge.runtime.database.begin() as session:
        owner = session.scalars(select(SignInIdentity).order_by(SignInIdentity.id.desc())).all()[1].account_id
        now = stage.bridge.clock()
        subject = fresh_name().replace("ext.", "m")
        session.add(
            SignInIdentity(
                account_id=owner, issuer="sel", subject=subject, attributes={}, created_at=now, refreshed_at=now
            )
        )
    page.goto(stage.at(LINKS))
    press(page.locator("form[action*='/ways/'] button").last)


@scene("Montrez votre autre compte", "Show your other account")
def links_other_side(stage: Stage, page: Page) -> None:
    begin(stage, page)


@scene("Montrez votre autre compte", "Show your other account", alert=True)
def links_other_side_wrong(stage: Stage, page: Page) -> None:
    begin(stage, page)
    page.fill("#identifier", "ext.nobody")
    page.fill("#password", "not the password")
    press(page.locator("form:has(#identifier) button[type=submit]"))


@scene("Regardez votre messagerie", "Look in your mailbox")
def links_waiting(stage: Stage, page: Page) -> None:
    show(stage, page)


@scene("Ce compte est-il aussi à vous ?", "Is this account yours as well?")
def links_proof(stage: Stage, page: Page) -> None:
    other = show(stage, page)
    page.goto(stage.link_mailed_to(other, "links/proof"))


@scene("Pas ici", "Not here")
def links_proof_elsewhere(stage: Stage, page: Page) -> None:
    other = show(stage, page)
    page.context.clear_cookies()
    page.goto(stage.link_mailed_to(other, "links/proof"))


@scene("Réunir ces deux comptes ?", "Join these two accounts?")
def links_both(stage: Stage, page: Page) -> None:
    both(stage, page)


@scene("Un compte suspendu ne peut pas être réuni à un autre", "A suspended account cannot be joined")
def links_refused(stage: Stage, page: Page) -> None:
    other = both(stage, page)
    with stage.bridge.runtime.database.begin() as session:
        session.get_one(Account, account_of(stage, other)).suspended_at = stage.bridge.clock()
    press(page.locator("main .btn-primary"))


@scene("Les deux comptes n'en font qu'un", "The two accounts are one")
def links_sign_in_again(stage: Stage, page: Page) -> None:
    both(stage, page)
    page.check("#keep-other")
    press(page.locator("main .btn-primary"))


@scene("Séparer de nouveau les deux comptes ?", "Make the accounts two again?")
def links_undo(stage: Stage, page: Page) -> None:
    other = joined(stage, page)
    page.context.clear_cookies()
    page.goto(stage.link_mailed_to(other, "links/undo"))


@scene("Les comptes sont de nouveau séparés", "The accounts are two again")
def links_undone(stage: Stage, page: Page) -> None:
    links_undo(stage, page)
    press(page.locator("main .btn-primary"))


@scene("Un mot de passe pour la suite", "A password for the time after")
def links_password(stage: Stage, page: Page) -> None:
    name = fresh_name()
    stage.account(name, rights_end_at=stage.bridge.clock() + timedelta(days=30))
    sign_in(stage, page, name)
    with stage.bridge.runtime.database.begin() as session:
        identity = session.scalars(select(SignInIdentity).where(SignInIdentity.subject == name)).one()
        identity.issuer, identity.subject = "sel", name.replace("ext.", "m")
    page.goto(stage.at(f"{LINKS}/password"))


@scene("Vérifier un reçu", "Check a receipt", alert=True)
def links_receipt_wrong(stage: Stage, page: Page) -> None:
    page.goto(stage.at(f"{LINKS}/receipt"))
    page.fill("#receipt", "LMS-Bridge link 1 at …")
    press(page.locator("main .btn-primary"))


@scene("Avez-vous déjà un compte ici ?", "Do you have an account here already?")
def cas_name_taken(stage: Stage, page: Page) -> None:
    """Somebody's account bears the name that the CAS asserts, and that CAS is no way in to it."""
    name = fresh_name().replace("ext.", "m")
    with stage.bridge.runtime.database.begin() as session:
        now, luc = stage.bridge.clock(), Person("Luc", "Roche")
        create_account(session, username=name, profile="staff", person=luc, activated=True, now=now)
    stage.sel.directory.add(SelUser(name, "roche-demo-1", SEL_USER.attributes))
    page.goto(stage.at("/signin/sel"))
    page.fill("[name=username]", name)
    page.fill("[name=password]", "roche-demo-1")
    press(page.get_by_role("button", name="S’authentifier"))
