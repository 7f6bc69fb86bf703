"""My password: the current one, then the new one twice, kept here or in a directory the bridge reaches. Other members
of the university are told where theirs is changed."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from flask import Blueprint, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from external_accounts.accounts import lock_account
from external_accounts.directory import Directory, DirectoryError
from external_accounts.directory_passwords import set_at
from external_accounts.identities import LOCAL
from external_accounts.schema import Account, AccountId, LocalPassword
from external_accounts.throttle import Throttled
from lms_bridge.i18n import current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.selfservice import directory_words
from lms_bridge.selfservice.account.identity import signed_in
from lms_bridge.selfservice.new_password import NewPasswordRefused, read_new_password, words_of
from lms_bridge.selfservice.set_password import set_in_directory, set_password
from lms_bridge.settings.sections import text_in
from lms_bridge.signin import local, sessions
from lms_bridge.signin.sessions import CurrentSession
from lms_bridge.sync.mirrors import ask_for_sign_out
from lms_bridge.web import cookies
from lms_bridge.web.request import origin, parameter, runtime

pages = Blueprint("password", __name__, url_prefix="/account/password")


@pages.get("")
def show() -> ResponseReturnValue:
    return _page()


def _page(
    *,
    wrong: str | None = None,
    refused: NewPasswordRefused | None = None,
    trouble: str | None = None,
    throttled: int | None = None,
) -> str:
    person = signed_in()
    settings = runtime().settings
    door = settings.upstream(person.issuer) if _directory(person) is None else None
    return render_template(
        "account/password.html",
        recovery_url=door.recovery_url if door is not None else None,
        door_label=text_in(door.title, current_locale()) if door is not None else None,
        username=person.facts.username,
        minimum=settings.passwords.fewest,
        wrong=wrong,
        refused=refused,
        throttled=throttled,
        trouble=trouble,
        everywhere=person.issuer != LOCAL,
        error=wrong or trouble or (refused.first if refused else None),
        done=parameter("done") == "changed",
    )


@pages.post("")
def change() -> ResponseReturnValue:
    """Change it: then every other session ends, this one goes on under a new secret, and the addresses are told."""
    person = signed_in()
    directory = _directory(person)
    if person.issuer != LOCAL and directory is None:
        return redirect("/account/password", 303)
    bridge = runtime()
    try:
        secret = _change_here(person) if directory is None else _change_there(person, directory)
    except Throttled as throttled:
        return _page(throttled=throttled.retry_after), 429, [("Retry-After", str(throttled.retry_after))]
    except local.BadCredentials:
        return _page(wrong=_("This is not your password.")), 401
    except NewPasswordRefused as refused:
        return _page(refused=refused), 422
    except DirectoryError as error:
        return _page(**directory_words.on_the_form(error)), directory_words.status_of(error)
    except sessions.SessionOver:
        return redirect("/", 303)
    response = make_response(redirect("/account/password?done=changed", 303))
    cookies.put(response, bridge.settings, "session", secret)
    return response


def _directory(person: CurrentSession) -> Directory | None:
    """The directory that holds the password of somebody who did not come by the Extérieurs door."""
    if person.issuer == LOCAL:
        return None
    with runtime().database.read() as session:
        return runtime().directory_of(session.get_one(Account, person.facts.account_id))


def _change_here(person: CurrentSession) -> str:
    """Returns the session's new secret."""
    bridge = runtime()
    now = bridge.clock()
    account_id = person.facts.account_id
    shown = local.check_password(bridge, account_id, request.form.get("current_password", ""), origin=origin(), now=now)
    new = bridge.hashing.hash(_new_password(account_id))
    with bridge.database.begin() as session:
        account = lock_account(session, account_id)
        if session.get_one(LocalPassword, account_id).hash != shown:
            raise local.BadCredentials  # changed meanwhile, elsewhere
        set_password(
            session,
            bridge,
            account,
            new,
            event="password.changed",
            now=now,
            origin=origin(),
            keep=person.id,
        )
        secret = sessions.renew(session, person, now=now, origin=origin())
        ask_for_sign_out(session, account_id)
    return secret


def _change_there(person: CurrentSession, directory: Directory) -> str:
    """Returns the session's new secret."""
    bridge = runtime()
    account_id = person.facts.account_id
    with bridge.database.read() as session:
        known = set_at(session, account_id)
    local.check_in_directory(
        bridge,
        directory,
        account_id,
        person.facts.username,
        request.form.get("current_password", ""),
        origin=origin(),
        now=bridge.clock(),
    )
    new = _new_password(account_id)
    secret = ""

    def claim(session: Session, _now: datetime) -> Account:
        account = lock_account(session, account_id)
        if set_at(session, account_id) != known:
            raise local.BadCredentials  # changed meanwhile, elsewhere
        return account

    def renew(session: Session, _account: Account, now: datetime) -> None:
        nonlocal secret
        with suppress(sessions.SessionOver):  # the password is set all the same
            secret = sessions.renew(session, person, now=now, origin=origin())
        ask_for_sign_out(session, account_id)

    set_in_directory(
        bridge,
        directory,
        new,
        claim=claim,
        proof=None,
        event="password.changed",
        origin=origin(),
        also=renew,
        keep=person.id,
    )
    if not secret:
        raise sessions.SessionOver
    return secret


def _new_password(account_id: AccountId) -> str:
    bridge = runtime()
    with bridge.database.read() as session:
        about = words_of(session.get_one(Account, account_id))
    return read_new_password(request.form, bridge.settings, about=about)
