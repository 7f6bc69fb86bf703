"""The link of a recovery mail: the user name, and a new password typed twice.

Opening it changes nothing (I11). A password that is refused uses nothing up: the proof is claimed in the transaction
that sets one, or given back when a directory did not set it. Nobody is signed in by it (TOK-11).
"""

from __future__ import annotations

from flask import Blueprint, abort, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from external_accounts import proofs, recovery
from external_accounts.directory import Directory, DirectoryError
from external_accounts.identities import LOCAL
from external_accounts.proofs import ProofExpired, ProofUnknown, ProofUnusable, ProofUsed, state_of
from external_accounts.schema import Account, AccountId, Proof
from lms_bridge.i18n import gettext as _
from lms_bridge.selfservice import directory_words, forgot
from lms_bridge.selfservice.new_password import NewPasswordRefused, read_new_password, words_of
from lms_bridge.selfservice.proof_pages import deadline, onward, registered_service
from lms_bridge.selfservice.set_password import set_in_directory, set_password
from lms_bridge.signin.doors import onward_query
from lms_bridge.web.request import origin, runtime

pages = Blueprint("reset", __name__, url_prefix="/account/reset")

PATH = "/account/reset"


@pages.before_request
def passwords_are_set_here() -> None:
    if not forgot.is_offered():
        abort(404)


@pages.errorhandler(ProofUnknown)
def unknown(_error: ProofUnknown) -> ResponseReturnValue:
    return _invalid(404)


@pages.get("/<token>")
def look(token: str) -> ResponseReturnValue:
    with runtime().database.read() as session:
        proof = _proof(session, token)
        try:
            accounts = _offered(session, proof)
        except ProofUnusable as error:
            return _over(token, error)
        return _form(token, proof, accounts)


@pages.post("/<token>")
def choose(token: str) -> ResponseReturnValue:
    bridge = runtime()
    chosen = request.form.get("username", "")
    with bridge.database.read() as session:
        proof = _proof(session, token)
        try:
            accounts = _offered(session, proof)
        except ProofUnusable as error:
            return _over(token, error)
        account = next((one for one in accounts if one.username == chosen), None)
        if account is None and len(accounts) > 1:
            error_text = _("Say for which account the new password is.")
            return _form(token, proof, accounts, username_error=error_text), 422
        account = account or accounts[0]
        account_id, username, directory = account.id, account.username, bridge.directory_of(account)
        issuer = _door(account)
        try:
            password = read_new_password(request.form, bridge.settings, about=words_of(account))
        except NewPasswordRefused as refused:
            return _form(token, proof, accounts, chosen=username, refused=refused), 422
    try:
        if directory is None:
            _set_here(proof, account_id, password)
        else:
            _set_there(directory, proof, account_id, password)
    except ProofUnusable as error:
        return _over(token, error)
    except DirectoryError as error:
        told = directory_words.on_the_form(error)
        return _form(token, proof, accounts, chosen=username, **told), directory_words.status_of(error)
    return render_template(
        "reset/done.html",
        username=username,
        sign_in_url=forgot.sign_in_url(registered_service(proof.service), issuer),
        service_label=onward(proof)["service_label"],
    )


def _set_here(proof: Proof, account_id: AccountId, password: str) -> None:
    bridge = runtime()
    password_hash = bridge.hashing.hash(password)
    now = bridge.clock()
    with bridge.database.begin() as session:
        account = recovery.claim_for(session, proof, account_id, bridge.held_in, now=now, origin=origin())
        set_password(session, bridge, account, password_hash, event="password.reset", now=now, origin=origin())


def _set_there(directory: Directory, proof: Proof, account_id: AccountId, password: str) -> None:
    bridge = runtime()
    set_in_directory(
        bridge,
        directory,
        password,
        claim=lambda session, now: recovery.claim_for(
            session, proof, account_id, bridge.held_in, now=now, origin=origin()
        ),
        proof=proof,
        event="password.reset",
        origin=origin(),
    )


def _door(account: Account) -> str:
    """Where a new password of the account is used."""
    issuers = [identity.issuer for identity in account.identities]
    return next(iter(issuers), None) or runtime().settings.profile(account.profile).issuer or LOCAL


def _proof(session: Session, token: str) -> Proof:
    found = proofs.look_at(session, runtime().keys, token)
    if found.by != "link" or found.proof.purpose != recovery.RESET_PASSWORD:
        raise ProofUnknown
    return found.proof


def _offered(session: Session, proof: Proof) -> list[Account]:
    """The accounts to choose from.

    Raises:
        ProofExpired, ProofUsed, ProofCancelled: there is nothing to choose any more.
    """
    match state_of(proof, runtime().clock()):
        case "claimed":
            raise ProofUsed(proof)
        case "expired":
            raise ProofExpired(proof)
        case "pending":
            if accounts := recovery.offered(session, proof, runtime().held_in):
                return accounts
    raise proofs.ProofCancelled(proof)


def _form(
    token: str,
    proof: Proof,
    accounts: list[Account],
    *,
    chosen: str = "",
    refused: NewPasswordRefused | None = None,
    trouble: str | None = None,
    username_error: str | None = None,
) -> str:
    return render_template(
        "reset/choose.html",
        action=f"{PATH}/{token}",
        usernames=[account.username for account in accounts],
        chosen=chosen,
        minimum=runtime().settings.passwords.fewest,
        refused=refused,
        trouble=trouble,
        username_error=username_error,
        error=username_error or trouble or (refused.first if refused else None),
        deadline=deadline(proof.expires_at),
    )


def _over(token: str, error: ProofUnusable) -> ResponseReturnValue:
    service = registered_service(error.proof.service) if error.proof else None
    if isinstance(error, ProofUsed):
        page = render_template("reset/used.html", sign_in_url=forgot.sign_in_url(service), search_url=forgot.PATH)
        return page, 410
    if isinstance(error, ProofExpired):
        resend = f"{forgot.PATH}/{token}/resend{onward_query(service)}"
        return render_template("confirm/expired.html", resend_action=resend), 410
    return _invalid(410)


def _invalid(status: int) -> ResponseReturnValue:
    return render_template("forgot/invalid.html", search_url=forgot.PATH), status
