"""My entry in the public directory: what stands in it, and whether it is shown."""

from __future__ import annotations

from flask import Blueprint, abort, redirect, render_template, request
from flask.typing import ResponseReturnValue

from external_accounts import engagements, mailbox
from external_accounts.accounts import lock_account
from external_accounts.activation_steps import Step, read
from external_accounts.schema import Account
from lms_bridge.i18n import current_locale
from lms_bridge.selfservice.account.identity import signed_in
from lms_bridge.selfservice.activation.offer import offer_for, university_address
from lms_bridge.settings.sections import text_in
from lms_bridge.signin.sessions import CurrentSession
from lms_bridge.web.request import origin, parameter, runtime

pages = Blueprint("listing", __name__, url_prefix="/account/directory")


@pages.get("")
def show() -> ResponseReturnValue:
    person = _asked()
    settings = runtime().settings
    with runtime().database.read() as session:
        account = session.get_one(Account, person.facts.account_id)
        listed = mailbox.is_listed(session, account.id)
        address = university_address(account)
    return render_template(
        "account/directory.html",
        display_name=person.facts.display_name,
        profile_label=text_in(settings.profile(account.profile).label, current_locale()),
        unit=account.unit,
        university_address=address,
        listed=listed,
        done=parameter("done") == "changed",
    )


@pages.post("")
def change() -> ResponseReturnValue:
    """Agree, or take it back. Both are handed to the systems that show the directory."""
    person = _asked()
    bridge = runtime()
    now, account_id = bridge.clock(), person.facts.account_id
    with bridge.database.begin() as session:
        account = lock_account(session, account_id)
        if read(Step.DIRECTORY, request.form, offer_for(bridge.settings, account))["directory"]:
            engagements.accept(
                session, account_id, engagements.LISTING, engagements.LISTING_VERSION, now=now, origin=origin()
            )
        else:
            engagements.withdraw_all(session, account_id, engagements.LISTING, now=now, origin=origin())
    return redirect("/account/directory?done=changed", 303)


def _asked() -> CurrentSession:
    """The person of this request, if people of their profile are asked at all."""
    person = signed_in()
    if not runtime().settings.profile(person.facts.profile).policy.listing:
        abort(404)
    return person
