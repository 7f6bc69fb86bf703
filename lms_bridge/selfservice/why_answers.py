"""Answering “why can't I enter?”: look up who is meant, ask the gate about every application, write the mail.

One transaction a request (I8): the row goes with the mail that answers it. Only mailboxes on file are written to (D34),
and a mailbox gets no more of these than its budget, whatever names its owner was asked for by.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import audit, outbox, recovery, throttle
from external_accounts.accounts import account_facts
from external_accounts.identities import LOCAL
from external_accounts.recovery import Found
from external_accounts.schema import Account
from lms_bridge.cas.admission import decide
from lms_bridge.i18n import format_deadline, use_locale
from lms_bridge.runtime import Runtime
from lms_bridge.schema import WhyRequest
from lms_bridge.settings.sections import text_in
from lms_bridge.web.obstacles import explain

log = structlog.get_logger(__name__)

BATCH = 20
TRY_AGAIN = timedelta(minutes=5)
JOB = audit.Origin(actor="job:answer_whys")


def answer_due(runtime: Runtime) -> int:
    """Answer what waits. Returns how many requests were taken."""
    now = runtime.clock()
    for done in range(BATCH):
        request_id = None
        try:
            with runtime.database.begin() as session:
                request = _next(session, now)
                if request is None:
                    return done
                request_id = request.id
                if request.may_mail:
                    for found in recovery.look_up(session, request.sought, runtime.held_in):
                        _write(session, runtime, found, request.locale, now)
                session.delete(request)
        except Exception:  # one request that cannot be answered must not hold up the others
            if request_id is None:
                raise
            log.exception("why.answer", request=request_id)
            with runtime.database.begin() as session:
                session.get_one(WhyRequest, request_id).due_at = now + TRY_AGAIN
    return BATCH


def _next(session: Session, now: datetime) -> WhyRequest | None:
    due = select(WhyRequest).where(WhyRequest.due_at <= now).order_by(WhyRequest.due_at, WhyRequest.id)
    return session.scalar(due.limit(1).with_for_update(skip_locked=True))


def _write(session: Session, runtime: Runtime, found: Found, locale: str, now: datetime) -> None:
    locale = found.account.language or locale
    with use_locale(locale):
        context = explanation(runtime, found.account, locale, now)
    for address in found.mailboxes:
        try:
            with session.begin_nested():
                throttle.reserve(session, [throttle.Use(throttle.WHY_MAIL, address.email_key)], now)
        except throttle.Throttled:
            continue
        outbox.enqueue(
            session,
            "why",
            address.email,
            locale=locale,
            now=now,
            mail_domain=runtime.settings.public_host,
            account_id=found.account.id,
            context=context,
        )
        audit.record(session, "why.mailed", outcome="ok", now=now, origin=JOB, account_id=found.account.id)


def explanation(runtime: Runtime, account: Account, locale: str, now: datetime) -> dict[str, Any]:
    """What the mail tells: the door, the last sign-in, and each application with what stands in the way."""
    settings = runtime.settings
    facts = account_facts(runtime.database, account.id)
    if facts is None:
        raise LookupError(account.id)
    applications = []
    for service in runtime.registry:
        decision = decide(runtime, facts, service, prepare=False)
        words = []
        for obstacle in decision.obstacles:
            told = explain(obstacle, facts, settings, service_url=None, now=now, locale=locale)
            words.append(f"{told.title}. {' '.join([told.sentence, *told.details])}")
        applications.append({"label": text_in(service.label, locale), "obstacles": words})
    titles = {upstream.issuer: upstream.title for upstream in settings.upstreams} | {LOCAL: settings.local.title}
    doors = [text_in(titles[one.issuer], locale) for one in account.identities if one.issuer in titles]
    last = account.last_sign_in_at
    return {
        "username": account.username,
        "doors": doors,
        "last_sign_in": format_deadline(last, settings.zone, locale) if last else None,
        "applications": applications,
    }
