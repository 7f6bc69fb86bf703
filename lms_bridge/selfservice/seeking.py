"""Writing down that somebody seeks an account, without looking anything up (I3): the same work whatever was typed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from external_accounts import audit, proofs, recovery, throttle
from external_accounts.throttle import Throttled, Use
from lms_bridge.web.request import origin, runtime


def seek(sought: str, *, purpose: str, event: str, service: str | None, locale: str) -> str:
    """Take the budgets and write the search down. Returns the token that names the page that waits.

    `event` is what the audit trail calls it.

    Raises:
        Throttled: the network's budget is used up. That of the search itself is kept silently (D12).
    """
    bridge = runtime()
    now = bridge.clock()
    network = throttle.network_use(
        origin().network,
        bridge.settings.throttle.campus_prefixes,
        ordinary=throttle.PROOF_MAIL_NETWORK,
        campus_limit=throttle.PROOF_MAIL_CAMPUS,
    )
    with bridge.database.begin() as session:
        throttle.reserve(session, [network], now)
        may_mail = _within_budget(session, sought, now)
        proof = recovery.ask(
            session,
            bridge.keys,
            sought,
            may_mail=may_mail,
            service=service,
            locale=locale,
            now=now,
            purpose=purpose,
        )
        outcome = "noted" if may_mail else "over budget"
        audit.record(session, event, outcome=outcome, now=now, origin=origin(), proof_id=proof.id)
        return proofs.handle_token(bridge.keys, proof)


def _within_budget(session: Session, sought: str, now: datetime) -> bool:
    try:
        with session.begin_nested():
            throttle.reserve(session, [Use(throttle.PROOF_MAIL_ADDRESS, sought)], now)
    except Throttled:
        return False
    return True
