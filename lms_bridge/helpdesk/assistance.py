"""The requests for assistance: those that wait, one of them, and closing it with a note."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, redirect, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from external_accounts import assistance
from external_accounts.accounts import Person
from external_accounts.assistance import CLOSED, WAITING, AlreadyClosed, one_line
from external_accounts.institution_schema import AssistanceRequest
from external_accounts.proof_keys import format_code
from external_accounts.schema import Account
from lms_bridge.helpdesk import queues
from lms_bridge.helpdesk.members import (
    Member,
    NotAMember,
    NotSignedIn,
    Role,
    agent,
    not_for_you,
    row_number,
    to_sign_in,
)
from lms_bridge.helpdesk.queues import NothingFurther, to_the_first_page
from lms_bridge.helpdesk.start import QUEUES, Queue
from lms_bridge.i18n import LANGUAGE_NAMES, N_, current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.selfservice.account.identity import proved_first
from lms_bridge.selfservice.assistance import subjects
from lms_bridge.selfservice.proof_pages import deadline
from lms_bridge.settings.sections import text_in
from lms_bridge.signin.again import FRESH_AT_THE_DESK
from lms_bridge.web.request import parameter, runtime

pages = Blueprint("assistance_desk", __name__, url_prefix="/helpdesk/assistance")
pages.register_error_handler(NotSignedIn, to_sign_in)
pages.register_error_handler(NotAMember, not_for_you)
pages.register_error_handler(NothingFurther, to_the_first_page)

PATH = "/helpdesk/assistance"


@pages.get("")
def queue() -> ResponseReturnValue:
    """Those that wait, the oldest first; or with `state=closed` those that were closed, the newest first."""
    who = agent(everywhere=True)
    closed = parameter("state") == CLOSED
    beyond = queues.beyond()
    here = f"{PATH}?state={CLOSED}" if closed else PATH
    column = AssistanceRequest.id
    query = select(AssistanceRequest).where(AssistanceRequest.state == (CLOSED if closed else WAITING))
    if beyond is not None:
        query = query.where(column < beyond if closed else column > beyond)
    query = query.order_by(column.desc() if closed else column).limit(queues.PAGE + 1)
    with runtime().database.read() as session:
        count = _count(session, who)
        rows = session.scalars(query).all()
        shown, next_url = queues.page_of(rows, here, number=lambda row: row.id)
        return render_template(
            "helpdesk/assistance.html",
            count=count,
            closed=closed,
            rows=[_line(row) for row in shown],
            next_url=next_url,
            other_url=PATH if closed else f"{PATH}?state={CLOSED}",
        )


def _line(row: AssistanceRequest) -> dict[str, Any]:
    return {
        "name": Person(row.given_name, row.family_name).display_name,
        "subject": subjects().get(row.subject, row.subject),
        "since": deadline(row.asked_at),
        "url": f"{PATH}/{row.id}",
    }


@pages.get("/<number>")
def look(number: str) -> ResponseReturnValue:
    agent(everywhere=True)
    with runtime().database.read() as session:
        return _show(session, _row(session, number))


@pages.post("/<number>")
@proved_first(pages, N_("Close a request for assistance"), within=FRESH_AT_THE_DESK)
def close(number: str) -> ResponseReturnValue:
    who = agent(everywhere=True)
    bridge = runtime()
    note = one_line(request.form.get("note", ""))
    with bridge.database.read() as session:
        row = _row(session, number)
        if len(note) > assistance.NOTE or not note:
            error = _("Write in a few words how it was dealt with.")
            return _show(session, row, note=note[: assistance.NOTE], error=error), 422
    try:
        with bridge.database.begin() as session:
            assistance.close(session, row.id, note=note, by=who.username, now=bridge.clock(), origin=who.origin)
    except AlreadyClosed:
        with bridge.database.read() as session:
            return _show(session, _row(session, number), notice=_("Somebody else closed it before you.")), 409
    return redirect(f"{PATH}/{number}", 303)


def _row(session: Session, number: str) -> AssistanceRequest:
    found = row_number(number)
    row = session.get(AssistanceRequest, found) if found is not None else None
    if row is None:
        abort(404)
    return row


def _show(session: Session, row: AssistanceRequest, *, note: str = "", error: str = "", notice: str = "") -> str:
    settings = runtime().settings
    closer = session.scalar(select(Account).where(Account.username == row.closed_by)) if row.closed_by else None
    closed_by = Person(closer.given_name, closer.family_name).display_name if closer else ""
    profile = next((one for one in settings.profiles if one.name == row.profile), None)
    return render_template(
        "helpdesk/assistance_request.html",
        action=f"{PATH}/{row.id}",
        back_url=PATH,
        name=Person(row.given_name, row.family_name).display_name,
        reference=format_code(row.reference),
        subject=subjects().get(row.subject, row.subject),
        asked_at=deadline(row.asked_at),
        contact=row.contact,
        identifier=row.identifier,
        profile=text_in(profile.label, current_locale()) if profile else "",
        language=LANGUAGE_NAMES.get(row.locale, row.locale),
        lines=row.message.split("\n"),
        closed_at=deadline(row.closed_at) if row.closed_at else None,
        closed_by=closed_by or row.closed_by,
        closing_note=row.closing_note,
        note=note,
        error=error,
        notice=notice,
        longest=assistance.NOTE,
    )


def _count(session: Session, _who: Member) -> int:
    return session.scalar(select(func.count()).where(AssistanceRequest.state == WAITING)) or 0


QUEUES.append(Queue(N_("Requests for assistance"), PATH, _count, Role.AGENT, everywhere=True, place=30))
