"""My activity: what happened to my account, in plain words, the newest first. Nobody else's, ever.

A page is a stretch of ids below the last one seen (`before`): however long the trail, one look into an index. The id is
no secret and opens nothing; the account is the session's alone.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts.schema import AccountId, AuditEvent
from lms_bridge.i18n import gettext as _
from lms_bridge.selfservice.account.activity_words import TOLD_BY_ANOTHER, sentence
from lms_bridge.selfservice.account.identity import signed_in
from lms_bridge.selfservice.proof_pages import deadline
from lms_bridge.signin.devices import network_in_words
from lms_bridge.web.request import parameter, runtime

pages = Blueprint("activity", __name__, url_prefix="/account/activity")

PAGE = 25


@pages.get("")
def show() -> ResponseReturnValue:
    person = signed_in()
    text = parameter("before") or ""
    before = int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None
    bridge = runtime()
    with bridge.database.read() as session:
        rows = page(session, person.facts.account_id, before)
    campus = bridge.settings.throttle.campus_prefixes
    shown = rows[:PAGE]
    return render_template(
        "account/activity.html",
        events=[
            {
                "sentence": sentence(row.event, row.outcome),
                "at": deadline(row.at),
                "network": network_in_words(row.network, campus) if row.network else None,
                "by": _by(row.actor),
            }
            for row in shown
        ],
        older=shown[-1].id if len(rows) > PAGE else None,
        first=before is None,
    )


def page(session: Session, account_id: AccountId, before: int | None) -> list[Any]:
    """One page of an account's events and one more, the newest first."""
    query = select(
        AuditEvent.id, AuditEvent.event, AuditEvent.outcome, AuditEvent.at, AuditEvent.network, AuditEvent.actor
    ).where(AuditEvent.account_id == account_id, AuditEvent.event.not_in(TOLD_BY_ANOTHER))
    if before is not None:
        query = query.where(AuditEvent.id < before)
    return list(session.execute(query.order_by(AuditEvent.id.desc()).limit(PAGE + 1)))


def _by(actor: str) -> str | None:
    """Who acted, when it was not the person: never by name, an agent is the university."""
    if not actor:
        return None
    return _("by this service itself") if actor == "system" or actor.startswith("job:") else _("by the help desk")
