"""The link of a recovery mail: the user name, and a new password. See `lms_bridge.selfservice.password_link`."""

from __future__ import annotations

from flask import Blueprint, abort, render_template
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from external_accounts import proofs, recovery
from external_accounts.identities import LOCAL
from external_accounts.proofs import ProofExpired, ProofUnknown, ProofUnusable, ProofUsed
from external_accounts.schema import Account, Proof
from lms_bridge.selfservice import forgot, password_link
from lms_bridge.selfservice.password_link import PasswordLink
from lms_bridge.selfservice.proof_pages import onward, registered_service
from lms_bridge.signin.doors import onward_query
from lms_bridge.web.request import runtime

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
    return password_link.show(LINK, token, _proof(token))


@pages.post("/<token>")
def choose(token: str) -> ResponseReturnValue:
    return password_link.choose(LINK, token, _proof(token))


def _proof(token: str) -> Proof:
    bridge = runtime()
    with bridge.database.read() as session:
        found = proofs.look_at(session, bridge.keys, token)
    if found.by != "link" or found.proof.purpose != recovery.RESET_PASSWORD:
        raise ProofUnknown
    return found.proof


def _offered(session: Session, proof: Proof) -> list[Account]:
    return recovery.offered(session, proof, runtime().held_in)


def _done(account: Account, proof: Proof) -> str:
    return render_template(
        "reset/done.html",
        username=account.username,
        sign_in_url=forgot.sign_in_url(registered_service(proof.service), _door(account)),
        service_label=onward(proof)["service_label"],
    )


def _door(account: Account) -> str:
    """Where a new password of the account is used."""
    # With a password kept here it is that one that is set, whatever other ways in there are.
    issuers = sorted((identity.issuer for identity in account.identities), key=lambda issuer: issuer != LOCAL)
    return next(iter(issuers), None) or runtime().settings.profile(account.profile).issuer or LOCAL


def _over(token: str, error: ProofUnusable) -> ResponseReturnValue:
    service = registered_service(error.proof.service) if error.proof else None
    if isinstance(error, ProofUsed):
        page = render_template("reset/used.html", sign_in_url=forgot.sign_in_url(service), search_url=forgot.PATH)
        return page, 410
    if isinstance(error, ProofExpired):
        resend = f"{forgot.PATH}/{token}/resend{onward_query(service)}"
        return render_template("confirm/expired.html", resend_action=resend, assistance_url=forgot.ASSISTANCE), 410
    return _invalid(410)


def _invalid(status: int) -> ResponseReturnValue:
    return render_template("forgot/invalid.html", search_url=forgot.PATH), status


LINK = PasswordLink(
    PATH, template="reset/choose.html", event="password.reset", offered=_offered, done=_done, over=_over
)
