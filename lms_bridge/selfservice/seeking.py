"""Writing down that somebody seeks an account, without looking anything up (I3): the same work whatever was typed."""

from __future__ import annotations

from external_accounts import audit, recovery, throttle
from external_accounts.proof_keys import handle_token
from lms_bridge.selfservice import mail_budgets
from lms_bridge.web.request import origin, runtime


def seek(sought: str, *, purpose: str, event: str, service: str | None, locale: str) -> str:
    """Take the budgets and write the search down. Returns the token that names the page that waits.

    `event` is what the audit trail calls it.

    Raises:
        Throttled: the network's budget is used up. That of the search itself is kept silently (D12).
    """
    bridge = runtime()
    now = bridge.clock()
    with bridge.database.begin() as session:
        may_mail = mail_budgets.take(session, throttle.PROOF_MAIL_ADDRESS, sought, now)
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
        return handle_token(bridge.keys, proof)
