"""What the Moodle user of one account has to do with that of another one, because a person joined the two, or undid it.

Two users of a Moodle never bear one name or one address at a time. So whoever gives something up goes first: the user
of the joined account before that of the kept one; after an undo, the kept one before the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from external_accounts.database import Database
from external_accounts.linking_schema import AccountLink
from external_accounts.schema import Account, AccountId
from lms_bridge.gate import MirrorState
from lms_bridge.schema import Mirror
from lms_bridge.settings.moodle_sites import Site
from lms_bridge.sync import source
from lms_bridge.sync.desired import desired_user, modes, parked_username
from lms_bridge.sync.source import Entry

YIELDED = ("email", "idnumber")
"""What a parked user gives up, and only where the kept one is to have the same: everything else stays as it is."""


@dataclass(frozen=True, slots=True)
class Predecessor:
    """Another account's user of the same Moodle that goes first."""

    account_id: AccountId
    moodle_id: int | None
    away: bool
    """Whether it was seen closed under a name that is nobody's."""
    email: str
    """The address it was last known to have."""


@dataclass(frozen=True, slots=True)
class Ties:
    """The ties of one account at one site."""

    before: Sequence[Predecessor] = ()
    """Who has to be out of the way before this account's user gets another name or address."""
    keeps: bool = False
    """Whether another account was joined to this one and this one's user was not in step since: a link is a reason to
    change the sign-in method in place."""
    yields: Mapping[str, str] = field(default_factory=dict)
    """For a joined account: what the kept one's user is to have and does not have yet."""


NONE = Ties()


def ties_of(database: Database, entries: Sequence[Entry], site: Site) -> Mapping[AccountId, Ties]:
    """The ties of those among `entries` that were ever joined; most never were."""
    tied = [entry for entry in entries if entry.linked]
    if not tied:
        return {}
    joined = _joined_to(database, site.name, [entry.account_id for entry in tied])
    # Right after an undo its two users may still bear each other's name; later ones have nothing to wait for.
    parted = _parted_from(
        database, site.name, [entry.account_id for entry in tied if entry.mirror.account_version == 0]
    )
    return {
        entry.account_id: _ties(database, entry, site, joined[entry.account_id], parted[entry.account_id])
        for entry in tied
    }


def is_away(state: str, written: Mapping[str, Any], key: str) -> bool:
    """Whether a mirror says that the user of the joined account with this key is closed (by us, or before) and parked:
    the name comes last."""
    return state == MirrorState.IN_STEP and written.get("username") == parked_username(key)


def _ties(
    database: Database, entry: Entry, site: Site, joined: Sequence[Predecessor], parted: Sequence[Predecessor]
) -> Ties:
    facts = entry.subject.facts
    if facts.merged_into_id is None:
        return Ties((*joined, *parted), keeps=bool(joined) and entry.mirror.account_version == 0)
    kept = source.one(database, facts.merged_into_id, site.name)
    # Nothing is written to a user that is not ours, so nothing need be given up for it (I7).
    return Ties(yields=_yielded(kept, site)) if kept is not None and kept.mirror.owned else NONE


def _yielded(kept: Entry, site: Site) -> Mapping[str, str]:
    wanted = desired_user(kept.subject, site, admitted=True).fields
    owned = modes(site)
    return {
        name: wanted[name]
        for name in YIELDED
        if name in wanted and owned[name] == "own" and kept.mirror.written.get(name) != wanted[name]
    }


def _joined_to(
    database: Database, site: str, account_ids: Collection[AccountId]
) -> Mapping[AccountId, Sequence[Predecessor]]:
    """The users of accounts that were joined to these."""
    query = (
        select(Account.merged_into_id, Account.key, Mirror)
        .join(Mirror, Mirror.account_id == Account.id)
        .where(Account.merged_into_id.in_(account_ids), Mirror.site == site)
        .order_by(Account.id)
    )
    found: defaultdict[AccountId, list[Predecessor]] = defaultdict(list)
    with database.read() as session:
        for kept_id, key, mirror in session.execute(query):
            if kept_id is not None and (mirror.moodle_id is not None or mirror.owned):
                away = is_away(mirror.state, mirror.written, key)
                found[kept_id].append(_predecessor(mirror, away=away))
    return found


def _parted_from(
    database: Database, site: str, account_ids: Collection[AccountId]
) -> Mapping[AccountId, Sequence[Predecessor]]:
    """The users of accounts that these were joined to until somebody undid it."""
    found: defaultdict[AccountId, list[Predecessor]] = defaultdict(list)
    if not account_ids:
        return found
    query = (
        select(AccountLink.other_id, Mirror)
        .join(Mirror, Mirror.account_id == AccountLink.kept_id)
        .where(AccountLink.other_id.in_(account_ids), AccountLink.undone_at.is_not(None), Mirror.site == site)
        .order_by(AccountLink.id)
    )
    with database.read() as session:
        for other_id, mirror in session.execute(query):
            if mirror.moodle_id is not None:
                found[other_id].append(_predecessor(mirror, away=False))
    return found


def _predecessor(mirror: Mirror, *, away: bool) -> Predecessor:
    written: Mapping[str, Any] = mirror.written
    return Predecessor(mirror.account_id, mirror.moodle_id, away, str(written.get("email", "")))
