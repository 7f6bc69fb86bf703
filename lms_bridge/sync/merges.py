"""The Moodle users of two accounts that a person joins, or parts again: whose is whose, and what must move by hand.

Called by the transaction that joins or parts the accounts. Nothing is written to Moodle here: the rows say what should
be, and from the commit on the sync makes it so, in the order of `lms_bridge.sync.ties`, whoever dies meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import case, select, update
from sqlalchemy.orm import Session

from external_accounts.database import note_waiting
from external_accounts.schema import Account, AccountId
from lms_bridge.gate import MirrorState
from lms_bridge.schema import JournalEntry, Mirror, MoodleMerge
from lms_bridge.sync import journal, mirrors
from lms_bridge.sync.desired import parked_username

OPEN, MOVED, DONE, VOID = "open", "moved", "done", "void"
"""States of a merge: course work waits for an administrator; only the other account had a user, and it came over;
somebody says that the course work was moved; the link was undone."""

_USER = (
    "moodle_id",
    "state",
    "owned",
    "suspended_by_us",
    "written",
    "seen_at",
    "sign_out_pending",
    "problem",
    "conflicts",
    "absent_runs",
)
"""The columns of a mirror that are about the Moodle user, whoever it belongs to."""


def join(session: Session, *, kept_id: AccountId, other_id: AccountId, link_id: int, now: datetime) -> None:
    """Give the kept account its one Moodle user at every site: its own, or the other account's where it has none.

    To be called once both accounts bear the user names they are to have, within the transaction that joins them. Where
    both have a user, the other account's is closed and renamed by the sync, and a merge is put on the work list: its
    course work is for an administrator of that Moodle to move.
    """
    session.flush()
    kept, other = session.get_one(Account, kept_id), session.get_one(Account, other_id)
    for site, mine, theirs in _by_site(session, kept_id, other_id):
        if theirs.moodle_id is not None:
            merge = MoodleMerge(
                link_id=link_id,
                site=site,
                kept_moodle_id=mine.moodle_id or theirs.moodle_id,
                kept_username=kept.username,
                other_moodle_id=theirs.moodle_id,
                # What is not ours is not renamed (I7).
                other_username=parked_username(other.key) if theirs.owned else _name(theirs, other),
                state=OPEN if mine.moodle_id is not None else MOVED,
                made_at=now,
            )
            session.add(merge)
            if merge.state == MOVED:
                _swap(session, mine, theirs)
        _begin_again(mine, kept)
        _begin_again(theirs, other)
    session.flush()
    note_waiting(session, Mirror)


def part(
    session: Session, *, kept_id: AccountId, other_id: AccountId, link_id: int, now: datetime
) -> Sequence[MoodleMerge]:
    """Give each account its own Moodle users again. As `join`, within the transaction that parts them.

    Returns the merges whose course work was moved already: that stays where it is, and the person should know.
    """
    session.flush()
    kept, other = session.get_one(Account, kept_id), session.get_one(Account, other_id)
    merges = {merge.site: merge for merge in session.scalars(select(MoodleMerge).where(MoodleMerge.link_id == link_id))}
    for site, mine, theirs in _by_site(session, kept_id, other_id):
        merge = merges.get(site)
        # Unless an operator has had the row begin anew meanwhile.
        if merge is not None and merge.state == MOVED and mine.moodle_id == merge.kept_moodle_id:
            _swap(session, mine, theirs)
        _begin_again(mine, kept)
        _begin_again(theirs, other)
    for merge in merges.values():
        if merge.state in (OPEN, MOVED):
            merge.state, merge.done_at = VOID, now
    session.flush()
    note_waiting(session, Mirror)
    return [merge for merge in merges.values() if merge.state == DONE]


def _by_site(session: Session, kept_id: AccountId, other_id: AccountId) -> list[tuple[str, Mirror, Mirror]]:
    """The mirrors of both accounts at each site that either was ever at, held until the transaction ends."""
    both = (kept_id, other_id)
    sites = session.scalars(select(Mirror.site).where(Mirror.account_id.in_(both)).distinct().order_by(Mirror.site))
    held = ((site, mirrors.ensure_mirrors(session, both, site)) for site in sites.all())
    return [(site, rows[kept_id], rows[other_id]) for site, rows in held]


def _swap(session: Session, one: Mirror, two: Mirror) -> None:
    """Exchange the Moodle users of two mirrors, with what was begun and not settled for each."""
    ones, twos = ({name: getattr(row, name) for name in _USER} for row in (one, two))
    one.moodle_id = two.moodle_id = None
    session.flush()  # a user is one account's at a site
    for row, values in ((one, twos), (two, ones)):
        for name, value in values.items():
            setattr(row, name, value)
    session.flush()
    session.execute(
        update(JournalEntry)
        .where(
            JournalEntry.site == one.site,
            JournalEntry.state == journal.INTENDED,
            JournalEntry.account_id.in_((one.account_id, two.account_id)),
        )
        .values(account_id=case((JournalEntry.account_id == one.account_id, two.account_id), else_=one.account_id))
    )


def _begin_again(row: Mirror, account: Account) -> None:
    """Have the sync look at the user as if it had never been in step: as this account's, under this name, it was not.

    A ticket that names the user must not be validated before Moodle knows it by that name.
    """
    row.account_version, row.due, row.next_try_at, row.tries = 0, True, None, 0
    if row.state == MirrorState.IN_STEP.value and _name(row, account) != account.username:
        row.state = MirrorState.PENDING.value


def _name(row: Mirror, account: Account) -> str:
    """What the user of a mirror was last known to be called."""
    return str(row.written.get("username", account.username))
