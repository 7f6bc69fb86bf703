"""The jobs: a few functions that look for rows to work on. They are the same whoever wakes them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Row, delete, select

from external_accounts import throttle
from external_accounts.schema import Account, AccountId, OutboxMail, Proof
from lms_bridge.cas import logout
from lms_bridge.cas.admission import policy_for
from lms_bridge.gate import Policy
from lms_bridge.mail import delivery
from lms_bridge.runtime import Runtime
from lms_bridge.schema import Mirror, ProxyGrant, SsoSession, Ticket
from lms_bridge.signin import sessions
from lms_bridge.sync.step import bring_into_step, end_moodle_sessions
from moodle_ws.errors import MoodleError

log = structlog.get_logger(__name__)

KEEP_SESSIONS = timedelta(days=30)
KEEP_MAILS = timedelta(days=30)
KEEP_PROOFS = timedelta(days=7)
BATCH = 20
MANY = 100
"""Accounts carried to Moodle before the other jobs have their turn."""


def deliver_mails(runtime: Runtime) -> int:
    return delivery.deliver_due(runtime, now=runtime.clock())


def deliver_logouts(runtime: Runtime) -> int:
    return logout.deliver_due(runtime.database, runtime.registry, runtime.http, now=runtime.clock())


def end_overdue_sessions(runtime: Runtime) -> int:
    with runtime.database.begin() as session:
        return sessions.end_overdue(session, limits=runtime.settings.sessions, now=runtime.clock())


def end_sessions_in_moodle(runtime: Runtime) -> int:
    """Carry "sign out everywhere" into Moodle. What Moodle does not take now stays for the next round."""
    with runtime.database.read() as session:
        rows = session.execute(select(Mirror.id, Mirror.site).where(Mirror.sign_out_pending).limit(BATCH)).all()
    done = 0
    for mirror_id, site in rows:
        policy = _policy_behind(runtime, site)
        if policy is None:
            continue
        try:
            end_moodle_sessions(runtime.database, runtime.sites, mirror_id, policy, now=runtime.clock())
            done += 1
        except MoodleError as error:
            log.warning("sync.sign_out", outcome="failed", mirror=mirror_id, error=type(error).__name__)
    return done


def close_and_refresh_mirrors(runtime: Runtime) -> int:
    """Carry changed accounts to the sites where they are known: above all, close the ones that may not enter (I6).

    Each account is tried once a round. A site that did not take one is left alone until the next round.
    """
    now = runtime.clock()
    silent: set[str] = set()
    moved = 0
    after = 0
    while moved < MANY and (rows := _due_mirrors(runtime, now, after=after, without=silent)):
        for mirror_id, account_id, site in rows:
            after = mirror_id
            policy = _policy_behind(runtime, site)
            if site in silent or policy is None:
                continue
            bring_into_step(runtime.database, runtime.sites, site, account_id, policy, now=now)
            if _due_mirrors(runtime, now, after=mirror_id - 1, without=silent, limit=1, upto=mirror_id):
                silent.add(site)
            else:
                moved += 1
    return moved if moved >= MANY else 0


def _due_mirrors(
    runtime: Runtime,
    now: datetime,
    *,
    after: int,
    without: Collection[str],
    limit: int = BATCH,
    upto: int | None = None,
) -> Sequence[Row[int, AccountId, str]]:
    """Mirrors, by id, whose account was changed since they were written, or whose rights ended by themselves."""
    ended = (
        (Account.rights_end_at <= now) & Mirror.suspended_by_us.is_(False) & (Mirror.seen_at < Account.rights_end_at)
    )
    query = (
        select(Mirror.id, Mirror.account_id, Mirror.site)
        .join(Account, Account.id == Mirror.account_id)
        .where(
            Mirror.moodle_id.is_not(None),
            Mirror.state == "in_step",
            (Mirror.account_version != Account.version) | ended,
            Mirror.id > after,
            Mirror.site.not_in(without),
        )
        .order_by(Mirror.id)
        .limit(limit)
    )
    with runtime.database.read() as session:
        return session.execute(query if upto is None else query.where(Mirror.id <= upto)).all()


def _policy_behind(runtime: Runtime, site: str) -> Policy | None:
    """The gate policy of the service behind a site; None when settings no longer name one."""
    service = next((service for service in runtime.settings.services if service.site == site), None)
    return policy_for(runtime, service) if service is not None else None


def give_memory_back(runtime: Runtime) -> int:
    runtime.hashing.give_memory_back()
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
        mailed = select(OutboxMail.proof_id).where(OutboxMail.proof_id.is_not(None))
        session.execute(delete(Proof).where(Proof.expires_at < now - KEEP_PROOFS, Proof.id.not_in(mailed)))
        throttle.purge(session, now)
    return 0
