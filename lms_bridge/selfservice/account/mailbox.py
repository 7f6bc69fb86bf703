"""My university mailbox: where its mail is forwarded, and the level of the spam filter. The university runs it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from external_accounts import address_changes, mailbox, outbox, recovery
from external_accounts.accounts import lock_account
from external_accounts.activation_steps import Offer, Step, read, wrong
from external_accounts.address_changes import MOST_ADDRESSES, TooManyAddresses
from external_accounts.addresses import mask_address, parse_address
from external_accounts.proof_keys import handle_token
from external_accounts.schema import Account, Address
from lms_bridge.i18n import N_, current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.mail.notices import notices
from lms_bridge.selfservice import confirm
from lms_bridge.selfservice.account.identity import ask_first, signed_in
from lms_bridge.selfservice.activation.offer import WRONG, offer_for, university_address
from lms_bridge.selfservice.proof_pages import FORWARDING, deadline, send
from lms_bridge.settings.sections import text_in
from lms_bridge.web.request import origin, parameter, runtime

pages = Blueprint("mailbox", __name__, url_prefix=FORWARDING)

DONE = {
    "changed": N_("The forwarding is changed. Your confirmed addresses have been told."),
    "antispam": N_("The level of your spam filter is changed."),
}


@pages.get("")
def show() -> ResponseReturnValue:
    return _page()


@pages.post("")
def change_forwarding() -> ResponseReturnValue:
    """Forward somewhere, or nowhere. A new address is told to the confirmed ones, with a link that undoes it."""
    person = signed_in()
    bridge = runtime()
    account_id = person.facts.account_id
    with bridge.database.read() as session:
        offer = _offer(session.get_one(Account, account_id))
    typed = read(Step.FORWARDING, request.form, offer)
    if (what := wrong(Step.FORWARDING, typed, offer)) is not None:
        return _page(typed, error=_(WRONG[what])), 422
    if (question := ask_first(person)) is not None:
        return question
    now = bridge.clock()
    try:
        with bridge.database.begin() as session:
            account = lock_account(session, account_id)
            to = _address(session, account, typed["forward_to"], now) if typed["forward"] else None
            mailbox.forward(session, account, to, keep_copy=typed["keep_copy"], now=now, origin=origin())
            if to is None or to.confirmed_at is not None:
                _tell(session, account, to, now)
                return redirect(f"{FORWARDING}?done=changed", 303)
            proof = send(
                session,
                confirm.FORWARDING,
                to,
                lifetime=timedelta(hours=bridge.settings.confirmation_hours),
                service=None,
                locale=current_locale(),
                now=now,
            )
            proof.details = {"back": FORWARDING}
            return redirect(f"{confirm.FAMILY.path}/{handle_token(bridge.keys, proof)}", 303)
    except TooManyAddresses:
        error = _("There are %(count)s addresses already. Remove one first.", count=MOST_ADDRESSES)
        return _page(typed, error=error), 422


@pages.post("/antispam")
def change_antispam() -> ResponseReturnValue:
    person = signed_in()
    settings = runtime().settings
    level = request.form.get("antispam", "")
    known = {one.name for one in settings.mailbox.antispam_levels} | {""}
    if not settings.profile(person.facts.profile).policy.antispam or level not in known:
        abort(404)
    with runtime().database.begin() as session:
        account = lock_account(session, person.facts.account_id)
        mailbox.set_antispam(session, account, level, now=runtime().clock(), origin=origin())
    return redirect(f"{FORWARDING}?done=antispam", 303)


def state_of(session: Session, account_id: int) -> dict[str, Any]:
    """Where the mail goes, for the pages."""
    forwarding = mailbox.forwarding_of(session, account_id)
    return {
        "to": forwarding.address.email if forwarding is not None else None,
        "in_force": forwarding is not None and forwarding.in_force,
        "keep_copy": forwarding is None or forwarding.keep_copy,
    }


def _page(typed: dict[str, Any] | None = None, *, error: str | None = None) -> str:
    person = signed_in()
    settings, locale = runtime().settings, current_locale()
    policy = settings.profile(person.facts.profile).policy
    with runtime().database.read() as session:
        account = session.get_one(Account, person.facts.account_id)
        offer = _offer(account)
        state = state_of(session, account.id)
        choice = mailbox.choice_of(session, account.id)
        own = university_address(account)
        suggestion = next((one.email for one in account.addresses if one.role == "recovery" and one.confirmed_at), "")
    answers = typed or {"forward": state["to"] is not None, "keep_copy": state["keep_copy"]}
    if state["to"] and typed is None:
        answers["forward_to"] = state["to"]
    return render_template(
        "account/forwarding.html",
        mailbox=offer.mailbox,
        mailbox_text=text_in(settings.mailbox.text, locale),
        mailbox_url=settings.mailbox.url,
        university_address=own,
        state=state,
        answers=answers,
        suggestion=suggestion,
        levels=[
            {"name": one.name, "label": text_in(one.label, locale)}
            for one in (settings.mailbox.antispam_levels if policy.antispam else ())
        ],
        level=choice.antispam if choice is not None else "",
        error=error,
        done=_(DONE[done]) if (done := parameter("done") or "") in DONE and not error else None,
    )


def _offer(account: Account) -> Offer:
    offer = offer_for(runtime().settings, account)
    if offer.mailbox == "none":
        abort(404)
    return offer


def _address(session: Session, account: Account, typed: str, now: datetime) -> Address:
    """The address to forward to, added where it is new.

    Raises:
        TooManyAddresses, Throttled: as `address_changes.add_address`.
    """
    return address_changes.add_address(
        session,
        account.id,
        parse_address(typed),
        role=mailbox.FORWARDING,
        notices=notices(runtime(), current_locale()),
        now=now,
        origin=origin(),
    )


def _tell(session: Session, account: Account, to: Address | None, now: datetime) -> None:
    """What needs no new address is told as well; it is changed back on the page."""
    locale = account.language or current_locale()
    for address in recovery.mailboxes(account):
        outbox.enqueue(
            session,
            "forwarding_changed",
            address.email,
            locale=locale,
            now=now,
            mail_domain=runtime().settings.public_host,
            account_id=account.id,
            context={"to": mask_address(to.email) if to is not None else "", "when": deadline(now)},
        )
