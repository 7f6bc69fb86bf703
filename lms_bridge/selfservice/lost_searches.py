"""Answers searches for lost identifiers: looks up what was typed, and writes the mails.

It runs behind the pages (I3), one search a transaction (I8): see `lms_bridge.selfservice.searches`, which takes them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from external_accounts import audit, lost_identifiers, outbox, recovery, throttle
from external_accounts.accounts import Person
from external_accounts.lost_identifiers import Found, Mailbox, Population
from external_accounts.schema import Proof
from lms_bridge.runtime import Runtime
from lms_bridge.settings.people import LostIdentifier

JOB = audit.Origin(actor="job:answer_searches")


def choice_named(runtime: Runtime, name: str) -> LostIdentifier | None:
    """The answer to “Vous êtes” of that name, if there is one to choose."""
    return next((choice for choice in runtime.settings.lost_choices if choice.name == name), None)


def population(runtime: Runtime, choice: LostIdentifier) -> Population:
    """Whom a choice means."""
    settings = runtime.settings
    return Population(
        profiles=choice.profiles,
        by_sponsor=choice.mail_to == "sponsor",
        university_domains={domain for upstream in settings.upstreams for domain in upstream.trusted_domains},
        password_of=lambda session, account: recovery.password_of(session, account, runtime.held_in),
    )


def answer(session: Session, runtime: Runtime, search: Proof, now: datetime) -> None:
    """Look up one search, which is held, and write its mails."""
    name, text = lost_identifiers.read_sought(search.sought)
    choice = choice_named(runtime, name)
    if choice is None:
        return  # the settings have changed since
    for mailbox in lost_identifiers.look_up(session, text, population(runtime, choice)):
        if _may_write(session, mailbox.address.email_key, now):
            _write(session, runtime, search, choice, mailbox, now)


def _may_write(session: Session, email_key: str, now: datetime) -> bool:
    """Whether the mailbox has room in its budget (D12), however the account was asked for."""
    try:
        with session.begin_nested():
            throttle.reserve(session, [throttle.Use(throttle.PROOF_MAIL_ADDRESS, email_key)], now)
    except throttle.Throttled:
        return False
    return True


def _write(
    session: Session, runtime: Runtime, search: Proof, choice: LostIdentifier, mailbox: Mailbox, now: datetime
) -> None:
    proof = lost_identifiers.proof_for(session, runtime.keys, search, mailbox, now=now)
    own = choice.mail_to == "person"
    outbox.enqueue(
        session,
        "lost_identifier",
        mailbox.address.email,
        locale=search.locale,
        now=now,
        mail_domain=runtime.settings.public_host,
        account_id=mailbox.found[0].account.id if own and len(mailbox.found) == 1 else None,
        proof_id=proof.id if proof else None,
        context={"accounts": [_told(runtime, one) for one in mailbox.found], "responsible": not own},
    )
    for one in mailbox.found:
        audit.record(
            session,
            "lost_identifier.mailed",
            outcome="ok" if one.password else "identifier only",
            now=now,
            origin=JOB,
            account_id=one.account.id,
            proof_id=proof.id if proof else None,
            to=choice.mail_to,
        )


def _told(runtime: Runtime, one: Found) -> dict[str, Any]:
    """What the mail says of an account."""
    account = one.account
    door = next((known for i in account.identities if (known := runtime.settings.upstream(i.issuer))), None)
    return {
        "username": account.username,
        "name": Person(account.given_name, account.family_name).display_name,
        "suspended": account.suspended_at is not None,
        "activated": account.activated_at is not None,
        "password": bool(one.password),
        "recovery_url": door.recovery_url if door else "",
    }
