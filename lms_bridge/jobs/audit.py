"""Background work on the audit trail: sealing what was appended, and dropping who it was when that is long ago."""

from __future__ import annotations

import structlog

from external_accounts import audit_sealing
from external_accounts.reminders import MONTH
from lms_bridge.runtime import Runtime

log = structlog.get_logger(__name__)


def seal_events(runtime: Runtime) -> int:
    """One batch; 0 when less than that was waiting. A signed head goes into the log too, which leaves the machine."""
    with runtime.database.begin() as session:
        sealed = audit_sealing.seal(session, runtime.keys, now=runtime.clock())
    if sealed.checkpoint is not None:
        log.info("audit.checkpoint", position=sealed.checkpoint.position, hash=sealed.checkpoint.hash)
    return sealed.events if sealed.events == audit_sealing.BATCH else 0


def pseudonymise_events(runtime: Runtime) -> int:
    """One batch of what is older than `audit.pseudonymise_months`."""
    months = runtime.settings.audit.pseudonymise_months
    if not months:
        return 0
    now = runtime.clock()
    with runtime.database.begin() as session:
        return audit_sealing.pseudonymise_before(session, now - MONTH * months, now=now)
