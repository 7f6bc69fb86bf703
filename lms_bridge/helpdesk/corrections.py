"""The corrections of addresses that wait for a second person, and their decision."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, redirect, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from external_accounts import corrections
from external_accounts.addresses import stored_address
from external_accounts.corrections import WAITING, AlreadyDecided, Colleague
from external_accounts.linking_schema import AddressCorrection
from external_accounts.schema import Account, Address
from lms_bridge.helpdesk import acting, queues, reach
from lms_bridge.helpdesk.acts import two_people
from lms_bridge.helpdesk.acts.deeds import name_of
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
from lms_bridge.helpdesk.refusals import Refused, words
from lms_bridge.helpdesk.start import QUEUES, Queue
from lms_bridge.i18n import N_
from lms_bridge.i18n import gettext as _
from lms_bridge.selfservice.proof_pages import deadline
from lms_bridge.web.request import runtime

pages = Blueprint("corrections", __name__, url_prefix="/helpdesk/corrections")
pages.register_error_handler(NotSignedIn, to_sign_in)
pages.register_error_handler(NotAMember, not_for_you)
pages.register_error_handler(NothingFurther, to_the_first_page)

PATH = "/helpdesk/corrections"
OTHERS = 5
"""How many other accounts with the new address are named."""


def count(session: Session, who: Member) -> int:
    """How many wait within reach."""
    query = (
        select(func.count())
        .select_from(AddressCorrection)
        .join(Account, Account.id == AddressCorrection.account_id)
        .where(AddressCorrection.state == WAITING, reach.within(who, Account.unit))
    )
    return session.scalar(query) or 0


@pages.get("")
def queue() -> ResponseReturnValue:
    who = agent()
    query = (
        select(AddressCorrection, Account)
        .join(Account, Account.id == AddressCorrection.account_id)
        .where(
            AddressCorrection.state == WAITING,
            AddressCorrection.id > (queues.beyond() or 0),
            reach.within(who, Account.unit),
        )
        .order_by(AddressCorrection.id)
        .limit(queues.PAGE + 1)
    )
    with runtime().database.read() as session:
        rows = session.execute(query).all()
        shown, next_url = queues.page_of(rows, PATH, number=lambda row: row[0].id)
        return render_template(
            "helpdesk/corrections.html",
            count=count(session, who),
            rows=[_line(correction, account, who) for correction, account in shown],
            next_url=next_url,
        )


def _line(correction: AddressCorrection, account: Account, who: Member) -> dict[str, Any]:
    return {
        "name": name_of(account),
        "old": correction.old_email,
        "new": correction.new_email,
        "mine": correction.asked_by_id == who.account_id,
        "since": deadline(correction.asked_at),
        "url": f"{PATH}/{correction.id}",
    }


@pages.get("/<number>")
def look(number: str) -> ResponseReturnValue:
    who = agent()
    with runtime().database.read() as session:
        return _show(session, _visible(session, number, who), who)


@pages.post("/<number>")
def decide(number: str) -> ResponseReturnValue:
    """Agree, refuse, or take one's own request back. Of two people at once one decides."""
    who = agent()
    bridge = runtime()
    decision = request.form.get("decision")
    if decision not in ("approve", "refuse", "withdraw"):
        abort(400)
    errors: dict[str, str] = {}
    reason = acting.read_reason(errors, needed=decision == "refuse")
    with bridge.database.read() as session:
        correction = _visible(session, number, who)
        correction_id, account_id = correction.id, correction.account_id
        if errors:
            return _show(session, correction, who, error=errors["reason"]), 422
    if (question := acting.shown_again()) is not None:
        return question
    doer = acting.doer_of(who)
    try:
        with bridge.database.begin() as session:
            if decision == "withdraw":
                me = Colleague(who.account_id, who.username)
                corrections.withdraw(session, correction_id, by=me, now=doer.now, origin=who.origin)
            else:
                _within_reach(session, account_id, who)
                approve = decision == "approve"
                two_people.decide_on_correction(session, doer, correction_id, approve=approve, reason=reason)
    except AlreadyDecided as late:
        mine = late.correction.decided_by == who.username
        with bridge.database.read() as session:
            notice = None if mine else _("Somebody else decided before you.")
            return _show(session, _visible(session, number, who), who, notice=notice), 409
    except corrections.NotTheirs:
        abort(403)
    except Refused as refused:
        acting.note_refusal("correction", account_id, who, refused)
        with bridge.database.read() as session:
            return _show(session, _visible(session, number, who), who, error=words(refused.refusal)), 409
    return redirect(f"{PATH}/{number}", 303)


def _within_reach(session: Session, account_id: int, who: Member) -> None:
    """Raises: Refused."""
    refusal = reach.reach(session, who, session.get_one(Account, account_id), runtime().settings)
    if refusal is not None:
        raise Refused(refusal)


def _visible(session: Session, number: str, who: Member) -> AddressCorrection:
    found = row_number(number)
    correction = session.get(AddressCorrection, found) if found is not None else None
    if correction is None or not who.may_see(session.get_one(Account, correction.account_id).unit):
        abort(404)
    return correction


def _show(
    session: Session,
    correction: AddressCorrection,
    who: Member,
    *,
    error: str | None = None,
    notice: str | None = None,
) -> str:
    account = session.get_one(Account, correction.account_id)
    old = session.get(Address, correction.address_id) if correction.address_id else None
    decider = _colleague(session, correction.decided_by)
    return render_template(
        "helpdesk/correction.html",
        action=f"{PATH}/{correction.id}",
        back_url=PATH,
        account_url=f"{acting.PATH}/{account.id}",
        error=error,
        notice=notice,
        state=correction.state,
        mine=correction.asked_by_id == who.account_id,
        name=name_of(account),
        username=account.username,
        old=correction.old_email,
        lost_at=deadline(old.lost_at) if old is not None and old.lost_at else None,
        new=correction.new_email,
        others=_others(session, correction, who),
        reason=correction.reason,
        asked_by=_colleague(session, correction.asked_by),
        asked_at=deadline(correction.asked_at),
        decided_by=decider,
        decided_at=deadline(correction.decided_at) if correction.decided_at else None,
        decision_reason=correction.decision_reason,
        typed=request.form,
        longest=acting.REASON,
    )


def _others(session: Session, correction: AddressCorrection, who: Member) -> list[dict[str, str]]:
    """Other accounts that hold the new address: perhaps this is one person twice, and perhaps it is somebody else's."""
    holders = select(Address.account_id).where(Address.email_key == stored_address(correction.new_email).key)
    query = (
        select(Account)
        .where(
            Account.id.in_(holders),
            Account.id != correction.account_id,
            Account.erased_at.is_(None),
            reach.within(who, Account.unit),
        )
        .order_by(Account.id)
        .limit(OTHERS)
    )
    return [
        {"name": name_of(other), "username": other.username, "url": f"{acting.PATH}/{other.id}"}
        for other in session.scalars(query)
    ]


def _colleague(session: Session, username: str) -> str:
    account = session.scalar(select(Account).where(Account.username == username)) if username else None
    return name_of(account) if account is not None else username


QUEUES.append(Queue(N_("Corrections of addresses"), PATH, count, Role.AGENT, place=45))
