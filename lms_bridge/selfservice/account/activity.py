"""My activity: what happened to my account, in plain words, the newest first. Nobody else's, ever.

A page is a stretch of ids below the last one seen (`before`): however long the trail, one look into an index. The id is
no secret and opens nothing; the account is the session's alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts.schema import AccountId, AuditEvent
from lms_bridge.i18n import N_
from lms_bridge.i18n import gettext as _
from lms_bridge.selfservice.account.identity import signed_in
from lms_bridge.selfservice.proof_pages import deadline
from lms_bridge.signin.devices import network_in_words
from lms_bridge.web.request import parameter, runtime

pages = Blueprint("activity", __name__, url_prefix="/account/activity")

PAGE = 25

SENTENCES: Mapping[str, str] = {
    "account.activated": N_("Your account was activated."),
    "account.checked": N_("You said that your addresses are right."),
    "account.created": N_("Your account was created."),
    "account.exported": N_("Your data was downloaded."),
    "account.readmitted": N_("The suspension of your account was lifted."),
    "account.reminded": N_("We asked you by mail to check your addresses."),
    "account.suspended": N_("Your account was suspended."),
    "address.added": N_("An address was added."),
    "address.confirmed": N_("An address was confirmed."),
    "address.corrected": N_("The help desk corrected an address."),
    "address.correction": N_("The help desk looked at the correction of an address."),
    "address.lost": N_("An address no longer counts as confirmed."),
    "address.primary": N_("The main address was changed."),
    "address.recovery": N_("An address became a recovery address."),
    "address.removed": N_("An address was removed."),
    "address.dropped": N_("An address that was never confirmed was removed."),
    "address.undone": N_("A change of addresses was undone."),
    "duplicates.declined": N_("You said that a second account is not yours."),
    "duplicates.proposed": N_("The help desk asked you whether you have a second account."),
    "engagement.accepted": N_("A document was accepted."),
    "engagement.withdrawn": N_("A consent was withdrawn."),
    "erasure.asked": N_("The deletion of the account was asked for."),
    "erasure.taken_back": N_("The account is kept after all."),
    "helpdesk.viewed": N_("The help desk looked at your account."),
    "identity.added": N_("A way in was added."),
    "identity.removed": N_("A way in was removed."),
    "identity.restored": N_("A way in that had been removed is back."),
    "link.begun": N_("Somebody began to join another account to this one."),
    "link.declined": N_("You said that you have no other account."),
    "link.ended": N_("No account was joined after all."),
    "link.made": N_("Two accounts were joined."),
    "link.password": N_("The password was typed to join this account to another."),
    "link.proved": N_("It was shown that another account belongs to the same person."),
    "link.undone": N_("Two joined accounts became two again."),
    "helpdesk.refused": N_("The help desk wanted to do something; it was not possible."),
    "helpdesk.reset_started": N_("The help desk had a link for a new password mailed to you."),
    "helpdesk.sessions_ended": N_("The help desk signed you out."),
    "mail.bounced": N_("One of our messages came back."),
    "mirror.look_again": N_("The help desk had your user in Moodle looked at again."),
    "password.changed": N_("The password was changed."),
    "password.reset": N_("A new password was chosen by a link we mailed."),
    "proof.sent": N_("A link was mailed to one of your addresses."),
    "recovery.mailed": N_("Somebody asked for a forgotten password; we wrote to you."),
    "registration.completed": N_("Your registration was completed."),
    "session.ended": N_("A session ended."),
    "session.everywhere": N_("Everything was signed out."),
    "session.others": N_("All other devices were signed out."),
    "session.renewed": N_("You showed again who you are."),
    "signin.again": N_("You showed again who you are."),
    "signin.cas": N_("You signed in with the university’s account."),
    "signin.local": N_("You signed in with your user name and password."),
    "why.mailed": N_("Somebody asked why you cannot enter; we wrote to you."),
}
REFUSED: Mapping[str, str] = {
    "link.password": N_("A wrong password was typed to join this account to another."),
    "proof.code": N_("A wrong code was typed."),
    "signin.again": N_("A wrong password was typed."),
    "signin.local": N_("Somebody tried to sign in with a wrong password."),
}
"""When the outcome was not `ok`, where that is a story of its own."""
TOLD_BY_ANOTHER = frozenset({"session.started", "mirror.forgotten"})
"""What says nothing beside the event it comes with."""


def sentence(event: str, outcome: str) -> str:
    """What happened, in plain words."""
    if outcome != "ok" and event in REFUSED:
        return _(REFUSED[event])
    # What a later version adds is not hidden from the person.
    return _(SENTENCES[event]) if event in SENTENCES else _("Something else was noted: %(event)s", event=event)


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
