"""“Pourquoi je n'entre pas ?”: whoever types an identifier gets the explanation by mail, where it is known.

The page says the same to everybody, in the same time (I3): asking writes one row, whatever was typed, and looks nothing
up. See `why_answers`.
"""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request
from flask.typing import ResponseReturnValue

from external_accounts import audit, recovery, throttle
from external_accounts.database import note_waiting
from lms_bridge.i18n import current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.schema import WhyRequest
from lms_bridge.selfservice import mail_budgets
from lms_bridge.web.request import origin, parameter, runtime

pages = Blueprint("why", __name__, url_prefix="/pourquoi")

LONGEST = 254


@pages.get("")
def show() -> ResponseReturnValue:
    return render_template("why/ask.html", sent=parameter("sent") is not None)


@pages.post("")
def ask() -> ResponseReturnValue:
    """Take the budgets, write down what was typed, say that a mail may come.

    Raises:
        Throttled: the network's budget is used up. That of what was typed is kept silently (D12).
    """
    typed = request.form.get("identifier", "").strip()
    if not typed:
        error = _("Enter your user name or your e-mail address.")
        return render_template("why/ask.html", sent=False, error=error), 422
    bridge = runtime()
    now = bridge.clock()
    sought = recovery.sought_text("username", typed[:LONGEST])
    with bridge.database.begin() as session:
        may_mail = mail_budgets.take(session, throttle.WHY_MAIL, sought, now)
        session.add(WhyRequest(sought=sought, locale=current_locale(), may_mail=may_mail, asked_at=now, due_at=now))
        note_waiting(session, WhyRequest)
        outcome = "noted" if may_mail else "over budget"
        audit.record(session, "why.asked", outcome=outcome, now=now, origin=origin())
    return redirect("/pourquoi?sent=1", 303)
