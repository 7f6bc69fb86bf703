"""A mailed link that sets a new password: for which account, twice the password, and the door to use it at.

Opening it changes nothing (I11). A password that is refused uses nothing up: the proof is claimed in the transaction
that sets one, or given back when a directory did not set it. Nobody is signed in by it (TOK-11).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from flask import render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from external_accounts import recovery
from external_accounts.directory import Directory, DirectoryError
from external_accounts.first_proof import drop_unproved
from external_accounts.proofs import ProofCancelled, ProofExpired, ProofUnusable, ProofUsed, state_of
from external_accounts.schema import Account, AccountId, LocalPassword, Proof
from lms_bridge.i18n import gettext as _
from lms_bridge.selfservice import directory_words
from lms_bridge.selfservice.new_password import NewPasswordRefused, read_new_password, words_of
from lms_bridge.selfservice.proof_pages import deadline
from lms_bridge.selfservice.set_password import set_in_directory, set_password
from lms_bridge.web.request import origin, runtime


@dataclass(frozen=True, slots=True)
class PasswordLink:
    """What one kind of these links has of its own."""

    path: str
    template: str
    """Of the form; its context is that of `reset/choose.html`."""
    event: str
    """What the audit trail calls the new password."""
    offered: Callable[[Session, Proof], list[Account]]
    """The accounts whose password the proof may still set, by name. Raises: ProofUnusable."""
    done: Callable[[Account, Proof], ResponseReturnValue]
    """The page that says so. The account can be read."""
    over: Callable[[str, ProofUnusable], ResponseReturnValue]
    """The page of a token that sets nothing any more, and what to do."""


def show(link: PasswordLink, token: str, proof: Proof) -> ResponseReturnValue:
    """The form."""
    with runtime().database.read() as session:
        try:
            accounts = _offered(link, session, proof)
        except ProofUnusable as error:
            return link.over(token, error)
        return _form(link, token, proof, accounts)


def choose(link: PasswordLink, token: str, proof: Proof) -> ResponseReturnValue:
    """Set the password that was typed."""
    bridge = runtime()
    chosen = request.form.get("username", "")
    with bridge.database.read() as session:
        try:
            accounts = _offered(link, session, proof)
        except ProofUnusable as error:
            return link.over(token, error)
        account = next((one for one in accounts if one.username == chosen), None)
        if account is None and len(accounts) > 1:
            error_text = _("Say for which account the new password is.")
            return _form(link, token, proof, accounts, username_error=error_text), 422
        account = account or accounts[0]
        kept_here = session.get(LocalPassword, account.id) is not None
        directory = None if kept_here else bridge.directory_of(account)
        try:
            password = read_new_password(request.form, bridge.settings, about=words_of(account))
        except NewPasswordRefused as refused:
            return _form(link, token, proof, accounts, chosen=account.username, refused=refused), 422
    try:
        _set(link, proof, account.id, password, directory)
    except ProofUnusable as error:
        return link.over(token, error)
    except DirectoryError as error:
        told = directory_words.on_the_form(error)
        page = _form(link, token, proof, accounts, chosen=account.username, **told)
        return page, directory_words.status_of(error)
    with bridge.database.read() as session:
        return link.done(session.get_one(Account, account.id), proof)


def _set(link: PasswordLink, proof: Proof, account_id: AccountId, password: str, directory: Directory | None) -> None:
    """Use the proof up and set the password where it is kept.

    Raises:
        ProofUnusable, DirectoryError: nothing was changed, and a proof that could be used still can.
    """
    bridge = runtime()

    def claim(session: Session, now: datetime) -> Account:
        return recovery.claim_for(session, proof, account_id, link.offered, now=now, origin=origin())

    if directory is not None:
        set_in_directory(
            bridge,
            directory,
            password,
            claim=claim,
            proof=proof,
            event=link.event,
            origin=origin(),
            also=_forget_what_nobody_confirmed,
        )
        return
    password_hash, now = bridge.hashing.hash(password), bridge.clock()
    with bridge.database.begin() as session:
        account = claim(session, now)
        set_password(session, bridge, account, password_hash, event=link.event, now=now, origin=origin())
        _forget_what_nobody_confirmed(session, account, now)


def _forget_what_nobody_confirmed(session: Session, account: Account, now: datetime) -> None:
    drop_unproved(session, account, now=now, origin=origin())


def _offered(link: PasswordLink, session: Session, proof: Proof) -> list[Account]:
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
            if accounts := link.offered(session, proof):
                return accounts
    raise ProofCancelled(proof)


def _form(
    link: PasswordLink,
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
        link.template,
        action=f"{link.path}/{token}",
        usernames=[account.username for account in accounts],
        chosen=chosen,
        minimum=runtime().settings.passwords.fewest,
        refused=refused,
        trouble=trouble,
        username_error=username_error,
        error=username_error or trouble or (refused.first if refused else None),
        deadline=deadline(proof.expires_at),
    )
