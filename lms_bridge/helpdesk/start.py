"""The help desk's first page: the search, and what waits. Each family of pages puts its own queue on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts.accounts import FACT_COLUMNS, AccountFacts
from external_accounts.schema import Account, AccountId, Address
from lms_bridge.helpdesk.members import (
    DESK,
    Member,
    NotAMember,
    NotSignedIn,
    Role,
    current_member,
    member,
    not_for_you,
    to_sign_in,
)
from lms_bridge.helpdesk.search import LONGEST, Found, FoundBy, search
from lms_bridge.helpdesk.words import mark_of
from lms_bridge.i18n import N_, current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.selfservice.home import profile_label
from lms_bridge.web.request import parameter, runtime

pages = Blueprint("desk", __name__, url_prefix=DESK)
pages.register_error_handler(NotSignedIn, to_sign_in)
pages.register_error_handler(NotAMember, not_for_you)


@dataclass(frozen=True, slots=True)
class Queue:
    """A family of pages of the console: what waits there, or (without `count`) a tool."""

    title: str
    """Marked for translation."""
    url: str
    count: Callable[[Session, Member], int] | None
    """How many rows wait for this member, who is one with `role` at least."""
    role: Role
    everywhere: bool = False
    """Only for those who are not limited to units."""
    sponsors: bool = False
    """For sponsors as well."""
    place: int = 50
    """Where it stands among the others: the smallest first."""

    def member_for(self, who: Member) -> Member | None:
        """`who` as far as these pages are open to them; None: they are not."""
        acting = who.with_role(self.role)
        if acting is not None and not (self.everywhere and acting.units is not None):
            return acting
        return who if self.sponsors and who.is_sponsor else None


QUEUES: list[Queue] = []


def open_to(who: Member) -> list[tuple[Queue, Member]]:
    """The queues that somebody may open, in their order, each with how far they reach there."""
    found = [(queue, acting) for queue in QUEUES if (acting := queue.member_for(who)) is not None]
    return sorted(found, key=lambda one: (one[0].place, one[0].url))


@pages.app_context_processor
def _navigation() -> dict[str, Callable[[], list[dict[str, Any]]]]:
    return {"desk_places": navigation}


def navigation() -> list[dict[str, Any]]:
    """The console's pages, for whoever is a member; each `{label, url, current}`."""
    who = current_member()
    if who is None:
        return []
    places = [(N_("Help desk"), DESK), *((queue.title, queue.url) for queue, _reach in open_to(who))]
    here = request.path
    return [
        {
            "label": _(title),
            "url": url,
            "current": here == url or (url != DESK and here.startswith(f"{url}/")),
        }
        for title, url in places
    ]


@pages.get("")
def home() -> ResponseReturnValue:
    """What waits; or, with `q`, who is found."""
    who = member()
    looking = who.with_role(Role.VIEWER)
    question = (parameter("q") or "").strip()[:LONGEST]
    with runtime().database.read() as session:
        found = search(session, runtime().settings, looking, question) if looking and question else None
        return render_template(
            "helpdesk/start.html",
            action=DESK,
            may_search=looking is not None,
            question=question,
            longest=LONGEST,
            found=_shown(session, found) if found else None,
            queues=_waiting(session, who) if not found else [],
            units=sorted(looking.units) if looking and looking.units is not None else None,
        )


def _waiting(session: Session, who: Member) -> list[dict[str, Any]]:
    return [
        {"label": _(queue.title), "url": queue.url, "count": queue.count(session, reach) if queue.count else None}
        for queue, reach in open_to(who)
    ]


def _shown(session: Session, found: Found) -> dict[str, Any]:
    lines = lines_of(session, found.ids)
    by = {
        FoundBy.NUMBER: _("by its number"),
        FoundBy.MOODLE: _("by its number in Moodle"),
        FoundBy.USERNAME: _("by its user name"),
        FoundBy.SUBJECT: _("by its name at the university's CAS"),
        FoundBy.EXTERNAL_KEY: _("by its key in the staff office's files"),
        FoundBy.ADDRESS: _("by its address"),
    }
    return {
        "exact": [lines[number] | {"by": by[why]} for number, why in found.exact.items() if number in lines],
        "others": [lines[number] for number in found.others if number in lines],
        "more": found.more,
        "cut": found.cut,
        "proposals": [{"text": text, "url": f"{DESK}?{urlencode({'q': text})}"} for text in found.proposals],
    }


def lines_of(session: Session, ids: Sequence[AccountId]) -> Mapping[AccountId, dict[str, Any]]:
    """What a list says of accounts, by their ids: who it is, and where the account stands."""
    bridge = runtime()
    now, locale = bridge.clock(), current_locale()
    query = (
        select(*FACT_COLUMNS, Account.unit)
        .outerjoin(Address, (Address.account_id == Account.id) & Address.is_primary)
        .where(Account.id.in_(ids))
    )
    found = {}
    for *columns, unit in session.execute(query):
        facts = AccountFacts(*columns)
        found[facts.account_id] = {
            "url": account_url(facts.account_id),
            "name": facts.display_name,
            "username": facts.username,
            "email": facts.email,
            "unit": unit,
            "profile": profile_label(bridge, facts.profile, locale) or facts.profile,
            "mark": mark_of(facts, now),
            "kept_url": account_url(facts.merged_into_id) if facts.merged_into_id else None,
        }
    return found


def account_url(account_id: AccountId) -> str:
    return f"{DESK}/accounts/{account_id}"
