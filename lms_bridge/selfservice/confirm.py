"""Confirming an address: ask for the message, open the link or type the code, go on to where one wanted to go.

A link never signs anybody in and opening it changes nothing (I11); the page it opens has one button. The waiting page
is named by another token that opens nothing, so it can be reloaded, bookmarked, or left open.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from flask import Blueprint, Response, jsonify, redirect, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from external_accounts import audit, outbox, proofs, throttle
from external_accounts.accounts import lock_account
from external_accounts.addresses import (
    InvalidAddress,
    mask_address,
    parse_address,
    primary_address,
    set_primary_address,
)
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
from external_accounts.throttle import Throttled, Use
from lms_bridge.cas.services import ServiceRefused
from lms_bridge.i18n import current_locale, format_deadline, ngettext
from lms_bridge.i18n import gettext as _
from lms_bridge.settings.sections import Service, text_in
from lms_bridge.signin.doors import onward_query
from lms_bridge.web import headers
from lms_bridge.web.request import current, origin, parameter, runtime

pages = Blueprint("confirm", __name__, url_prefix="/account/confirm")


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
        handle = proofs.handle_token(bridge.keys, proof)
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
        found = proofs.look_at(session, bridge.keys, token)
        return _page_of(session, token, found, now)


@pages.post("/<token>")
def claim(token: str) -> ResponseReturnValue:
    """Use the proof: by the button of the link's page, or by the code typed on the waiting page."""
    bridge = runtime()
    now = bridge.clock()
    with bridge.database.read() as session:
        found = proofs.look_at(session, bridge.keys, token)
    try:
        if found.by == "link":
            with bridge.database.begin() as session:
                proof = proofs.claim_by_link(session, found.proof.id, now=now, origin=origin())
        else:
            proof = _claim_by_code(found.proof.id, request.form.get("code", ""), now)
    except CodeWrong as error:
        left = error.attempts_left
        text = (
            ngettext("This is not the code. %(num)d try left.", "This is not the code. %(num)d tries left.", left)
            if left
            else _("This is not the code, and it cannot be tried again. Use the link, or ask for a new message.")
        )
        return _waiting(token, found.proof, now, error=text), 422
    except CodeSpent:
        text = _("This code can no longer be used. Use the link in the message, or ask for a new message.")
        return _waiting(token, found.proof, now, error=text), 422
    except ProofExpired:
        return _expired(token), 410
    except ProofUsed as error:
        return _already(error.proof)
    except ProofUnusable:
        return _invalid(410)
    return render_template("confirm/done.html", **_onward(proof))


@pages.post("/<token>/resend")
def resend(token: str) -> ResponseReturnValue:
    """The same message again, or a new one when the first is over: one click, identity kept (D07)."""
    bridge = runtime()
    now = bridge.clock()
    with bridge.database.begin() as session:
        found = proofs.look_at(session, bridge.keys, token)
        if found.proof.claimed_at is not None:
            return _already(found.proof)
        address = session.get_one(Address, found.proof.address_id)
        if found.proof.cancelled_at is not None or address.email_key != found.proof.email_key:
            return _invalid(410)  # made for a former address: it must not push out what was asked for since (LNK-04)
        if address.confirmed_at is not None:
            return _already(found.proof)
        proof = _send(session, address, found.proof.service, found.proof.locale, now)
        handle = proofs.handle_token(bridge.keys, proof)
    return redirect(f"/account/confirm/{handle}", 303)


@pages.get("/<token>/state")
def state(token: str) -> ResponseReturnValue:
    """Whether the address is confirmed by now: asked by the waiting page."""
    bridge = runtime()
    with bridge.database.read() as session:
        try:
            found = proofs.look_at(session, bridge.keys, token)
        except ProofUnknown:
            return jsonify(confirmed=False), 404
        return jsonify(confirmed=found.proof.claimed_at is not None)


def _claim_by_code(proof_id: int, typed: str, now: datetime) -> Proof:
    """Reserve a try, keep it whatever happens, then compare (I2)."""
    bridge = runtime()
    with bridge.database.begin() as session:
        proof = proofs.reserve_code_attempt(session, proof_id, now=now)
    try:
        with bridge.database.begin() as session:
            return proofs.claim_by_code(session, bridge.keys, proof, typed, now=now, origin=origin())
    except CodeWrong:
        with bridge.database.begin() as session:
            audit.record(session, "proof.code", outcome="wrong", now=now, origin=origin(), account_id=proof.account_id)
        raise


def _send(session: Session, address: Address, service: str | None, locale: str, now: datetime) -> Proof:
    """Make or find the proof and queue its mail, within the budgets (D12). Over budget, the page looks the same."""
    bridge = runtime()
    proof, due = proofs.request_proof(
        session,
        bridge.keys,
        proofs.about(address),
        purpose=proofs.CONFIRM_ADDRESS,
        lifetime=timedelta(hours=bridge.settings.confirmation_hours),
        service=service,
        locale=locale,
        now=now,
    )
    if due and _within_budget(session, address, now):
        outbox.enqueue(
            session,
            "confirm_address",
            address.email,
            locale=locale,
            now=now,
            mail_domain=bridge.settings.public_host,
            account_id=address.account_id,
            proof_id=proof.id,
        )
        audit.record(
            session,
            "proof.sent",
            outcome="ok",
            now=now,
            origin=origin(),
            account_id=address.account_id,
            proof_id=proof.id,
        )
    return proof


def _within_budget(session: Session, address: Address, now: datetime) -> bool:
    uses = [
        Use(throttle.PROOF_MAIL_ADDRESS, address.email_key),
        throttle.network_use(
            origin().network,
            runtime().settings.throttle.campus_prefixes,
            ordinary=throttle.PROOF_MAIL_NETWORK,
            campus_limit=throttle.PROOF_MAIL_CAMPUS,
        ),
    ]
    try:
        with session.begin_nested():
            throttle.reserve(session, uses, now)
    except Throttled:
        return False
    return True


def _page_of(session: Session, token: str, found: FoundProof, now: datetime) -> ResponseReturnValue:
    proof = found.proof
    match state_of(proof, now):
        case "claimed":
            return _already(proof)
        case "expired":
            return _expired(token), 410
        case "cancelled":
            return _invalid(410)
    if found.by == "handle":
        return _waiting(token, proof, now)
    person = current()
    action = f"/account/confirm/{token}"
    if person is not None and person.facts.account_id != proof.account_id:
        return render_template("confirm/other_account.html", action=action, sign_out_url="/cas/logout")
    address = session.get_one(Address, proof.address_id)
    return render_template(
        "confirm/confirm.html", email=address.email, action=action, deadline=_deadline(proof.expires_at)
    )


def _waiting(token: str, proof: Proof, now: datetime, error: str | None = None) -> str:
    person = current()
    mine = person is not None and person.facts.account_id == proof.account_id
    wait = proof.sent_at + proofs.RESEND_PAUSE - now
    return render_template(
        "confirm/waiting.html",
        email=mask_address(proof.email_key) if mine else None,
        deadline=_deadline(proof.expires_at),
        code_deadline=_deadline(proof.code_expires_at) if proof.code_expires_at > now else None,
        action=f"/account/confirm/{token}",
        error=error,
        resend_action=f"/account/confirm/{token}/resend",
        resend_wait_seconds=max(0, -(-wait // timedelta(seconds=1))) or None,
        state_url=f"/account/confirm/{token}/state",
        continue_url=_onward(proof)["continue_url"],
    )


def _expired(token: str) -> str:
    return render_template("confirm/expired.html", resend_action=f"/account/confirm/{token}/resend")


def _already(proof: Proof | None) -> Response | str:
    onward = _onward(proof)
    return render_template("confirm/already.html", **onward)


def _invalid(status: int) -> ResponseReturnValue:
    return render_template("confirm/invalid.html", continue_url="/", continue_label=None), status


def _onward(proof: Proof | None) -> dict[str, str | None]:
    """Where to go on to: the service asked for first, if it is still registered."""
    url = registered_service(proof.service) if proof else None
    service: Service | None = runtime().registry.find(url) if url else None
    label = text_in(service.label, current_locale()) if service else None
    return {
        "continue_url": f"/cas/login{onward_query(url)}" if url else "/",
        "continue_label": _("Continue to %(service)s", service=label) if label else None,
        "service_label": label,
    }


def registered_service(url: str | None) -> str | None:
    """The address, when it is a registered service's; nothing else is kept or followed."""
    if not url:
        return None
    try:
        runtime().registry.find(url)
    except ServiceRefused:
        return None
    return url


def _deadline(moment: datetime) -> str:
    return format_deadline(moment, runtime().settings.zone, current_locale())
