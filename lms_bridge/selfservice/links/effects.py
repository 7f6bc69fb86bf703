"""What follows at once from two accounts becoming one, or two again: in the same transaction (I8), sessions end (I10),
Moodle is to follow, people are told."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from external_accounts import audit, link_notices, parting
from external_accounts.address_changes import Notices
from external_accounts.link_notices import Told
from external_accounts.linking_schema import AccountLink
from external_accounts.parting import Parted
from external_accounts.schema import AccountId, Proof
from lms_bridge.schema import SsoSession
from lms_bridge.signin import sessions
from lms_bridge.sync import merges
from lms_bridge.sync.mirrors import ask_for_sign_out

JOINED = "accounts joined"
PARTED = "accounts parted"


def after_join(
    session: Session,
    link: AccountLink,
    told: Iterable[Told],
    notices: Notices,
    *,
    names: tuple[str, str],
    keep: int | None,
    now: datetime,
    origin: audit.Origin,
) -> None:
    """End every session of both but `keep` (LNK-02), let Moodle follow, and send the receipts.

    `told` are the addresses that were confirmed before; `names` the user names of before, the kept account's first.
    """
    for account_id in (link.kept_id, link.other_id):
        sessions.end_all_of(session, account_id, reason=JOINED, now=now, origin=origin, keep=keep)
        ask_for_sign_out(session, account_id)
    merges.join(session, kept_id=link.kept_id, other_id=link.other_id, link_id=link.id, now=now)
    link_notices.tell_joined(session, link, told, notices, names=names, now=now)


def part(
    session: Session,
    link_id: int,
    notices: Notices,
    *,
    by: Proof | None = None,
    keep: int | None = None,
    now: datetime,
    origin: audit.Origin,
) -> Parted:
    """Take a link back, with everything that follows.

    Raises:
        LinkOver: see `parting.part`.
    """
    asked = session.get_one(AccountLink, link_id)
    told = link_notices.confirmed_of(session, {asked.kept_id, asked.other_id})
    parted = parting.part(session, link_id, now=now, origin=origin, by=by)
    for account_id in sorted(parted.account_ids):
        sessions.end_all_of(session, account_id, reason=PARTED, now=now, origin=origin, keep=keep)
        ask_for_sign_out(session, account_id)
    moved = [
        merge
        for link in parted.links
        for merge in merges.part(session, kept_id=link.kept_id, other_id=link.other_id, link_id=link.id, now=now)
    ]
    undone = [{"link": link.id} for link in parted.links]
    link_notices.end_undo_links(session, parted.account_ids, undone, now)
    now_there = link_notices.confirmed_of(session, parted.account_ids)
    everybody = {one.email_key: one for one in (*told, *now_there)}
    link_notices.tell_parted(session, everybody.values(), notices, moved=bool(moved), now=now)
    return parted


def leave_identity(
    session: Session, account_id: AccountId, gone: int, instead: int, *, now: datetime, origin: audit.Origin
) -> None:
    """End what was opened by a way in that goes. The rows of its sessions name another one from now on: they say by
    which door they were opened, and a row cannot point at what is not there."""
    ids = session.scalars(
        select(SsoSession.id).where(SsoSession.account_id == account_id, SsoSession.identity_id == gone)
    ).all()
    sessions.end(session, ids, reason="way in removed", now=now, origin=origin)
    session.execute(update(SsoSession).where(SsoSession.identity_id == gone).values(identity_id=instead))
