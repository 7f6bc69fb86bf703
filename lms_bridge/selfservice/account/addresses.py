"""My addresses: add, confirm, make the main one, use for recovery, remove. Every change is told and can be undone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, redirect, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import address_changes
from external_accounts.address_changes import (
    CONTACT,
    INSTITUTIONAL,
    MOST_ADDRESSES,
    RECOVERY,
    ChangeRefused,
    TooManyAddresses,
    choices,
)
from external_accounts.addresses import InvalidAddress, parse_address
from external_accounts.proof_keys import handle_token
from external_accounts.schema import Address
from lms_bridge.i18n import N_, current_locale, format_deadline
from lms_bridge.i18n import gettext as _
from lms_bridge.mail.notices import notices
from lms_bridge.selfservice import confirm
from lms_bridge.selfservice.account.identity import ask_first, signed_in
from lms_bridge.selfservice.proof_pages import ADDRESSES, send
from lms_bridge.web.request import origin, parameter, runtime

pages = Blueprint("addresses", __name__, url_prefix=ADDRESSES)

DONE = {
    "primary": N_("Your main address has been changed. The former one has been told, and can undo it for 7 days."),
    "recovery": N_("This is now a recovery address. Your confirmed addresses have been told."),
    "removed": N_("The address has been removed. Your confirmed addresses have been told."),
}
ROLES = {
    CONTACT: N_("Further address"),
    RECOVERY: N_("Recovery address"),
    INSTITUTIONAL: N_("University address"),
    "forwarding": N_("Forwarding address"),
}


@pages.get("")
def show() -> ResponseReturnValue:
    return _page()


def _page(*, email: str = "", role: str = CONTACT, error: str | None = None, alert: str | None = None) -> str:
    person = signed_in()
    bridge = runtime()
    with bridge.database.read() as session:
        addresses = of_account(session, person.facts.account_id)
        rows = [_row(address, addresses, bridge.settings.zone) for address in addresses]
    return render_template(
        "account/addresses.html",
        addresses=rows,
        governed=any(address.is_primary and address.role == INSTITUTIONAL for address in addresses),
        room=len(addresses) < MOST_ADDRESSES,
        first=not addresses,
        email=email,
        role=role,
        error=error or alert,
        wrong_email=error,
        done=_(DONE[done]) if (done := parameter("done") or "") in DONE and not (error or alert) else None,
    )


def of_account(session: Session, account_id: int) -> list[Address]:
    """The addresses of an account, the main one first."""
    query = select(Address).where(Address.account_id == account_id).order_by(Address.is_primary.desc(), Address.id)
    return list(session.scalars(query))


def _row(address: Address, addresses: list[Address], zone: Any) -> dict[str, Any]:
    may = choices(address, addresses)
    return {
        "id": address.id,
        "email": address.email,
        "role": _("Main address") if address.is_primary else _(ROLES.get(address.role, ROLES[CONTACT])),
        "institutional": address.role == INSTITUTIONAL,
        "confirmed": address.confirmed_at is not None,
        "bounced": address.lost_reason == "bounce",
        "lost_on": format_deadline(address.lost_at, zone, current_locale()) if address.lost_at else None,
        "make_primary": may.make_primary,
        "make_recovery": may.make_recovery,
        "remove": may.remove,
    }


@pages.post("")
def add() -> ResponseReturnValue:
    """Add an address and send it the message that confirms it."""
    person = signed_in()
    typed = request.form.get("email", "")
    role = RECOVERY if request.form.get("role") == RECOVERY else CONTACT
    try:
        parsed = parse_address(typed)
    except InvalidAddress:
        error = _("This is not an e-mail address we can write to. It looks like name@example.org.")
        return _page(email=typed[:254], role=role, error=error), 422
    if (question := ask_first(person)) is not None:
        return question
    bridge = runtime()
    now = bridge.clock()
    with bridge.database.begin() as session:
        try:
            address = address_changes.add_address(
                session,
                person.facts.account_id,
                parsed,
                role=role,
                notices=notices(bridge, current_locale()),
                now=now,
                origin=origin(),
            )
        except TooManyAddresses:
            return _page(email=typed[:254], role=role, error=_too_many()), 422
        if address.confirmed_at is not None:
            return _page(email=typed[:254], role=role, error=_("This address is already there, and confirmed.")), 422
        return _to_confirm(session, address, now)


def _too_many() -> str:
    return _("There are %(count)s addresses already. Remove one first.", count=MOST_ADDRESSES)


@pages.post("/<int:address_id>/confirm")
def confirm_address(address_id: int) -> ResponseReturnValue:
    """Send the message again to an address that is not confirmed, or not any more."""
    person = signed_in()
    bridge = runtime()
    with bridge.database.begin() as session:
        address = session.get(Address, address_id)
        if address is None or address.account_id != person.facts.account_id or address.confirmed_at is not None:
            return redirect(ADDRESSES, 303)
        return _to_confirm(session, address, bridge.clock())


def _to_confirm(session: Session, address: Address, now: datetime) -> ResponseReturnValue:
    bridge = runtime()
    proof = send(
        session,
        confirm.FAMILY,
        address,
        lifetime=timedelta(hours=bridge.settings.confirmation_hours),
        service=None,
        locale=current_locale(),
        now=now,
    )
    proof.details = {"back": ADDRESSES}
    return redirect(f"{confirm.FAMILY.path}/{handle_token(bridge.keys, proof)}", 303)


@pages.post("/<int:address_id>/primary")
def make_primary(address_id: int) -> ResponseReturnValue:
    return _change(address_id, address_changes.make_primary, "primary")


@pages.post("/<int:address_id>/recovery")
def make_recovery(address_id: int) -> ResponseReturnValue:
    return _change(address_id, address_changes.make_recovery, "recovery")


@pages.post("/<int:address_id>/remove")
def remove(address_id: int) -> ResponseReturnValue:
    return _change(address_id, address_changes.remove_address, "removed")


def _change(address_id: int, change: Callable[..., None], done: str) -> ResponseReturnValue:
    person = signed_in()
    if (question := ask_first(person)) is not None:
        return question
    bridge = runtime()
    try:
        with bridge.database.begin() as session:
            change(
                session,
                person.facts.account_id,
                address_id,
                notices=notices(bridge, current_locale()),
                now=bridge.clock(),
                origin=origin(),
            )
    except ChangeRefused:
        return _page(
            alert=_("This cannot be done with this address any more. Here is how your addresses stand now.")
        ), 409
    return redirect(f"{ADDRESSES}?done={done}", 303)
