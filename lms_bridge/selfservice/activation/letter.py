"""“I have a letter”: identifier and code of an account letter open the activation steps.

Whatever was typed takes the same work, and what does not fit gets one answer (I3): see `external_accounts.letters`.
"""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request
from flask.typing import ResponseReturnValue

from external_accounts import audit, letters, throttle
from external_accounts.activation import NotOpen, Standing
from external_accounts.identities import canonical_identifier
from external_accounts.letters import LetterRefused
from external_accounts.throttle import Use
from lms_bridge.i18n import current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.selfservice.activation.pages import PATH
from lms_bridge.selfservice.proof_pages import registered_service
from lms_bridge.signin.doors import onward_query
from lms_bridge.web.budgets import of_network
from lms_bridge.web.request import origin, parameter, runtime

pages = Blueprint("activation_letter", __name__, url_prefix=f"{PATH}/letter")

LONGEST = 254


@pages.get("")
def form() -> ResponseReturnValue:
    return _page(registered_service(parameter("service")))


@pages.post("")
def enter() -> ResponseReturnValue:
    """Raises: Throttled, before anything is looked up."""
    bridge = runtime()
    now = bridge.clock()
    service = registered_service(request.form.get("service"))
    typed = request.form.get("identifier", "").strip()[:LONGEST]
    code = request.form.get("code", "")
    network = of_network(throttle.SIGN_IN_NETWORK, campus=throttle.SIGN_IN_CAMPUS)
    with bridge.database.begin() as session:
        throttle.reserve(session, [network, Use(throttle.LETTER_IDENTIFIER, canonical_identifier(typed))], now)
    typed_hash = letters.code_hash(typed, code)
    try:
        with bridge.database.begin() as session:
            keys = letters.open_by_code(
                session,
                bridge.keys,
                typed_hash,
                policy_of=lambda account: bridge.settings.profile(account.profile).policy,
                zone=bridge.settings.zone,
                service=service,
                locale=current_locale(),
                now=now,
                origin=origin(),
            )
    except LetterRefused:
        with bridge.database.begin() as session:
            audit.record(session, "letter.typed", outcome="wrong", now=now, origin=origin())
        error = _("This identifier and this code do not belong together, or the letter is too old or replaced.")
        return _page(service, typed=typed, error=error), 422
    except NotOpen as error:
        return _page(service, typed=typed, error=_not_open(error.standing)), 409
    return redirect(f"{PATH}/{keys.link_token}", 303)


def _not_open(stands: Standing) -> str:
    if stands is Standing.ACTIVE:
        return _("This account is active already: sign in, or ask for a new password.")
    return _("This account cannot be activated at the moment. Ask the help desk: the address is below.")


def _page(service: str | None, *, typed: str = "", error: str | None = None) -> str:
    return render_template(
        "activation/letter.html",
        letter_action=f"{PATH}/letter",
        service=service,
        typed=typed,
        letter_error=error,
        ask_url=f"{PATH}{onward_query(service)}",
    )
