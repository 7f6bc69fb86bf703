"""Background work on people's own wishes and habits: deletions that are due, and the yearly reminder."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from external_accounts import audit, audit_sealing, erasure, reminders
from external_accounts.schema import Account, AccountId, OutboxMail
from lms_bridge.jobs.audit import seal_events
from lms_bridge.mail.notices import notices
from lms_bridge.runtime import Runtime
from lms_bridge.schema import Mirror, ProxyGrant, SsoSession, Ticket
from lms_bridge.signin import sessions
from lms_bridge.sync.desired import CUSTOM

BATCH = 50
REMINDED = 200
"""Accounts an hour: when a whole university falls due at once, its mails are spread over days."""
TOLD_OF_A_PERSON = frozenset({"firstname", "lastname", "email", "idnumber", "lang"})


def remind_people(runtime: Runtime) -> int:
    """One batch, never more: what is left is for the next round."""
    settings = runtime.settings
    with runtime.database.begin() as session:
        reminders.send_due(
            session,
            settings.reminders.periods,
            default_locale=settings.default_language,
            mail_domain=settings.public_host,
            now=runtime.clock(),
            limit=REMINDED,
        )
    return 0


def erase_accounts(runtime: Runtime) -> int:
    """Erase the accounts whose week is over, one transaction each, and forget what is left of those erased before."""
    now = runtime.clock()
    with runtime.database.read() as session:
        ids = erasure.due(session, now, limit=BATCH)
    written = notices(runtime, runtime.settings.default_language)
    done = 0
    for account_id in ids:
        with runtime.database.begin() as session:
            if erasure.erase(session, account_id, notices=written, now=now, origin=audit.SYSTEM):
                sessions.end_all_of(session, account_id, reason="account erased", now=now, origin=audit.SYSTEM)
                done += 1
        while seal_events(runtime):  # only what is sealed may lose who it was
            pass
        with runtime.database.begin() as session:
            done += _forget(session, account_id, now)
    return done


def _forget(session: Session, account_id: AccountId, now: datetime) -> bool:
    """Drop the rows that say anything about an erased account, when nothing is on its way any more.

    Its sessions' tickets carry the logout messages, its mails are perhaps with a mail server just now.
    """
    account = session.get_one(Account, account_id)
    under_way = session.scalar(
        select(
            exists().where(Ticket.account_id == account_id, Ticket.logout_state == "pending")
            | exists().where(OutboxMail.account_id == account_id, OutboxMail.state == "pending")
        )
    )
    if account.erased_at is None or account.erasure_due_at is None or under_way:
        return False
    if not audit_sealing.pseudonymise_account(session, account_id, now=now):
        return False
    for table in (Ticket, ProxyGrant, SsoSession):
        session.execute(delete(table).where(table.account_id == account_id))
    for mirror in session.scalars(select(Mirror).where(Mirror.account_id == account_id)):
        mirror.written = {
            name: value
            for name, value in mirror.written.items()
            if name not in TOLD_OF_A_PERSON and not name.startswith(CUSTOM)
        }
        mirror.conflicts = []
    erasure.forget(session, account_id)
    return True
