"""My sessions: where I am signed in, and the end of one or of all (SES-03)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, redirect, render_template
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.identities import LOCAL
from lms_bridge.i18n import current_locale
from lms_bridge.runtime import Runtime
from lms_bridge.schema import SsoSession, Ticket
from lms_bridge.selfservice.account.identity import signed_in
from lms_bridge.selfservice.proof_pages import deadline
from lms_bridge.settings.sections import text_in
from lms_bridge.signin import sessions
from lms_bridge.signin.devices import device_in_words, network_in_words
from lms_bridge.sync.mirrors import ask_for_sign_out
from lms_bridge.web.request import origin, parameter, runtime

pages = Blueprint("open_sessions", __name__, url_prefix="/account/sessions")


@pages.get("")
def show() -> ResponseReturnValue:
    person = signed_in()
    bridge = runtime()
    with bridge.database.read() as session:
        rows = open_sessions(session, bridge, person.facts.account_id)
        opened = _applications(session, bridge, [row.id for row in rows])
    shown = [_shown(bridge, row, opened.get(row.id, []), here=row.id == person.id) for row in rows]
    return render_template(
        "account/sessions.html",
        sessions=sorted(shown, key=lambda row: not row["here"]),
        ended=parameter("ended") is not None,
    )


def open_sessions(session: Session, bridge: Runtime, account_id: int) -> list[SsoSession]:
    """The sessions that can still be used, the one used last first."""
    now: datetime = bridge.clock()
    idle = timedelta(minutes=bridge.settings.sessions.idle_minutes)
    query = (
        select(SsoSession)
        .where(
            SsoSession.account_id == account_id,
            SsoSession.ended_at.is_(None),
            SsoSession.expires_at > now,
            SsoSession.seen_at > now - idle,
        )
        .order_by(SsoSession.seen_at.desc(), SsoSession.id.desc())
    )
    return list(session.scalars(query))


def _applications(session: Session, bridge: Runtime, ids: list[int]) -> dict[int, list[str]]:
    found: dict[int, set[str]] = {}
    query = select(Ticket.session_id, Ticket.service_name).distinct()
    for session_id, name in session.execute(query.where(Ticket.session_id.in_(ids), Ticket.validated)):
        service = bridge.registry.by_name(name)
        found.setdefault(session_id, set()).add(text_in(service.label, current_locale()) if service else name)
    return {session_id: sorted(labels) for session_id, labels in found.items()}


def _shown(bridge: Runtime, row: SsoSession, applications: list[str], *, here: bool) -> dict[str, Any]:
    door = bridge.settings.upstream(row.issuer)
    local = bridge.settings.local.title if row.issuer == LOCAL else None
    label = door.title if door is not None else local
    return {
        "id": row.id,
        "here": here,
        "device": device_in_words(row.user_agent),
        "network": network_in_words(row.network, bridge.settings.throttle.campus_prefixes),
        "door": text_in(label, current_locale()) if label else row.issuer,
        "since": deadline(row.created_at),
        "seen": deadline(row.seen_at),
        "applications": applications,
    }


@pages.post("/<int:session_id>/end")
def end(session_id: int) -> ResponseReturnValue:
    """End one session of mine, with what it opened; in Moodle all of them, which knows no single ones."""
    person = signed_in()
    if session_id == person.id:
        return redirect("/cas/logout", 303)
    bridge = runtime()
    now = bridge.clock()
    with bridge.database.begin() as session:
        owner = session.scalar(select(SsoSession.account_id).where(SsoSession.id == session_id))
        if owner != person.facts.account_id:
            return redirect("/account/sessions", 303)
        names = sessions.end(session, [session_id], reason="ended by its owner", now=now, origin=origin())
        behind = {service.site for name in names if (service := bridge.registry.by_name(name)) and service.site}
        if behind:
            ask_for_sign_out(session, person.facts.account_id, behind)
    return redirect("/account/sessions?ended=1", 303)


@pages.post("/end-others")
def end_others() -> ResponseReturnValue:
    """End every session but this one; Moodle's all end, which knows no single ones."""
    person = signed_in()
    bridge = runtime()
    account_id, now = person.facts.account_id, bridge.clock()
    with bridge.database.begin() as session:
        sessions.end_all_of(session, account_id, reason="ended by its owner", now=now, origin=origin(), keep=person.id)
        ask_for_sign_out(session, account_id)
        audit.record(session, "session.others", outcome="ok", now=now, origin=origin(), account_id=account_id)
    return redirect("/account/sessions?ended=1", 303)
