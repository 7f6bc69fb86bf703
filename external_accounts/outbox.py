"""The outbox: mails wait here, written with the change they tell about, until a mail server has taken them (I8).

Delivery works by lease: a runner takes a row for some minutes, and if it dies the row is taken over when the lease
ends. The lease's end is also how a runner knows that the row is still its own. A mail server's temporary refusal is
tried again, longer and longer; a permanent one ends the row and is kept for people to see. Mail is never sent inside a
request (I3): a request only writes the row.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from external_accounts.database import note_waiting
from external_accounts.schema import AccountId, OutboxMail

LEASE = timedelta(minutes=2)
FIRST_RETRY = timedelta(seconds=15)
LONGEST_RETRY = timedelta(minutes=15)
GIVE_UP_AFTER = timedelta(days=2)
SLOW_AFTER = timedelta(seconds=30)


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
        bounce_status="",
        last_error="",
    )
    session.add(mail)
    note_waiting(session, OutboxMail)
    return mail


def lease_due(session: Session, *, now: datetime, limit: int, lease: timedelta = LEASE) -> list[int]:
    """Take up to `limit` mails that are due and that nobody else holds, until `now + lease`. Returns their ids.

    The least tried come first: a mail that ends every runner that tries it must not hold up the others.
    """
    query = (
        select(OutboxMail)
        .where(
            OutboxMail.state == "pending",
            OutboxMail.due_at <= now,
            or_(OutboxMail.leased_until.is_(None), OutboxMail.leased_until <= now),
        )
        .order_by(OutboxMail.attempts, OutboxMail.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    mails = list(session.scalars(query))
    for mail in mails:
        mail.leased_until = now + lease
    return [mail.id for mail in mails]


def begin_try(session: Session, mail_id: int, *, leased_until: datetime, until: datetime) -> OutboxMail | None:
    """Count a try and hold the mail `until` then. None when it is not ours any more: the lease ended meanwhile."""
    mine = session.execute(
        update(OutboxMail)
        .where(OutboxMail.id == mail_id, OutboxMail.state == "pending", OutboxMail.leased_until == leased_until)
        .values(leased_until=until, attempts=OutboxMail.attempts + 1)
        .returning(OutboxMail.id)
    ).all()
    return session.get_one(OutboxMail, mail_id) if mine else None


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
    """The mail was taken but not tried: it comes again soon."""
    mail.leased_until, mail.due_at = None, now + FIRST_RETRY


def withdrawn(mail: OutboxMail, reason: str) -> None:
    """The mail would be of no use any more: what it offers is used, cancelled or over."""
    mail.state, mail.leased_until, mail.last_error = "expired", None, reason


def retry(session: Session, mail: OutboxMail, now: datetime) -> None:
    """An operator wants it tried now, whatever was said before. The caller holds the row."""
    mail.state, mail.due_at = "pending", now
    mail.bounced_at, mail.bounce_status = None, ""
    note_waiting(session, OutboxMail)


def is_slow(session: Session, now: datetime) -> bool:
    """Whether mail leaves late at the moment, for everybody: a mail has waited for `SLOW_AFTER`, and none that was
    written after it has been taken.

    One picky receiver (greylisting) is not that, as soon as anybody else's mail leaves. It says nothing about any one
    mail, so a page may tell it to a stranger (I3).
    """
    waiting = select(OutboxMail.id).where(OutboxMail.state == "pending", OutboxMail.created_at <= now - SLOW_AFTER)
    latest = session.scalar(waiting.order_by(OutboxMail.id.desc()).limit(1))
    if latest is None:
        return False
    taken = select(OutboxMail.id).where(OutboxMail.id > latest, OutboxMail.sent_at.is_not(None))
    return session.scalar(taken.limit(1)) is None
