"""One request for an extension as a page with two buttons: the same in the console and behind the link of a mail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from flask import abort, render_template, request
from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import extensions
from external_accounts.accounts import Person
from external_accounts.extensions import DayRefused, NothingToExtend
from external_accounts.institution_schema import Extension
from external_accounts.local_calendar import end_of_day, local_day
from external_accounts.schema import Account
from external_accounts.spreadsheets import read_date
from lms_bridge.i18n import current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.lifecycle.terms import terms
from lms_bridge.selfservice.home import profile_label
from lms_bridge.selfservice.proof_pages import deadline
from lms_bridge.web.request import runtime

REASON_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Decision:
    """What was pressed."""

    accept: bool
    until: date | None
    reason: str


class DayUnreadable(Exception):
    """What was typed is no day."""


def pressed() -> Decision:
    """Raises: DayUnreadable."""
    form = request.form
    if form.get("decision") == "refuse":
        return Decision(False, None, " ".join(form.get("reason", "").split())[:REASON_LENGTH])
    if form.get("decision") != "accept":
        abort(400)
    try:
        return Decision(True, read_date(form.get("until", "")), "")
    except ValueError:
        raise DayUnreadable from None


def decided(decide: Callable[[Decision], object]) -> str | None:
    """Do what was pressed by `decide`; returns what is wrong with the day that was typed."""
    try:
        decide(pressed())
    except DayUnreadable:
        return _("This is not a date. It looks like 2027-06-30.")
    except DayRefused:
        return _("Choose a later day, but not beyond the last one that is named here.")
    except NothingToExtend:
        return _("This account cannot be extended here any more: its end or its profile changed meanwhile.")
    return None


def show(
    session: Session,
    extension: Extension,
    *,
    action: str,
    back_url: str | None,
    error: str | None = None,
    notice: str | None = None,
) -> str:
    bridge = runtime()
    now, rules = bridge.clock(), terms(bridge)
    account = session.get_one(Account, extension.account_id)
    sponsor = session.get(Account, extension.sponsor_id) if extension.sponsor_id else None
    by = extension.decided_by
    decider = session.scalar(select(Account).where(Account.username == by)) if by else None
    end, possible = account.rights_end_at, extensions.days_open(account, rules, now)
    return render_template(
        "helpdesk/extension.html",
        action=action,
        back_url=back_url,
        error=error,
        notice=notice,
        state=extension.state,
        name=_name(account),
        username=account.username,
        profile=profile_label(bridge, account.profile, current_locale()),
        end=deadline(end) if end else _("no end"),
        ended=end is not None and end <= now,
        until_asked=deadline(extension.asked_until),
        reason=extension.reason,
        asked_at=deadline(extension.asked_at),
        sponsor=_name(sponsor) if sponsor else None,
        until=request.form.get("until") or local_day(extension.asked_until, rules.zone).isoformat(),
        last=deadline(end_of_day(possible[1], rules.zone)) if possible else _("no day"),
        decided_by=_name(decider) if decider else by,
        decided_at=deadline(extension.decided_at) if extension.decided_at else None,
        granted=deadline(extension.granted_until) if extension.granted_until else None,
        decision_reason=extension.decision_reason,
    )


def _name(account: Account) -> str:
    return Person(account.given_name, account.family_name).display_name or account.username
