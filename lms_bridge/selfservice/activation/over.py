"""When nothing can be done with an activation link: it is used, too old, or the account may not be activated."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from flask import render_template
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from external_accounts import mailbox
from external_accounts.activation import Standing
from external_accounts.schema import Account, Proof
from lms_bridge.i18n import current_locale
from lms_bridge.selfservice.activation.offer import university_address
from lms_bridge.selfservice.proof_pages import deadline, registered_service
from lms_bridge.settings.sections import text_in
from lms_bridge.signin.doors import onward_query
from lms_bridge.web.request import runtime

PATH = "/account/activate"
SUMMARY_FOR = timedelta(minutes=30)
"""How long the summary of what was chosen can be looked at again. Later, an old mail says nothing about anybody."""


def used(session: Session, proof: Proof, account: Account, now: datetime) -> ResponseReturnValue:
    """The summary, for a while; then only that the account is activated."""
    if proof.claimed_at is None or now - proof.claimed_at >= SUMMARY_FOR:
        return not_open(account, Standing.ACTIVE, service=proof.service)
    settings = runtime().settings
    policy = settings.profile(account.profile).policy
    forwarding = mailbox.forwarding_of(session, account.id)
    choice = mailbox.choice_of(session, account.id)
    return render_template(
        "activation/done.html",
        by_mail=bool(proof.email_key),
        username=account.username,
        charter_title=text_in(settings.charter.title, current_locale()) if settings.charter else None,
        asks_listing=policy.listing,
        listed=mailbox.is_listed(session, account.id),
        mailbox=policy.mailbox,
        university_address=university_address(account),
        forward_to=forwarding.address.email if forwarding is not None else None,
        forward_in_force=forwarding is not None and forwarding.in_force,
        keep_copy=choice is None or choice.keep_copy,
        **door(account, proof.service),
    )


def not_open(account: Account, stands: Standing, *, service: str | None = None) -> ResponseReturnValue:
    """Activated already, suspended, or its time is over: which one, and what to do."""
    settings, locale = runtime().settings, current_locale()
    profile = settings.profile(account.profile)
    page = render_template(
        "activation/not_open.html",
        standing=stands.value,
        username=account.username,
        ended_on=deadline(account.rights_end_at) if account.rights_end_at else None,
        suspended_until=deadline(account.suspended_until) if account.suspended_until else None,
        whom_to_see=text_in(profile.whom_to_see, locale),
        **door(account, service),
    )
    return page, 410


def expired(token: str) -> ResponseReturnValue:
    return render_template("confirm/expired.html", resend_action=f"{PATH}/{token}/resend"), 410


def invalid(status: int) -> ResponseReturnValue:
    return render_template("forgot/invalid.html", search_url=PATH), status


def door(account: Account, service: str | None) -> dict[str, Any]:
    """The door its people come in by: its name on the sign-in page, and where it is."""
    settings = runtime().settings
    upstream = settings.upstream(settings.profile(account.profile).issuer or "")
    onward = onward_query(registered_service(service))
    return {
        "door": text_in((upstream or settings.local).title, current_locale()),
        "sign_in_url": f"/signin/{upstream.issuer if upstream else 'local'}{onward}",
    }
