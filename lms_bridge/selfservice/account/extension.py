"""My extension request: ask to keep my access for longer, see where the request stands, take it back."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, redirect, render_template, request
from flask.typing import ResponseReturnValue

from external_accounts import extensions
from external_accounts.extensions import AlreadyWaiting, DayRefused, NothingToExtend
from external_accounts.institution_schema import Extension
from external_accounts.local_calendar import end_of_day, end_of_retention
from external_accounts.schema import Account
from external_accounts.spreadsheets import read_date
from lms_bridge.i18n import current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.lifecycle.terms import terms
from lms_bridge.selfservice.account.identity import signed_in
from lms_bridge.selfservice.proof_pages import deadline
from lms_bridge.settings.sections import text_in
from lms_bridge.web.request import origin, parameter, runtime

pages = Blueprint("extension", __name__, url_prefix="/account/extension")

PATH = "/account/extension"
REASON_LENGTH = 500


@pages.get("")
def show() -> ResponseReturnValue:
    return _page()


@pages.post("")
def ask() -> ResponseReturnValue:
    person = signed_in()
    bridge = runtime()
    typed, reason = request.form.get("until", "").strip()[:20], _reason()
    try:
        until = read_date(typed)
    except ValueError:
        until = None
    if until is None:
        return _page(until=typed, reason=reason, error=_("This is not a date. It looks like 2027-06-30.")), 422
    try:
        with bridge.database.begin() as session:
            extensions.ask(
                session,
                person.facts.account_id,
                until=until,
                reason=reason,
                terms=terms(bridge),
                now=bridge.clock(),
                origin=origin(),
            )
    except DayRefused:
        return _page(
            until=typed, reason=reason, error=_("Choose a later day, but not beyond the last one that is named here.")
        ), 422
    except (AlreadyWaiting, NothingToExtend):
        pass  # the page says how things stand
    return redirect(PATH, 303)


@pages.post("/withdraw")
def withdraw() -> ResponseReturnValue:
    person = signed_in()
    bridge = runtime()
    with bridge.database.begin() as session:
        done = extensions.withdraw(session, person.facts.account_id, now=bridge.clock(), origin=origin())
    return redirect(f"{PATH}?done={'withdrawn' if done else 'over'}", 303)


def _reason() -> str:
    return " ".join(request.form.get("reason", "").split())[:REASON_LENGTH]


def _page(*, until: str = "", reason: str = "", error: str | None = None) -> str:
    person = signed_in()
    bridge = runtime()
    now, rules = bridge.clock(), terms(bridge)
    with bridge.database.read() as session:
        account = session.get_one(Account, person.facts.account_id)
        newest = extensions.current(session, account.id)
    possible = extensions.days_open(account, rules, now)
    end = account.rights_end_at
    months = rules.policy(account.profile).retention_months
    kept_until = end_of_retention(end, months, rules.zone) if end is not None and months is not None else None
    return render_template(
        "account/extension.html",
        end=deadline(end) if end else None,
        ended=end is not None and end <= now,
        kept_until=deadline(kept_until) if kept_until else None,
        request_made=_request(newest) if newest is not None else None,
        last=deadline(end_of_day(possible[1], rules.zone)) if possible else None,
        until=until or (possible[1].isoformat() if possible else ""),
        reason=reason,
        error=error,
        whom_to_see=text_in(bridge.settings.profile(account.profile).whom_to_see, current_locale()),
        done=parameter("done"),
    )


def _request(extension: Extension) -> dict[str, Any]:
    granted = extension.granted_until
    return {
        "state": extension.state,
        "asked_at": deadline(extension.asked_at),
        "until": deadline(extension.asked_until),
        "reason": extension.reason,
        "decided_at": deadline(extension.decided_at) if extension.decided_at else None,
        "granted": deadline(granted) if granted else None,
        "decision_reason": extension.decision_reason,
    }
