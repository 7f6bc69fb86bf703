"""My ways in: by which doors my account is entered, which accounts were joined, and the beginning of the ceremony."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Blueprint, redirect, render_template
from flask.typing import ResponseReturnValue
from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from external_accounts import audit, link_ceremonies, unlinking
from external_accounts.identities import LOCAL
from external_accounts.linking_schema import AccountLink, LikelyPair, UnlinkedIdentity
from external_accounts.schema import Account, AccountId, LocalPassword
from lms_bridge.i18n import N_, current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.runtime import Runtime
from lms_bridge.schema import SsoSession
from lms_bridge.selfservice.account.identity import ask_first, signed_in
from lms_bridge.selfservice.proof_pages import deadline
from lms_bridge.settings.sections import text_in
from lms_bridge.signin.other_side import CEREMONY, PAGE, bound
from lms_bridge.web.request import origin, parameter, runtime

pages = Blueprint("links", __name__, url_prefix=PAGE)

DONE = {
    "linked": N_(
        "The two accounts are one. Every confirmed address has received a receipt, and can undo it for 7 days."
    ),
    "added": N_("You can sign in by this door as well from now on. Your confirmed addresses have been told."),
    "removed": N_("This way in is removed. Your confirmed addresses have been told, and can undo it for 7 days."),
    "restored": N_("This way in is back."),
    "parted": N_("The accounts are two again, as they were before."),
    "given_up": N_("Nothing was changed."),
    "declined": N_("Thank you. You will not be asked again."),
    "over": N_("This took too long, or was begun elsewhere. Begin again: nothing was changed."),
    "last": N_("This is the only way in that works: it cannot be removed."),
    "elsewhere": N_("This way in leads to another account by now. If that one is yours, join the two."),
}


@pages.get("")
def show() -> ResponseReturnValue:
    person = signed_in()
    bridge = runtime()
    account_id = person.facts.account_id
    with bridge.database.read() as session:
        account = session.get_one(Account, account_id)
        ways = ways_in(session, bridge, account)
        page = {
            "ways": ways,
            "links": _links(session, bridge, account_id),
            "removed": _removed(session, bridge, account_id),
            "proposed": _proposed(session, account_id),
            "local_offer": may_add_local(account) and bridge.settings.local.enabled,
        }
    done = parameter("done") or ""
    return render_template("links/overview.html", done=_(DONE[done]) if done in DONE else None, **page)


def may_add_local(account: Account) -> bool:
    """Whether somebody of the university, whose time there ends or has ended, may go on by a password kept here."""
    return account.rights_end_at is not None and all(identity.issuer != LOCAL for identity in account.identities)


def door_of(bridge: Runtime, issuer: str) -> str:
    """What the door of an issuer is called."""
    door = bridge.settings.upstream(issuer)
    if door is not None:
        return text_in(door.title, current_locale())
    return text_in(bridge.settings.local.title, current_locale()) if issuer == LOCAL else issuer


def issuers(bridge: Runtime) -> frozenset[str]:
    """The CAS servers by which people can come in today."""
    return frozenset(door.issuer for door in bridge.settings.upstreams)


def ways_in(session: Session, bridge: Runtime, account: Account) -> list[dict[str, Any]]:
    has_password = session.get(LocalPassword, account.id) is not None
    ways = unlinking.ways_of(account)
    sessions = (
        select(SsoSession.identity_id, func.max(SsoSession.created_at))
        .where(SsoSession.account_id == account.id)
        .group_by(SsoSession.identity_id)
    )
    used: dict[int, datetime] = dict(session.execute(sessions).all())
    works = {way.identity_id for way in unlinking.usable(ways, has_password=has_password, issuers=issuers(bridge))}
    return [
        {
            "id": identity.id,
            "door": door_of(bridge, identity.issuer),
            "name": identity.subject,
            "added": deadline(identity.created_at),
            "used": deadline(used[identity.id]) if identity.id in used else None,
            "works": identity.id in works,
            "may_go": unlinking.may_go(identity.id, ways, has_password=has_password, issuers=issuers(bridge)),
        }
        for identity in account.identities
    ]


def _links(session: Session, bridge: Runtime, account_id: AccountId) -> list[dict[str, Any]]:
    rows = session.scalars(
        select(AccountLink)
        .where(AccountLink.kept_id == account_id, AccountLink.undone_at.is_(None))
        .order_by(AccountLink.id.desc())
    )
    now = bridge.clock()
    return [
        {
            "id": link.id,
            "name": session.get_one(Account, link.other_id).username,
            "on": deadline(link.linked_at),
            "until": deadline(link.undo_until) if link.undo_until > now else None,
        }
        for link in rows
    ]


def _removed(session: Session, bridge: Runtime, account_id: AccountId) -> list[dict[str, Any]]:
    rows = session.scalars(
        select(UnlinkedIdentity)
        .where(
            UnlinkedIdentity.account_id == account_id,
            UnlinkedIdentity.undone_at.is_(None),
            UnlinkedIdentity.undo_until > bridge.clock(),
        )
        .order_by(UnlinkedIdentity.id.desc())
    )
    return [{"id": row.id, "door": door_of(bridge, row.issuer), "until": deadline(row.undo_until)} for row in rows]


def _mine(account_id: AccountId) -> Any:
    return or_(LikelyPair.first_id == account_id, LikelyPair.second_id == account_id) & (LikelyPair.state == "proposed")


def _proposed(session: Session, account_id: AccountId) -> bool:
    """Whether the help desk thinks that this person has another account. Which one, the page does not say (D30)."""
    return session.scalar(select(LikelyPair.id).where(_mine(account_id)).limit(1)) is not None


@pages.post("/decline")
def decline() -> ResponseReturnValue:
    """“I have no other account.”"""
    person = signed_in()
    bridge = runtime()
    now, account_id = bridge.clock(), person.facts.account_id
    with bridge.database.begin() as session:
        session.execute(
            update(LikelyPair).where(_mine(account_id)).values(state="declined", decided_at=now, decided_by="person")
        )
        audit.record(session, "link.declined", outcome="ok", now=now, origin=origin(), account_id=account_id)
    return redirect(f"{PAGE}?done=declined", 303)


@pages.post("/begin")
def begin() -> ResponseReturnValue:
    """“I have another account”: this side shows once more who it is, then the other one is asked for."""
    person = signed_in()
    if (question := ask_first(person)) is not None:
        return question
    bridge = runtime()
    now = bridge.clock()
    with bridge.database.begin() as session:
        ceremony = link_ceremonies.begin(
            session, bound(person), proved_at=person.proved_at or now, now=now, origin=origin()
        )
        handle = ceremony.handle
    return redirect(f"{CEREMONY}/{handle}", 303)
