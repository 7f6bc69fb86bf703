"""The acts on one account, as pages: what is typed on each, and what it shows. `acting` does the rest."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from external_accounts import corrections, extensions, proofs, recovery
from external_accounts.activation import LINKS
from external_accounts.addresses import MOODLE_EMAIL_LENGTH, InvalidAddress, parse_address
from external_accounts.extensions import DECIDE_EXTENSION
from external_accounts.local_calendar import end_of_day
from external_accounts.proofs import KEEP_ACCOUNT, UNDO_ADDRESS_CHANGE
from external_accounts.schema import Account
from lms_bridge.gate import is_suspended
from lms_bridge.helpdesk import acting
from lms_bridge.helpdesk.account_page import ACTIONS, AccountAction
from lms_bridge.helpdesk.acting import Mistyped, Page
from lms_bridge.helpdesk.acts import deeds, resending, two_people
from lms_bridge.helpdesk.acts.deeds import Doer, Wanted
from lms_bridge.helpdesk.acts.resending import Sendable
from lms_bridge.helpdesk.members import NotAMember, NotSignedIn, not_for_you, row_number, to_sign_in
from lms_bridge.i18n import N_, current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.lifecycle.terms import terms
from lms_bridge.selfservice.account.open_sessions import open_sessions
from lms_bridge.selfservice.home import profile_label
from lms_bridge.selfservice.proof_pages import deadline
from lms_bridge.settings.sections import text_in
from lms_bridge.signin.devices import device_in_words
from lms_bridge.web.request import parameter

LONGEST_IDENTIFIER = 254

pages = Blueprint("acts", __name__, url_prefix=acting.PATH)
pages.register_error_handler(NotSignedIn, to_sign_in)
pages.register_error_handler(NotAMember, not_for_you)


# --- What is typed ---


def _read_reason(_doer: Doer) -> Wanted:
    errors: dict[str, str] = {}
    reason = acting.read_reason(errors)
    return _meant(errors, Wanted(reason=reason))


def _read_suspension(doer: Doer) -> Wanted:
    errors: dict[str, str] = {}
    return _meant(errors, Wanted(reason=acting.read_reason(errors), until=acting.read_day(errors, doer, needed=False)))


def _read_extension(doer: Doer) -> Wanted:
    errors: dict[str, str] = {}
    return _meant(errors, Wanted(reason=acting.read_reason(errors), until=acting.read_day(errors, doer, needed=True)))


def _read_sessions(_doer: Doer) -> Wanted:
    errors: dict[str, str] = {}
    which = request.form.get("session", "")
    if which and row_number(which) is None:
        errors["session"] = _("Choose which sessions to end.")
    return _meant(errors, Wanted(reason=acting.read_reason(errors), which=which))


def _read_message(_doer: Doer) -> Wanted:
    errors: dict[str, str] = {}
    which = request.form.get("message", "")
    if not which:
        errors["message"] = _("Choose which message to send.")
    return _meant(errors, Wanted(which=which))


def _read_correction(_doer: Doer) -> Wanted:
    errors: dict[str, str] = {}
    which, typed = request.form.get("address", ""), request.form.get("email", "")
    email = None
    if row_number(which) is None:
        errors["address"] = _("Choose which address is wrong.")
    try:
        email = parse_address(typed)
    except InvalidAddress:
        errors["email"] = _("This is not an e-mail address we can write to. It looks like name@example.org.")
    return _meant(errors, Wanted(reason=acting.read_reason(errors), which=which, email=email))


def _read_proposal(_doer: Doer) -> Wanted:
    errors: dict[str, str] = {}
    other = request.form.get("other", "").strip()[:LONGEST_IDENTIFIER]
    if not other:
        errors["other"] = _("Say which other account.")
    return _meant(errors, Wanted(reason=acting.read_reason(errors), which=other))


def _meant(errors: Mapping[str, str], wanted: Wanted) -> Wanted:
    if errors:
        raise Mistyped(errors)
    return wanted


# --- What is shown ---


def _about_suspension(_session: Session, doer: Doer, account: Account) -> dict[str, Any]:
    suspended = is_suspended(account, doer.now)
    until = account.suspended_until
    return {
        "since": deadline(account.suspended_at) if suspended and account.suspended_at else None,
        "until": deadline(until) if until else None,
        "reason": account.suspension_reason,
    }


def _about_sessions(session: Session, doer: Doer, account: Account) -> dict[str, Any]:
    bridge = doer.bridge
    return {
        "sessions": [
            {
                "id": row.id,
                "device": device_in_words(row.user_agent),
                "door": _door(doer, row.issuer),
                "since": deadline(row.created_at),
                "seen_at": deadline(row.seen_at),
            }
            for row in open_sessions(session, bridge, account.id)
        ]
    }


def _door(doer: Doer, issuer: str) -> str:
    door = doer.bridge.settings.upstream(issuer) or doer.bridge.settings.local
    return text_in(door.title, current_locale())


def _about_rights(_session: Session, doer: Doer, account: Account) -> dict[str, Any]:
    rules = terms(doer.bridge)
    end, possible = account.rights_end_at, extensions.days_open(account, rules, doer.now)
    return {
        "profile": profile_label(doer.bridge, account.profile, current_locale()) or account.profile,
        "end": deadline(end) if end else None,
        "ended": end is not None and end <= doer.now,
        "first": possible[0].isoformat() if possible else "",
        "last": deadline(end_of_day(possible[1], rules.zone)) if possible else None,
    }


def _about_reset(session: Session, doer: Doer, account: Account) -> dict[str, Any]:
    bridge = doer.bridge
    where = "elsewhere"
    if recovery.password_of(session, account, bridge.held_in):
        where = "directory" if bridge.held_in(account) else "here"
    boxes = recovery.mailboxes(account)
    return {
        "where": where,
        "mailboxes": [box.email for box in boxes],
        "confirmed": any(box.confirmed_at is not None for box in boxes),
        "minutes": recovery.LIFETIME // timedelta(minutes=1),
    }


def _about_correction(session: Session, _doer: Doer, account: Account) -> dict[str, Any]:
    return {
        "addresses": [
            {
                "id": address.id,
                "email": address.email,
                "lost_at": deadline(address.lost_at) if address.lost_at else None,
                "waiting": corrections.waiting_for(session, address.id) is not None,
            }
            for address in account.addresses
            if corrections.may_correct(address)
        ],
        "longest_address": MOODLE_EMAIL_LENGTH,
    }


def _about_proposal(_session: Session, _doer: Doer, _account: Account) -> dict[str, Any]:
    return {"longest_identifier": LONGEST_IDENTIFIER}


PURPOSES: Mapping[str, str] = {
    UNDO_ADDRESS_CHANGE: N_("Undo a change of addresses"),
    KEEP_ACCOUNT: N_("Keep the account after all"),
    DECIDE_EXTENSION: N_("Decide on an extension"),
    proofs.CONFIRM_ADDRESS: N_("Confirm an address"),
    **dict.fromkeys(LINKS, N_("Activate the account")),
}


def _about_messages(session: Session, doer: Doer, account: Account) -> dict[str, Any]:
    return {"messages": [_message(one) for one in resending.sendable(session, doer, account)]}


def _message(one: Sendable) -> dict[str, Any]:
    purpose = {"activate": LINKS[0], "confirm": proofs.CONFIRM_ADDRESS}.get(one.kind, one.purpose)
    return {
        "key": one.key,
        "what": _(PURPOSES[purpose]) if purpose in PURPOSES else purpose,
        "email": one.email,
        "sent_at": deadline(one.proof.sent_at) if one.proof else None,
        "until": deadline(one.proof.expires_at) if one.proof else None,
    }


# --- The pages ---

ACTS = (
    Page(
        "suspend",
        "helpdesk/acts/suspend.html",
        deeds.suspend,
        deeds.check_suspend,
        _read_suspension,
        _about_suspension,
    ),
    Page("readmit", "helpdesk/acts/readmit.html", deeds.readmit, deeds.check_readmit, _read_reason, _about_suspension),
    Page(
        "sessions",
        "helpdesk/acts/sessions.html",
        deeds.end_sessions,
        deeds.check_end_sessions,
        _read_sessions,
        _about_sessions,
    ),
    Page("extend", "helpdesk/acts/extend.html", deeds.extend, deeds.check_extend, _read_extension, _about_rights),
    Page("reset", "helpdesk/acts/reset.html", deeds.start_reset, deeds.check_reset, _read_reason, _about_reset),
    Page(
        "correct",
        "helpdesk/acts/correct.html",
        two_people.ask_for_correction,
        two_people.check_correction,
        _read_correction,
        _about_correction,
    ),
    Page(
        "link",
        "helpdesk/acts/link.html",
        two_people.propose_link,
        two_people.check_proposal,
        _read_proposal,
        _about_proposal,
        two_people.others_of_proposal,
    ),
    Page(
        "resend", "helpdesk/acts/resend.html", resending.resend, resending.check_resend, _read_message, _about_messages
    ),
)


ON_THE_PAGE = (
    AccountAction(N_("Send a message again"), "resend", place=10),
    AccountAction(N_("Start a password reset"), "reset", place=20),
    AccountAction(
        N_("Ask for the correction of an address"),
        "correct",
        applies=lambda account, _now: any(corrections.may_correct(address) for address in account.addresses),
        place=30,
    ),
    AccountAction(
        N_("Extend the rights"), "extend", applies=lambda account, _now: account.rights_end_at is not None, place=40
    ),
    AccountAction(N_("End sessions"), "sessions", place=50),
    AccountAction(
        N_("Suspend the account"),
        "suspend",
        applies=lambda account, now: not is_suspended(account, now),
        place=60,
    ),
    AccountAction(N_("Lift the suspension"), "readmit", applies=is_suspended, place=60),
    AccountAction(N_("Propose that two accounts be joined"), "link", place=70),
)
ACTIONS.extend(ON_THE_PAGE)

DONE: Mapping[str, str] = {
    "suspend": N_("The account was suspended."),
    "readmit": N_("The suspension was lifted."),
    "sessions": N_("The sessions were ended."),
    "extend": N_("The end of the rights was moved."),
    "reset": N_("The message with the link is on its way."),
    "resend": N_("The message is on its way."),
    "correct": N_("A colleague must agree now: the request is under “Corrections of addresses”."),
    "link": N_("The proposal is on its way to the person."),
}


@pages.app_context_processor
def _done() -> dict[str, Any]:
    """What the account's page says after an act."""
    return {"act_done": lambda: _(DONE[name]) if (name := parameter("done") or "") in DONE else None}


def _serve(page: Page) -> None:
    def look(number: str) -> ResponseReturnValue:
        return acting.show(page, number)

    def act(number: str) -> ResponseReturnValue:
        return acting.do(page, number)

    pages.add_url_rule(f"/<number>/{page.name}", f"show_{page.name}", look, methods=["GET"])
    pages.add_url_rule(f"/<number>/{page.name}", page.name, act, methods=["POST"])


for _page in ACTS:
    _serve(_page)
