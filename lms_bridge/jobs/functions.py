"""The jobs: a few functions that look for rows to work on. They are the same whoever wakes them."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from sqlalchemy import delete, select

from external_accounts import assistance, handover_deliveries, letters, registration, registration_upkeep, throttle
from external_accounts.institution_schema import ApiAnswer
from external_accounts.linking_schema import LinkCeremony
from external_accounts.schema import OutboxMail, Proof
from lms_bridge.cas import logout
from lms_bridge.helpdesk import bulk_runs
from lms_bridge.hooks import delivery as hook_delivery
from lms_bridge.mail import bounces, delivery
from lms_bridge.registration_terms import terms
from lms_bridge.runtime import Runtime
from lms_bridge.schema import JournalEntry, Mirror, ProxyGrant, SsoSession, Ticket
from lms_bridge.selfservice import searches
from lms_bridge.signin import sessions
from lms_bridge.sync import worker
from lms_bridge.sync.sites import NoServiceBehind, enrol_sites, policy_behind
from lms_bridge.sync.step import end_moodle_sessions
from moodle_ws.errors import MoodleError

log = structlog.get_logger(__name__)

KEEP_API_ANSWERS = timedelta(hours=24)
KEEP_SESSIONS = timedelta(days=30)
KEEP_MAILS = timedelta(days=30)
KEEP_PROOFS = timedelta(days=7)
KEEP_JOURNAL = timedelta(days=400)
KEEP_ASSISTANCE = timedelta(days=180)
"""After a request for assistance was closed."""
KEEP_HANDOVERS = timedelta(days=90)
BATCH = 20


def deliver_mails(runtime: Runtime) -> int:
    return delivery.deliver_due(runtime, now=runtime.clock())


def read_bounces(runtime: Runtime) -> int:
    """What mail servers sent back."""
    return bounces.read_all(runtime)


def answer_registrations(runtime: Runtime) -> int:
    """Find out whose address it is that somebody asked an account for, and write the mail that fits."""
    with runtime.database.begin() as session:
        return registration.answer_due(session, terms(runtime.settings), limit=BATCH, now=runtime.clock())


def keep_registrations_tidy(runtime: Runtime) -> int:
    """Refuse requests that nobody decided in time; drop what is unfinished or long over."""
    now, settings = runtime.clock(), runtime.settings
    with runtime.database.begin() as session:
        refused = registration_upkeep.refuse_undecided(session, runtime.keys, terms(settings), now=now)
    with runtime.database.begin() as session:
        keep = timedelta(days=settings.registration.keep_days)
        return refused + registration_upkeep.purge(session, keep=keep, now=now)


def answer_searches(runtime: Runtime) -> int:
    return searches.answer_due(runtime, now=runtime.clock())


def deliver_logouts(runtime: Runtime) -> int:
    return logout.deliver_due(runtime.database, runtime.registry, runtime.http, now=runtime.clock())


def deliver_handovers(runtime: Runtime) -> int:
    """Tell the university's other systems what has changed."""
    return hook_delivery.deliver_due(runtime)


def carry_out_bulk_runs(runtime: Runtime) -> int:
    """What the help desk does for many accounts at once."""
    return bulk_runs.carry_out(runtime)


def end_overdue_sessions(runtime: Runtime) -> int:
    with runtime.database.begin() as session:
        return sessions.end_overdue(session, limits=runtime.settings.sessions, now=runtime.clock())


def end_sessions_in_moodle(runtime: Runtime) -> int:
    """Carry "sign out everywhere" into Moodle. What Moodle does not take now stays for the next round."""
    with runtime.database.read() as session:
        rows = session.execute(select(Mirror.id, Mirror.site).where(Mirror.sign_out_pending).limit(BATCH)).all()
    done = 0
    for mirror_id, site in rows:
        try:
            policy = policy_behind(runtime.settings, site)
            end_moodle_sessions(runtime.database, runtime.sites, mirror_id, policy, now=runtime.clock())
            done += 1
        except NoServiceBehind:
            continue
        except MoodleError as error:
            log.warning("sync.sign_out", outcome="failed", mirror=mirror_id, error=type(error).__name__)
    return done


def bring_mirrors_into_step(runtime: Runtime) -> int:
    return worker.work_on_due(runtime)


def make_nightly_runs(runtime: Runtime) -> int:
    worker.run_nightly(runtime)
    return 0


def introduce_sites(runtime: Runtime) -> int:
    """Let the database know the sites of the settings; from then on changed accounts mark their rows themselves."""
    enrol_sites(runtime.database, runtime.sites)
    return 0


def purge(runtime: Runtime) -> int:
    """Drop what is over: unused tickets, old sessions, spent proofs, sent mails, full throttle buckets."""
    now: datetime = runtime.clock()
    with runtime.database.begin() as session:
        old = select(SsoSession.id).where(SsoSession.ended_at < now - KEEP_SESSIONS)
        session.execute(delete(Ticket).where(Ticket.claimed_at.is_(None), Ticket.expires_at < now))
        session.execute(delete(Ticket).where(Ticket.session_id.in_(old)))
        session.execute(delete(ProxyGrant).where(ProxyGrant.expires_at < now))
        session.execute(delete(SsoSession).where(SsoSession.ended_at < now - KEEP_SESSIONS))
        session.execute(
            delete(OutboxMail).where(OutboxMail.state != "pending", OutboxMail.created_at < now - KEEP_MAILS)
        )
        session.execute(delete(LinkCeremony).where(LinkCeremony.expires_at < now - KEEP_PROOFS))
        mailed = select(OutboxMail.proof_id).where(OutboxMail.proof_id.is_not(None))
        session.execute(delete(Proof).where(Proof.expires_at < now - KEEP_PROOFS, Proof.id.not_in(mailed)))
        session.execute(delete(JournalEntry).where(JournalEntry.settled_at < now - KEEP_JOURNAL))
        session.execute(delete(ApiAnswer).where(ApiAnswer.created_at < now - KEEP_API_ANSWERS))
        assistance.purge(session, keep=KEEP_ASSISTANCE, now=now)
        letters.purge(session, now)
        handover_deliveries.purge(session, keep=KEEP_HANDOVERS, now=now)
        bulk_runs.purge(session, now)
        throttle.purge(session, now)
    return 0
