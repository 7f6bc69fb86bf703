"""Somebody seeks an account: writing it down without looking anything up, and the page that waits (I3).

The same work whatever was typed, and a page that depends on what was typed and when, never on what was found.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import render_template

from external_accounts import audit, outbox, recovery, throttle
from external_accounts.proof_deadlines import CODE_LIFETIME
from external_accounts.proof_keys import handle_token
from external_accounts.schema import Proof
from lms_bridge.selfservice import mail_budgets
from lms_bridge.selfservice.proof_pages import resend_wait_seconds
from lms_bridge.signin.doors import onward_query
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


def waiting_page(
    path: str,
    token: str,
    search: Proof,
    *,
    template: str,
    service: str | None,
    assistance_url: str,
    error: str | None = None,
    **more: Any,
) -> tuple[str, int]:
    """The page of a search and its status: takes the code and sends again, or says that it is too old.

    `path` is the family's; `service` comes from the address and not from the row, which others who seek the same
    account share; `more` is what the template wants besides.
    """
    bridge = runtime()
    now = bridge.clock()
    onward = onward_query(service)
    resend_action = f"{path}/{token}/resend{onward}"
    if recovery.page_is_over(search, now):
        page = render_template("confirm/expired.html", resend_action=resend_action, assistance_url=assistance_url)
        return page, 410
    with bridge.database.read() as session:
        slow = outbox.is_slow(session, now)
    page = render_template(
        template,
        action=f"{path}/{token}{onward}",
        error=error,
        code_minutes=CODE_LIFETIME // timedelta(minutes=1),
        resend_action=resend_action,
        resend_wait_seconds=resend_wait_seconds(search, now),
        mail_is_slow=slow,
        search_url=f"{path}{onward}",
        assistance_url=assistance_url,
        **more,
    )
    return page, 422 if error else 200
