"""The outbox: mails wait here, written with the change they tell about, until a mail server has taken them (I8).

Delivery works by lease: a runner takes a row for some minutes, and if it dies the row is taken over when the lease
ends. A mail server's temporary refusal is tried again, longer and longer; a permanent one ends the row and is kept for
people to see. Mail is never sent inside a request (I3): a request only writes the row.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from external_accounts.schema import AccountId, OutboxMail

LEASE = timedelta(minutes=2)
FIRST_RETRY = timedelta(seconds=15)
LONGEST_RETRY = timedelta(minutes=15)
GIVE_UP_AFTER = timedelta(days=2)


def enqueue(
    session: Session,
    template: str,
    recipient: str,
    *,
    locale: str,
    now: datetime,
    mail_domain: str,
    account_id: AccountId | None = None,
    proof_id: int | None = None,
    context: Mapping[str, Any] | None = None,
) -> OutboxMail:
    """Write a mail. `template` names `templates/mail/<template>.*`; `context` holds JSON-able facts and no secret."""
    mail = OutboxMail(
        template=template,
        recipient=recipient,
        locale=locale,
        account_id=account_id,
        proof_id=proof_id,
        context=dict(context or {}),
        message_id=f"<{secrets.token_hex(16)}@{mail_domain}>",
        created_at=now,
        due_at=now,
        state="pending",
        attempts=0,
        last_error="",
    )
    session.add(mail)
    return mail


def lease_due(session: Session, *, now: datetime, limit: int) -> list[OutboxMail]:
    """Take up to `limit` mails that are due and that nobody else holds, until `now + LEASE`."""
    query = (
        select(OutboxMail)
        .where(
            OutboxMail.state == "pending",
            OutboxMail.due_at <= now,
            or_(OutboxMail.leased_until.is_(None), OutboxMail.leased_until <= now),
        )
        .order_by(OutboxMail.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    mails = list(session.scalars(query))
    for mail in mails:
        mail.leased_until = now + LEASE
        mail.attempts += 1
    return mails


def delivered(mail: OutboxMail, now: datetime) -> None:
    mail.state, mail.sent_at, mail.leased_until, mail.last_error = "sent", now, None, ""


def refused(mail: OutboxMail, error: str, *, permanent: bool, now: datetime) -> None:
    """Note a refusal: end the row, or set the next try with a growing pause."""
    mail.leased_until, mail.last_error = None, error[:500]
    if permanent or now - mail.created_at > GIVE_UP_AFTER:
        mail.state = "failed"
    else:
        pause: timedelta = min(LONGEST_RETRY, FIRST_RETRY * 2 ** min(mail.attempts - 1, 8))
        mail.due_at = now + pause


def put_back(mail: OutboxMail, now: datetime) -> None:
    """The mail was taken but not tried: it comes again soon, and the try is not counted."""
    mail.leased_until, mail.attempts, mail.due_at = None, mail.attempts - 1, now + FIRST_RETRY


def withdrawn(mail: OutboxMail, reason: str) -> None:
    """The mail would be of no use any more: what it offers is used, cancelled or over."""
    mail.state, mail.leased_until, mail.last_error = "expired", None, reason
