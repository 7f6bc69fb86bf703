"""What a mirror says of a write: before it is made, once it was, and when it was not. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lms_bridge.gate import MirrorState
from lms_bridge.sync import journal
from lms_bridge.sync.actions import Action, Kind
from lms_bridge.sync.compare import observed_value
from lms_bridge.sync.desired import CUSTOM
from lms_bridge.sync.journal import Outcome
from moodle_ws.users import MoodleUser, same_email


def before(action: Action) -> dict[str, Any]:
    """What the mirror says before the write: that we are about to make it."""
    match action.kind:
        case Kind.CLOSE:
            return {"suspended_by_us": True}
        case Kind.CREATE:
            # Nobody has the name, and we are about to take it.
            return {"owned": True, "state": MirrorState.PENDING.value, "problem": ""}
        case Kind.ADOPT:
            return {"owned": True, "moodle_id": action.moodle_id}
        case _:
            return {}


def after(action: Action, outcome: Outcome, written: Mapping[str, Any]) -> dict[str, Any]:
    """What the mirror says once the write was made."""
    match action.kind:
        case Kind.CLOSE:
            return {"suspended_by_us": True}
        case Kind.OPEN:
            return {"suspended_by_us": False, "state": MirrorState.IN_STEP.value}
        case Kind.PARK | Kind.REFRESH | Kind.TAKE:
            return {"written": {**written, **_fields(action)}}
        case Kind.CREATE | Kind.ADOPT:
            suspended = action.before.get("suspended") is True  # before the bridge came: only Moodle lifts it
            state = MirrorState.SUSPENDED_ELSEWHERE if suspended else MirrorState.IN_STEP
            return {
                "moodle_id": outcome.moodle_id,
                "owned": True,
                "suspended_by_us": False,
                "written": {**written, "username": action.username, **_fields(action)},
                "state": state.value,
                "problem": "",
            }
        case Kind.JOIN:
            return {"written": {**written, "cohorts": sorted({*written.get("cohorts", ()), action.after["cohort"]})}}
        case Kind.LEAVE:
            return {
                "written": {**written, "cohorts": sorted({*written.get("cohorts", ())} - {action.before["cohort"]})}
            }


def _fields(action: Action) -> dict[str, Any]:
    """What of an action is remembered as written; the sign-in method is the site's."""
    return {name: value for name, value in action.after.items() if name != "auth"}


def undone(action: Action, outcome: Outcome, state: str) -> dict[str, Any]:
    """What the mirror says when the write was not made."""
    values: dict[str, Any] = {}
    if action.kind is Kind.CLOSE:
        values["suspended_by_us"] = False
    elif action.kind in (Kind.CREATE, Kind.ADOPT):
        values["owned"] = False
        if action.kind is Kind.ADOPT:
            values["moodle_id"] = None
    if outcome.state == journal.REFUSED and state != MirrorState.CONFLICT:
        values["problem"] = f"Moodle refused to {action.kind}: {outcome.code}"[:200]
        values["conflicts"] = _refused_fields(action, outcome)
        # A field Moodle does not take keeps nobody out; a user it does not make, open or rename does.
        if action.kind in (Kind.CLOSE, Kind.CREATE, Kind.OPEN, Kind.ADOPT) or "username" in action.after:
            values["state"] = MirrorState.CONFLICT.value
    return values


def _refused_fields(action: Action, outcome: Outcome) -> list[dict[str, Any]]:
    return [
        {"field": name, "ours": str(value), "theirs": str(action.before.get(name) or ""), "problem": outcome.code}
        for name, value in action.after.items()
        if name != "auth"
    ]


def holds(user: MoodleUser, action: Action) -> bool:
    """Whether a user shows everything the action was to write. What is not shown is no evidence against it."""
    for name, value in action.after.items():
        shown = observed_value(user, name)
        if shown is None and name not in ("username", "auth", "suspended"):
            continue
        if name == "email" and isinstance(shown, str):
            if not same_email(shown, str(value)):
                return False
        elif action.kind is Kind.CREATE and (name in ("firstname", "lastname", "lang") or name.startswith(CUSTOM)):
            continue  # the person may have changed these since, and it is still the user we made
        elif shown != value:
            return False
    return True
