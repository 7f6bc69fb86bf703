"""One account on one page, for whoever of the help desk may see it; its timeline; and what the person sees (D57).

Nothing here acts as somebody else: no session, no ticket, no link of theirs is made or shown. That somebody looked is
written into the audit trail, where the person reads it too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Blueprint, abort, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.accounts import AccountFacts, Person, account_facts
from external_accounts.schema import Account, AuditEvent
from lms_bridge.helpdesk import account_sections as sections
from lms_bridge.helpdesk.members import (
    DESK,
    Member,
    NotAMember,
    NotSignedIn,
    Role,
    not_for_you,
    row_number,
    to_sign_in,
    viewer,
)
from lms_bridge.helpdesk.start import account_url
from lms_bridge.helpdesk.timeline_words import sentence
from lms_bridge.helpdesk.words import mark_of, short
from lms_bridge.i18n import current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.selfservice.home import service_entry
from lms_bridge.signin.devices import network_in_words
from lms_bridge.web.request import parameter, runtime

pages = Blueprint("account_page", __name__, url_prefix=f"{DESK}/accounts")
pages.register_error_handler(NotSignedIn, to_sign_in)
pages.register_error_handler(NotAMember, not_for_you)

PAGE = 25
"""Events of a timeline at once."""
VIEWED = "helpdesk.viewed"


def _always(_account: Account, _now: datetime) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class AccountAction:
    """Something that can be done to an account from its page, at `<account>/<path>`."""

    title: str
    """Marked for translation."""
    path: str
    role: Role = Role.AGENT
    applies: Callable[[Account, datetime], bool] = _always
    """Whether it makes sense for this account now. Erased and merged ones are never acted on, nor one's own."""
    place: int = 50
    """Where it stands among the others: the smallest first."""


ACTIONS: list[AccountAction] = []
"""Filled by the modules whose pages these are."""


def actions_for(account: Account, who: Member, now: datetime) -> list[AccountAction]:
    """What this member may do to this account now."""
    if account.erased_at is not None or account.merged_into_id is not None or account.id == who.account_id:
        return []
    found = [one for one in ACTIONS if who.may(one.role, account.unit) and one.applies(account, now)]
    return sorted(found, key=lambda one: (one.place, one.path))


def visible(session: Session, number: str, who: Member) -> Account:
    """The account of an address; one of another unit is as if it were not there."""
    found = row_number(number)
    account = session.get(Account, found) if found is not None else None
    if account is None or not who.may_see(account.unit):
        abort(404)
    return account


@pages.get("/<number>")
def show(number: str) -> ResponseReturnValue:
    who = viewer()
    bridge = runtime()
    with bridge.database.read() as session:
        account = visible(session, number, who)
        facts = _facts(account)
        now = bridge.clock()
        kept = session.get(Account, account.merged_into_id) if account.merged_into_id else None
        page = render_template(
            "helpdesk/account.html",
            name=_name(account),
            mark=mark_of(facts, now),
            url=account_url(account.id),
            kept={"name": _name(kept), "url": account_url(kept.id)} if kept else None,
            actions=[
                {"label": _(one.title), "url": f"{account_url(account.id)}/{one.path}"}
                for one in actions_for(account, who, now)
            ],
            own=account.id == who.account_id,
            verdicts=sections.verdicts(bridge, facts),
            person=sections.person(session, bridge, account, facts, who),
            addresses=sections.addresses(session, account),
            identities=sections.identities(bridge, account),
            commitments=sections.commitments(session, bridge, account),
            mirrors=sections.mirrors(session, bridge, account),
            sessions=sections.sessions(session, bridge, account),
            proofs=sections.pending_proofs(session, bridge, account),
            mails=sections.mails(session, account),
            cases=sections.cases(session, account),
            links=sections.links(session, account, who),
            events=_events(session, account, None)[0][: sections.LATEST],
        )
    _note_view(who, account, "account")
    return page


@pages.get("/<number>/timeline")
def timeline(number: str) -> ResponseReturnValue:
    """Everything that was done with the account, the newest first, a page at a time."""
    who = viewer()
    before = row_number(parameter("before") or "")
    with runtime().database.read() as session:
        account = visible(session, number, who)
        events, older = _events(session, account, before)
        page = render_template(
            "helpdesk/timeline.html",
            name=_name(account),
            url=account_url(account.id),
            events=events,
            older=older,
            first=before is None,
        )
    if before is None:
        _note_view(who, account, "timeline")
    return page


@pages.get("/<number>/seen")
def as_seen(number: str) -> ResponseReturnValue:
    """What the person's own first page tells them, word for word, without its buttons (D57)."""
    who = viewer()
    bridge = runtime()
    with bridge.database.read() as session:
        account = visible(session, number, who)
    facts = _facts(account)
    entries = [service_entry(bridge, facts, service, current_locale()) for service in bridge.registry]
    _note_view(who, account, "as seen")
    return render_template(
        "helpdesk/as_seen.html",
        name=facts.display_name,
        url=account_url(account.id),
        signs_in=facts.erased_at is None and facts.merged_into_id is None,
        entries=[
            entry | {"button": entry["action"].label if entry["action"] else None, "action": None, "enter_url": None}
            for entry in entries
        ],
    )


def _events(session: Session, account: Account, before: int | None) -> tuple[list[dict[str, Any]], int | None]:
    """One page of the account's events, and where the next one begins."""
    query = select(AuditEvent).where(AuditEvent.account_id == account.id)
    if before is not None:
        query = query.where(AuditEvent.id < before)
    rows = session.scalars(query.order_by(AuditEvent.id.desc()).limit(PAGE + 1)).all()
    campus = runtime().settings.throttle.campus_prefixes
    shown = [
        {
            "sentence": sentence(row.event, row.outcome),
            "event": row.event,
            "outcome": row.outcome,
            "at": short(row.at),
            "network": network_in_words(row.network, campus) if row.network else None,
            "actor": row.actor,
            "reason": str(row.details.get("reason", "")),
        }
        for row in rows[:PAGE]
    ]
    return shown, rows[PAGE - 1].id if len(rows) > PAGE else None


def _facts(account: Account) -> AccountFacts:
    facts = account_facts(runtime().database, account.id)
    if facts is None:
        abort(404)
    return facts


def _name(account: Account) -> str:
    return Person(account.given_name, account.family_name).display_name or account.username


def _note_view(who: Member, account: Account, page: str) -> None:
    """Write down that somebody looked; asking whether the page is there (HEAD) is no look."""
    if request.method == "HEAD" or account.id == who.account_id:
        return
    bridge = runtime()
    with bridge.database.begin() as session:
        audit.record(
            session, VIEWED, outcome="ok", now=bridge.clock(), origin=who.origin, account_id=account.id, page=page
        )
