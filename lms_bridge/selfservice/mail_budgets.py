"""The budgets of pages that write to whom a stranger names: one of two may be said to be used up (D12)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from external_accounts import throttle
from external_accounts.throttle import Limit, Throttled, Use
from lms_bridge.web.budgets import of_network


def take(session: Session, limit: Limit, typed: str, now: datetime) -> bool:
    """Take one from the network's budget and one from that of what was typed. False: none is left of the latter.

    Raises:
        Throttled: the network's budget is used up.
    """
    network = of_network(throttle.PROOF_MAIL_NETWORK, campus=throttle.PROOF_MAIL_CAMPUS)
    throttle.reserve(session, [network], now)
    try:
        with session.begin_nested():
            throttle.reserve(session, [Use(limit, typed)], now)
    except Throttled:
        return False
    return True
