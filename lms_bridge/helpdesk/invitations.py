"""Inviting people: one by one, or from a file; sending again, taking back."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, Response, abort, redirect, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import invitations
from external_accounts.accounts import Person
from external_accounts.addresses import EmailAddress, InvalidAddress, parse_address
from external_accounts.audit import Origin
from external_accounts.invitation_files import Sheet, UnreadableFile, read_sheet, rejected_file
from external_accounts.invitations import AddressOfMember, AlreadyUnderWay
from external_accounts.name_index import Alike
from external_accounts.registration_outcome import AddressHasAccount
from external_accounts.registration_steps import ACCEPTED, INVITED
from external_accounts.schema import Registration
from external_accounts.spreadsheets import read_date
from lms_bridge.helpdesk import inviting
from lms_bridge.helpdesk.alike_accounts import alike_lines
from lms_bridge.helpdesk.inviting import VERDICTS, Guest, Judged, NoSuchSponsor
from lms_bridge.helpdesk.members import NotAMember, NotSignedIn, Role, agent, not_for_you, row_number, to_sign_in
from lms_bridge.helpdesk.start import QUEUES, Queue
from lms_bridge.i18n import N_
from lms_bridge.i18n import gettext as _
from lms_bridge.registration_terms import terms
from lms_bridge.selfservice.account.identity import proved_first
from lms_bridge.selfservice.proof_pages import deadline
from lms_bridge.selfservice.register_form import name_errors, read_name
from lms_bridge.signin.again import FRESH_AT_THE_DESK
from lms_bridge.web.request import parameter, runtime

pages = Blueprint("invitations", __name__, url_prefix="/helpdesk/invitations")
pages.register_error_handler(NotSignedIn, to_sign_in)
pages.register_error_handler(NotAMember, not_for_you)

PATH = "/helpdesk/invitations"
PAGE = 50
LARGEST_FILE = 40 * 1024
"""A form may have 64 KiB, and the preview carries the file to the confirmation, a third larger. Some 600 people."""


@dataclass(frozen=True, slots=True)
class Fields:
    """The form for one person, as typed."""

    given_name: str = ""
    family_name: str = ""
    email: str = ""
    until: str = ""
    sponsor: str = ""
    errors: dict[str, str] = field(default_factory=dict)


@pages.get("")
def show() -> ResponseReturnValue:
    agent(everywhere=True)
    with runtime().database.read() as session:
        return _page(session, Fields(until=_usual_day()), notice=_notices().get(parameter("done") or ""))


def _notices() -> dict[str, str]:
    return {
        "sent": _("The invitation is on its way."),
        "again": _("The invitation is on its way once more."),
        "withdrawn": _("The invitation is withdrawn: its link opens nothing any more."),
        "over": _("This invitation was used or withdrawn meanwhile."),
    }


@pages.post("")
@proved_first(pages, N_("Send an invitation"), within=FRESH_AT_THE_DESK)
def invite() -> ResponseReturnValue:
    who = agent(everywhere=True)
    bridge = runtime()
    guest, fields = _read_fields()
    if guest is not None:
        with bridge.database.read() as session:
            alike = _unchecked(session, guest)
            if alike:
                return _page(session, fields, alike=alike), 409
        try:
            with bridge.database.begin() as session:
                inviting.invite(bridge, session, guest, by=who.username, origin=who.origin)
            return redirect(f"{PATH}?done=sent", 303)
        except AddressHasAccount as error:
            fields.errors["email"] = _("There is an account with this address: %(username)s.", username=error.username)
        except AlreadyUnderWay:
            fields.errors["email"] = _("This address is invited already, or its request waits for a decision.")
        except AddressOfMember:
            fields.errors["email"] = _("This is an address of the university: its owner has an account there.")
        except NoSuchSponsor:
            fields.errors["sponsor"] = _("Nobody by this address or user name may answer for people.")
    with bridge.database.read() as session:
        return _page(session, fields), 422


def _unchecked(session: Session, guest: Guest) -> list[Alike]:
    """Accounts that may be theirs, which nobody has looked at yet."""
    if request.form.get("homonym_checked") == "1":
        return []
    return inviting.likely_accounts(session, guest.person, guest.email, runtime().settings)


def _read_fields() -> tuple[Guest | None, Fields]:
    form = request.form
    person = Person(read_name(form.get("given_name", "")), read_name(form.get("family_name", "")))
    typed, day = form.get("email", "").strip()[:254], form.get("until", "").strip()[:20]
    sponsor = form.get("sponsor", "").strip()[:254]
    errors = name_errors(person)
    email: EmailAddress | None = None
    try:
        email = parse_address(typed)
    except InvalidAddress:
        errors["email"] = _("This is not an e-mail address we can write to. It looks like name@example.org.")
    until = None
    try:
        until = read_date(day)
    except ValueError:
        errors["until"] = _("This is not a date. It looks like 2027-06-30.")
    bridge = runtime()
    if until is not None and until < bridge.clock().astimezone(bridge.settings.zone).date():
        errors["until"] = _("This day is over. Choose a later one.")
    fields = Fields(person.given_name, person.family_name, typed, day, sponsor, errors)
    return (Guest(email, person, until, sponsor) if email is not None and not errors else None), fields


def _usual_day() -> str:
    last = inviting.usual_end(runtime())
    return last.isoformat() if last else ""


def _page(
    session: Session,
    fields: Fields,
    *,
    notice: str | None = None,
    file_error: str | None = None,
    alike: Sequence[Alike] = (),
) -> str:
    first = row_number(parameter("after") or "") or 0
    rows: Sequence[Registration] = session.scalars(
        select(Registration)
        .where(Registration.mode == INVITED, Registration.state == ACCEPTED, Registration.id > first)
        .order_by(Registration.id)
        .limit(PAGE + 1)
    ).all()
    now = runtime().clock()
    return render_template(
        "helpdesk/invitations.html",
        action=PATH,
        fields=fields,
        notice=notice,
        file_error=file_error,
        alike=alike_lines(alike),
        import_action=f"{PATH}/import",
        largest_kib=LARGEST_FILE // 1024,
        rows=[_line(row, over=row.expires_at <= now) for row in rows[:PAGE]],
        next_url=f"{PATH}?after={rows[PAGE - 1].id}" if len(rows) > PAGE else None,
        requests_url="/helpdesk/registrations",
        closed=runtime().settings.registration_mode(None) == "closed",
    )


def _line(row: Registration, *, over: bool) -> dict[str, Any]:
    return {
        "name": Person(row.given_name, row.family_name).display_name,
        "email": row.email,
        "until": deadline(row.expires_at),
        "over": over,
        "resend_action": f"{PATH}/{row.id}/resend",
        "withdraw_action": f"{PATH}/{row.id}/withdraw",
    }


@pages.post("/<number>/resend")
@proved_first(pages, N_("Send an invitation again"), within=FRESH_AT_THE_DESK)
def send_again(number: str) -> ResponseReturnValue:
    def send(session: Session, row: Registration, origin: Origin) -> None:
        bridge = runtime()
        now = bridge.clock()
        invitations.send_again(session, bridge.keys, row, terms(bridge.settings), now=now, origin=origin)

    return _on_open(number, send, "again")


@pages.post("/<number>/withdraw")
@proved_first(pages, N_("Withdraw an invitation"), within=FRESH_AT_THE_DESK)
def withdraw(number: str) -> ResponseReturnValue:
    def take_back(session: Session, row: Registration, origin: Origin) -> None:
        invitations.take_back(session, row, now=runtime().clock(), origin=origin)

    return _on_open(number, take_back, "withdrawn")


def _on_open(number: str, act: Callable[[Session, Registration, Origin], None], done: str) -> ResponseReturnValue:
    """Do something with an invitation that is still open, and say what came of it."""
    who = agent(everywhere=True)
    with runtime().database.begin() as session:
        row = invitations.open_invitation(session, row_number(number) or 0)
        if row is None:
            return redirect(f"{PATH}?done=over", 303)
        act(session, row, who.origin)
    return redirect(f"{PATH}?done={done}", 303)


# --- From a file: look at it first, then send ---


@pages.post("/import")
def preview() -> ResponseReturnValue:
    """What the file would do. Nothing is kept of it here: the page carries it on to the confirmation."""
    agent(everywhere=True)
    bridge = runtime()
    upload = request.files.get("file")
    content = upload.read(LARGEST_FILE + 1) if upload else b""
    sheet, problem = _read(content)
    with bridge.database.read() as session:
        if sheet is None:
            return _page(session, Fields(until=_usual_day()), file_error=problem), 422
        judged = inviting.judge(bridge, session, sheet.rows)
    return _preview(sheet, judged, content, sent=False)


@pages.post("/import/send")
@proved_first(pages, N_("Send invitations"), within=FRESH_AT_THE_DESK)
def send_all() -> ResponseReturnValue:
    who = agent(everywhere=True)
    content = _carried()
    sheet, _problem = _read(content)
    if sheet is None:
        abort(400)
    judged = inviting.apply(runtime(), sheet.rows, by=who.username, origin=who.origin)
    return _preview(sheet, judged, content, sent=True)


@pages.post("/import/rejected")
def download_rejected() -> ResponseReturnValue:
    """The lines to correct, as a file that can be brought back."""
    agent(everywhere=True)
    bridge = runtime()
    sheet, _problem = _read(_carried())
    if sheet is None:
        abort(400)
    with bridge.database.read() as session:
        reasons = inviting.to_correct(sheet, inviting.judge(bridge, session, sheet.rows))
    text = rejected_file(sheet, reasons, reason_header=_("reason"))
    response = Response(text, mimetype="text/csv")
    response.headers["Content-Disposition"] = "attachment; filename=a-corriger.csv"
    return response


def _carried() -> bytes:
    try:
        return base64.b64decode(request.form.get("content", ""), validate=True)
    except (binascii.Error, ValueError):
        abort(400)


def _read(content: bytes) -> tuple[Sheet | None, str]:
    bridge = runtime()
    if len(content) > LARGEST_FILE:
        return None, _("This file is too large for this page. Divide it, or ask whoever runs the server to import it.")
    try:
        return read_sheet(content, today=bridge.clock().astimezone(bridge.settings.zone).date()), ""
    except UnreadableFile as error:
        if error.missing:
            return None, _(
                "The first line must name the columns: courriel, prénom, nom, and if you like fin and référent."
            )
        return None, _("This is no CSV file. In your spreadsheet, save the list as CSV, then choose that file.")


def _preview(sheet: Sheet, judged: Sequence[Judged], content: bytes, *, sent: bool) -> str:
    wanted = [one for one in judged if one.verdict == "invite"]
    left = [one for one in judged if one.verdict not in ("invite", *inviting.REJECTING)]
    return render_template(
        "helpdesk/import.html",
        sent=sent,
        invited=[
            {"name": one.row.person.display_name, "email": one.row.email.email, "alike": alike_lines(one.alike)}
            for one in wanted
        ],
        left=[{"email": one.row.email.email, "why": _(VERDICTS[one.verdict])} for one in left],
        rejected=[{"line": line.line, "why": why} for line, why in inviting.to_correct(sheet, judged)],
        content=base64.b64encode(content).decode(),
        send_action=f"{PATH}/import/send",
        rejected_action=f"{PATH}/import/rejected",
        back_url=PATH,
    )


QUEUES.append(Queue(N_("Invitations"), PATH, None, Role.AGENT, everywhere=True, place=80))
