"""Asking for an account: the form, and the pages of the proofs that follow.

The answer to the form is the same for every address (I3): it looks nothing up, and the background work writes to the
address what there is to say. Whoever opens a link of ours has shown that they read that mailbox, and is told more.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from flask import Blueprint, jsonify, redirect, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from external_accounts import proofs, registration, throttle
from external_accounts.proof_keys import ProofKeys, handle_token
from external_accounts.proofs import (
    CodeSpent,
    CodeWrong,
    FoundProof,
    ProofCancelled,
    ProofExpired,
    ProofUnknown,
    ProofUsed,
    state_of,
)
from external_accounts.registration import the_one_that_counts
from external_accounts.registration_steps import (
    ACCEPTED,
    CHOOSE_PASSWORD,
    DONE,
    PROVE_ADDRESS,
    REFUSED,
    UNPROVED,
    WAITING,
    send_link,
)
from external_accounts.schema import Account, Proof, Registration
from lms_bridge.i18n import current_locale
from lms_bridge.registration_terms import terms
from lms_bridge.selfservice import register_account
from lms_bridge.selfservice.proof_pages import (
    Family,
    code_error,
    deadline,
    expired,
    registered_service,
    state_answer,
    try_code,
    waiting,
    within_budget,
)
from lms_bridge.selfservice.register_form import Form, read_form
from lms_bridge.settings.sections import text_in
from lms_bridge.signin.doors import onward_query
from lms_bridge.web.budgets import of_network
from lms_bridge.web.request import origin, parameter, runtime

pages = Blueprint("register", __name__, url_prefix="/account/register")

PATH = "/account/register"
FAMILIES = {
    PROVE_ADDRESS: Family(PROVE_ADDRESS, path=PATH, mail="register_confirm", folder="register"),
    CHOOSE_PASSWORD: Family(CHOOSE_PASSWORD, path=PATH, mail="register_accepted", folder="register"),
}


@pages.get("")
def form() -> ResponseReturnValue:
    service = registered_service(parameter("service"))
    if not _is_open(service):
        return _closed(service)
    return _show(Form(service=service))


@pages.post("")
def ask() -> ResponseReturnValue:
    service = registered_service(request.form.get("service"))
    if not _is_open(service):
        return _closed(service)
    bridge = runtime()
    asked = read_form(request.form, bridge.settings, service=service, locale=current_locale())
    if asked.wish is None:
        return _show(asked), 422
    now = bridge.clock()
    with bridge.database.begin() as session:
        throttle.reserve(session, [of_network(throttle.REGISTER_NETWORK, campus=throttle.REGISTER_CAMPUS)], now)
        mail = within_budget(session, asked.wish.email.key, now)
        proof = registration.ask(session, bridge.keys, asked.wish, mail=mail, now=now, origin=origin())
        handle = handle_token(bridge.keys, proof)
    return redirect(f"{PATH}/{handle}", 303)


def _is_open(service: str | None) -> bool:
    found = runtime().registry.find(service) if service else None
    return runtime().settings.registration_mode(found) == "moderated"


def _closed(service: str | None) -> ResponseReturnValue:
    bridge = runtime()
    found = bridge.registry.find(service) if service else None
    page = render_template(
        "register/closed.html",
        by_invitation=bridge.settings.registration_mode(found) == "invitation",
        sign_in_url=f"/cas/login{onward_query(service)}" if service else "/",
    )
    return page, 403


def _show(form: Form) -> str:
    charter = runtime().settings.charter
    return render_template(
        "register/form.html",
        action=PATH,
        form=form,
        charter_title=text_in(charter.title, current_locale()) if charter else None,
        charter_url=charter.url if charter else None,
        asks_sponsor=bool(runtime().settings.registration.sponsors),
        sign_in_url=f"/cas/login{onward_query(form.service)}" if form.service else "/",
    )


# --- The pages of a proof ---


@pages.errorhandler(ProofUnknown)
def unknown(_error: ProofUnknown) -> ResponseReturnValue:
    """The address names no proof of ours, or one whose request was purged."""
    return _invalid(404)


def find(session: Session, token: str) -> FoundProof:
    """The proof that a token of this room names.

    Raises:
        ProofUnknown: also for a token of another purpose, which its own pages know what to do with.
    """
    found = proofs.look_at(session, runtime().keys, token)
    if found.proof.purpose not in FAMILIES:
        raise ProofUnknown
    return found


@pages.get("/<token>")
def look(token: str) -> ResponseReturnValue:
    bridge = runtime()
    with bridge.database.read() as session:
        found = find(session, token)
        row = the_one_that_counts(session, session.get_one(Registration, found.proof.registration_id))
        if found.proof.purpose == PROVE_ADDRESS and row.state != UNPROVED:
            return _progress(session, row)
        if found.proof.purpose == CHOOSE_PASSWORD and row.state != ACCEPTED:
            return _progress(session, row) if row.state == DONE else _invalid(410)
        return _page_of(session, token, found, row, bridge.clock())


def _page_of(session: Session, token: str, found: FoundProof, row: Registration, now: datetime) -> ResponseReturnValue:
    proof = found.proof
    family = FAMILIES[proof.purpose]
    match state_of(proof, now):
        case "expired":
            return expired(family, token), 410
        case "cancelled" | "claimed":
            return _invalid(410)
    if found.by == "handle":
        return waiting(family, token, proof, now, continue_url=f"{PATH}/{token}")
    if proof.purpose == CHOOSE_PASSWORD:
        return register_account.show(session, token, row, now)
    return render_template(
        "register/confirm.html", email=row.email, action=f"{PATH}/{token}", deadline=deadline(proof.expires_at)
    )


@pages.post("/<token>")
def use(token: str) -> ResponseReturnValue:
    """The button or the form of the link's page, or the code typed on the waiting page."""
    bridge = runtime()
    now = bridge.clock()
    with bridge.database.read() as session:
        found = find(session, token)
    proof = found.proof
    try:
        if found.by == "handle":
            typed = request.form.get("code", "")
            if proof.purpose == CHOOSE_PASSWORD:
                keys = try_code(proof.id, now, partial(_change_code, typed, now))
                return redirect(f"{PATH}/{keys.link_token}", 303)
            try_code(proof.id, now, partial(_prove_by_code, typed, now))
        elif proof.purpose == CHOOSE_PASSWORD:
            return register_account.finish(token, proof, now)
        else:
            with bridge.database.begin() as session:
                claim = partial(proofs.claim_by_link, session, proof.id, now=now, origin=origin())
                _prove(session, proof, claim, now)
    except (CodeWrong, CodeSpent) as error:
        page = waiting(
            FAMILIES[proof.purpose], token, proof, now, error=code_error(error), continue_url=f"{PATH}/{token}"
        )
        return page, 422
    except ProofExpired:
        return expired(FAMILIES[proof.purpose], token), 410
    except (ProofUsed, ProofCancelled):
        pass  # the page says where the registration stands
    return redirect(f"{PATH}/{token}", 303)


def _change_code(typed: str, now: datetime, session: Session, proof: Proof) -> ProofKeys:
    return proofs.change_code_for_link(session, runtime().keys, proof, typed, now=now)


def _prove_by_code(typed: str, now: datetime, session: Session, proof: Proof) -> None:
    claim = partial(proofs.claim_by_code, session, runtime().keys, proof, typed, now=now, origin=origin())
    _prove(session, proof, claim, now)


def _prove(session: Session, proof: Proof, claim: Callable[[], Proof], now: datetime) -> None:
    bridge = runtime()
    registration.prove(session, bridge.keys, proof, claim, terms(bridge.settings), now=now, origin=origin())


@pages.post("/<token>/resend")
def resend(token: str) -> ResponseReturnValue:
    """The same message again, or a new one when the first is over: one click, identity kept (D07)."""
    bridge = runtime()
    now = bridge.clock()
    with bridge.database.begin() as session:
        proof = find(session, token).proof
        row = session.get_one(Registration, proof.registration_id)
        if proof.purpose == PROVE_ADDRESS and row.state == UNPROVED:
            mail = within_budget(session, row.email_key, now)
            proof = registration.ask_again(session, bridge.keys, proof, mail=mail, now=now)
        elif proof.purpose == CHOOSE_PASSWORD and row.state == ACCEPTED:
            mail = within_budget(session, row.email_key, now)
            proof = send_link(session, bridge.keys, row, terms(bridge.settings), mail=mail, page_waits=True, now=now)
        else:
            return redirect(f"{PATH}/{token}", 303)
        handle = handle_token(bridge.keys, proof)
    return redirect(f"{PATH}/{handle}", 303)


@pages.get("/<token>/state")
def state(token: str) -> ResponseReturnValue:
    """Whether the proof was used by now: asked by the waiting page."""
    with runtime().database.read() as session:
        try:
            found = find(session, token)
        except ProofUnknown:
            return jsonify(confirmed=False), 404
        return state_answer(session, done=found.proof.claimed_at is not None, now=runtime().clock())


def _progress(session: Session, row: Registration) -> ResponseReturnValue:
    """Where a request stands, for whoever proved its address."""
    if row.state not in (WAITING, ACCEPTED, DONE, REFUSED):
        return _invalid(410)
    account = session.get(Account, row.account_id) if row.account_id else None
    return render_template(
        "register/progress.html",
        state=row.state,
        until=deadline(row.expires_at),
        username=account.username if account else None,
        sign_in_url=f"/cas/login{onward_query(registered_service(row.service))}" if row.service else "/",
    )


def _invalid(status: int) -> ResponseReturnValue:
    return render_template("register/invalid.html", register_url=PATH if _is_open(None) else None), status
