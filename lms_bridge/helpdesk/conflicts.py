"""Accounts that a Moodle does not follow: what is wrong in plain words, what to do, and looking again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, abort, redirect, render_template
from flask.typing import ResponseReturnValue
from sqlalchemy import func, literal_column, select
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.database import note_waiting
from external_accounts.schema import Account
from lms_bridge.gate import MirrorState
from lms_bridge.helpdesk import acting, queues, reach
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
from lms_bridge.helpdesk.start import QUEUES, Queue
from lms_bridge.i18n import N_
from lms_bridge.i18n import gettext as _
from lms_bridge.schema import Mirror
from lms_bridge.sync.compare import SUSPENDED_IN_MOODLE
from lms_bridge.web.request import parameter, runtime

pages = Blueprint("conflicts", __name__, url_prefix="/helpdesk/conflicts")
pages.register_error_handler(NotSignedIn, to_sign_in)
pages.register_error_handler(NotAMember, not_for_you)
pages.register_error_handler(NothingFurther, to_the_first_page)

PATH = "/helpdesk/conflicts"
# Written out as the partial index is: bound as a parameter, neither database would recognise it.
_PROBLEM = Mirror.problem != literal_column("''")

ADVICE: Mapping[str, str] = {
    SUSPENDED_IN_MOODLE: N_("Find out who suspended the user in Moodle, and why. It can only be lifted there."),
    "the user has another sign-in method": N_(
        "Is it this person's user? Then set its sign-in method in Moodle to the one of this service. Somebody else's? "
        "Rename it there."
    ),
    "another account has the same address": N_(
        "Two accounts here hold one address. Correct the wrong one, or propose to the person to join them."
    ),
    "the user is gone from Moodle": N_(
        "Was the user deleted on purpose? Whoever runs the service can let a new one be made (accounts look-again)."
    ),
    "the user was deleted in Moodle": N_(
        "Was the user deleted on purpose? Whoever runs the service can let a new one be made (accounts look-again)."
    ),
    "changed here and in Moodle": N_(
        "Set the field to the right value in Moodle, or have it changed here: as soon as both agree, it is settled."
    ),
    "another Moodle user has the same address": N_(
        "Somebody in Moodle has this address. The same person? Whoever runs the service can take that user over. "
        "Somebody else? Change the address there."
    ),
    "the user was renamed in Moodle": N_("Give the user its former name back in Moodle."),
    "the user is not confirmed in Moodle": N_("Confirm the user in Moodle, in the list of users."),
}
"""What to do, by the problem as the sync names it."""
LOOK = N_("Look at the user in Moodle.")
FIELDS: Mapping[str, str] = {
    "user": N_("User"),
    "username": N_("User name"),
    "email": N_("E-mail address"),
    "firstname": N_("First name"),
    "lastname": N_("Last name"),
    "idnumber": N_("ID number"),
    "institution": N_("Institution"),
    "department": N_("Department"),
    "lang": N_("Language"),
}


def count(session: Session, who: Member) -> int:
    """How many wait within reach, at all sites."""
    query = (
        select(func.count())
        .select_from(Mirror)
        .join(Account, Account.id == Mirror.account_id)
        .where(_PROBLEM, reach.within(who, Account.unit))
    )
    return session.scalar(query) or 0


@pages.get("")
def queue() -> ResponseReturnValue:
    who = agent()
    sites = runtime().sites.names
    site = parameter("site") or ""
    if site and site not in sites:
        abort(404)
    here = f"{PATH}?site={site}" if site else PATH
    query = (
        select(Mirror, Account)
        .join(Account, Account.id == Mirror.account_id)
        .where(_PROBLEM, Mirror.id > (queues.beyond() or 0), reach.within(who, Account.unit))
        .order_by(Mirror.id)
        .limit(queues.PAGE + 1)
    )
    if site:
        query = query.where(Mirror.site == site)
    with runtime().database.read() as session:
        shown, next_url = queues.page_of(session.execute(query).all(), here, number=lambda row: row[0].id)
        return render_template(
            "helpdesk/conflicts.html",
            count=count(session, who),
            rows=[_line(mirror, account) for mirror, account in shown],
            next_url=next_url,
            sites=[{"name": name, "url": f"{PATH}?site={name}", "current": name == site} for name in sites]
            if len(sites) > 1
            else [],
            all_url=PATH if site else None,
            asked=parameter("done") == "again",
        )


def _line(mirror: Mirror, account: Account) -> dict[str, Any]:
    problems = list(dict.fromkeys(str(one["problem"]) for one in mirror.conflicts)) or [mirror.problem]
    settings = next((one for one in runtime().settings.sites if one.name == mirror.site), None)
    return {
        "id": mirror.id,
        "name": name_of(account),
        "username": account.username,
        "url": f"{acting.PATH}/{account.id}",
        "site": mirror.site,
        "barred": mirror.state in (MirrorState.CONFLICT, MirrorState.SUSPENDED_ELSEWHERE),
        "problem": "; ".join(_(one) for one in problems),
        "fields": [_field(found) for found in mirror.conflicts],
        "advice": _(next((ADVICE[one] for one in problems if one in ADVICE), LOOK)),
        "moodle_url": f"{settings.url}/user/profile.php?id={mirror.moodle_id}"
        if settings is not None and mirror.moodle_id is not None
        else None,
        "due": mirror.due,
        "again_action": f"{PATH}/{mirror.id}/again",
    }


def _field(found: Mapping[str, Any]) -> dict[str, str]:
    name = str(found.get("field", ""))
    return {
        "name": _(FIELDS[name]) if name in FIELDS else name,
        "ours": str(found.get("ours", "")),
        "theirs": str(found.get("theirs", "")),
    }


@pages.post("/<number>/again")
def look_again(number: str) -> ResponseReturnValue:
    """Have the background work look at the user now, instead of with the next change or run."""
    who = agent()
    found = row_number(number)
    if (question := acting.shown_again()) is not None:
        return question
    bridge = runtime()
    with bridge.database.begin() as session:
        mirror = session.get(Mirror, found, with_for_update=True) if found is not None else None
        if mirror is None or not who.may_see(session.get_one(Account, mirror.account_id).unit):
            abort(404)
        mirror.due, mirror.next_try_at = True, None
        note_waiting(session, Mirror)
        audit.record(
            session,
            "mirror.look_again",
            outcome="ok",
            now=bridge.clock(),
            origin=who.origin,
            account_id=mirror.account_id,
            site=mirror.site,
        )
    return redirect(f"{PATH}?done=again", 303)


QUEUES.append(Queue(N_("Conflicts with Moodle"), PATH, count, Role.AGENT, place=50))
