"""Setting several likely duplicates aside at once: choose, look at what will happen, confirm."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Blueprint, redirect, render_template, request
from flask.typing import ResponseReturnValue

from external_accounts import pair_decisions, pair_listing
from external_accounts.likely_pairs import WAITING
from external_accounts.pair_decisions import AlreadyDecided
from external_accounts.pair_listing import Listed
from lms_bridge.helpdesk import duplicates, queues
from lms_bridge.helpdesk.members import NotAMember, NotSignedIn, administrator, not_for_you, row_number, to_sign_in
from lms_bridge.helpdesk.queues import NothingFurther, to_the_first_page
from lms_bridge.i18n import N_, ngettext
from lms_bridge.i18n import gettext as _
from lms_bridge.selfservice.account.identity import proved_first
from lms_bridge.signin.again import FRESH_AT_THE_DESK
from lms_bridge.web.request import parameter, runtime

PATH = f"{duplicates.PATH}/several"

pages = Blueprint("several_duplicates", __name__, url_prefix=PATH)
pages.register_error_handler(NotSignedIn, to_sign_in)
pages.register_error_handler(NotAMember, not_for_you)
pages.register_error_handler(NothingFurther, to_the_first_page)


@pages.get("")
def choose() -> ResponseReturnValue:
    """A page of the list, with a box before each pair."""
    administrator(everywhere=True)
    state, points = duplicates.chosen_filter()
    with runtime().database.read() as session:
        rows = duplicates.rows_of(session, state, points)
    shown, next_url = queues.page_of(rows, duplicates.address(PATH, state, points), number=lambda row: row.pair_id)
    return _choices(shown, next_url=next_url, notice=_done(row_number(parameter("done") or "")))


def _done(count: int | None) -> str | None:
    if count is None:
        return None
    return ngettext("%(num)d pair was set aside.", "%(num)d pairs were set aside.", count)


def _choices(rows: Sequence[Listed], *, next_url: str | None = None, notice: str | None = None, error: str = "") -> str:
    return render_template(
        "helpdesk/several_duplicates.html",
        action=f"{PATH}/preview",
        back_url=duplicates.PATH,
        rows=[duplicates.line(row) for row in rows],
        next_url=next_url,
        notice=notice,
        error=error,
        reason=duplicates.read_reason(),
        longest=pair_decisions.REASON_LENGTH,
    )


@pages.post("/preview")
def preview() -> ResponseReturnValue:
    """What will happen. Nothing is kept of it here: the page carries it on to the confirmation."""
    administrator(everywhere=True)
    reason, wanted = duplicates.read_reason(), _chosen()
    with runtime().database.read() as session:
        offered = pair_listing.some(session, _numbers("offered"))
        rows = pair_listing.some(session, wanted)
    if not wanted:
        return _choices(offered, error=_("Choose at least one pair.")), 422
    if not reason:
        return _choices(offered, error=duplicates.reason_missing()), 422
    return render_template(
        "helpdesk/several_duplicates_preview.html",
        action=f"{PATH}/dismiss",
        back_url=PATH,
        rows=[duplicates.line(row) for row in rows if row.state in WAITING],
        decided=[duplicates.line(row) for row in rows if row.state not in WAITING],
        reason=reason,
    )


@pages.post("/dismiss")
@proved_first(pages, N_("Set several likely pairs aside"), within=FRESH_AT_THE_DESK)
def dismiss() -> ResponseReturnValue:
    """Each in a transaction of its own: what somebody else decided meanwhile stays as they decided it."""
    who = administrator(everywhere=True)
    bridge = runtime()
    reason, done = duplicates.read_reason(), 0
    if not reason:
        return redirect(PATH, 303)
    with bridge.database.read() as session:
        there = [row.pair_id for row in pair_listing.some(session, _chosen())]
    for pair_id in there:
        try:
            with bridge.database.begin() as session:
                now = bridge.clock()
                pair_decisions.dismiss(session, pair_id, reason=reason, by=who.username, now=now, origin=who.origin)
        except AlreadyDecided:
            continue
        done += 1
    return redirect(f"{PATH}?done={done}", 303)


def _chosen() -> list[int]:
    return _numbers("pair")


def _numbers(name: str) -> list[int]:
    found = (row_number(text) for text in request.form.getlist(name)[: queues.PAGE])
    return [number for number in found if number is not None]
