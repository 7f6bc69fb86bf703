"""What people read about signing in with a second factor. It is the university's CAS that asks for it."""

from __future__ import annotations

from flask import Blueprint, abort, render_template
from flask.typing import ResponseReturnValue

from lms_bridge.i18n import current_locale
from lms_bridge.selfservice.account.identity import signed_in
from lms_bridge.settings.sections import text_in
from lms_bridge.web.request import runtime

pages = Blueprint("second_factor", __name__, url_prefix="/account/mfa")


@pages.get("")
def show() -> ResponseReturnValue:
    person = signed_in()
    settings = runtime().settings
    if settings.mfa is None or settings.upstream(person.issuer) is None:
        abort(404)
    return render_template("account/mfa.html", text=text_in(settings.mfa.text, current_locale()), url=settings.mfa.url)
