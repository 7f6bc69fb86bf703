"""What there is to choose for somebody who activates their account, from the settings and the account."""

from __future__ import annotations

from typing import Any

from external_accounts.activation_steps import Offer, Step, Wrong, may_open, steps
from external_accounts.schema import Account
from lms_bridge.i18n import N_, current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.settings import Settings
from lms_bridge.settings.sections import text_in

NAMES = {
    Step.IDENTITY: N_("Identity"),
    Step.CHARTER: N_("Charter"),
    Step.DIRECTORY: N_("Directory"),
    Step.MAILBOX: N_("Mailbox"),
    Step.FORWARDING: N_("Forwarding"),
    Step.PASSWORD: N_("Password"),
    Step.DONE: N_("Done"),
}
WRONG = {
    Wrong.CHARTER: N_("Tick the box if you accept the charter."),
    Wrong.FORWARD_TO: N_("This is not an e-mail address we can write to. It looks like name@example.org."),
    Wrong.LOOP: N_("This is your university address itself: the mail would go round in circles."),
}


def offer_for(settings: Settings, account: Account) -> Offer:
    policy = settings.profile(account.profile).policy
    return Offer(
        charter=settings.charter.version if settings.charter else "",
        listing=policy.listing,
        mailbox=policy.mailbox,
        own=university_keys(account),
    )


def university_keys(account: Account) -> frozenset[str]:
    return frozenset(address.email_key for address in account.addresses if address.role == "institutional")


def university_address(account: Account) -> str | None:
    return next((address.email for address in account.addresses if address.role == "institutional"), None)


def stepper(path: str, here: Step, answers: dict[str, Any], offer: Offer) -> list[dict[str, Any]]:
    """The steps as the page shows them: those that may be opened lead there."""
    every = steps(offer)
    return [
        {
            "name": _(NAMES[step]),
            "url": f"{path}/{step}" if step is not here and may_open(step, answers, offer) else None,
            "current": step is here,
            "past": every.index(step) < every.index(here),
        }
        for step in every
    ]


def whom_to_see(settings: Settings) -> list[dict[str, str]]:
    """For every population, who helps those whom we cannot write to. Never which one somebody belongs to (I3)."""
    locale = current_locale()
    return [
        {"profile": text_in(profile.label, locale), "whom": text_in(profile.whom_to_see, locale)}
        for profile in settings.profiles
    ]
