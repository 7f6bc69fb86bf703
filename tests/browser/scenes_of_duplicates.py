"""The pages of likely duplicates: how a browser gets there."""

from __future__ import annotations

from playwright.sync_api import Page
from sqlalchemy import select

from external_accounts.linking_schema import LikelyPair
from external_accounts.schema import Account
from lms_bridge.jobs.duplicates import seek_pairs
from lms_bridge.schema import StrayUser
from tests.browser.scenes import fresh_name, scene, sign_in
from tests.browser.scenes_of_registration import as_desk
from tests.browser.stage import Stage
from tests.browser.steps import press

DESK = "/helpdesk/duplicates"


def two_accounts(stage: Stage) -> tuple[str, int]:
    """One person's, by a confirmed address and by name: a user name, and the pair's number."""
    first, second = fresh_name(), fresh_name()
    address = f"{first}@mail.example"
    family = f"Byron{first.removeprefix('ext.ada')}"
    stage.account(first, family_name=family, unit="UFR Lettres et langues")
    stage.bridge.add_account(second, email=address)
    with stage.bridge.runtime.database.begin() as session:
        other = session.scalars(select(Account).where(Account.username == second)).one()
        other.family_name, other.birth_name, other.profile = "King", family, "staff"
        other_id = other.id
    while seek_pairs(stage.bridge.runtime):
        pass
    with stage.bridge.runtime.database.read() as session:
        return first, session.scalars(select(LikelyPair.id).where(LikelyPair.second_id == other_id)).one()


def open_pair(stage: Stage, page: Page) -> int:
    _person, number = two_accounts(stage)
    as_desk(stage, page)
    page.goto(stage.at(f"{DESK}/{number}"))
    return number


@scene("Doublons probables", "Likely duplicates")
def desk_duplicates(stage: Stage, page: Page) -> None:
    two_accounts(stage)
    as_desk(stage, page)
    page.goto(stage.at(DESK))


@scene("Une personne ou deux ?", "One person or two?")
def desk_duplicate(stage: Stage, page: Page) -> None:
    open_pair(stage, page)


@scene("Une personne ou deux ?", "One person or two?")
def desk_duplicate_set_aside(stage: Stage, page: Page) -> None:
    open_pair(stage, page)
    page.fill("#reason", "La sœur et le frère, même messagerie")
    press(page.locator("main form[action$='/dismiss'] button"))


def choose_several(stage: Stage, page: Page) -> None:
    number = open_pair(stage, page)
    page.goto(stage.at(f"{DESK}/several"))
    page.check(f"#pair-{number}")


@scene("Écarter plusieurs paires", "Set several pairs aside", alert=True)
def desk_duplicates_several_wrong(stage: Stage, page: Page) -> None:
    choose_several(stage, page)
    page.locator("#reason").evaluate("field => field.required = false")
    press(page.locator("main .btn-primary"))


@scene("Écarter plusieurs paires", "Set several pairs aside")
def desk_duplicates_several_preview(stage: Stage, page: Page) -> None:
    choose_several(stage, page)
    page.fill("#reason", "Homonymes vérifiés")
    press(page.locator("main .btn-primary"))


@scene("Utilisateurs de Moodle à examiner", "Moodle users to look at")
def desk_stray_users(stage: Stage, page: Page) -> None:
    person = stage.account(fresh_name())
    with stage.bridge.runtime.database.begin() as session:
        session.add(
            StrayUser(
                account_id=session.scalars(select(Account.id).where(Account.username == person)).one(),
                site="updago",
                moodle_id=4217,
                username="alovelace",
                fullname="Ada Lovelace",
                facts=["email", "idnumber"],
                state="open",
                found_at=stage.bridge.clock(),
            )
        )
    as_desk(stage, page)
    page.goto(stage.at(f"{DESK}/moodle"))


@scene("Mon compte", "My account")
def account_that_may_have_a_second(stage: Stage, page: Page) -> None:
    person, _number = two_accounts(stage)
    sign_in(stage, page, person)
    page.goto(stage.at("/account"))
