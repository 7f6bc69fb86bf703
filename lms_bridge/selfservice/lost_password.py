"""The link of a mail about lost identifiers: the identifier, and a new password where the account's is kept.

See `lms_bridge.selfservice.password_link`.
"""

from __future__ import annotations

from flask import render_template
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from external_accounts import lost_identifiers, proofs
from external_accounts.proofs import FoundProof, ProofCancelled, ProofExpired, ProofUnknown, ProofUnusable, ProofUsed
from external_accounts.schema import Account, Proof
from lms_bridge.i18n import current_locale
from lms_bridge.selfservice.lost_searches import choice_named, population
from lms_bridge.selfservice.password_link import PasswordLink
from lms_bridge.selfservice.proof_pages import registered_service
from lms_bridge.settings.sections import text_in
from lms_bridge.signin.doors import onward_query
from lms_bridge.web.request import runtime

PATH = "/perte-identifiant"
ASSISTANCE = "/assistance?subject=lost_identifier"


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


def _offered(session: Session, proof: Proof) -> list[Account]:
    choice = choice_named(runtime(), lost_identifiers.read_sought(proof.sought)[0])
    if choice is None:
        raise ProofCancelled(proof)  # the settings have changed since
    return lost_identifiers.offered(session, proof, population(runtime(), choice))


def _done(account: Account, proof: Proof) -> str:
    """Which door to choose now."""
    settings = runtime().settings
    door = next((known for one in account.identities if (known := settings.upstream(one.issuer))), None)
    door = door or settings.upstream(settings.profile(account.profile).issuer or "")
    return render_template(
        "lost/done.html",
        username=account.username,
        door=text_in((door or settings.local).title, current_locale()),
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


LINK = PasswordLink(
    PATH, template="lost/choose.html", event="password.recovered", offered=_offered, done=_done, over=_over
)
