"""The answer to the offer on a person's pages (`templates/account/second_account.html`): I have one account only."""

from __future__ import annotations

from flask import Blueprint, redirect, request
from flask.typing import ResponseReturnValue

from external_accounts import pair_decisions
from lms_bridge.helpdesk.members import row_number
from lms_bridge.selfservice.account.identity import signed_in
from lms_bridge.web.request import origin, runtime

pages = Blueprint("second_account", __name__, url_prefix="/account/second-account")


@pages.post("/decline")
def decline() -> ResponseReturnValue:
    """They are not asked again. Who says yes goes to `/account/links` and proves both sides (I5)."""
    person = signed_in()
    bridge = runtime()
    pair_id = row_number(request.form.get("pair", ""))
    if pair_id is not None:
        with bridge.database.begin() as session:
            pair_decisions.decline(session, pair_id, person.facts.account_id, now=bridge.clock(), origin=origin())
    return redirect("/account?done=declined", 303)
