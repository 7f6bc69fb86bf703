"""Why somebody cannot enter: the gate's decision with every fact it rests on, as plain values for operators."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from external_accounts.accounts import Person, account_facts
from external_accounts.identities import LOCAL, canonical_identifier
from external_accounts.schema import (
    Account,
    Address,
    AuditEvent,
    Engagement,
    LocalPassword,
    OutboxMail,
    Proof,
    SignInIdentity,
)
from lms_bridge import gate
from lms_bridge.cas.admission import policy_for
from lms_bridge.gate import MirrorState
from lms_bridge.i18n import use_locale
from lms_bridge.runtime import Runtime
from lms_bridge.schema import Mirror, SsoSession
from lms_bridge.settings.sections import Service, text_in
from lms_bridge.web.obstacles import title_of

LATEST = 10
"""How many sign-ins and mails are told."""


def accounts_of(session: Session, identifier: str) -> list[Account]:
    """The accounts that an operator may mean: by user name, also of the erased, by address, or by our id (`#12`)."""
    text = canonical_identifier(identifier)
    if text.startswith("#") and text[1:].isascii() and text[1:].isdecimal() and len(text) < 19:
        found = session.get(Account, int(text[1:]))
        return [found] if found else []
    by_address = select(Address.account_id).where(Address.email_key == text)
    # Of joined accounts: the name somebody signs in by is not what the kept one is called.
    by_subject = select(SignInIdentity.account_id).where(SignInIdentity.issuer == LOCAL, SignInIdentity.subject == text)
    query = select(Account).where(or_(Account.username == text, Account.id.in_(by_address), Account.id.in_(by_subject)))
    return list(session.scalars(query.order_by(Account.id)))


def facts_about(session: Session, runtime: Runtime, account: Account, services: list[Service]) -> dict[str, Any]:
    """Everything the gate's answers rest on, and the answers. Times are ISO 8601 in UTC."""
    now = runtime.clock()
    mirrors = {row.site: row for row in session.scalars(select(Mirror).where(Mirror.account_id == account.id))}
    password = session.get(LocalPassword, account.id)
    return {
        "account": {
            "id": account.id,
            "username": account.username,
            "name": Person(account.given_name, account.family_name).display_name,
            "profile": account.profile,
            "created_at": _at(account.created_at),
            "activated_at": _at(account.activated_at),
            "suspended_at": _at(account.suspended_at),
            "suspended_until": _at(account.suspended_until),
            "suspension_reason": account.suspension_reason,
            "rights_end_at": _at(account.rights_end_at),
            "erasure_due_at": _at(account.erasure_due_at),
            "erased_at": _at(account.erased_at),
            "last_sign_in_at": _at(account.last_sign_in_at),
            "password_set_at": _at(password.set_at) if password else None,
            "directory": account.directory,
        },
        "identities": [{"issuer": one.issuer, "subject": one.subject} for one in account.identities],
        "services": [_answer(runtime, account, service, mirrors, now) for service in services],
        "addresses": [
            {
                "email": one.email,
                "role": one.role,
                "primary": one.is_primary,
                "confirmed": _at(one.confirmed_at),
                "confirmed_by": one.confirmed_by,
                "lost_at": _at(one.lost_at),
                "lost_reason": one.lost_reason,
            }
            for one in account.addresses
        ],
        "engagements": [
            {"document": one.document, "version": one.version, "accepted_at": _at(one.accepted_at)}
            for one in session.scalars(
                select(Engagement).where(Engagement.account_id == account.id, Engagement.withdrawn_at.is_(None))
            )
        ],
        "mirrors": [
            {
                "site": one.site,
                "moodle_id": one.moodle_id,
                "state": one.state,
                "owned": one.owned,
                "suspended_by_us": one.suspended_by_us,
                "due": one.due,
                "seen_at": _at(one.seen_at),
                "next_try_at": _at(one.next_try_at),
                "problem": one.problem,
            }
            for one in mirrors.values()
        ],
        **_history(session, account, now),
    }


def _answer(
    runtime: Runtime, account: Account, service: Service, mirrors: dict[str, Mirror], now: datetime
) -> dict[str, Any]:
    facts = account_facts(runtime.database, account.id)
    if facts is None:
        raise LookupError(account.id)
    mirror = mirrors.get(service.site or "")
    state = MirrorState(mirror.state) if mirror else MirrorState.PENDING
    decision = gate.decide(facts, policy_for(runtime, service), now, mirror=state)
    with use_locale("en"):
        words = [title_of(obstacle) for obstacle in decision.obstacles]
    return {
        "name": service.name,
        "label": text_in(service.label, "en"),
        "admitted": decision.admitted,
        "obstacles": [obstacle.value for obstacle in decision.obstacles],
        "words": words,
    }


def _history(session: Session, account: Account, now: datetime) -> dict[str, Any]:
    signing_in = AuditEvent.event.in_(["signin.local", "signin.cas", "signin.again"])
    events = select(AuditEvent).where(AuditEvent.account_id == account.id, signing_in)
    mails = select(OutboxMail).where(OutboxMail.account_id == account.id)
    pending = (Proof.claimed_at.is_(None), Proof.cancelled_at.is_(None), Proof.expires_at > now)
    living = (SsoSession.account_id == account.id, SsoSession.ended_at.is_(None), SsoSession.expires_at > now)
    return {
        "sign_ins": [
            {"at": _at(one.at), "event": one.event, "outcome": one.outcome, "network": one.network}
            for one in session.scalars(events.order_by(AuditEvent.id.desc()).limit(LATEST))
        ],
        "sessions": [
            {"since": _at(one.created_at), "seen_at": _at(one.seen_at), "issuer": one.issuer}
            for one in session.scalars(select(SsoSession).where(*living).order_by(SsoSession.id.desc()).limit(LATEST))
        ],
        "proofs": [
            {
                "purpose": one.purpose,
                "sent_at": _at(one.sent_at),
                "accepted_at": _at(one.accepted_at),
                "expires_at": _at(one.expires_at),
                "code_attempts": one.code_attempts,
            }
            for one in session.scalars(
                select(Proof).where(Proof.account_id == account.id, *pending).order_by(Proof.id.desc())
            )
        ],
        "mails": [
            {
                "template": one.template,
                "to": one.recipient,
                "state": one.state,
                "created_at": _at(one.created_at),
                "sent_at": _at(one.sent_at),
                "bounce_status": one.bounce_status,
                "last_error": one.last_error,
            }
            for one in session.scalars(mails.order_by(OutboxMail.id.desc()).limit(LATEST))
        ],
    }


def _at(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
