"""Messages that came back: addresses that lost their confirmation by it, and mails that nobody received."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue
from jinja2 import TemplateNotFound
from sqlalchemy import func, literal_column, or_, select
from sqlalchemy.orm import Session

from external_accounts import corrections
from external_accounts.bounces import BOUNCE
from external_accounts.schema import Account, Address, OutboxMail
from lms_bridge.helpdesk import acting, queues, reach
from lms_bridge.helpdesk.acts.deeds import name_of
from lms_bridge.helpdesk.members import Member, NotAMember, NotSignedIn, Role, agent, not_for_you, to_sign_in
from lms_bridge.helpdesk.queues import NothingFurther, to_the_first_page
from lms_bridge.helpdesk.start import QUEUES, Queue
from lms_bridge.i18n import N_
from lms_bridge.selfservice.proof_pages import deadline
from lms_bridge.web.request import parameter, runtime

pages = Blueprint("bounces", __name__, url_prefix="/helpdesk/bounces")
pages.register_error_handler(NotSignedIn, to_sign_in)
pages.register_error_handler(NotAMember, not_for_you)
pages.register_error_handler(NothingFurther, to_the_first_page)

PATH = "/helpdesk/bounces"
MAILS = f"{PATH}?list=mails"
# Written out as the partial indexes are: bound as parameters, neither database would recognise them.
_BOUNCED = Address.lost_reason == literal_column(f"'{BOUNCE}'")
_UNDELIVERED = OutboxMail.state.in_([literal_column("'bounced'"), literal_column("'failed'")])


def count(session: Session, who: Member) -> int:
    """How many addresses wait for being looked at, within reach."""
    query = (
        select(func.count())
        .select_from(Address)
        .join(Account, Account.id == Address.account_id)
        .where(_BOUNCED, Account.erased_at.is_(None), reach.within(who, Account.unit))
    )
    return session.scalar(query) or 0


@pages.get("")
def queue() -> ResponseReturnValue:
    """The addresses, the newest first; or with `list=mails` the mails of the last weeks that did not arrive."""
    who = agent()
    with runtime().database.read() as session:
        return _mails(session, who) if parameter("list") == "mails" else _addresses(session, who)


def _addresses(session: Session, who: Member) -> str:
    query = (
        select(Address, Account)
        .join(Account, Account.id == Address.account_id)
        .where(_BOUNCED, Account.erased_at.is_(None), reach.within(who, Account.unit))
        .order_by(Address.id.desc())
        .limit(queues.PAGE + 1)
    )
    if (beyond := queues.beyond()) is not None:
        query = query.where(Address.id < beyond)
    shown, next_url = queues.page_of(session.execute(query).all(), PATH, number=lambda row: row[0].id)
    return render_template(
        "helpdesk/bounces.html",
        count=count(session, who),
        rows=[_address(session, address, account) for address, account in shown],
        next_url=next_url,
        other_url=MAILS,
    )


def _address(session: Session, address: Address, account: Account) -> dict[str, Any]:
    waiting = corrections.waiting_for(session, address.id)
    here = f"{acting.PATH}/{account.id}"
    return {
        "name": name_of(account),
        "username": account.username,
        "email": address.email,
        "since": deadline(address.lost_at) if address.lost_at else "",
        "url": here,
        "correct_url": f"{here}/correct" if corrections.may_correct(address) and waiting is None else None,
        "waiting_url": f"/helpdesk/corrections/{waiting.id}" if waiting is not None else None,
        "resend_url": f"{here}/resend",
    }


def _mails(session: Session, who: Member) -> str:
    """Mails of nobody's account (of somebody who asks for one) are for those who see everybody."""
    visible = reach.within(who, Account.unit)
    query = (
        select(OutboxMail, Account)
        .outerjoin(Account, Account.id == OutboxMail.account_id)
        .where(_UNDELIVERED, or_(visible, Account.id.is_(None)) if reach.sees_everybody(who) else visible)
        .order_by(OutboxMail.id.desc())
        .limit(queues.PAGE + 1)
    )
    if (beyond := queues.beyond()) is not None:
        query = query.where(OutboxMail.id < beyond)
    shown, next_url = queues.page_of(session.execute(query).all(), MAILS, number=lambda row: row[0].id)
    return render_template(
        "helpdesk/undelivered.html",
        rows=[_mail(mail, account) for mail, account in shown],
        next_url=next_url,
        other_url=PATH,
    )


def _mail(mail: OutboxMail, account: Account | None) -> dict[str, Any]:
    return {
        "subject": _subject(mail),
        "name": name_of(account) if account is not None else None,
        "email": mail.recipient,
        "at": deadline(mail.bounced_at or mail.created_at),
        "said": mail.last_error,
        "url": f"{acting.PATH}/{account.id}" if account is not None else None,
        "resend_url": f"{acting.PATH}/{account.id}/resend" if account is not None else None,
    }


def _subject(mail: OutboxMail) -> str:
    """What the mail is called, in the reader's language; by its template's name where a later version wrote it."""
    try:
        return render_template(f"mail/{mail.template}.subject.txt", **mail.context)
    except TemplateNotFound:
        return mail.template


QUEUES.append(Queue(N_("Messages that came back"), PATH, count, Role.AGENT, place=40))
