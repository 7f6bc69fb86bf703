"""Engagements: dated, versioned acceptance of documents, and consents."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.accounts import lock_account
from external_accounts.schema import AccountId, Engagement


def accept(
    session: Session,
    account_id: AccountId,
    document: str,
    version: str,
    *,
    now: datetime,
    origin: audit.Origin,
    accepted_at: datetime | None = None,
) -> None:
    """Record the acceptance of one version. Accepting again changes nothing, unless it was withdrawn.

    `accepted_at` is when the person accepted it, where that was before there was an account.
    """
    account = lock_account(session, account_id)
    known = session.scalar(
        select(Engagement).where(
            Engagement.account_id == account_id, Engagement.document == document, Engagement.version == version
        )
    )
    if known is not None and known.withdrawn_at is None:
        return
    if known is None:
        session.add(
            Engagement(account_id=account_id, document=document, version=version, accepted_at=accepted_at or now)
        )
    else:
        known.accepted_at, known.withdrawn_at = accepted_at or now, None
    account.note_change()
    audit.record(
        session,
        "engagement.accepted",
        outcome="ok",
        now=now,
        origin=origin,
        account_id=account_id,
        document=document,
        version=version,
    )
