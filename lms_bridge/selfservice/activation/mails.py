"""The mails of an activation, written behind the pages: the first one, and the answer to whoever asked (I3).

Both go to the private mailbox of the account. Somebody who has none gets nothing; the page told everybody whom to see.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy.orm import Session

from external_accounts import activation, audit, outbox, recovery, throttle
from external_accounts.activation import Standing, private_mailbox, standing
from external_accounts.schema import Account, Address, Proof
from lms_bridge.runtime import Runtime
from lms_bridge.settings.sections import text_in

log = structlog.get_logger(__name__)

FIRST = audit.Origin(actor="job:write_activation_mails")
AGAIN = audit.Origin(actor="job:answer_searches")
BATCH = 50
TRY_AGAIN = timedelta(minutes=1)
ELSEWHERE = "elsewhere"
"""What there is to activate is activated elsewhere."""


def write_first_mails(runtime: Runtime) -> int:
    """Write the first mails that are due, one transaction each. Returns how many accounts were dealt with."""
    for done in range(BATCH):
        now = runtime.clock()
        account_id = None
        try:
            with runtime.database.begin() as session:
                account = activation.next_announced(session, now)
                if account is None:
                    return done
                account_id = account.id
                _announce(session, runtime, account, now)
                account.activation_mail_due_at = None
        except Exception:  # one account that cannot be written to must not hold up the others
            if account_id is None:
                raise
            log.exception("activation.mail", account=account_id)
            with runtime.database.begin() as session:
                session.get_one(Account, account_id).activation_mail_due_at = now + TRY_AGAIN
    return BATCH


def _announce(session: Session, runtime: Runtime, account: Account, now: datetime) -> None:
    stands, address = standing(account, now), private_mailbox(account)
    outcome: str = stands
    if stands is Standing.OPEN and is_elsewhere(runtime, account):
        outcome = ELSEWHERE
    elif stands is Standing.OPEN:
        outcome = "no address" if address is None else "mailed"
        if address is not None:
            locale = account.language or runtime.settings.default_language
            mail_link(session, runtime, account, address, again=False, service=None, locale=locale, now=now)
    audit.record(session, "activation.announced", outcome=outcome, now=now, origin=FIRST, account_id=account.id)


def answer(session: Session, runtime: Runtime, request: Proof, now: datetime) -> None:
    """Look up what was typed, and write to the private mailbox of whom it means.

    The request remembers the link it led to, so that the code of the mail can be typed on the page that waits.
    """
    links = []
    for account in activation.sought_accounts(session, request.sought):
        stands, address = standing(account, now), private_mailbox(account)
        outcome: str = ELSEWHERE if stands is Standing.OPEN and is_elsewhere(runtime, account) else stands
        if outcome != Standing.OPEN:
            _tell(session, runtime, account, outcome, request, now)
        elif address is None:
            outcome = "no address"
        elif not _may_write(session, address.email_key, now):
            outcome = "over budget"
        else:
            outcome = "mailed"
            proof = mail_link(
                session,
                runtime,
                account,
                address,
                again=True,
                service=request.service,
                locale=request.locale,
                now=now,
            )
            links.append(proof.id)
        audit.record(session, "activation.answered", outcome=outcome, now=now, origin=AGAIN, account_id=account.id)
    request.details = {"links": links}


def mail_link(
    session: Session,
    runtime: Runtime,
    account: Account,
    address: Address,
    *,
    again: bool,
    service: str | None,
    locale: str,
    now: datetime,
) -> Proof:
    """The pending link of that mailbox, mailed unless it was less than a minute ago; `again`: not that of the first
    mail, but one that was asked for."""
    settings = runtime.settings
    proof, due = activation.link_to(
        session,
        runtime.keys,
        address,
        again=again,
        policy=settings.profile(account.profile).policy,
        zone=settings.zone,
        service=service,
        locale=locale,
        now=now,
    )
    if due:
        outbox.enqueue(
            session,
            "activate",
            address.email,
            locale=locale,
            now=now,
            mail_domain=settings.public_host,
            account_id=account.id,
            proof_id=proof.id,
            context={"username": account.username, "again": again},
        )
    return proof


def is_elsewhere(runtime: Runtime, account: Account) -> bool:
    """Whether its people sign in through a CAS with a password that the bridge cannot set."""
    return bool(runtime.settings.profile(account.profile).issuer) and runtime.directory_of(account) is None


def _tell(session: Session, runtime: Runtime, account: Account, stands: str, request: Proof, now: datetime) -> None:
    """There is nothing to activate: say why, and where one signs in, to the mailboxes of the account."""
    settings = runtime.settings
    profile = settings.profile(account.profile)
    door = settings.upstream(profile.issuer) if profile.issuer else None
    context: dict[str, Any] = {
        "username": account.username,
        "standing": stands,
        "recovery_url": door.recovery_url if door is not None else "",
        "door": text_in((door or settings.local).title, request.locale),
        "whom_to_see": text_in(profile.whom_to_see, request.locale),
    }
    for address in recovery.mailboxes(account):
        if _may_write(session, address.email_key, now):
            outbox.enqueue(
                session,
                "activation_over",
                address.email,
                locale=request.locale,
                now=now,
                mail_domain=settings.public_host,
                account_id=account.id,
                context=context,
            )


def _may_write(session: Session, email_key: str, now: datetime) -> bool:
    """Whether the mailbox has room in its budget (D12), however the account was asked for."""
    try:
        with session.begin_nested():
            throttle.reserve(session, [throttle.Use(throttle.PROOF_MAIL_ADDRESS, email_key)], now)
    except throttle.Throttled:
        return False
    return True
