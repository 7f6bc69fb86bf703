"""Likely duplicates at the help desk: the list, and what is decided on one pair. Nothing is linked here (D30)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, abort, redirect, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from external_accounts import pair_decisions, pair_listing
from external_accounts.likely_pairs import DECLINED, DISMISSED, GONE, LINKED, OPEN, PROPOSED, WAITING
from external_accounts.linking_schema import LikelyPair
from external_accounts.pair_decisions import REASON_LENGTH, AlreadyDecided, NeverAgain
from external_accounts.pair_listing import Listed
from lms_bridge.helpdesk import pair_sides, queues
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
from lms_bridge.importing import fact_words
from lms_bridge.selfservice.account.identity import proved_first
from lms_bridge.selfservice.proof_pages import deadline
from lms_bridge.signin.again import FRESH_AT_THE_DESK
from lms_bridge.web.request import parameter, runtime

pages = Blueprint("duplicates", __name__, url_prefix="/helpdesk/duplicates")
pages.register_error_handler(NotSignedIn, to_sign_in)
pages.register_error_handler(NotAMember, not_for_you)
pages.register_error_handler(NothingFurther, to_the_first_page)

PATH = "/helpdesk/duplicates"
STATES = {
    OPEN: N_("To look at"),
    PROPOSED: N_("Proposed to the person"),
    DECLINED: N_("The person says no"),
    DISMISSED: N_("Set aside"),
    LINKED: N_("Joined"),
    GONE: N_("No longer alike"),
}
POINTS = (0, 75, 100, 150)
"""From how many points on, as the list offers it; any other number in the address is taken too."""


# --- The list ---


@pages.get("")
def queue() -> ResponseReturnValue:
    agent(everywhere=True)
    state, points = chosen_filter()
    here = address(PATH, state, points)
    with runtime().database.read() as session:
        count = pair_listing.count(session, state=state, points=points)
        rows = rows_of(session, state, points)
    shown, next_url = queues.page_of(rows, here, number=lambda row: row.pair_id)
    return render_template(
        "helpdesk/duplicates.html",
        count=count,
        state=state,
        points=points,
        states={name: _(words) for name, words in STATES.items()},
        choices=sorted({*POINTS, points}),
        rows=[line(row) for row in shown],
        next_url=next_url,
        several_url=address(f"{PATH}/several", state, points) if state in WAITING and rows else None,
    )


def chosen_filter() -> tuple[str, int]:
    state = parameter("state") or OPEN
    if state not in STATES:
        abort(404)
    return state, min(row_number(parameter("points") or "") or 0, 1000)


def address(path: str, state: str, points: int) -> str:
    chosen: dict[str, str | int] = {}
    if state != OPEN:
        chosen["state"] = state
    if points:
        chosen["points"] = points
    return path + (f"?{urlencode(chosen)}" if chosen else "")


def rows_of(session: Session, state: str, points: int) -> Sequence[Listed]:
    return pair_listing.page(session, state=state, points=points, after=queues.beyond(), limit=queues.PAGE + 1)


def line(row: Listed) -> dict[str, Any]:
    return {
        "id": row.pair_id,
        "name": f"{row.first.name} · {row.second.name}",
        "usernames": f"{row.first.username} · {row.second.username}",
        "points": row.points,
        "facts": fact_words(row.facts),
        "news": fact_words(row.new_facts),
        "since": deadline(row.found_at),
        "url": f"{PATH}/{row.pair_id}",
    }


# --- One pair ---


@pages.get("/<number>")
def look(number: str) -> ResponseReturnValue:
    agent(everywhere=True)
    with runtime().database.read() as session:
        return _show(session, _pair(session, number), notice=_notices().get(parameter("done") or ""))


def _notices() -> dict[str, str]:
    return {
        "dismissed": _("The pair is set aside. It comes back if something stronger is found."),
        "reopened": _("The pair is open again."),
        "proposed": _(
            "The person is asked: on their pages after the sign-in, and by mail where an address is confirmed."
        ),
    }


def _pair(session: Session, number: str) -> LikelyPair:
    found = row_number(number)
    pair = session.get(LikelyPair, found) if found is not None else None
    if pair is None:
        abort(404)
    return pair


@pages.post("/<number>/dismiss")
@proved_first(pages, N_("Set a likely pair aside"), within=FRESH_AT_THE_DESK)
def dismiss(number: str) -> ResponseReturnValue:
    who = agent(everywhere=True)
    reason = read_reason()
    if not reason:
        with runtime().database.read() as session:
            return _show(session, _pair(session, number), error=reason_missing()), 422

    def act(session: Session, pair_id: int) -> None:
        pair_decisions.dismiss(
            session, pair_id, reason=reason, by=who.username, now=runtime().clock(), origin=who.origin
        )

    return _decide(number, who, act, "dismissed")


@pages.post("/<number>/reopen")
@proved_first(pages, N_("Take back that a likely pair was set aside"), within=FRESH_AT_THE_DESK)
def reopen(number: str) -> ResponseReturnValue:
    who = agent(everywhere=True)

    def act(session: Session, pair_id: int) -> None:
        pair_decisions.reopen(session, pair_id, now=runtime().clock(), origin=who.origin)

    return _decide(number, who, act, "reopened")


@pages.post("/<number>/propose")
@proved_first(pages, N_("Propose that two accounts be joined"), within=FRESH_AT_THE_DESK)
def propose(number: str) -> ResponseReturnValue:
    who = agent(everywhere=True)
    settings = runtime().settings

    def act(session: Session, pair_id: int) -> None:
        pair_decisions.propose(
            session,
            pair_id,
            by=who.username,
            locale=settings.default_language,
            mail_domain=settings.public_host,
            now=runtime().clock(),
            origin=who.origin,
        )

    return _decide(number, who, act, "proposed")


def read_reason() -> str:
    return " ".join(request.form.get("reason", "").split())[:REASON_LENGTH]


def reason_missing() -> str:
    return _("Write in a few words how you know.")


def _decide(number: str, who: Member, act: Callable[[Session, int], None], done: str) -> ResponseReturnValue:
    """Of two people at once one decides, and the other reads what was decided."""
    bridge = runtime()
    try:
        with bridge.database.begin() as session:
            act(session, _pair(session, number).id)
    except AlreadyDecided as late:
        notice = None if late.pair.decided_by == who.username else _("Somebody else decided before you.")
        with bridge.database.read() as session:
            return _show(session, _pair(session, number), notice=notice), 409
    except NeverAgain:
        with bridge.database.read() as session:
            return _show(session, _pair(session, number), error=_("They have said no: they are not asked again.")), 409
    return redirect(f"{PATH}/{number}?done={done}", 303)


def _show(session: Session, pair: LikelyPair, *, error: str | None = None, notice: str | None = None) -> str:
    sides = pair_sides.of_pair(session, pair)
    return render_template(
        "helpdesk/duplicate.html",
        action=f"{PATH}/{pair.id}",
        back_url=PATH if pair.state == OPEN else f"{PATH}?state={pair.state}",
        error=error,
        notice=notice,
        state=pair.state,
        state_words=_(STATES[pair.state]),
        points=pair.points,
        facts=[fact_words([fact]) for fact in pair.facts],  # type: ignore[list-item]
        news=fact_words(pair.new_facts),  # type: ignore[arg-type]
        sides=sides,
        reason=request.form.get("reason", "")[:REASON_LENGTH],
        longest=REASON_LENGTH,
        found_at=deadline(pair.found_at),
        decided_at=deadline(pair.decided_at) if pair.decided_at else None,
        decided_by=pair_sides.who(session, pair.decided_by),
        proposed_at=deadline(pair.proposed_at) if pair.proposed_at else None,
        proposed_by=pair_sides.who(session, pair.proposed_by),
        declined=pair.declined_at is not None,
        note=pair.note,
        mailable=any(side["confirmed"] for side in sides),
    )


def _count(session: Session, _who: Member) -> int:
    return pair_listing.count(session, state=OPEN, points=0)


# Two accounts seldom have one unit, so it is for those who see all.
QUEUES.append(Queue(N_("Likely duplicates"), PATH, _count, Role.AGENT, everywhere=True, place=60))
