"""Acting on many accounts: choose them, look at what would happen, confirm, follow it, take the outcomes away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Blueprint, Response, abort, redirect, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from external_accounts.schema import Account, Address
from external_accounts.spreadsheets import NotText, decoded, written
from lms_bridge.helpdesk import acting, bulk_runs
from lms_bridge.helpdesk.acts.deeds import Doer, Wanted, name_of
from lms_bridge.helpdesk.bulk_runs import ACTS, MOST, NotAsShown, Target
from lms_bridge.helpdesk.members import (
    NotAMember,
    NotSignedIn,
    Role,
    administrator,
    not_for_you,
    row_number,
    to_sign_in,
)
from lms_bridge.helpdesk.refusals import words
from lms_bridge.helpdesk.start import QUEUES, Queue
from lms_bridge.i18n import N_, current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.letters.printing import read_list
from lms_bridge.ops.why import accounts_of
from lms_bridge.schema import BulkLine, BulkRun
from lms_bridge.selfservice.proof_pages import deadline
from lms_bridge.settings.sections import text_in
from lms_bridge.web.request import parameter, runtime

pages = Blueprint("bulk", __name__, url_prefix="/helpdesk/bulk")
pages.register_error_handler(NotSignedIn, to_sign_in)
pages.register_error_handler(NotAMember, not_for_you)

PATH = "/helpdesk/bulk"
PAGE = 100
LATEST = 20
REFRESH_SECONDS = 3

TITLES: Mapping[str, str] = {
    "suspend": N_("Suspend"),
    "readmit": N_("Lift the suspension"),
    "resend": N_("Send the confirmation or the activation again"),
    "extend": N_("Extend the rights"),
    "sessions": N_("End all sessions"),
}
STATES: Mapping[str, str] = {
    "active": N_("May enter as far as the account goes"),
    "unconfirmed": N_("Address not confirmed"),
    "not_activated": N_("Not activated"),
    "suspended": N_("Suspended"),
    "ended": N_("Rights ended"),
}
RUNS: Mapping[str, str] = {
    bulk_runs.PREVIEWED: N_("Looked at"),
    bulk_runs.RUNNING: N_("Under way"),
    bulk_runs.DONE: N_("Done"),
    bulk_runs.STOPPED: N_("Stopped"),
}
LINES: Mapping[str, str] = {
    bulk_runs.READY: N_("not done yet"),
    bulk_runs.DONE: N_("done"),
    bulk_runs.REFUSED: N_("left alone"),
    bulk_runs.CHANGED: N_("left alone: the account changed after you looked at it"),
}


@pages.get("")
def form() -> ResponseReturnValue:
    administrator()
    return _form({})


@pages.post("")
def look() -> ResponseReturnValue:
    """Find the accounts and keep what would be done. Nothing is done."""
    who = administrator()
    doer = acting.doer_of(who)
    errors: dict[str, str] = {}
    act = request.form.get("act", "")
    if act not in ACTS:
        errors["act"] = _("Choose what to do.")
    until = acting.read_day(errors, doer, needed=act == "extend") if act in ("suspend", "extend") else None
    wanted = Wanted(reason=acting.read_reason(errors), until=until)
    with runtime().database.begin() as session:
        targets = _targets(session, doer, errors)
        if errors:
            return _form(errors), 422
        run = bulk_runs.prepare(session, doer, act, wanted, targets)
    return redirect(f"{PATH}/{run.id}", 303)


def _targets(session: Session, doer: Doer, errors: dict[str, str]) -> Sequence[Target]:
    """The accounts that were chosen: by a list or file, else by the filter."""
    typed = request.form.get("identifiers", "")
    upload = request.files.get("file")
    if upload is not None and upload.filename:
        try:
            typed = decoded(upload.read())
        except NotText:
            errors["file"] = _(
                "This is no text file. In your spreadsheet, save the list as CSV, then choose that file."
            )
            return ()
    if typed.strip():
        found = read_list(typed)
        if len(found) > MOST:
            errors["identifiers"] = _("At most %(count)s accounts at once.", count=MOST)
            return ()
        return [Target(one[:254], accounts_of(session, one)) for one in found]
    conditions = _filter()
    if not conditions:
        errors["identifiers"] = _("Enter at least one identifier, or choose a filter.")
        return ()
    query = select(Account).where(Account.erased_at.is_(None), Account.merged_into_id.is_(None), *conditions)
    accounts = session.scalars(query.order_by(Account.id).limit(MOST + 1)).all()
    visible = [account for account in accounts if doer.may_see(account.unit)]
    if len(visible) > MOST:
        errors["identifiers"] = _("At most %(count)s accounts at once.", count=MOST)
    elif not visible:
        errors["identifiers"] = _("No account is like that.")
    return [Target(account.username, [account]) for account in visible]


def _filter() -> list[ColumnElement[bool]]:
    now, form = runtime().clock(), request.form
    conditions: list[ColumnElement[bool]] = []
    if unit := form.get("unit", "").strip():
        conditions.append(Account.unit == unit)
    if profile := form.get("profile", ""):
        conditions.append(Account.profile == profile)
    suspended = Account.suspended_at.is_not(None) & (
        Account.suspended_until.is_(None) | (Account.suspended_until > now)
    )
    ended = Account.rights_end_at.is_not(None) & (Account.rights_end_at <= now)
    confirmed = (
        select(Address.id)
        .where(Address.account_id == Account.id, Address.is_primary, Address.confirmed_at.is_not(None))
        .exists()
    )
    match form.get("state", ""):
        case "suspended":
            conditions.append(suspended)
        case "ended":
            conditions.append(ended)
        case "not_activated":
            conditions.append(Account.activated_at.is_(None))
        case "unconfirmed":
            conditions += [Account.activated_at.is_not(None), ~confirmed]
        case "active":
            conditions += [~suspended, ~ended, Account.activated_at.is_not(None), confirmed]
    return conditions


def _form(errors: Mapping[str, str]) -> str:
    settings = runtime().settings
    with runtime().database.read() as session:
        query = select(BulkRun).order_by(BulkRun.id.desc()).limit(LATEST)
        runs = [
            {
                "title": _(TITLES[run.act]),
                "state": _(RUNS[run.state]),
                "at": deadline(run.made_at),
                "by": run.made_by,
                "url": f"{PATH}/{run.id}",
            }
            for run in session.scalars(query)
        ]
    return render_template(
        "helpdesk/bulk.html",
        action=PATH,
        typed=request.form,
        errors=errors,
        error=bool(errors),
        acts=[{"name": name, "title": _(TITLES[name])} for name in ACTS],
        profiles=[{"name": one.name, "title": text_in(one.label, current_locale())} for one in settings.profiles],
        states=[{"name": name, "title": _(title)} for name, title in STATES.items()],
        most=MOST,
        longest=acting.REASON,
        runs=runs,
    )


@pages.get("/<number>")
def show(number: str) -> ResponseReturnValue:
    administrator()
    with runtime().database.read() as session:
        return _show(session, _run(session, number))


@pages.post("/<number>/start")
def start(number: str) -> ResponseReturnValue:
    """Carry out what was shown, once."""
    who = administrator()
    with runtime().database.read() as session:
        run_id = _run(session, number).id
    if (question := acting.shown_again()) is not None:
        return question
    try:
        with runtime().database.begin() as session:
            bulk_runs.start(session, acting.doer_of(who), run_id, row_number(request.form.get("count", "")))
    except NotAsShown:
        with runtime().database.read() as session:
            return _show(session, _run(session, number), refused=True), 409
    return redirect(f"{PATH}/{run_id}", 303)


@pages.post("/<number>/stop")
def stop(number: str) -> ResponseReturnValue:
    who = administrator()
    with runtime().database.begin() as session:
        bulk_runs.stop(session, acting.doer_of(who), _run(session, number).id)
    return redirect(f"{PATH}/{number}", 303)


@pages.post("/<number>/undo")
def undo(number: str) -> ResponseReturnValue:
    """Look at the contrary: nothing is done before that is confirmed in its turn."""
    who = administrator()
    with runtime().database.begin() as session:
        contrary = bulk_runs.undo(session, acting.doer_of(who), _run(session, number))
        to = contrary.id if contrary is not None else number
    return redirect(f"{PATH}/{to}", 303)


@pages.get("/<number>/outcomes.csv")
def outcomes(number: str) -> ResponseReturnValue:
    """Every line and what became of it, for a spreadsheet."""
    administrator()
    with runtime().database.read() as session:
        run = _run(session, number)
        rows = [(_("identifier"), _("user name"), _("outcome"), _("reason"))]
        query = select(BulkLine, Account).outerjoin(Account, Account.id == BulkLine.account_id)
        for line, account in session.execute(query.where(BulkLine.run_id == run.id).order_by(BulkLine.id)):
            why = words(line.refusal) if line.refusal else ""
            rows.append((line.typed, account.username if account else "", _(LINES[line.state]), why))
    response = Response(written("csv", rows), mimetype="text/csv")
    response.headers["Content-Disposition"] = f"attachment; filename=outcomes-{run.id}.csv"
    return response


def _run(session: Session, number: str) -> BulkRun:
    found = row_number(number)
    run = session.get(BulkRun, found) if found is not None else None
    if run is None:
        abort(404)
    return run


def _show(session: Session, run: BulkRun, *, refused: bool = False) -> str:
    who = administrator()
    found = bulk_runs.counts(session, run.id)
    ready = found.get(bulk_runs.READY, 0)
    beyond = row_number(parameter("after") or "") or 0
    query = (
        select(BulkLine, Account)
        .outerjoin(Account, Account.id == BulkLine.account_id)
        .where(BulkLine.run_id == run.id, BulkLine.id > beyond)
        .order_by(BulkLine.id)
        .limit(PAGE + 1)
    )
    only = parameter("only") or ""
    if only in LINES:
        query = query.where(BulkLine.state == only)
    rows = session.execute(query).all()
    joint = f"?only={only}&" if only in LINES else "?"
    fresh = runtime().clock() - run.made_at <= bulk_runs.GOOD_FOR
    return render_template(
        "helpdesk/bulk_run.html",
        action=f"{PATH}/{run.id}",
        back_url=PATH,
        title=_(TITLES[run.act]),
        act=run.act,
        state=run.state,
        reason=run.reason,
        until=run.until,
        made_by=run.made_by,
        made_at=deadline(run.made_at),
        counts={name: found.get(name, 0) for name in LINES},
        total=sum(found.values()),
        mine=run.made_by_id == who.account_id,
        possible=run.state == bulk_runs.PREVIEWED and ready > 0 and fresh,
        counted=ready > bulk_runs.COUNTED_ABOVE,
        undo=bool(ACTS[run.act].undone_by) and run.state in (bulk_runs.DONE, bulk_runs.STOPPED),
        error=refused,
        refresh_seconds=REFRESH_SECONDS if run.state == bulk_runs.RUNNING else None,
        rows=[_line(line, account, run) for line, account in rows[:PAGE]],
        next_url=f"{PATH}/{run.id}{joint}after={rows[PAGE - 1][0].id}" if len(rows) > PAGE else None,
        only=only if only in LINES else "",
    )


def _line(line: BulkLine, account: Account | None, run: BulkRun) -> dict[str, Any]:
    said = _("will be done") if run.state == bulk_runs.PREVIEWED and line.state == bulk_runs.READY else None
    return {
        "typed": line.typed,
        "name": name_of(account) if account is not None else None,
        "username": account.username if account is not None else None,
        "url": f"{acting.PATH}/{account.id}" if account is not None else None,
        "good": line.state in (bulk_runs.READY, bulk_runs.DONE),
        "state": said or _(LINES[line.state]),
        "why": words(line.refusal) if line.refusal else None,
    }


QUEUES.append(Queue(N_("Act on many accounts"), PATH, None, Role.ADMINISTRATOR, place=95))
