"""The pages by which the help desk acts: how a browser gets there."""

from __future__ import annotations

from datetime import timedelta

from playwright.sync_api import Page
from sqlalchemy import select

from external_accounts.linking_schema import AddressCorrection
from external_accounts.schema import Account, Address
from lms_bridge.schema import Mirror
from tests.browser.scenes import fresh_name, scene
from tests.browser.scenes_of_registration import as_desk
from tests.browser.stage import Stage
from tests.browser.steps import press

ACCOUNTS = "/helpdesk/accounts"
SECOND = "ext.desk2"


def number_of(stage: Stage, username: str) -> int:
    with stage.bridge.runtime.database.read() as session:
        return session.scalars(select(Account.id).where(Account.username == username)).one()


def open_act(stage: Stage, page: Page, act: str, username: str) -> int:
    number = number_of(stage, username)
    as_desk(stage, page)
    page.goto(stage.at(f"{ACCOUNTS}/{number}/{act}"))
    return number


def bounced(stage: Stage) -> str:
    """Somebody whose address stopped counting; it is as long as addresses may well be, which narrow pages must bear."""
    username = stage.account(f"{fresh_name()}.de-la-tour-saint-hilaire")
    stage.bounce(username)
    return username


def asked(stage: Stage, username: str) -> int:
    """A colleague has asked for another address."""
    number = number_of(stage, username)
    with stage.bridge.runtime.database.begin() as session:
        if session.scalar(select(Account.id).where(Account.username == SECOND)) is None:
            stage_account = Account(username=SECOND, profile="staff", created_at=stage.bridge.clock(), version=1)
            session.add(stage_account)
            session.flush()
        colleague = session.scalars(select(Account.id).where(Account.username == SECOND)).one()
        address = session.scalars(select(Address).where(Address.account_id == number)).one()
        correction = AddressCorrection(
            account_id=number,
            address_id=address.id,
            old_email=address.email,
            new_email=f"{username}@courriel.example",
            reason="L'a dit au téléphone ; rappelée à son bureau",
            state="waiting",
            asked_at=stage.bridge.clock(),
            asked_by=SECOND,
            asked_by_id=colleague,
            decided_by="",
            decision_reason="",
        )
        session.add(correction)
        session.flush()
        return correction.id


@scene("Suspendre un compte", "Suspend an account")
def act_suspend(stage: Stage, page: Page) -> None:
    open_act(stage, page, "suspend", stage.account(fresh_name()))


@scene("Suspendre un compte", "Suspend an account", alert=True)
def act_suspend_wrong(stage: Stage, page: Page) -> None:
    act_suspend(stage, page)
    page.evaluate("document.querySelector('main form').noValidate = true")
    page.fill("#until", "2020-01-01")
    press(page.locator("main .btn-primary"))


@scene("Suspendre un compte", "Suspend an account", alert=True)
def act_suspend_out_of_date(stage: Stage, page: Page) -> None:
    username = stage.account(fresh_name(), confirmed=False)
    open_act(stage, page, "suspend", username)
    stage.confirm(username)
    page.fill("#reason", "Ordinateur volé")
    press(page.locator("main .btn-primary"))


@scene("Lever une suspension", "Lift a suspension")
def act_readmit(stage: Stage, page: Page) -> None:
    now = stage.bridge.clock()
    username = stage.account(
        fresh_name(),
        suspended_at=now,
        suspended_until=now + timedelta(days=9),
        suspension_reason="Ordinateur volé",
    )
    open_act(stage, page, "readmit", username)


@scene("Fermer des sessions", "End sessions")
def act_sessions(stage: Stage, page: Page) -> None:
    username = stage.account(fresh_name())
    stage.bridge.browser().sign_in(username)
    open_act(stage, page, "sessions", username)


@scene("Prolonger les droits", "Extend the rights")
def act_extend(stage: Stage, page: Page) -> None:
    end = stage.bridge.clock() + timedelta(days=9)
    open_act(stage, page, "extend", stage.account(fresh_name(), profile="hosted", rights_end_at=end))


@scene("Prolonger les droits", "Extend the rights")
def act_impossible(stage: Stage, page: Page) -> None:
    open_act(stage, page, "extend", stage.account(fresh_name()))


@scene("Lancer une réinitialisation du mot de passe", "Start a password reset")
def act_reset(stage: Stage, page: Page) -> None:
    open_act(stage, page, "reset", stage.account(fresh_name()))


@scene("Renvoyer un message", "Send a message again")
def act_resend(stage: Stage, page: Page) -> None:
    open_act(stage, page, "resend", stage.account(fresh_name(), confirmed=False))


@scene("Corriger une adresse", "Correct an address")
def act_correct(stage: Stage, page: Page) -> None:
    open_act(stage, page, "correct", bounced(stage))


@scene("Proposer de réunir deux comptes", "Propose to join two accounts", alert=True)
def act_link_wrong(stage: Stage, page: Page) -> None:
    open_act(stage, page, "link", stage.account(fresh_name()))
    page.fill("#other", "ext.nobody")
    page.fill("#reason", "Même personne")
    press(page.locator("main .btn-primary"))


@scene("Corrections d'adresses", "Corrections of addresses")
def desk_corrections(stage: Stage, page: Page) -> None:
    asked(stage, bounced(stage))
    as_desk(stage, page)
    page.goto(stage.at("/helpdesk/corrections"))


@scene("Correction d'une adresse", "Correction of an address")
def desk_correction(stage: Stage, page: Page) -> None:
    number = asked(stage, bounced(stage))
    as_desk(stage, page)
    page.goto(stage.at(f"/helpdesk/corrections/{number}"))


@scene("Correction d'une adresse", "Correction of an address")
def desk_correction_done(stage: Stage, page: Page) -> None:
    desk_correction(stage, page)
    press(page.locator("main .btn-primary"))


@scene("Messages revenus", "Messages that came back")
def desk_bounces(stage: Stage, page: Page) -> None:
    bounced(stage)
    as_desk(stage, page)
    page.goto(stage.at("/helpdesk/bounces"))


@scene("Messages que personne n'a reçus", "Messages nobody received")
def desk_undelivered(stage: Stage, page: Page) -> None:
    as_desk(stage, page)
    page.goto(stage.at("/helpdesk/bounces", list="mails"))


@scene("Conflits avec Moodle", "Conflicts with Moodle")
def desk_conflicts(stage: Stage, page: Page) -> None:
    number = number_of(stage, stage.account(fresh_name()))
    found = {
        "field": "user",
        "ours": "ext.ada cas",
        "theirs": "ext.ada manual",
        "problem": "the user has another sign-in method",
    }
    with stage.bridge.runtime.database.begin() as session:
        row = session.scalar(select(Mirror).where(Mirror.account_id == number, Mirror.site == "closed"))
        if row is None:
            row = Mirror(account_id=number, site="closed", written={})
            session.add(row)
        row.state, row.problem, row.conflicts = "conflict", found["problem"], [found]
        row.moodle_id = number
    as_desk(stage, page)
    page.goto(stage.at("/helpdesk/conflicts", site="closed"))


@scene("Agir sur plusieurs comptes", "Act on many accounts", alert=True)
def desk_bulk_wrong(stage: Stage, page: Page) -> None:
    as_desk(stage, page)
    page.goto(stage.at("/helpdesk/bulk"))
    page.evaluate("document.querySelector('main form').noValidate = true")
    press(page.locator("main .btn-primary"))


@scene("Suspendre", "Suspend")
def desk_bulk_preview(stage: Stage, page: Page) -> None:
    names = [stage.account(fresh_name()) for _ in range(2)]
    as_desk(stage, page)
    page.goto(stage.at("/helpdesk/bulk"))
    page.check("#act-suspend")
    page.fill("#reason", "Fin du cours")
    page.fill("#identifiers", "\n".join([*names, "ext.nobody", "ext.desk"]))
    press(page.locator("main .btn-primary"))


@scene("Suspendre", "Suspend")
def desk_bulk_under_way(stage: Stage, page: Page) -> None:
    # The page looks again by itself: not while somebody looks at it here.
    page.add_init_script(
        "const later = setTimeout; window.setTimeout = (act, wait) => (wait > 2000 ? 0 : later(act, wait));"
    )
    desk_bulk_preview(stage, page)
    press(page.locator("main .btn-primary"))


@scene("Suspendre", "Suspend")
def desk_bulk_done(stage: Stage, page: Page) -> None:
    desk_bulk_under_way(stage, page)
    stage.bridge.runner.run_once()
    page.reload()
