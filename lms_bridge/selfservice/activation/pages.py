"""The pages of the steps: which one a link shows, and what stands on it. Nothing here changes anything."""

from __future__ import annotations

from typing import Any

from flask import render_template
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from external_accounts import activation, proofs
from external_accounts.activation import Standing, private_mailbox, standing
from external_accounts.activation_steps import Offer, Step, current, steps
from external_accounts.addresses import mask_address
from external_accounts.proofs import ProofUnknown, state_of
from external_accounts.schema import Account, Proof
from lms_bridge.i18n import current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.selfservice.activation import over
from lms_bridge.selfservice.activation.offer import NAMES, offer_for, stepper, university_address
from lms_bridge.selfservice.new_password import NewPasswordRefused
from lms_bridge.selfservice.proof_pages import deadline
from lms_bridge.settings.sections import text_in
from lms_bridge.web.request import current as signed_in
from lms_bridge.web.request import runtime

PATH = "/account/activate"


def begin(token: str, proof: Proof) -> ResponseReturnValue:
    """The link was opened: on where it was, whichever device that is."""
    with runtime().database.read() as session:
        if (page := over_page(session, token, proof)) is not None:
            return page
        account, offer, answers = state(session, proof)
        return step_page(token, proof, account, offer, answers, current(answers, offer))


def link_proof(token: str) -> Proof:
    bridge = runtime()
    with bridge.database.read() as session:
        found = proofs.look_at(session, bridge.keys, token)
    if found.by != "link" or found.proof.purpose not in activation.LINKS:
        raise ProofUnknown
    return found.proof


def state(session: Session, proof: Proof) -> tuple[Account, Offer, dict[str, Any]]:
    account = session.get_one(Account, proof.account_id)
    return account, offer_for(runtime().settings, account), activation.draft_of(session, proof)


def over_page(session: Session, token: str, proof: Proof) -> ResponseReturnValue | None:
    """The page that says why nothing can be done with the link now; None when something can."""
    now = runtime().clock()
    account = session.get_one(Account, proof.account_id)
    state, stands = state_of(proof, now), standing(account, now)
    if stands is Standing.ACTIVE and state == "claimed":
        return over.used(session, proof, account, now)
    if stands is not Standing.OPEN:
        return over.not_open(account, stands)
    if state == "expired":
        return over.expired(token)
    if state == "pending" and (not proof.email_key or _still_theirs(account, proof)):
        return None
    return over.invalid(410)


def _still_theirs(account: Account, proof: Proof) -> bool:
    return any((one.id, one.email_key) == (proof.address_id, proof.email_key) for one in account.addresses)


def once_more(
    token: str, proof: Proof, step: Step, *, error: str | None = None, refused: NewPasswordRefused | None = None
) -> str:
    """The same page again, with what is wrong; what was typed is in the draft."""
    with runtime().database.read() as session:
        return step_page(token, proof, *state(session, proof), step, error=error, refused=refused)


def step_page(
    token: str,
    proof: Proof,
    account: Account,
    offer: Offer,
    answers: dict[str, Any],
    step: Step,
    *,
    error: str | None = None,
    refused: NewPasswordRefused | None = None,
) -> str:
    bridge = runtime()
    settings, locale = bridge.settings, current_locale()
    path, every = f"{PATH}/{token}/steps", steps(offer)
    profile = settings.profile(account.profile)
    private = private_mailbox(account)
    person = signed_in()
    return render_template(
        f"activation/{step}.html",
        steps=stepper(path, step, answers, offer),
        step_name=_(NAMES[step]),
        number=every.index(step) + 1,
        total=len(every),
        action=f"{path}/{step}",
        first=step is every[0],
        deadline=deadline(proof.expires_at),
        by_mail=bool(proof.email_key),
        answers=answers,
        error=error or (refused.first if refused else None),
        refused=refused,
        minimum=settings.passwords.fewest,
        username=account.username,
        display_name=f"{account.given_name} {account.family_name}".strip(),
        profile_label=text_in(profile.label, locale),
        unit=account.unit,
        private_mailbox=mask_address(private.email) if private is not None else None,
        whom_to_see=text_in(profile.whom_to_see, locale),
        charter_title=text_in(settings.charter.title, locale) if settings.charter else None,
        charter_url=settings.charter.url if settings.charter else None,
        mailbox=offer.mailbox,
        mailbox_text=text_in(settings.mailbox.text, locale),
        mailbox_url=settings.mailbox.url,
        university_address=university_address(account),
        recovery_address=private.email if private is not None else "",
        somebody_else=person is not None and person.facts.account_id != account.id,
    )
