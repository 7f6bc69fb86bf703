"""My account on one page: what I am, what I may enter, and a card for everything I can look at or change."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Blueprint, redirect, render_template
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from external_accounts import pair_decisions, reminders
from external_accounts.addresses import mask_address
from external_accounts.identities import LOCAL
from external_accounts.mailbox import is_listed
from external_accounts.schema import Account, Engagement, LocalPassword
from lms_bridge.i18n import current_locale
from lms_bridge.runtime import Runtime
from lms_bridge.selfservice.account import mailbox
from lms_bridge.selfservice.account.addresses import of_account
from lms_bridge.selfservice.account.identity import signed_in
from lms_bridge.selfservice.account.open_sessions import open_sessions
from lms_bridge.selfservice.home import profile_label, service_entry
from lms_bridge.selfservice.links.overview import door_of
from lms_bridge.selfservice.proof_pages import deadline
from lms_bridge.settings.sections import text_in
from lms_bridge.signin.sessions import CurrentSession
from lms_bridge.web import headers
from lms_bridge.web.request import origin, parameter, runtime

pages = Blueprint("account", __name__, url_prefix="/account")


@pages.get("")
def overview() -> ResponseReturnValue:
    person = signed_in()
    headers.form_leads_on()
    bridge = runtime()
    locale = current_locale()
    facts = person.facts
    with bridge.database.read() as session:
        reminder = reminders.of_account(session, facts.account_id, bridge.settings.reminders.periods, bridge.clock())
        second_account = pair_decisions.offer_for(session, facts.account_id)
        account = session.get_one(Account, facts.account_id)
        cards = _cards(session, bridge, person)
    return render_template(
        "account/overview.html",
        account={
            "display_name": facts.display_name,
            "username": facts.username,
            "profile_label": profile_label(bridge, facts.profile, locale),
        },
        rights_end=_rights_end(account, bridge.clock()),
        entries=[service_entry(bridge, facts, service, locale) for service in bridge.registry],
        cards=cards,
        reminder=reminder,
        second_account=second_account,
        erasure_deadline=deadline(account.erasure_due_at) if account.erasure_due_at else None,
        checked=parameter("done") == "checked",
        kept=parameter("done") == "kept",
        declined=parameter("done") == "declined",
    )


def _rights_end(account: Account, now: datetime) -> dict[str, Any] | None:
    """Until when applications are open, or since when they are closed while this page still serves."""
    ends = account.rights_end_at
    return {"on": deadline(ends), "over": ends <= now} if ends is not None else None


def _cards(session: Session, bridge: Runtime, person: CurrentSession) -> dict[str, Any]:
    """The state that each card shows."""
    account_id, settings = person.facts.account_id, bridge.settings
    policy = settings.profile(person.facts.profile).policy
    addresses = of_account(session, account_id)
    return {
        "addresses": [
            {
                "email": mask_address(address.email),
                "confirmed": address.confirmed_at is not None,
                "bounced": address.lost_reason == "bounce",
            }
            for address in addresses
        ],
        "recovery": any(one.role == "recovery" and one.confirmed_at is not None for one in addresses),
        "password": password_state(session, bridge, person),
        "mailbox": mailbox.state_of(session, account_id) if policy.mailbox != "none" else None,
        "listed": is_listed(session, account_id) if policy.listing else None,
        "mfa": settings.mfa is not None and settings.upstream(person.issuer) is not None,
        "ways": [door_of(bridge, identity.issuer) for identity in session.get_one(Account, account_id).identities],
        "sessions": len(open_sessions(session, bridge, account_id)),
        "consents": session.scalar(
            select(func.count()).where(Engagement.account_id == account_id, Engagement.withdrawn_at.is_(None))
        ),
    }


def password_state(session: Session, bridge: Runtime, person: CurrentSession) -> dict[str, str | None]:
    """Since when the password stands, or where the one of a CAS member is changed."""
    set_at = session.scalar(select(LocalPassword.set_at).where(LocalPassword.account_id == person.facts.account_id))
    door = bridge.settings.upstream(person.issuer)
    return {
        "set_on": deadline(set_at) if set_at is not None else None,
        "door": text_in(door.title, current_locale()) if door is not None and person.issuer != LOCAL else None,
    }


@pages.post("/check")
def check() -> ResponseReturnValue:
    """ "All of this is right." """
    person = signed_in()
    bridge = runtime()
    with bridge.database.begin() as session:
        reminders.checked(session, person.facts.account_id, now=bridge.clock(), origin=origin())
    return redirect("/account?done=checked", 303)
