"""Account letters: for one identifier or a list, look first, then print one PDF."""

from __future__ import annotations

from flask import Blueprint, Response, render_template, request
from flask.typing import ResponseReturnValue

from lms_bridge.helpdesk.members import Member, NotAMember, NotSignedIn, Role, agent, not_for_you, to_sign_in
from lms_bridge.helpdesk.start import QUEUES, Queue
from lms_bridge.i18n import N_, ngettext
from lms_bridge.i18n import gettext as _
from lms_bridge.letters import pdf
from lms_bridge.letters.printing import Candidate, last_moment, look_at, print_letters, read_list, refusals
from lms_bridge.selfservice.account.identity import proved_first
from lms_bridge.selfservice.proof_pages import deadline
from lms_bridge.signin.again import FRESH_AT_THE_DESK
from lms_bridge.web.request import runtime

pages = Blueprint("letters", __name__, url_prefix="/helpdesk/letters")
pages.register_error_handler(NotSignedIn, to_sign_in)
pages.register_error_handler(NotAMember, not_for_you)

PATH = "/helpdesk/letters"
MOST = 50
"""Letters at once, here: some seconds. The command line takes more."""
LARGEST_FILE = 32 * 1024


@pages.get("")
def form() -> ResponseReturnValue:
    agent()
    return _form()


@pages.post("")
def check() -> ResponseReturnValue:
    """Who is meant, and who gets no letter and why. Nothing is printed yet."""
    who = agent()
    typed = request.form.get("identifiers", "")
    file = request.files.get("file")
    if file is not None and file.filename:
        content = file.stream.read(LARGEST_FILE + 1)
        try:
            typed = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            typed = content.decode("cp1252", "replace")
        if len(content) > LARGEST_FILE:
            return _form(error=_("This file is too long.")), 422
    found = _candidates(typed, who)
    if not found:
        return _form(typed=typed, error=_("Enter at least one identifier.")), 422
    if len(found) > MOST:
        error = ngettext("At most %(num)d identifier at once.", "At most %(num)d identifiers at once.", MOST)
        return _form(typed=typed, error=error), 422
    try:
        pdf.check()
    except pdf.NoPdf as reason:
        return _form(typed=typed, error=str(reason)), 503
    return _preview(found)


@pages.post("/print")
@proved_first(pages, N_("Print account letters"), within=FRESH_AT_THE_DESK)
def print_them() -> ResponseReturnValue:
    who = agent()
    bridge = runtime()
    wanted = [one.identifier for one in _candidates(request.form.get("identifiers", ""), who) if not one.refusal][:MOST]
    try:
        content, count = print_letters(bridge, wanted, by=who.username, origin=who.origin)
    except pdf.NoPdf as reason:
        return _form(error=str(reason)), 503
    if not count:
        return _form(error=_("None of these accounts can have a letter any more.")), 409
    name = f"{wanted[0]}.pdf" if count == 1 else _("letters.pdf")
    return Response(
        content, mimetype="application/pdf", headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


def _candidates(text: str, who: Member) -> list[Candidate]:
    bridge = runtime()
    identifiers = read_list(text)[: MOST + 1]
    with bridge.database.read() as session:
        return look_at(session, identifiers, bridge.clock(), who.may_see)


def _form(*, typed: str = "", error: str = "") -> str:
    return render_template(
        "helpdesk/letters.html", action=PATH, typed=typed, error=error, most=MOST, days=runtime().settings.letters.days
    )


def _preview(found: list[Candidate]) -> str:
    bridge = runtime()
    words = refusals()
    good = [one for one in found if not one.refusal]
    return render_template(
        "helpdesk/letters_preview.html",
        action=f"{PATH}/print",
        back_url=PATH,
        good=[
            {
                "identifier": one.identifier,
                "name": one.name,
                "printed_at": deadline(one.printed_at) if one.printed_at else None,
            }
            for one in good
        ],
        refused=[
            {"identifier": one.identifier, "name": one.name, "why": words[one.refusal]} for one in found if one.refusal
        ],
        identifiers="\n".join(one.identifier for one in good),
        until=deadline(last_moment(bridge.settings, bridge.clock())),
    )


QUEUES.append(Queue(N_("Account letters"), PATH, None, Role.AGENT, place=90))
