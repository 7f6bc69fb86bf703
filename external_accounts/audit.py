"""The audit trail: every attempt and every change, in the transaction of the change itself (invariant I8)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, insert
from sqlalchemy.orm import Session

from external_accounts.database import Prepared
from external_accounts.schema import AccountId, AuditEvent


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from, as far as the audit trail may know."""

    network: str = ""
    """The caller's address, text form; empty for the command line and background work."""
    actor: str = ""
    """Who acted when it was not the account itself: `cli:NAME`, `job:NAME`, an agent's user name."""


SYSTEM = Origin(actor="system")

_APPEND = Prepared(
    lambda: insert(AuditEvent).values(
        {name: bindparam(name) for name in ("at", "event", "outcome", "account_id", "actor", "network", "details")}
    )
)


def record(
    session: Session,
    event: str,
    *,
    outcome: str,
    now: datetime,
    origin: Origin,
    account_id: AccountId | None = None,
    **details: Any,
) -> None:
    """Append one event. `details` must hold no secret and no full address; values are JSON-able.

    `event` is a dotted name (`signin.local`, `address.confirmed`), `outcome` a short word (`ok`, `refused`, `expired`).
    """
    _APPEND.within(
        session,
        {
            "at": now,
            "event": event,
            "outcome": outcome,
            "account_id": account_id,
            "actor": origin.actor,
            "network": origin.network,
            "details": json.dumps(details),
        },
    )
