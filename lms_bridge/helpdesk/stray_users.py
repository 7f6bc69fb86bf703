"""Moodle users who may be the person of an account that has another user there, or none (D33)."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, redirect, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select

from external_accounts import audit
from external_accounts.accounts import Person
from external_accounts.schema import Account
from lms_bridge.helpdesk import duplicates, queues
from lms_bridge.helpdesk.members import NotAMember, NotSignedIn, agent, not_for_you, row_number, to_sign_in
from lms_bridge.helpdesk.queues import NothingFurther, to_the_first_page
from lms_bridge.i18n import N_
from lms_bridge.i18n import gettext as _
from lms_bridge.schema import Mirror, StrayUser
from lms_bridge.selfservice.account.identity import proved_first
from lms_bridge.selfservice.proof_pages import deadline
from lms_bridge.signin.again import FRESH_AT_THE_DESK
from lms_bridge.sync.strays import DISMISSED, OPEN
from lms_bridge.web.request import parameter, runtime

PATH = f"{duplicates.PATH}/moodle"
FACTS = {"email": N_("same e-mail address"), "idnumber": N_("same ID number"), "username": N_("same user name")}

pages = Blueprint("stray_users", __name__, url_prefix=PATH)
pages.register_error_handler(NotSignedIn, to_sign_in)
pages.register_error_handler(NotAMember, not_for_you)
pages.register_error_handler(NothingFurther, to_the_first_page)


@pages.get("")
def queue() -> ResponseReturnValue:
    agent(everywhere=True)
    state = DISMISSED if parameter("state") == DISMISSED else OPEN
    own = Mirror.moodle_id.label("own")
    query = (
        select(StrayUser, Account, own)
        .join(Account, Account.id == StrayUser.account_id)
        .outerjoin(Mirror, (Mirror.account_id == StrayUser.account_id) & (Mirror.site == StrayUser.site))
        .where(StrayUser.state == state, StrayUser.id > (queues.beyond() or 0))
        .where(Account.erased_at.is_(None), Account.merged_into_id.is_(None))
        .order_by(StrayUser.id)
        .limit(queues.PAGE + 1)
    )
    with runtime().database.read() as session:
        count = session.scalar(select(func.count()).select_from(StrayUser).where(StrayUser.state == OPEN))
        rows = session.execute(query).all()
    here = PATH if state == OPEN else f"{PATH}?state={DISMISSED}"
    shown, next_url = queues.page_of(rows, here, number=lambda row: row[0].id)
    return render_template(
        "helpdesk/stray_users.html",
        count=count,
        dismissed=state == DISMISSED,
        rows=[_line(stray, account, own) for stray, account, own in shown],
        next_url=next_url,
        back_url=duplicates.PATH,
        other_url=PATH if state == DISMISSED else f"{PATH}?state={DISMISSED}",
    )


def _line(stray: StrayUser, account: Account, own: int | None) -> dict[str, Any]:
    return {
        "name": Person(account.given_name, account.family_name).display_name or account.username,
        "username": account.username,
        "url": f"/helpdesk/accounts/{account.id}",
        "site": stray.site,
        "moodle_id": stray.moodle_id,
        "moodle_name": stray.fullname or stray.username or "?",
        "moodle_username": stray.username or "?",
        "own": own,
        "facts": ", ".join(_(FACTS[fact]) for fact in stray.facts),
        "since": deadline(stray.found_at),
        "action": f"{PATH}/{stray.id}",
    }


@pages.post("/<number>")
@proved_first(pages, N_("Decide about a user of Moodle"), within=FRESH_AT_THE_DESK)
def decide(number: str) -> ResponseReturnValue:
    """Set one aside, or take that back."""
    who = agent(everywhere=True)
    bridge, found = runtime(), row_number(number)
    wanted = {"dismiss": DISMISSED, "reopen": OPEN}.get(request.form.get("decision", ""))
    if found is None or wanted is None:
        abort(400 if found is not None else 404)
    now = bridge.clock()
    with bridge.database.begin() as session:
        row = session.get(StrayUser, found, with_for_update=True)
        if row is None:
            abort(404)
        if row.state != wanted:
            row.state, row.decided_at, row.decided_by = wanted, now, who.username
            event = "strays.dismissed" if wanted == DISMISSED else "strays.reopened"
            audit.record(session, event, outcome="ok", now=now, origin=who.origin, site=row.site, user=row.moodle_id)
    return redirect(PATH if wanted == DISMISSED else f"{PATH}?state={DISMISSED}", 303)
