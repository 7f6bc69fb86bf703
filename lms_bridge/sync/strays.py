"""Moodle users who may be the person of an account that has another user there, or none: the radar's third source.

They come from look-ups that are made anyway (an adoption), and from a nightly one over the accounts whose mirror is in
conflict (D33). They are shown to the help desk. Nothing is written to Moodle, nor to a mirror (I7).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from external_accounts.database import Database
from external_accounts.schema import AccountId
from lms_bridge.gate import MirrorState
from lms_bridge.schema import Mirror, StrayUser
from lms_bridge.settings.moodle_sites import Site
from lms_bridge.sync import source
from lms_bridge.sync.adopt import LEVELS, Candidates, candidates
from lms_bridge.sync.compare import PROTECTED_IDS, protected_names
from lms_bridge.sync.sites import MoodleSites
from lms_bridge.sync.source import Entry
from moodle_ws.users import MoodleUser

OPEN, DISMISSED = "open", "dismissed"
BY = {LEVELS[1]: "idnumber", LEVELS[2]: "idnumber", LEVELS[3]: "username", LEVELS[4]: "email"}
PAGE = 500


def strays_of(entry: Entry, found: Candidates, site: Site) -> dict[int, tuple[MoodleUser, list[str]]]:
    """Those of the users found for an account that are not the account's own, with what they have in common."""
    seen: dict[int, tuple[MoodleUser, list[str]]] = {}
    for level, users in found.items():
        for user in users:
            own = user.id == entry.mirror.moodle_id or user.id in PROTECTED_IDS
            if level not in BY or own or user.looks_deleted or user.username in protected_names(site):
                continue
            _, facts = seen.setdefault(user.id, (user, []))
            facts.append(BY[level])
    return seen


def note(
    session: Session, site: Site, entries: Sequence[Entry], found: Mapping[AccountId, Candidates], now: datetime
) -> int:
    """Write down what look-ups for these accounts found: all of it, so that what is not there any more goes."""
    rows = [
        {
            "account_id": entry.account_id,
            "site": site.name,
            "moodle_id": number,
            "username": (user.username or "")[:100],
            "fullname": (user.fullname or "").strip()[:200],
            "facts": facts,
            "state": OPEN,
            "found_at": now,
            "decided_by": "",
        }
        for entry in entries
        for number, (user, facts) in strays_of(entry, found.get(entry.account_id, {}), site).items()
    ]
    there = {(row["account_id"], row["moodle_id"]) for row in rows}
    looked_at = [entry.account_id for entry in entries]
    query = select(StrayUser).where(StrayUser.site == site.name, StrayUser.account_id.in_(looked_at))
    for row in session.scalars(query.where(StrayUser.state == OPEN)):
        if (row.account_id, row.moodle_id) not in there:
            session.delete(row)
    session.flush()
    if rows:
        kind = sqlite_insert if session.get_bind().dialect.name == "sqlite" else postgresql_insert
        session.execute(kind(StrayUser).on_conflict_do_nothing(), rows)
    return len(rows)


def seek(database: Database, sites: MoodleSites, site_name: str, *, now: datetime) -> int:
    """Look up who else at the site could be the person of an account: of those in conflict, and where somebody was
    found before. Returns how many users were found.

    Raises:
        MoodleError: Moodle could not be asked; what was found so far is written down.
    """
    site, client = sites.site(site_name), sites.patient_client(site_name)
    with database.read() as session:
        conflict = select(Mirror.account_id).where(Mirror.site == site_name, Mirror.state == MirrorState.CONFLICT.value)
        known = select(StrayUser.account_id).where(StrayUser.site == site_name, StrayUser.state == OPEN)
        ids = sorted(session.scalars(conflict.union(known)))
    done = 0
    with ThreadPoolExecutor(site.parallel_calls) as pool:
        for start in range(0, len(ids), PAGE):
            looked_up = (source.one(database, number, site_name) for number in ids[start : start + PAGE])
            entries = [entry for entry in looked_up if entry is not None]
            found, _unreadable = candidates(client, site, entries, pool)
            with database.begin() as session:
                done += note(session, site, entries, found, now)
    return done
