"""What the audit trail says, newest last: the one place where a refused sign-in's reason can be read afterwards."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from external_accounts.schema import AuditEvent
from tests.bridge_under_test import BridgeUnderTest


def audit_details(bridge: BridgeUnderTest, event: str, outcome: str) -> list[dict[str, Any]]:
    """The details of the events of this name and outcome."""
    with bridge.runtime.database.read() as session:
        found = session.scalars(
            select(AuditEvent).where(AuditEvent.event == event, AuditEvent.outcome == outcome).order_by(AuditEvent.id)
        )
        return [dict(row.details) for row in found]
