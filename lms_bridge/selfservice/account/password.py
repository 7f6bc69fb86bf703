"""My password: the current one, then the new one twice. Members of the university are told where theirs is changed."""

from __future__ import annotations

from flask import Blueprint, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue

from external_accounts.accounts import lock_account
from external_accounts.identities import LOCAL
from external_accounts.schema import Account, LocalPassword
from external_accounts.throttle import Throttled
from lms_bridge.i18n import current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.selfservice.account.identity import signed_in
from lms_bridge.selfservice.new_password import NewPasswordRefused, read_new_password, words_of
from lms_bridge.selfservice.set_password import set_password
from lms_bridge.settings.sections import text_in
from lms_bridge.signin import local, sessions
from lms_bridge.sync.mirrors import ask_for_sign_out
from lms_bridge.web import cookies
from lms_bridge.web.request import origin, parameter, runtime

pages = Blueprint("password", __name__, url_prefix="/account/password")


@pages.get("")
def show() -> ResponseReturnValue:
    return _page()


def _page(*, wrong: str | None = None, refused: NewPasswordRefused | None = None, throttled: int | None = None) -> str:
    person = signed_in()
    settings = runtime().settings
    door = settings.upstream(person.issuer)
    return render_template(
        "account/password.html",
        recovery_url=door.recovery_url if door is not None else None,
        door_label=text_in(door.title, current_locale()) if door is not None else None,
        username=person.facts.username,
        minimum=settings.passwords.fewest,
        wrong=wrong,
        refused=refused,
        throttled=throttled,
        error=wrong or (refused.first if refused else None),
        done=parameter("done") == "changed",
    )


@pages.post("")
def change() -> ResponseReturnValue:
    """Change it: then every other session ends, this one goes on under a new secret, and the addresses are told."""
    person = signed_in()
    if person.issuer != LOCAL:
        return redirect("/account/password", 303)
    bridge = runtime()
    now = bridge.clock()
    account_id = person.facts.account_id
    wrong = _("This is not your password.")
    try:
        shown = local.check_password(
            bridge, account_id, request.form.get("current_password", ""), origin=origin(), now=now
        )
        with bridge.database.read() as session:
            about = words_of(session.get_one(Account, account_id))
        new = bridge.hashing.hash(read_new_password(request.form, bridge.settings, about=about))
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
    except Throttled as throttled:
        return _page(throttled=throttled.retry_after), 429, [("Retry-After", str(throttled.retry_after))]
    except local.BadCredentials:
        return _page(wrong=wrong), 401
    except NewPasswordRefused as refused:
        return _page(refused=refused), 422
    except sessions.SessionOver:
        return redirect("/", 303)
    response = make_response(redirect("/account/password?done=changed", 303))
    cookies.put(response, bridge.settings, "session", secret)
    return response
