"""The gate's words: each obstacle as a title, a sentence and the one next step, for pages to render."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from external_accounts.accounts import AccountFacts
from external_accounts.local_calendar import end_of_retention
from lms_bridge.gate import Obstacle
from lms_bridge.i18n import N_, format_deadline
from lms_bridge.i18n import gettext as _
from lms_bridge.settings import Settings
from lms_bridge.signin.doors import onward_query

REFRESH_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Action:
    """One button."""

    label: str
    url: str
    method: str = "get"
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Explanation:
    """An obstacle as a person reads it."""

    kind: str
    title: str
    sentence: str
    details: tuple[str, ...] = ()
    action: Action | None = None
    refresh_seconds: int | None = None


_WORDS: Mapping[Obstacle, tuple[str, str]] = {
    Obstacle.ERASED: (N_("This account no longer exists"), N_("It was closed and its data was deleted.")),
    Obstacle.MERGED: (
        N_("This account was joined to another one"),
        N_("Sign in again: every way in leads to the account that was kept."),
    ),
    Obstacle.SUSPENDED: (N_("Your account is suspended"), N_("It cannot be used to enter an application for now.")),
    Obstacle.RIGHTS_ENDED: (
        N_("Your access has ended"),
        N_("Your time at the university, or the course you were invited to, is over."),
    ),
    Obstacle.PROFILE_NOT_ALLOWED: (
        N_("This application is not open to your account"),
        N_("It is reserved for other groups of people."),
    ),
    Obstacle.NOT_ACTIVATED: (
        N_("Your account is not activated yet"),
        N_("The message that announced your account contains the link to activate it. It is too old, or lost?"),
    ),
    Obstacle.NO_ADDRESS: (
        N_("We do not know your e-mail address"),
        N_("You can enter as soon as you have given an address and confirmed it."),
    ),
    Obstacle.ADDRESS_UNCONFIRMED: (
        N_("E-mail not confirmed"),
        N_("You can enter as soon as you have confirmed your e-mail address. It takes a minute."),
    ),
    Obstacle.CHARTER_NOT_ACCEPTED: (
        N_("The charter awaits your agreement"),
        N_("Read it, accept it, and go on."),
    ),
    Obstacle.MOODLE_CONFLICT: (
        N_("The help desk must look at your account"),
        N_("The application already holds somebody with your user name or your address. Nothing of yours is lost."),
    ),
    Obstacle.MOODLE_SUSPENDED: (
        N_("You are suspended in this application"),
        N_("It was done in the application itself, so it can only be undone there."),
    ),
    Obstacle.BEING_PREPARED: (
        N_("Your access is being prepared"),
        N_("The application is slow to answer. This usually takes less than a minute."),
    ),
}


def title_of(obstacle: Obstacle) -> str:
    return _(_WORDS[obstacle][0])


def explain(
    obstacle: Obstacle, facts: AccountFacts, settings: Settings, *, service_url: str | None, now: datetime, locale: str
) -> Explanation:
    """What stands in the way, and the one thing to do next."""
    title, sentence = _WORDS[obstacle]
    onward = onward_query(service_url)
    action: Action | None = None
    details: list[str] = []
    match obstacle:
        case Obstacle.ADDRESS_UNCONFIRMED:
            fields = {"service": service_url} if service_url else {}
            action = Action(_("Receive the link"), "/account/confirm", "post", fields)
        case Obstacle.NO_ADDRESS:
            action = Action(_("Give my address"), f"/account/confirm{onward}")
        case Obstacle.NOT_ACTIVATED:
            action = Action(_("Receive the link"), f"/account/activate{onward}")
        case Obstacle.CHARTER_NOT_ACCEPTED:
            action = Action(_("Read the charter"), f"/account/charter{onward}")
        case Obstacle.SUSPENDED if facts.suspended_until is not None:
            until = format_deadline(facts.suspended_until, settings.zone, locale)
            details.append(_("The suspension ends on %(moment)s.", moment=until))
        case Obstacle.RIGHTS_ENDED if facts.rights_end_at is not None and facts.rights_end_at <= now:
            since = format_deadline(facts.rights_end_at, settings.zone, locale)
            details.append(_("Access closed since %(moment)s.", moment=since))
            policy = settings.profile(facts.profile).policy
            if policy.retention_months is not None:
                over = end_of_retention(facts.rights_end_at, policy.retention_months, settings.zone)
                kept = format_deadline(over, settings.zone, locale)
                details.append(_("Your account page stays open until %(moment)s.", moment=kept))
            if policy.extension_months:
                action = Action(_("Ask for an extension"), "/account/extension")
        case _:
            pass
    return Explanation(
        kind=obstacle.value,
        title=_(title),
        sentence=_(sentence),
        details=tuple(details),
        action=action,
        refresh_seconds=REFRESH_SECONDS if obstacle is Obstacle.BEING_PREPARED else None,
    )
