"""The last step of a registration: names, charter, user name, password. Then there is an account."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from flask import render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from external_accounts.accounts import Person, UsernameRefused, UsernameTaken
from external_accounts.registration_outcome import (
    AddressHasAccount,
    Choice,
    RegistrationOver,
    check_open,
    complete,
)
from external_accounts.schema import Account, Proof, Registration
from external_accounts.usernames import free_username, read_local_username
from lms_bridge.i18n import current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.selfservice.new_password import NewPasswordRefused, read_new_password, words_about
from lms_bridge.selfservice.proof_pages import deadline, registered_service
from lms_bridge.selfservice.register_form import name_errors, read_name
from lms_bridge.settings.sections import Charter, text_in
from lms_bridge.signin.doors import onward_query
from lms_bridge.web.request import origin, runtime

PATH = "/account/register"


@dataclass(frozen=True, slots=True)
class LastStep:
    """The fields of the page, and what is wrong with each."""

    person: Person
    username: str
    errors: Mapping[str, str] = field(default_factory=dict)
    refused: NewPasswordRefused | None = None
    """What is wrong with the password."""


def show(session: Session, token: str, row: Registration, now: datetime) -> ResponseReturnValue:
    """The form, its user name proposed."""
    try:
        check_open(row, now)
    except RegistrationOver:
        return _over()
    person = Person(row.given_name, row.family_name)
    return _page(token, row, LastStep(person, propose_username(session, person)))


def propose_username(session: Session, person: Person) -> str:
    bridge = runtime()
    return free_username(
        session,
        bridge.settings.registration.username_form,
        person,
        space=bridge.local_names,
        reserved=bridge.settings.help_desk.usernames,
    )


def finish(token: str, proof: Proof, now: datetime) -> ResponseReturnValue:
    """Make the account of what was typed, or say what is wrong. Nothing is used up before everything is right.

    Raises:
        ProofExpired, ProofUsed, ProofCancelled: the link is over.
    """
    bridge = runtime()
    with bridge.database.read() as session:
        row = session.get_one(Registration, proof.registration_id)
        try:
            check_open(row, now)
        except RegistrationOver:
            return _over()
        person = Person(read_name(request.form.get("given_name", "")), read_name(request.form.get("family_name", "")))
        chosen = bridge.settings.registration.username_choice
        username = request.form.get("username", "").strip()[:100] if chosen else propose_username(session, person)
    charter = charter_to_accept(row)
    errors = name_errors(person) | _username_errors(username)
    if charter is not None and not request.form.get("charter"):
        errors["charter"] = _("Tick the box if you accept the charter.")
    password, refused = _read_password(words_about(person.given_name, person.family_name, username, row.email))
    if errors or password is None:
        return _page(token, row, LastStep(person, username, errors, refused)), 422
    choice = Choice(
        person=person,
        username=username,
        password_hash=bridge.hashing.hash(password),  # before the transaction: it takes a while
        charter_version=charter.version if charter else "",
        language=current_locale(),
    )
    try:
        with bridge.database.begin() as session:
            account = complete(
                session,
                proof.id,
                choice,
                space=bridge.local_names,
                reserved=bridge.settings.help_desk.usernames,
                now=now,
                origin=origin(),
            )
            return _done(account, row)
    except (UsernameTaken, IntegrityError):
        with bridge.database.read() as session:
            other = propose_username(session, person)
        errors["username"] = _("This user name is taken. “%(other)s” is free.", other=other)
        return _page(token, row, LastStep(person, username, errors)), 422
    except AddressHasAccount as error:
        return _has_account(error, row), 409
    except RegistrationOver:
        return _over()


def _read_password(about: list[str]) -> tuple[str | None, NewPasswordRefused | None]:
    try:
        return read_new_password(request.form, runtime().settings, about=about), None
    except NewPasswordRefused as refused:
        return None, refused


def _username_errors(username: str) -> dict[str, str]:
    bridge = runtime()
    try:
        read_local_username(username, space=bridge.local_names)
    except UsernameRefused:
        example = bridge.settings.registration.username_form.format(given="prenom", family="nom")
        return {
            "username": _(
                "A user name is like “%(example)s”: small letters without accents, digits, dots and hyphens.",
                example=example,
            )
        }
    return {}


def charter_to_accept(row: Registration) -> Charter | None:
    """The charter in force, unless it was accepted with the request."""
    charter = runtime().settings.charter
    return charter if charter is not None and charter.version != row.charter_version else None


def _page(token: str, row: Registration, step: LastStep) -> str:
    settings = runtime().settings
    charter = charter_to_accept(row)
    return render_template(
        "register/account.html",
        action=f"{PATH}/{token}",
        email=row.email,
        step=step,
        username_choice=settings.registration.username_choice,
        minimum=settings.passwords.fewest,
        charter_title=text_in(charter.title, current_locale()) if charter else None,
        charter_url=charter.url if charter else None,
        rights_end=deadline(row.rights_end_at) if row.rights_end_at else None,
    )


def _sign_in_url(row: Registration) -> str:
    return f"/signin/local{onward_query(registered_service(row.service))}"


def _done(account: Account, row: Registration) -> str:
    return render_template(
        "register/done.html", username=account.username, email=row.email, sign_in_url=_sign_in_url(row)
    )


def _has_account(error: AddressHasAccount, row: Registration) -> str:
    return render_template(
        "register/progress.html", state="done", until=None, username=error.username, sign_in_url=_sign_in_url(row)
    )


def _over() -> ResponseReturnValue:
    return render_template("register/invalid.html", register_url=None), 410
