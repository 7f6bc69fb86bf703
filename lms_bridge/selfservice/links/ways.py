"""Removing a way in, and adding a password kept here for people whose time at the university ends."""

from __future__ import annotations

from typing import cast

from flask import Blueprint, Response, redirect, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from external_accounts import link_notices, unlinking
from external_accounts.accounts import Person, UsernameTaken, lock_account
from external_accounts.addresses import mask_address
from external_accounts.identities import LOCAL, add_local_way_in
from external_accounts.link_ceremonies import LIFETIME
from external_accounts.linking import INSTITUTIONAL
from external_accounts.schema import Account, Address
from external_accounts.unlinking import LastWayIn
from lms_bridge.i18n import current_locale
from lms_bridge.mail.notices import notices
from lms_bridge.selfservice.account.identity import ask_first, signed_in
from lms_bridge.selfservice.links import effects
from lms_bridge.selfservice.links.overview import issuers, may_add_local
from lms_bridge.selfservice.new_password import NewPasswordRefused, read_new_password, words_of
from lms_bridge.selfservice.register_account import propose_username
from lms_bridge.signin.other_side import PAGE
from lms_bridge.web.request import origin, runtime

pages = Blueprint("ways_in", __name__, url_prefix=PAGE)


@pages.post("/ways/<int:identity_id>/remove")
def remove(identity_id: int) -> ResponseReturnValue:
    """Take a way in off my account; never the last one that works (LNK-12)."""
    person = signed_in()
    if (question := ask_first(person)) is not None:
        return question
    bridge = runtime()
    now, account_id = bridge.clock(), person.facts.account_id
    try:
        with bridge.database.begin() as session:
            gone, stays = unlinking.choose_other(session, account_id, identity_id, issuers=issuers(bridge))
            effects.leave_identity(session, account_id, gone.id, stays.id, now=now, origin=origin())
            record = unlinking.unlink(session, gone, now=now, origin=origin())
            written = notices(bridge, current_locale())
            link_notices.tell_way_in(session, account_id, "removed", record.issuer, written, record=record, now=now)
    except LastWayIn:
        return redirect(f"{PAGE}?done=last", 303)
    return redirect(f"{PAGE}?done=removed", 303)


@pages.post("/password/begin")
def begin_password() -> ResponseReturnValue:
    """The question who it is comes before the form: a new password must not wait on another page."""
    person = signed_in()
    if (question := ask_first(person)) is not None:
        return question
    return redirect(f"{PAGE}/password", 303)


@pages.get("/password")
def password_form() -> ResponseReturnValue:
    return _form()


def _form(refused: NewPasswordRefused | None = None) -> str | Response:
    person = signed_in()
    bridge = runtime()
    with bridge.database.read() as session:
        account = session.get_one(Account, person.facts.account_id)
        if not (may_add_local(account) and bridge.settings.local.enabled):
            return cast(Response, redirect(PAGE, 303))
        mailbox = _private(account)
        return render_template(
            "links/password.html",
            action=f"{PAGE}/password",
            mailbox=mask_address(mailbox.email) if mailbox is not None else None,
            minimum=bridge.settings.passwords.fewest,
            refused=refused,
            error=refused.first if refused is not None else None,
        )


def _private(account: Account) -> Address | None:
    """A mailbox that stays theirs when the university's is closed, and that they have shown to read."""
    found = (one for one in account.addresses if one.confirmed_at is not None and one.role != INSTITUTIONAL)
    return next(found, None)


@pages.post("/password")
def add_password() -> ResponseReturnValue:
    """A user name and a password kept here, for the same account: what the applications know it by stays."""
    person = signed_in()
    bridge = runtime()
    if person.proved_at is None or bridge.clock() - person.proved_at >= LIFETIME:
        return redirect(f"{PAGE}?done=over", 303)
    with bridge.database.read() as session:
        about = words_of(session.get_one(Account, person.facts.account_id))
    try:
        hashed = bridge.hashing.hash(read_new_password(request.form, bridge.settings, about=about))
    except NewPasswordRefused as refused:
        return _form(refused), 422
    with bridge.database.begin() as session:
        account = lock_account(session, person.facts.account_id)
        if may_add_local(account) and bridge.settings.local.enabled and _private(account) is not None:
            _add(session, account, hashed)
    return redirect(f"{PAGE}?done=added", 303)


def _add(session: Session, account: Account, hashed: str) -> None:
    bridge = runtime()
    now = bridge.clock()
    name = propose_username(session, Person(account.given_name, account.family_name))
    try:
        add_local_way_in(session, account, username=name, password_hash=hashed, now=now, origin=origin())
    except UsernameTaken:
        return  # there is one already: the page says so
    link_notices.tell_way_in(session, account.id, "added", LOCAL, notices(bridge, current_locale()), now=now)
