"""My data: consents with date and version, and everything we hold, to take away."""

from __future__ import annotations

import json

from flask import Blueprint, Response, abort, redirect, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from external_accounts import audit, engagements
from external_accounts.engagements import CannotBeWithdrawn, may_withdraw
from external_accounts.schema import Engagement
from lms_bridge.i18n import current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.selfservice.account.export import everything_about
from lms_bridge.selfservice.account.identity import ask_first, signed_in
from lms_bridge.selfservice.proof_pages import deadline
from lms_bridge.settings.sections import text_in
from lms_bridge.web.request import origin, parameter, runtime

pages = Blueprint("data", __name__, url_prefix="/account/data")


@pages.get("")
def show() -> ResponseReturnValue:
    signed_in()
    return render_template("account/data.html")


@pages.post("/download")
def download() -> ResponseReturnValue:
    """Everything we hold, as a file. By POST: an address that gives it away must not exist."""
    person = signed_in()
    form = request.form.get("format", "")
    if form not in ("json", "html"):
        abort(400)
    if (question := ask_first(person)) is not None:
        return question
    bridge = runtime()
    now = bridge.clock()
    account_id = person.facts.account_id
    with bridge.database.begin() as session:
        audit.record(
            session, "account.exported", outcome="ok", now=now, origin=origin(), account_id=account_id, format=form
        )
        data = everything_about(session, account_id, now=now)
    if form == "json":
        answer = Response(json.dumps(data, ensure_ascii=False, indent=2) + "\n", mimetype="application/json")
    else:
        answer = Response(render_template("account/export.html", data=data, written=deadline(now)))
    answer.headers["Content-Disposition"] = f'attachment; filename="{person.facts.username}.{form}"'
    return answer


@pages.get("/consents")
def consents() -> ResponseReturnValue:
    person = signed_in()
    with runtime().database.read() as session:
        query = select(Engagement).where(Engagement.account_id == person.facts.account_id)
        rows = session.scalars(query.order_by(Engagement.accepted_at.desc(), Engagement.id.desc())).all()
    return render_template(
        "account/consents.html",
        consents=[
            {
                "id": row.id,
                "title": _title(row.document),
                "version": row.version,
                "accepted_on": deadline(row.accepted_at),
                "withdrawn_on": deadline(row.withdrawn_at) if row.withdrawn_at else None,
                "may_withdraw": may_withdraw(row),
            }
            for row in rows
        ],
        withdrawn=parameter("done") == "withdrawn",
    )


def _title(document: str) -> str:
    charter = runtime().settings.charter
    if document == engagements.CHARTER and charter is not None:
        return text_in(charter.title, current_locale())
    return _("Public directory") if document == engagements.LISTING else document


@pages.post("/consents/<int:engagement_id>/withdraw")
def withdraw(engagement_id: int) -> ResponseReturnValue:
    person = signed_in()
    bridge = runtime()
    try:
        with bridge.database.begin() as session:
            engagements.withdraw(session, person.facts.account_id, engagement_id, now=bridge.clock(), origin=origin())
    except CannotBeWithdrawn:
        return redirect("/account/data/consents", 303)
    return redirect("/account/data/consents?done=withdrawn", 303)
