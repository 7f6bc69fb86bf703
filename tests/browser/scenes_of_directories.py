"""The pages of people whose password a directory holds: how a browser gets there."""

from __future__ import annotations

import itertools
from unittest.mock import patch

from playwright.sync_api import Page

from external_accounts.accounts import Person, create_account
from external_accounts.addresses import parse_address, set_primary_address
from external_accounts.directory import DirectoryError, DirectoryUnavailable, Entry, PasswordRefused, Refusal
from external_accounts.directory.embedded import EmbeddedDirectory
from external_accounts.schema import SignInIdentity
from lms_bridge.demo.sel import SelUser
from tests.bridge_under_test import PASSWORD
from tests.browser.scenes import change_password, scene, search
from tests.browser.stage import Stage
from tests.browser.steps import press

_numbers = itertools.count(1)
NEW = "sept violons dans la brume"


def fresh_vacataire(stage: Stage) -> str:
    """The user name of somebody new who signs in at the SEL and whose password is in the directory behind it."""
    name = f"vada{next(_numbers)}"
    now = stage.bridge.clock()
    directory = stage.bridge.runtime.directories["sel"]
    directory.save(Entry(name, "Ada", "Lovelace"))
    directory.set_password(name, PASSWORD)
    stage.sel.directory.add(SelUser(name, PASSWORD, {}))
    with stage.bridge.runtime.database.begin() as session:
        account = create_account(
            session, username=name, profile="vacataire", person=Person("Ada", "Lovelace"), activated=True, now=now
        )
        account.identities.append(
            SignInIdentity(issuer="sel", subject=name, attributes={}, created_at=now, refreshed_at=now)
        )
        set_primary_address(session, account, parse_address(f"{name}@mail.example"), role="recovery", now=now)
        stage.bridge.confirm(session, account)
    return name


@scene("Choisir un nouveau mot de passe", "Choose a new password", alert=True)
def directory_reset_away(stage: Stage, page: Page) -> None:
    _reset(stage, page, DirectoryUnavailable())


@scene("Choisir un nouveau mot de passe", "Choose a new password", alert=True)
def directory_reset_refused(stage: Stage, page: Page) -> None:
    _reset(stage, page, PasswordRefused("", Refusal.USED_BEFORE))


@scene("Choisir un nouveau mot de passe", "Choose a new password", alert=True)
def directory_reset_refused_in_its_words(stage: Stage, page: Page) -> None:
    _reset(stage, page, PasswordRefused("Password fails quality checking policy"))


def _reset(stage: Stage, page: Page, error: DirectoryError) -> None:
    name = fresh_vacataire(stage)
    search(stage, page, username=name)
    page.goto(stage.link_mailed_to(name))
    page.fill("#password", NEW)
    page.fill("#password_again", NEW)
    with patch.object(EmbeddedDirectory, "set_password", side_effect=error):
        press(page.locator("main .btn-primary"))


@scene("Votre nouveau mot de passe est enregistré", "Your new password is set")
def directory_reset_done(stage: Stage, page: Page) -> None:
    name = fresh_vacataire(stage)
    search(stage, page, username=name)
    page.goto(stage.link_mailed_to(name))
    page.fill("#password", NEW)
    page.fill("#password_again", NEW)
    press(page.locator("main .btn-primary"))


@scene("Mon mot de passe", "My password")
def directory_password(stage: Stage, page: Page) -> None:
    name = fresh_vacataire(stage)
    page.goto(stage.at("/signin/sel"))
    page.fill("#username", name)
    page.fill("#password", PASSWORD)
    press(page.locator("button:not(.quiet)"))
    page.goto(stage.at("/account/password"))


@scene("Mon mot de passe", "My password", alert=True)
def directory_password_refused(stage: Stage, page: Page) -> None:
    directory_password(stage, page)
    with patch.object(EmbeddedDirectory, "set_password", side_effect=PasswordRefused("", Refusal.TOO_SOON)):
        change_password(page, PASSWORD, NEW)


@scene("Mon mot de passe", "My password")
def directory_password_changed(stage: Stage, page: Page) -> None:
    directory_password(stage, page)
    change_password(page, PASSWORD, NEW)
