"""The Moodle users of two accounts that a person joins, or parts again: whose is whose.

Called by the transaction that joins or parts the accounts. Nothing is written to Moodle here.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts.database import note_waiting
from external_accounts.schema import AccountId
from lms_bridge.schema import Mirror


def join(session: Session, *, kept_id: AccountId, other_id: AccountId, link_id: int, now: datetime) -> None:  # noqa: ARG001
    """Give the kept account its one Moodle user at every site: its own, or the other account's where it has none."""
    mine, theirs = _mirrors(session, kept_id), _mirrors(session, other_id)
    for site, row in theirs.items():
        twin = mine.get(site)
        if twin is not None and twin.moodle_id is None and row.moodle_id is not None:
            _swap(session, twin, row)
        row.due = True
    note_waiting(session, Mirror)


def part(session: Session, *, kept_id: AccountId, other_id: AccountId, link_id: int, now: datetime) -> None:  # noqa: ARG001
    """Have both looked at again."""
    for rows in (_mirrors(session, kept_id), _mirrors(session, other_id)):
        for row in rows.values():
            row.due = True
    note_waiting(session, Mirror)


def _mirrors(session: Session, account_id: AccountId) -> dict[str, Mirror]:
    rows = session.scalars(select(Mirror).where(Mirror.account_id == account_id).with_for_update())
    return {row.site: row for row in rows}


def _swap(session: Session, one: Mirror, two: Mirror) -> None:
    """Exchange whose two rows of a site are: (account, site) is unique at every moment, so by way of a third."""
    site = one.site
    first, second = one.account_id, two.account_id
    one.site = f"{site}~"
    session.flush()
    two.account_id = first
    session.flush()
    one.account_id, one.site = second, site
    session.flush()
