"""The help desk's first page, its search and the page of one account: how a browser gets there."""

from __future__ import annotations

from playwright.sync_api import Page
from sqlalchemy import select

from external_accounts import audit, outbox
from external_accounts.confirmation import lose_confirmation
from external_accounts.institution_schema import Extension
from external_accounts.schema import Account, Engagement
from lms_bridge.schema import Mirror
from tests.browser.scenes import fresh_name, scene, sign_in
from tests.browser.scenes_of_registration import as_desk
from tests.browser.stage import Stage


def somebody(stage: Stage) -> int:
    """An account with something to say in every section of its page; the number of it."""
    name = fresh_name()
    stage.account(name, profile="hosted", unit="Lettres", suspension_reason="Trois courriers sans réponse")
    bridge, now = stage.bridge, stage.bridge.clock()
    with bridge.runtime.database.begin() as session:
        account = session.scalars(select(Account).where(Account.username == name)).one()
        account.suspended_at, account.rights_end_at = now, now
        account.given_name, account.family_name, account.birth_name = "Zoé", "Lemaître-Vandenbroucke", "Hopper"
        lose_confirmation(session, account.addresses[0], reason="bounce", now=now, origin=audit.SYSTEM)
        mail = outbox.enqueue(
            session, "why", account.addresses[0].email, locale="fr", now=now, mail_domain="x", account_id=account.id
        )
        mail.state, mail.bounced_at, mail.bounce_status = "bounced", now, "5.1.1"
        session.add(Engagement(account_id=account.id, document="charter", version="2026-09", accepted_at=now))
        session.add(
            Extension(
                account_id=account.id,
                state="refused",
                asked_at=now,
                asked_until=now,
                sponsor_id=None,
                reason="Un cours",
            )
        )
        mirror = session.scalars(select(Mirror).where(Mirror.account_id == account.id, Mirror.site == "updago")).first()
        if mirror is None:
            mirror = Mirror(account_id=account.id, site="updago")
            session.add(mirror)
        mirror.moodle_id, mirror.state, mirror.problem = 4000 + account.id, "conflict", "not found by this run"
        mirror.conflicts = [{"field": "email", "ours": "zoe@mail.example", "theirs": "z@mail.example", "problem": "x"}]
        return account.id


@scene("Assistance", "Help desk")
def desk_start(stage: Stage, page: Page) -> None:
    as_desk(stage, page)
    page.goto(stage.at("/helpdesk"))


@scene("Assistance", "Help desk")
def desk_found(stage: Stage, page: Page) -> None:
    number = somebody(stage)
    with stage.bridge.runtime.database.read() as session:
        username = session.get_one(Account, number).username
    as_desk(stage, page)
    page.goto(stage.at("/helpdesk", q=username))


@scene("Assistance", "Help desk")
def desk_nobody_found(stage: Stage, page: Page) -> None:
    somebody(stage)
    as_desk(stage, page)
    page.goto(stage.at("/helpdesk", q="lemiatre zoe"))


@scene("Zoé Lemaître-Vandenbroucke", "Zoé Lemaître-Vandenbroucke")
def desk_account(stage: Stage, page: Page) -> None:
    number = somebody(stage)
    as_desk(stage, page)
    page.goto(stage.at(f"/helpdesk/accounts/{number}"))


@scene("Historique de Zoé Lemaître-Vandenbroucke", "Timeline of Zoé Lemaître-Vandenbroucke")
def desk_timeline(stage: Stage, page: Page) -> None:
    number = somebody(stage)
    as_desk(stage, page)
    page.goto(stage.at(f"/helpdesk/accounts/{number}/timeline"))


@scene("Ce que voit Zoé Lemaître-Vandenbroucke", "What Zoé Lemaître-Vandenbroucke sees")
def desk_as_seen(stage: Stage, page: Page) -> None:
    number = somebody(stage)
    as_desk(stage, page)
    page.goto(stage.at(f"/helpdesk/accounts/{number}/seen"))


@scene("Votre rôle n'ouvre pas cette page", "Your role does not reach this page")
def desk_wrong_role(stage: Stage, page: Page) -> None:
    with stage.bridge.runtime.database.read() as session:
        known = session.scalar(select(Account.id).where(Account.username == "ext.viewer"))
    if known is None:
        stage.account("ext.viewer")
    page.context.clear_cookies()
    sign_in(stage, page, "ext.viewer")
    page.goto(stage.at("/helpdesk/letters"))
