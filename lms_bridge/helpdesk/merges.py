"""The work list of merges: whose course work is to be moved in Moodle, from which user to which."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, abort, redirect, render_template
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lms_bridge.helpdesk import queues
from lms_bridge.helpdesk.members import (
    Member,
    NotAMember,
    NotSignedIn,
    Role,
    administrator,
    not_for_you,
    row_number,
    to_sign_in,
)
from lms_bridge.helpdesk.queues import NothingFurther, to_the_first_page
from lms_bridge.helpdesk.start import QUEUES, Queue
from lms_bridge.i18n import N_
from lms_bridge.i18n import gettext as _
from lms_bridge.schema import MoodleMerge
from lms_bridge.selfservice.account.identity import proved_first
from lms_bridge.selfservice.proof_pages import deadline
from lms_bridge.signin.again import FRESH_AT_THE_DESK
from lms_bridge.sync import merge_list
from lms_bridge.sync.merge_list import HINTS, Hint, MergeLine, NotOpen
from lms_bridge.sync.merges import OPEN
from lms_bridge.web.request import parameter, runtime

pages = Blueprint("merges", __name__, url_prefix="/helpdesk/merges")
pages.register_error_handler(NotSignedIn, to_sign_in)
pages.register_error_handler(NotAMember, not_for_you)
pages.register_error_handler(NothingFurther, to_the_first_page)

PATH = "/helpdesk/merges"


@pages.get("")
def work() -> ResponseReturnValue:
    """Those that wait, the oldest first."""
    administrator(everywhere=True)
    return _page(notice=_("Somebody noted it as done before you, or it was undone.") if parameter("late") else "")


@pages.get("/merges.csv")
def download() -> ResponseReturnValue:
    """All that wait, with their hints, for Moodle's merge-users plugin."""
    administrator(everywhere=True)
    bridge = runtime()
    with bridge.database.read() as session:
        text = merge_list.as_csv(merge_list.listed(session, bridge.clock()))
    return Response(text, mimetype="text/csv", headers={"Content-Disposition": "attachment; filename=merges.csv"})


@pages.post("/<number>/done")
@proved_first(pages, N_("Note that course work was moved"), within=FRESH_AT_THE_DESK)
def done(number: str) -> ResponseReturnValue:
    """The course work was moved. Of two people at once one says so, and the other learns it."""
    who = administrator(everywhere=True)
    merge_id = row_number(number)
    if merge_id is None:
        abort(404)
    bridge = runtime()
    try:
        with bridge.database.begin() as session:
            merge_list.mark_done(session, merge_id, by=who.username, now=bridge.clock(), origin=who.origin)
    except NotOpen:
        return redirect(f"{PATH}?late=1", 303)
    return redirect(PATH, 303)


def _page(*, notice: str) -> str:
    bridge = runtime()
    with bridge.database.read() as session:
        count = session.scalar(select(func.count()).where(MoodleMerge.state == OPEN))
        rows = merge_list.listed(session, bridge.clock(), after=queues.beyond() or 0, limit=queues.PAGE + 1)
    shown, next_url = queues.page_of(rows, PATH, number=lambda line: line.id)
    return render_template(
        "helpdesk/merges.html",
        count=count,
        rows=[_row(line) for line in shown],
        next_url=next_url,
        notice=notice,
        csv_url=f"{PATH}/merges.csv",
    )


def _row(line: MergeLine) -> dict[str, Any]:
    return {
        "line": line,
        "url": runtime().sites.site(line.site).url if line.site in runtime().sites.names else "",
        "since": deadline(line.made_at),
        "until": deadline(line.undo_until) if line.hint is Hint.UNDOABLE else None,
        "hint": _(HINTS[line.hint]),
        "ready": line.hint in (Hint.READY, Hint.NOT_OURS),
        "action": f"{PATH}/{line.id}/done",
    }


def _count(session: Session, _who: Member) -> int:
    return merge_list.waiting(session)


QUEUES.append(Queue(N_("Merges in Moodle"), PATH, _count, Role.ADMINISTRATOR, everywhere=True, place=65))
