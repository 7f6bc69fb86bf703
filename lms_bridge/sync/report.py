"""A plan, or a run, for people to read: an HTML page that stands alone, and a few lines for the terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from lms_bridge import i18n
from lms_bridge.gate import Obstacle
from lms_bridge.i18n import N_
from lms_bridge.rendering import outside_requests
from lms_bridge.settings import Settings
from lms_bridge.sync.actions import Action, Kind
from lms_bridge.sync.adopt import SAME
from lms_bridge.sync.desired import CUSTOM
from lms_bridge.sync.runs import Report
from lms_bridge.web.theme import theme

SHOWN = 500
"""Rows of a kind on the page; the JSON lines hold them all."""

TITLES = {
    Kind.CLOSE: N_("Users to suspend"),
    Kind.PARK: N_("Users of joined accounts to move out of the way"),
    Kind.REFRESH: N_("Users to bring up to date"),
    Kind.TAKE: N_("Kept users to give a name or an address that another one had"),
    Kind.ADOPT: N_("Users to take over"),
    Kind.CREATE: N_("Users to create"),
    Kind.OPEN: N_("Users to open again"),
    Kind.JOIN: N_("People to add to cohorts"),
    Kind.LEAVE: N_("People to take out of cohorts"),
}

CLOSED_FOR = {
    Obstacle.ERASED: N_("the account was erased here"),
    Obstacle.MERGED: N_("the account was joined to another one"),
    Obstacle.SUSPENDED: N_("the account is suspended here"),
    Obstacle.RIGHTS_ENDED: N_("the rights have ended"),
    Obstacle.PROFILE_NOT_ALLOWED: N_("the profile may not enter"),
    Obstacle.NOT_ACTIVATED: N_("the account is not activated"),
    Obstacle.NO_ADDRESS: N_("no e-mail address is known"),
    Obstacle.ADDRESS_UNCONFIRMED: N_("the e-mail address is not confirmed"),
    Obstacle.CHARTER_NOT_ACCEPTED: N_("the charter is not accepted"),
}
"""Why somebody is shut out, for an operator: the pages say the same to the person."""


def write_html(report: Report, settings: Settings, at: Any, *, locale: str) -> Path:
    """Write the page beside the plan's file; returns where. Contains names and addresses: readable by its owner only.

    `at` is the moment of the run.
    """
    plan = report.plan
    colours = theme(settings.institution.accent)
    with i18n.use_locale(locale):
        text = (
            outside_requests()
            .get_template("sync/report.html")
            .render(
                locale=locale,
                institution=settings.institution,
                colours=colours,
                report=report,
                plan=plan,
                site=settings.site(plan.site),
                moment=i18n.format_deadline(at, settings.zone, locale),
                stops=[
                    {
                        "title": i18n.gettext(stop.title),
                        "text": i18n.gettext(stop.message, **stop.values),
                        "answer": i18n.gettext(stop.answer),
                    }
                    for stop in report.stops
                ],
                groups=list(_groups(report)),
                conflicts=[
                    {
                        "account": found,
                        "field": found.field.removeprefix(CUSTOM),
                        "problem": i18n.gettext(found.problem),
                    }
                    for found in islice(plan.found_conflicts(), SHOWN)
                ],
                shown=SHOWN,
            )
        )
    path = plan.path.with_suffix(".html")
    with open(path, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)
    return path


def _groups(report: Report) -> Iterator[dict[str, Any]]:
    """The actions by kind, in the order in which they are made."""
    for kind in Kind:
        count = report.plan.counts.get(kind, 0)
        if count:
            rows = [_row(action) for action in islice(report.plan.actions(kind), SHOWN)]
            changes = any(row["changes"] or row["cohort"] for row in rows)
            title = i18n.gettext(TITLES[kind])
            yield {"title": title, "count": count, "rows": rows, "kind": kind.value, "changes": changes}


def _row(action: Action) -> dict[str, Any]:
    names = [name for name in dict.fromkeys((*action.before, *action.after)) if name not in ("suspended", "cohort")]
    return {
        "username": action.username,
        "moodle_id": action.moodle_id,
        "reason": reason(action.reason),
        "changes": [
            (name.removeprefix(CUSTOM), action.before.get(name), action.after.get(name))
            for name in names
            if name in action.after
        ],
        "cohort": action.after.get("cohort") or action.before.get("cohort"),
    }


def reason(text: str) -> str:
    """Why an action is planned, in the reader's language; for a closing it is the gate's obstacle."""
    if text in set(Obstacle):
        return i18n.gettext(CLOSED_FOR.get(Obstacle(text), text))
    if text.startswith(SAME):
        levels = text.removeprefix(SAME).split(", ")
        return i18n.gettext("same %(what)s", what=", ".join(i18n.gettext(level) for level in levels))
    return i18n.gettext(text) if text else ""
