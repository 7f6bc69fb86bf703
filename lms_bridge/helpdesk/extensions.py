"""The requests for extensions that wait, and the decision in the console."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, redirect, render_template
from flask.typing import ResponseReturnValue
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from external_accounts import extensions
from external_accounts.accounts import Person
from external_accounts.extensions import AlreadyDecided
from external_accounts.institution_schema import Extension
from external_accounts.lifecycle_candidates import WAITING
from external_accounts.schema import Account
from lms_bridge.helpdesk import extension_page, queues
from lms_bridge.helpdesk.extension_page import Decision
from lms_bridge.helpdesk.members import (
    Member,
    NotAMember,
    NotSignedIn,
    Role,
    agent_or_sponsor,
    not_for_you,
    row_number,
    to_sign_in,
)
from lms_bridge.helpdesk.queues import NothingFurther, to_the_first_page
from lms_bridge.helpdesk.start import QUEUES, Queue
from lms_bridge.i18n import N_
from lms_bridge.i18n import gettext as _
from lms_bridge.lifecycle.terms import terms
from lms_bridge.selfservice.account.identity import proved_first
from lms_bridge.selfservice.proof_pages import deadline
from lms_bridge.signin.again import FRESH_AT_THE_DESK
from lms_bridge.web.request import runtime

pages = Blueprint("extensions", __name__, url_prefix="/helpdesk/extensions")
pages.register_error_handler(NotSignedIn, to_sign_in)
pages.register_error_handler(NotAMember, not_for_you)
pages.register_error_handler(NothingFurther, to_the_first_page)

PATH = "/helpdesk/extensions"


@pages.get("")
def waiting() -> ResponseReturnValue:
    who = agent_or_sponsor()
    with runtime().database.read() as session:
        count = _count(session, who)
        rows = session.execute(
            select(Extension, Account)
            .join(Account, Account.id == Extension.account_id)
            .where(*_theirs(who), Extension.id > (queues.beyond() or 0))
            .order_by(Extension.id)
            .limit(queues.PAGE + 1)
        ).all()
    shown, next_url = queues.page_of(rows, PATH, number=lambda row: row[0].id)
    return render_template(
        "helpdesk/extensions.html",
        count=count,
        rows=[_line(extension, account) for extension, account in shown],
        next_url=next_url,
    )


def _theirs(who: Member) -> list[ColumnElement[bool]]:
    return [
        Extension.state == WAITING,
        Extension.account_id != who.account_id,
        who.decided_here(Account.unit, Extension.sponsor_id),
    ]


def _line(extension: Extension, account: Account) -> dict[str, Any]:
    return {
        "name": Person(account.given_name, account.family_name).display_name or account.username,
        "end": deadline(account.rights_end_at) if account.rights_end_at else _("no end"),
        "until": deadline(extension.asked_until),
        "since": deadline(extension.asked_at),
        "url": f"{PATH}/{extension.id}",
    }


@pages.get("/<number>")
def look(number: str) -> ResponseReturnValue:
    who = agent_or_sponsor()
    with runtime().database.read() as session:
        return _show(session, _visible(session, number, who))


@pages.post("/<number>")
@proved_first(pages, N_("Decide on a request for more time"), within=FRESH_AT_THE_DESK)
def decide(number: str) -> ResponseReturnValue:
    """Grant or refuse. Of two people at once one decides, and the other reads what was decided."""
    who = agent_or_sponsor()
    bridge = runtime()
    with bridge.database.read() as session:
        extension_id = _visible(session, number, who).id

    def carry_out(decision: Decision) -> None:
        with bridge.database.begin() as session:
            extensions.decide(
                session,
                extension_id,
                accept=decision.accept,
                until=decision.until,
                reason=decision.reason,
                terms=terms(bridge),
                by=who.username,
                now=bridge.clock(),
                origin=who.origin,
            )

    try:
        error = extension_page.decided(carry_out)
    except AlreadyDecided as late:
        notice = None if late.extension.decided_by == who.username else _("Somebody else decided before you.")
        with bridge.database.read() as session:
            return _show(session, _visible(session, number, who), notice=notice), 409
    if error is not None:
        with bridge.database.read() as session:
            return _show(session, _visible(session, number, who), error=error), 422
    return redirect(f"{PATH}/{number}", 303)


def _visible(session: Session, number: str, who: Member) -> Extension:
    """Nobody decides on their own request, whatever else they may."""
    found = row_number(number)
    extension = session.get(Extension, found) if found is not None else None
    if extension is None or extension.account_id == who.account_id:
        abort(404)
    unit = session.get_one(Account, extension.account_id).unit
    if not who.decides(unit=unit, sponsor_id=extension.sponsor_id):
        abort(404)
    return extension


def _show(session: Session, extension: Extension, *, error: str | None = None, notice: str | None = None) -> str:
    return extension_page.show(
        session, extension, action=f"{PATH}/{extension.id}", back_url=PATH, error=error, notice=notice
    )


def _count(session: Session, who: Member) -> int:
    joined = select(func.count()).select_from(Extension).join(Account, Account.id == Extension.account_id)
    return session.scalar(joined.where(*_theirs(who))) or 0


QUEUES.append(Queue(N_("Requests for extensions"), PATH, _count, Role.AGENT, sponsors=True, place=20))
