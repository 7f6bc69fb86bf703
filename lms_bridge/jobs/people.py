"""Background work on people: deletions they asked for, the yearly reminder, the run of the life cycle, what a directory
is to be told, and passwords that somebody who was cut off may have set."""

from __future__ import annotations

from datetime import datetime

import structlog
from sqlalchemy import delete, exists, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from external_accounts import audit, audit_sealing, directory_entries, erasure, parting, reminders
from external_accounts.schema import Account, AccountId, OutboxMail
from lms_bridge.jobs.audit import seal_events
from lms_bridge.lifecycle import runs
from lms_bridge.mail.notices import notices
from lms_bridge.runtime import Runtime
from lms_bridge.schema import Mirror, NightlyWork, ProxyGrant, SsoSession, Ticket
from lms_bridge.selfservice.set_password import settle_unfinished
from lms_bridge.signin import sessions
from lms_bridge.sync.desired import CUSTOM

log = structlog.get_logger(__name__)

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


def settle_links(runtime: Runtime) -> int:
    """Forget what an undo of joined accounts, or of a removed way in, would have needed, once its time is over."""
    with runtime.database.begin() as session:
        return parting.settle_due(session, now=runtime.clock(), limit=BATCH)


def write_directory_entries(runtime: Runtime) -> int:
    """Bring entries of accounts that came from the university up to date in their directories."""
    return directory_entries.write_due(runtime.database, runtime.directories, clock=runtime.clock, limit=BATCH)


def settle_passwords(runtime: Runtime) -> int:
    return settle_unfinished(runtime)


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


def run_lifecycle(runtime: Runtime) -> int:
    """The life cycle's run of this night, where settings name an hour; one process makes it."""
    nightly = runtime.settings.lifecycle.nightly
    local = runtime.clock().astimezone(runtime.settings.zone)
    if nightly is None or local.time() < nightly or not begin_night(runtime, "lifecycle", f"{local:%Y-%m-%d}"):
        return 0
    report = runs.run(runtime, actor="job:lifecycle")
    if report.outcome in ("stopped", "partial"):
        log.error(
            "lifecycle.nightly",
            outcome=report.outcome,
            reasons=[stop.text for stop in report.stops],
            answer="lms-bridge lifecycle plan, then apply",
        )
    return 0


def begin_night(runtime: Runtime, job: str, day: str) -> bool:
    """Claim tonight's run: true for one caller only. The first night after it was switched on is tomorrow's."""
    with runtime.database.read() as session:
        begun = session.scalar(select(NightlyWork.day).where(NightlyWork.job == job))
    if begun is not None and begun >= day:
        return False
    with runtime.database.begin() as session:
        if begun is None:
            insert = sqlite_insert if runtime.database.is_sqlite else postgresql_insert
            session.execute(insert(NightlyWork).values(job=job, day=day).on_conflict_do_nothing())
            return False
        claimed = session.execute(
            update(NightlyWork)
            .where(NightlyWork.job == job, NightlyWork.day < day)
            .values(day=day)
            .returning(NightlyWork.job)
        ).all()
    return bool(claimed)


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
    # Of accounts that were joined to it too: their sessions were opened by ways in that are its own now.
    everyone = [account_id, *parting.closed_into(session, account_id)]
    for table in (Ticket, ProxyGrant, SsoSession):
        session.execute(delete(table).where(table.account_id.in_(everyone)))
    for mirror in session.scalars(select(Mirror).where(Mirror.account_id == account_id)):
        mirror.written = {
            name: value
            for name, value in mirror.written.items()
            if name not in TOLD_OF_A_PERSON and not name.startswith(CUSTOM)
        }
        mirror.conflicts = []
    erasure.forget(session, account_id)
    return True
