"""The last step of an activation: the password. It claims the link and does everything that was chosen, or nothing.

The password goes where it lives: into the directory of the account, or into our own database (Extérieurs). A directory
that does not do it leaves the link as good as before, and the answers where they were.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from flask import redirect, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from external_accounts import activation, directory_passwords
from external_accounts.activation import NotOpen
from external_accounts.activation_steps import Choices, Offer, Step, chosen, current, steps
from external_accounts.directory import Directory, DirectoryError
from external_accounts.identities import LOCAL
from external_accounts.proofs import ProofUnusable
from external_accounts.schema import Account, LocalPassword, Proof
from lms_bridge.i18n import current_locale
from lms_bridge.selfservice import confirm, directory_words
from lms_bridge.selfservice.activation.pages import PATH, once_more, over_page, state
from lms_bridge.selfservice.new_password import NewPasswordRefused, read_new_password, words_of
from lms_bridge.selfservice.proof_pages import send
from lms_bridge.selfservice.set_password import follow
from lms_bridge.web.request import origin, runtime

EVENT = "password.chosen"


def choose(token: str, proof: Proof) -> ResponseReturnValue:
    """Set the password and complete the activation; with `back`, go back."""
    bridge = runtime()
    with bridge.database.read() as session:
        if (page := over_page(session, token, proof)) is not None:
            return page
        account, offer, answers = state(session, proof)
        about = words_of(account)
    if "back" in request.form:
        path = steps(offer)
        return redirect(f"{PATH}/{token}/steps/{path[path.index(Step.PASSWORD) - 1]}", 303)
    choices = chosen(answers, offer)
    if choices is None:
        return redirect(f"{PATH}/{token}/steps/{current(answers, offer)}", 303)
    end = _End(proof, choices, offer, answers)
    try:
        password = read_new_password(request.form, bridge.settings, about=about)
        directory = bridge.directory_of(account)
        if directory is not None:
            end.with_password_in(directory, password)
        else:
            end.with_password_here(password)
    except NewPasswordRefused as refused:
        return once_more(token, proof, Step.PASSWORD, refused=refused), 422
    except DirectoryError as error:
        in_words = NewPasswordRefused((directory_words.in_words(error),))
        page = once_more(token, proof, Step.PASSWORD, refused=in_words)
        return page, directory_words.status_of(error)
    except (ProofUnusable, NotOpen):
        pass  # somebody was faster, or its time was over: the link's own page says which
    return redirect(f"{PATH}/{token}", 303)


class _End:
    """Everything the last step does, but for the password itself."""

    def __init__(self, proof: Proof, choices: Choices, offer: Offer, answers: dict[str, Any]) -> None:
        self._proof, self._choices, self._offer = proof, choices, offer
        accepted = answers.get("charter_at")
        self._charter_accepted_at = datetime.fromisoformat(accepted) if accepted else None

    def with_password_in(self, directory: Directory, password: str) -> None:
        bridge = runtime()
        directory_passwords.set_password(
            bridge.database,
            directory,
            password,
            event=EVENT,
            claim=self._claim,
            proof=self._proof,
            finish=self._complete,
            clock=bridge.clock,
            origin=origin(),
        )

    def with_password_here(self, password: str) -> None:
        bridge = runtime()
        hashed, now = bridge.hashing.hash(password), bridge.clock()
        with bridge.database.begin() as session:
            account = self._claim(session, now)
            stored = session.get(LocalPassword, account.id)
            if stored is None:
                session.add(LocalPassword(account_id=account.id, hash=hashed, set_at=now))
            else:
                stored.hash, stored.set_at = hashed, now
            self._complete(session, account, now)

    def _claim(self, session: Session, now: datetime) -> Account:
        return activation.claim(session, self._proof, now=now, origin=origin())

    def _complete(self, session: Session, account: Account, now: datetime) -> None:
        bridge = runtime()
        to_confirm = activation.complete(
            session,
            account,
            self._proof,
            self._choices,
            self._offer,
            issuer=bridge.settings.profile(account.profile).issuer or LOCAL,
            language=current_locale(),
            charter_accepted_at=self._charter_accepted_at,
            now=now,
            origin=origin(),
        )
        follow(session, bridge, account, event=EVENT, now=now, origin=origin(), notice="activated")
        if to_confirm is not None:
            send(
                session,
                confirm.FORWARDING,
                to_confirm,
                lifetime=timedelta(hours=bridge.settings.confirmation_hours),
                service=None,
                locale=current_locale(),
                now=now,
            )
