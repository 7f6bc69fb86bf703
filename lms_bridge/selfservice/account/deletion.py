"""Asking for the deletion of my account, and taking that back."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from external_accounts import erasure
from external_accounts.schema import Account, SignInIdentity
from lms_bridge.i18n import current_locale
from lms_bridge.mail.notices import notices
from lms_bridge.selfservice.account.identity import ask_first, signed_in
from lms_bridge.selfservice.proof_pages import deadline
from lms_bridge.settings.sections import text_in
from lms_bridge.web.request import origin, runtime

pages = Blueprint("deletion", __name__, url_prefix="/account/deletion")


@pages.get("")
def show() -> ResponseReturnValue:
    person = signed_in()
    bridge = runtime()
    account_id = person.facts.account_id
    with bridge.database.read() as session:
        due_at = session.scalar(select(Account.erasure_due_at).where(Account.id == account_id))
        issuers = session.scalars(select(SignInIdentity.issuer).where(SignInIdentity.account_id == account_id)).all()
    return render_template(
        "account/deletion.html",
        mine=erasure.may_ask(issuers),
        deadline=deadline(due_at) if due_at is not None else None,
        days=erasure.GRACE.days,
        sites=[text_in(service.label, current_locale()) for service in bridge.registry if service.site],
    )


@pages.post("")
def ask() -> ResponseReturnValue:
    person = signed_in()
    if (question := ask_first(person)) is not None:
        return question
    bridge = runtime()
    try:
        with bridge.database.begin() as session:
            erasure.ask(
                session,
                person.facts.account_id,
                notices=notices(bridge, current_locale()),
                now=bridge.clock(),
                origin=origin(),
            )
    except erasure.NotTheirs:
        pass  # the page says why
    return redirect("/account/deletion", 303)


@pages.post("/keep")
def keep() -> ResponseReturnValue:
    """Take it back: keeping the account needs no further proof."""
    person = signed_in()
    bridge = runtime()
    with bridge.database.begin() as session:
        erasure.take_back(
            session,
            person.facts.account_id,
            notices=notices(bridge, current_locale()),
            now=bridge.clock(),
            origin=origin(),
        )
    return redirect("/account?done=kept", 303)
