"""Accepting the charter: dated and versioned."""

from __future__ import annotations

from flask import Blueprint, abort, redirect, render_template, request
from flask.typing import ResponseReturnValue

from external_accounts.engagements import accept
from lms_bridge.i18n import current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.selfservice.proof_pages import registered_service
from lms_bridge.settings.sections import text_in
from lms_bridge.signin.doors import onward_query
from lms_bridge.web import headers
from lms_bridge.web.request import current, origin, parameter, runtime

pages = Blueprint("charter", __name__, url_prefix="/account/charter")


@pages.get("")
def read() -> ResponseReturnValue:
    return _page(registered_service(parameter("service")), error=None)


@pages.post("")
def agree() -> ResponseReturnValue:
    service = registered_service(request.form.get("service"))
    person = current()
    onward = redirect(f"/cas/login{onward_query(service)}" if service else "/", 303)
    if person is None:
        return onward
    if not request.form.get("charter"):
        return _page(service, error=_("Tick the box if you accept the charter.")), 422
    bridge = runtime()
    charter = bridge.settings.charter
    if charter is None:
        abort(404)
    with bridge.database.begin() as session:
        accept(session, person.facts.account_id, "charter", charter.version, now=bridge.clock(), origin=origin())
    return onward


def _page(service: str | None, *, error: str | None) -> str:
    charter = runtime().settings.charter
    if charter is None:
        abort(404)
    headers.form_leads_on()
    return render_template(
        "charter.html",
        charter_title=text_in(charter.title, current_locale()),
        charter_url=charter.url,
        action="/account/charter",
        service=service,
        error=error,
    )
