"""The work list of merges in Moodle: how a browser gets there."""

from __future__ import annotations

from datetime import timedelta

from playwright.sync_api import Page
from sqlalchemy import select

from external_accounts.linking_schema import AccountLink
from external_accounts.schema import Account
from lms_bridge.schema import MoodleMerge
from tests.browser.scenes import fresh_name, scene
from tests.browser.scenes_of_registration import as_desk
from tests.browser.stage import Stage

PAGE = "/helpdesk/merges"


def add_merge(stage: Stage, *, days_to_undo: int) -> None:
    """Somebody joined two accounts that both had a user in Moodle."""
    kept, other = (stage.account(fresh_name()) for _ in range(2))
    now = stage.bridge.clock()
    with stage.bridge.runtime.database.begin() as session:
        ids = {name: session.scalar(select(Account.id).where(Account.username == name)) for name in (kept, other)}
        made = AccountLink(
            kept_id=ids[kept], other_id=ids[other], linked_at=now, undo_until=now + timedelta(days=days_to_undo)
        )
        session.add(made)
        session.flush()
        merge = MoodleMerge(
            link_id=made.id,
            site="updago",
            kept_moodle_id=4711 + made.id,
            other_moodle_id=118_402 + made.id,
            kept_username=kept,
            other_username="lmsb-merged-2f60c4b1a9d8e7f60312",
            state="open",
            made_at=now,
        )
        session.add(merge)


@scene("Fusions dans Moodle", "Merges in Moodle")
def merges(stage: Stage, page: Page) -> None:
    add_merge(stage, days_to_undo=7)
    add_merge(stage, days_to_undo=-1)
    as_desk(stage, page)
    page.goto(stage.at(PAGE))


@scene("Fusions dans Moodle", "Merges in Moodle")
def merges_none(stage: Stage, page: Page) -> None:
    with stage.bridge.runtime.database.begin() as session:
        for merge in session.scalars(select(MoodleMerge).where(MoodleMerge.state == "open")):
            merge.state = "void"
    as_desk(stage, page)
    page.goto(stage.at(PAGE))
