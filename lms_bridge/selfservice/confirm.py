"""Confirming an address: ask for the message, open the link or type the code, go on to where one wanted to go.

A link never signs anybody in and opening it changes nothing (I11); the page it opens has one button. The waiting page
is named by another token that opens nothing, so it can be reloaded, bookmarked, or left open.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from flask import Blueprint, jsonify, redirect, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from external_accounts import first_proof, mailbox, proofs
from external_accounts.accounts import lock_account
from external_accounts.addresses import (
    InvalidAddress,
    parse_address,
    primary_address,
    set_primary_address,
)
from external_accounts.proof_keys import handle_token
from external_accounts.proofs import (
    CodeSpent,
    CodeWrong,
    FoundProof,
    ProofExpired,
    ProofUnknown,
    ProofUnusable,
    ProofUsed,
    state_of,
)
from external_accounts.schema import Address, Proof
from lms_bridge.i18n import current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.selfservice.proof_pages import (
    ADDRESSES,
    Family,
    code_error,
    deadline,
    expired,
    find,
    onward,
    registered_service,
    send,
    state_answer,
    try_code,
    waiting,
)
from lms_bridge.signin.doors import onward_query
from lms_bridge.web import headers
from lms_bridge.web.request import current, origin, parameter, runtime

pages = Blueprint("confirm", __name__, url_prefix="/account/confirm")

FAMILY = Family(proofs.CONFIRM_ADDRESS, path="/account/confirm", mail="confirm_address", folder="confirm")
FORWARDING = replace(FAMILY, mail="confirm_forwarding")
"""For an address that mail is to be forwarded to, which may be somebody else's by mistake."""


@pages.get("")
def address_form() -> ResponseReturnValue:
    """For accounts without an address: which one shall we write to?"""
    person = current()
    service = registered_service(parameter("service"))
    if person is None or person.facts.email is not None:
        return redirect(f"/cas/login{onward_query(service)}" if service else "/", 303)
    return _address_form(service)


def _address_form(service: str | None, *, email: str = "", error: str | None = None) -> str:
    headers.form_leads_on()
    return render_template("confirm/address.html", action="/account/confirm", service=service, email=email, error=error)


@pages.post("")
def ask() -> ResponseReturnValue:
    """Send the message to the account's address, adding it first when the account has none."""
    person = current()
    service = registered_service(request.form.get("service"))
    if person is None:
        return redirect(f"/cas/login{onward_query(service)}" if service else "/", 303)
    bridge = runtime()
    now = bridge.clock()
    typed = request.form.get("email", "")
    with bridge.database.begin() as session:
        account = lock_account(session, person.facts.account_id)
        address = primary_address(account)
        if address is None:
            try:
                parsed = parse_address(typed)
            except InvalidAddress:
                error = _("This is not an e-mail address we can write to. It looks like name@example.org.")
                return _address_form(service, email=typed[:254], error=error), 422
            address = set_primary_address(session, account, parsed, role="contact", now=now)
        if address.confirmed_at is not None:
            return redirect(f"/cas/login{onward_query(service)}" if service else "/", 303)
        proof = _send(session, address, service, current_locale(), now)
        handle = handle_token(bridge.keys, proof)
    return redirect(f"/account/confirm/{handle}", 303)


@pages.errorhandler(ProofUnknown)
def unknown(_error: ProofUnknown) -> ResponseReturnValue:
    """The address names no proof of ours, whatever was to be done with it."""
    return _invalid(404)


@pages.get("/<token>")
def look(token: str) -> ResponseReturnValue:
    bridge = runtime()
    now = bridge.clock()
    with bridge.database.read() as session:
        found = find(session, FAMILY, token)
        return _page_of(session, token, found, now)


@pages.post("/<token>")
def claim(token: str) -> ResponseReturnValue:
    """Use the proof: by the button of the link's page, or by the code typed on the waiting page."""
    bridge = runtime()
    now = bridge.clock()
    with bridge.database.read() as session:
        found = find(session, FAMILY, token)
    confirm = partial(first_proof.confirm, now=now, origin=origin())
    try:
        if found.by == "link":
            with bridge.database.begin() as session:
                proof, dropped = confirm(session, found.proof, partial(_by_link, now))
        else:
            use = partial(_by_code, request.form.get("code", ""), now)
            proof, dropped = try_code(found.proof.id, now, lambda session, proof: confirm(session, proof, use))
    except (CodeWrong, CodeSpent) as error:
        return waiting(FAMILY, token, found.proof, now, error=code_error(error)), 422
    except ProofExpired:
        return expired(FAMILY, token), 410
    except ProofUsed as error:
        return _already(error.proof)
    except ProofUnusable:
        return _invalid(410)
    return render_template("confirm/done.html", dropped=dropped, addresses_url=ADDRESSES, **onward(proof))


@pages.post("/<token>/resend")
def resend(token: str) -> ResponseReturnValue:
    """The same message again, or a new one when the first is over: one click, identity kept (D07)."""
    bridge = runtime()
    now = bridge.clock()
    with bridge.database.begin() as session:
        found = find(session, FAMILY, token)
        if found.proof.claimed_at is not None:
            return _already(found.proof)
        address = session.get(Address, found.proof.address_id)
        if found.proof.cancelled_at is not None or address is None or address.email_key != found.proof.email_key:
            return _invalid(410)  # made for a former address: it must not push out what was asked for since (LNK-04)
        if address.confirmed_at is not None:
            return _already(found.proof)
        proof = _send(session, address, found.proof.service, found.proof.locale, now)
        handle = handle_token(bridge.keys, proof)
    return redirect(f"/account/confirm/{handle}", 303)


@pages.get("/<token>/state")
def state(token: str) -> ResponseReturnValue:
    """Whether the address is confirmed by now: asked by the waiting page."""
    bridge = runtime()
    with bridge.database.read() as session:
        try:
            found = find(session, FAMILY, token)
        except ProofUnknown:
            return jsonify(confirmed=False), 404
        return state_answer(session, done=found.proof.claimed_at is not None, now=bridge.clock())


def _by_link(now: datetime, session: Session, proof: Proof) -> Proof:
    return proofs.claim_by_link(session, proof.id, now=now, origin=origin())


def _by_code(typed: str, now: datetime, session: Session, proof: Proof) -> Proof:
    return proofs.claim_by_code(session, runtime().keys, proof, typed, now=now, origin=origin())


def _send(session: Session, address: Address, service: str | None, locale: str, now: datetime) -> Proof:
    lifetime = timedelta(hours=runtime().settings.confirmation_hours)
    family = FORWARDING if address.role == mailbox.FORWARDING else FAMILY
    return send(session, family, address, lifetime=lifetime, service=service, locale=locale, now=now)


def _page_of(session: Session, token: str, found: FoundProof, now: datetime) -> ResponseReturnValue:
    proof = found.proof
    match state_of(proof, now):
        case "claimed":
            return _already(proof)
        case "expired":
            return expired(FAMILY, token), 410
        case "cancelled":
            return _invalid(410)
    if found.by == "handle":
        return waiting(FAMILY, token, proof, now)
    person = current()
    action = f"/account/confirm/{token}"
    if person is not None and person.facts.account_id != proof.account_id:
        return render_template("confirm/other_account.html", action=action, sign_out_url="/cas/logout")
    address = session.get_one(Address, proof.address_id)
    return render_template(
        "confirm/confirm.html",
        email=address.email,
        action=action,
        deadline=deadline(proof.expires_at),
        forwarding=address.role == mailbox.FORWARDING,
    )


def _already(proof: Proof | None) -> str:
    return render_template("confirm/already.html", **onward(proof))


def _invalid(status: int) -> ResponseReturnValue:
    return render_template("confirm/invalid.html", continue_url="/", continue_label=None), status
