"""Answers searches for forgotten accounts: looks up what was typed, and writes the mails.

It runs behind the pages, because what it finds must not be felt in front of them (I3). A search and its mails are
settled in one transaction (I8): a runner that dies leaves the search to the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy.orm import Session

from external_accounts import activation, audit, lost_identifiers, outbox, recovery, throttle
from external_accounts.accounts import Person
from external_accounts.recovery import Found
from external_accounts.schema import Address, Proof
from lms_bridge.runtime import Runtime
from lms_bridge.selfservice import lost_searches
from lms_bridge.selfservice.activation import mails
from lms_bridge.settings.sections import text_in

log = structlog.get_logger(__name__)

BATCH = 20
TRY_AGAIN = timedelta(minutes=1)
JOB = audit.Origin(actor="job:answer_searches")


ANSWERS = {activation.REQUEST: mails.answer, lost_identifiers.SEEK_IDENTIFIER: lost_searches.answer}
"""Who answers a search that is for something else than a password."""


def answer_due(runtime: Runtime, *, now: datetime) -> int:
    """Answer what waits. Returns how many searches were taken."""
    for done in range(BATCH):
        proof_id = None
        try:
            with runtime.database.begin() as session:
                proof = recovery.next_search(session, now)
                if proof is None:
                    return done
                proof_id = proof.id
                ANSWERS.get(proof.purpose, _answer)(session, runtime, proof, now)
                proof.search_due_at = None
        except Exception:  # one search that cannot be answered must not hold up the others
            if proof_id is None:
                raise
            log.exception("recovery.search", proof=proof_id)
            with runtime.database.begin() as session:
                session.get_one(Proof, proof_id).search_due_at = now + TRY_AGAIN
    return BATCH


def _answer(session: Session, runtime: Runtime, proof: Proof, now: datetime) -> None:
    found = recovery.look_up(session, proof.sought, runtime.held_in)
    recovery.remember(runtime.keys, proof, found, now)
    if not found:
        _tell_unknown(session, runtime, proof, now)
        return
    by_name = len(found) == 1
    boxes = found[0].mailboxes if by_name else (_stored_form(found),)
    for address in boxes:
        if not _may_write(session, address.email_key, now):
            continue
        _enqueue(
            session,
            runtime,
            proof,
            "reset_password",
            address.email,
            now,
            account_id=found[0].account.id if by_name else None,
            with_proof=any(one.password for one in found),
            context=_context(runtime, found, proof.locale),
        )
    for one in found:
        audit.record(
            session,
            "recovery.mailed",
            outcome=_kept(runtime, one),
            now=now,
            origin=JOB,
            account_id=one.account.id,
            proof_id=proof.id,
        )


def _kept(runtime: Runtime, one: Found) -> str:
    """Where the password is, for the audit trail."""
    if not one.password:
        return "elsewhere"
    return "directory" if runtime.held_in(one.account) else "local"


def _stored_form(found: Sequence[Found]) -> Address:
    """The one stored form of a mailbox that several accounts share (D34): one that was confirmed goes first."""
    addresses = [address for one in found for address in one.mailboxes]
    return min(addresses, key=lambda address: (address.confirmed_at is None, address.id))


def _context(runtime: Runtime, found: Sequence[Found], locale: str) -> dict[str, Any]:
    return {
        "accounts": [
            {
                "username": one.account.username,
                "name": Person(one.account.given_name, one.account.family_name).display_name,
                "suspended": one.account.suspended_at is not None,
            }
            for one in found
            if one.password
        ],
        "members": [
            {"username": one.account.username, **_door_of(runtime, one, locale)} for one in found if not one.password
        ],
    }


def _door_of(runtime: Runtime, member: Found, locale: str) -> dict[str, Any]:
    """Where an account whose password cannot be set by this mail gets one."""
    if runtime.held_in(member.account) and member.account.activated_at is None:
        return {"to_activate": True}
    for identity in member.account.identities:
        if door := runtime.settings.upstream(identity.issuer):
            return {"door": text_in(door.title, locale), "recovery_url": door.recovery_url}
    return {"door": "", "recovery_url": ""}


def _tell_unknown(session: Session, runtime: Runtime, proof: Proof, now: datetime) -> None:
    """The polite mail to a typed address that nobody here has, if the university wants it."""
    kind, _, text = proof.sought.partition(":")
    if not runtime.settings.recovery.tell_unknown or kind != "email" or "@" not in text:
        return
    if _may_write(session, text, now, throttle.Use(throttle.UNKNOWN_MAIL, "")):
        _enqueue(session, runtime, proof, "no_account", text, now, with_proof=False)


def _may_write(session: Session, email_key: str, now: datetime, *more: throttle.Use) -> bool:
    """Whether the mailbox has room in its budget (D12), however the account was asked for."""
    try:
        with session.begin_nested():
            throttle.reserve(session, [throttle.Use(throttle.PROOF_MAIL_ADDRESS, email_key), *more], now)
    except throttle.Throttled:
        return False
    return True


def _enqueue(
    session: Session,
    runtime: Runtime,
    proof: Proof,
    template: str,
    recipient: str,
    now: datetime,
    *,
    with_proof: bool,
    account_id: int | None = None,
    context: dict[str, Any] | None = None,
) -> None:
    outbox.enqueue(
        session,
        template,
        recipient,
        locale=proof.locale,
        now=now,
        mail_domain=runtime.settings.public_host,
        account_id=account_id,
        proof_id=proof.id if with_proof else None,
        context=context,
    )
