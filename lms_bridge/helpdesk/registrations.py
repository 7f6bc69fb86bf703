"""The requests that wait for a decision, and the decision."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from external_accounts.accounts import Person
from external_accounts.local_calendar import end_of_day
from external_accounts.registration_outcome import AlreadyDecided, decide
from external_accounts.registration_steps import ASKED, WAITING
from external_accounts.schema import Account, Proof, Registration
from external_accounts.spreadsheets import read_date
from lms_bridge.helpdesk import alike_accounts, queues
from lms_bridge.helpdesk.inviting import usual_end
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
from lms_bridge.registration_terms import terms
from lms_bridge.selfservice.account.identity import proved_first
from lms_bridge.selfservice.proof_pages import deadline
from lms_bridge.signin.again import FRESH_AT_THE_DESK
from lms_bridge.web.request import runtime

pages = Blueprint("registrations", __name__, url_prefix="/helpdesk")
pages.register_error_handler(NotSignedIn, to_sign_in)
pages.register_error_handler(NotAMember, not_for_you)
pages.register_error_handler(NothingFurther, to_the_first_page)

PATH = "/helpdesk/registrations"
REASON_LENGTH = 500


@pages.get("/registrations")
def waiting() -> ResponseReturnValue:
    who = agent_or_sponsor()
    with runtime().database.read() as session:
        count = _count(session, who)
        rows = session.scalars(
            select(Registration)
            .where(*_theirs(who), Registration.id > (queues.beyond() or 0))
            .order_by(Registration.id)
            .limit(queues.PAGE + 1)
        ).all()
        shown, next_url = queues.page_of(rows, PATH, number=lambda row: row.id)
        return render_template(
            "helpdesk/registrations.html",
            count=count,
            rows=[_line(row) for row in shown],
            next_url=next_url,
        )


def _theirs(who: Member) -> list[ColumnElement[bool]]:
    unit = select(Account.unit).where(Account.id == Registration.sponsor_id).scalar_subquery()
    return [
        Registration.state == WAITING,
        Registration.mode == ASKED,
        who.decided_here(unit, Registration.sponsor_id),
    ]


def _line(row: Registration) -> dict[str, Any]:
    return {
        "name": Person(row.given_name, row.family_name).display_name,
        "email": row.email,
        "since": deadline(row.proved_at or row.created_at),
        "url": f"{PATH}/{row.id}",
    }


@pages.get("/registrations/<number>")
def look(number: str) -> ResponseReturnValue:
    who = agent_or_sponsor()
    with runtime().database.read() as session:
        return _show(session, _visible(session, number, who))


@pages.post("/registrations/<number>")
@proved_first(pages, N_("Decide on a request for an account"), within=FRESH_AT_THE_DESK)
def judge(number: str) -> ResponseReturnValue:
    """Accept or refuse. Of two people at once one decides, and the other reads what was decided."""
    who = agent_or_sponsor()
    bridge = runtime()
    now = bridge.clock()
    accept = request.form.get("decision") == "accept"
    if not accept and request.form.get("decision") != "refuse":
        abort(400)
    with bridge.database.read() as session:
        row = _visible(session, number, who)
        until, problem = _read_until(now) if accept else (None, None)
        if problem:
            return _show(session, row, error=problem), 422
    try:
        with bridge.database.begin() as session:
            row = decide(
                session,
                bridge.keys,
                row.id,
                accept=accept,
                reason="" if accept else " ".join(request.form.get("reason", "").split())[:REASON_LENGTH],
                rights_end_at=until,
                terms=terms(bridge.settings),
                by=who.username,
                now=now,
                origin=who.origin,
            )
    except AlreadyDecided:
        with bridge.database.read() as session:
            row = _visible(session, number, who)
            mine = row.decided_by == who.username
            return _show(session, row, notice=None if mine else _("Somebody else decided before you.")), 409
    return redirect(f"{PATH}/{number}", 303)


def _read_until(now: datetime) -> tuple[datetime | None, str | None]:
    zone = runtime().settings.zone
    try:
        day = read_date(request.form.get("until", ""))
    except ValueError:
        return None, _("This is not a date. It looks like 2027-06-30.")
    if day is not None and day < now.astimezone(zone).date():
        return None, _("This day is over. Choose a later one.")
    return (end_of_day(day, zone) if day else None), None


def _visible(session: Session, number: str, who: Member) -> Registration:
    found = row_number(number)
    row = session.get(Registration, found) if found is not None else None
    if row is None or row.mode != ASKED or row.proved_at is None:
        abort(404)
    # A request is of no unit: that of whoever is to answer for the person stands for it.
    sponsor = session.get(Account, row.sponsor_id) if row.sponsor_id else None
    if not who.decides(unit=sponsor.unit if sponsor else "", sponsor_id=row.sponsor_id):
        abort(404)
    return row


def _show(session: Session, row: Registration, *, error: str | None = None, notice: str | None = None) -> str:
    sponsor = session.get(Account, row.sponsor_id) if row.sponsor_id else None
    proof = session.get(Proof, row.proof_id) if row.proof_id else None
    last = usual_end(runtime())
    decider = session.scalar(select(Account).where(Account.username == row.decided_by)) if row.decided_by else None
    account = session.get(Account, row.account_id) if row.account_id else None
    return render_template(
        "helpdesk/registration.html",
        action=f"{PATH}/{row.id}",
        back_url=PATH,
        error=error,
        notice=notice,
        state=row.state,
        name=Person(row.given_name, row.family_name).display_name,
        email=row.email,
        reason=row.reason,
        sponsor=_person(sponsor) if sponsor else None,
        sponsor_named=str(proof.details.get("sponsor", "")) if proof and not sponsor else "",
        asked_at=deadline(row.created_at),
        until=request.form.get("until") or (last.isoformat() if last else ""),
        decided_by=(_person(decider) if decider else row.decided_by) or None,
        decided_at=deadline(row.decided_at) if row.decided_at else None,
        decision_reason=row.decision_reason,
        username=account.username if account else None,
        alike=alike_accounts.for_request(session, row) if row.state == WAITING else None,
    )


def _person(account: Account) -> str:
    return Person(account.given_name, account.family_name).display_name or account.username


def _count(session: Session, who: Member) -> int:
    return session.scalar(select(func.count()).where(*_theirs(who))) or 0


QUEUES.append(Queue(N_("Requests for accounts"), PATH, _count, Role.AGENT, sponsors=True, place=10))
