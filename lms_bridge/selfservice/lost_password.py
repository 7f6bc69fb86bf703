"""The link of a mail about lost identifiers: the identifier, and a new password where the account's is kept.

Opening it changes nothing (I11). A password that is refused uses nothing up. Nobody is signed in by it (TOK-11).
"""

from __future__ import annotations

from datetime import datetime

from flask import render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from external_accounts import lost_identifiers, proofs
from external_accounts.directory import DirectoryError
from external_accounts.lost_identifiers import Population
from external_accounts.proofs import FoundProof, ProofExpired, ProofUnknown, ProofUnusable, ProofUsed, state_of
from external_accounts.schema import Account, LocalPassword, Proof
from lms_bridge.i18n import current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.selfservice import directory_words
from lms_bridge.selfservice.lost_searches import choice_named, population
from lms_bridge.selfservice.new_password import NewPasswordRefused, read_new_password, words_of
from lms_bridge.selfservice.proof_pages import deadline, registered_service
from lms_bridge.selfservice.set_password import set_in_directory, set_password
from lms_bridge.settings.sections import text_in
from lms_bridge.signin.doors import onward_query
from lms_bridge.web.request import origin, runtime

PATH = "/perte-identifiant"
ASSISTANCE = "/assistance?subject=lost_identifier"
EVENT = "password.recovered"


def find(token: str) -> FoundProof:
    """The search that a handle names, or what a link was mailed for; changes nothing (I11).

    Raises:
        ProofUnknown: neither.
    """
    bridge = runtime()
    with bridge.database.read() as session:
        found = proofs.look_at(session, bridge.keys, token)
    wanted = lost_identifiers.RECOVER_IDENTIFIER if found.by == "link" else lost_identifiers.SEEK_IDENTIFIER
    # A search that is asked for again, from a link that is too old, is named by that link.
    if found.proof.purpose != wanted:
        raise ProofUnknown
    return found


def show(token: str, found: FoundProof) -> ResponseReturnValue:
    """The page of the link: for which account, and the new password."""
    with runtime().database.read() as session:
        try:
            accounts = _offered(session, found.proof)
        except ProofUnusable as error:
            return _over(token, error)
        return _form(token, found.proof, accounts)


def choose(token: str, found: FoundProof) -> ResponseReturnValue:
    """Set the password."""
    bridge = runtime()
    proof = found.proof
    chosen = request.form.get("username", "")
    with bridge.database.read() as session:
        try:
            accounts = _offered(session, proof)
        except ProofUnusable as error:
            return _over(token, error)
        account = next((one for one in accounts if one.username == chosen), None)
        if account is None and len(accounts) > 1:
            error_text = _("Say for which account the new password is.")
            return _form(token, proof, accounts, username_error=error_text), 422
        account = account or accounts[0]
        local = session.get(LocalPassword, account.id) is not None
        try:
            password = read_new_password(request.form, bridge.settings, about=words_of(account))
        except NewPasswordRefused as refused:
            return _form(token, proof, accounts, chosen=account.username, refused=refused), 422
    try:
        _set(proof, account, password, local=local)
    except ProofUnusable as error:
        return _over(token, error)
    except DirectoryError as error:
        told = directory_words.on_the_form(error)
        return _form(token, proof, accounts, chosen=account.username, **told), directory_words.status_of(error)
    return _done(account, proof)


def _set(proof: Proof, account: Account, password: str, *, local: bool) -> None:
    """Use the proof up and set the password where it is kept.

    Raises:
        ProofUnusable, DirectoryError: nothing was changed, and a proof that could be used still can.
    """
    bridge = runtime()
    whom = _population(proof)

    def claim(session: Session, now: datetime) -> Account:
        return lost_identifiers.claim_for(session, proof, account.id, whom, now=now, origin=origin())

    directory = bridge.directory_of(account)
    if local:
        password_hash, now = bridge.hashing.hash(password), bridge.clock()
        with bridge.database.begin() as session:
            set_password(session, bridge, claim(session, now), password_hash, event=EVENT, now=now, origin=origin())
    elif directory is not None:
        set_in_directory(bridge, directory, password, claim=claim, proof=proof, event=EVENT, origin=origin())
    else:
        raise proofs.ProofCancelled(proof)  # the settings have changed since


def _population(proof: Proof) -> Population:
    choice = choice_named(runtime(), lost_identifiers.read_sought(proof.sought)[0])
    if choice is None:
        raise proofs.ProofCancelled(proof)  # the settings have changed since
    return population(runtime(), choice)


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
            if accounts := lost_identifiers.offered(session, proof, _population(proof)):
                return accounts
    raise proofs.ProofCancelled(proof)


def _form(
    token: str,
    proof: Proof,
    accounts: list[Account],
    *,
    chosen: str = "",
    refused: NewPasswordRefused | None = None,
    username_error: str | None = None,
    trouble: str | None = None,
) -> str:
    return render_template(
        "lost/choose.html",
        action=f"{PATH}/{token}",
        usernames=[account.username for account in accounts],
        chosen=chosen,
        minimum=runtime().settings.passwords.fewest,
        refused=refused,
        username_error=username_error,
        error=username_error or (refused.first if refused else None),
        trouble=trouble,
        deadline=deadline(proof.expires_at),
    )


def _done(account: Account, proof: Proof) -> str:
    """Which door to choose now."""
    bridge = runtime()
    with bridge.database.read() as session:
        identities = session.get_one(Account, account.id).identities
        door = next((known for one in identities if (known := bridge.settings.upstream(one.issuer))), None)
    door = door or bridge.settings.upstream(bridge.settings.profile(account.profile).issuer or "")
    return render_template(
        "lost/done.html",
        username=account.username,
        door=text_in((door or bridge.settings.local).title, current_locale()),
        sign_in_url=f"/signin/{door.issuer if door else 'local'}{onward_query(registered_service(proof.service))}",
    )


def _over(token: str, error: ProofUnusable) -> ResponseReturnValue:
    if isinstance(error, ProofUsed):
        return render_template("reset/used.html", sign_in_url="/", search_url=PATH), 410
    if isinstance(error, ProofExpired):
        resend = f"{PATH}/{token}/resend"
        return render_template("confirm/expired.html", resend_action=resend, assistance_url=ASSISTANCE), 410
    return invalid(410)


def invalid(status: int) -> ResponseReturnValue:
    return render_template("forgot/invalid.html", search_url=PATH, assistance_url=ASSISTANCE), status
