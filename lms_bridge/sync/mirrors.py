"""Mirror rows as values, and what is written into them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, case, delete, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.accounts import AccountFacts
from external_accounts.database import note_waiting
from external_accounts.schema import Account, AccountId
from lms_bridge.gate import MirrorState
from lms_bridge.schema import Mirror
from lms_bridge.settings.moodle_sites import Site


@dataclass(frozen=True, slots=True)
class MirrorView:
    """A mirror row as values: what was last written to Moodle for an account, and what was last seen there."""

    moodle_id: int | None = None
    state: MirrorState = MirrorState.PENDING
    owned: bool = False
    suspended_by_us: bool = False
    written: Mapping[str, Any] = field(default_factory=dict)
    account_version: int = 0
    seen_at: datetime | None = None
    absent_runs: int = 0
    due: bool = True
    conflicts: Sequence[Mapping[str, Any]] = ()
    problem: str = ""


def is_fresh(mirror: MirrorView, facts: AccountFacts, site: Site, now: datetime) -> bool:
    """Whether a recent look found this very version of the account in step: no need to look again."""
    return (
        mirror.state is MirrorState.IN_STEP
        and not mirror.suspended_by_us
        and mirror.account_version == facts.version
        and mirror.seen_at is not None
        and now - mirror.seen_at < timedelta(minutes=site.trust_minutes)
    )


def outlives_outage(mirror: MirrorView, facts: AccountFacts, site: Site, now: datetime) -> bool:
    """Whether the person may enter although Moodle's web service does not answer."""
    return (
        mirror.state is MirrorState.IN_STEP
        and not mirror.suspended_by_us
        and mirror.written.get("username", facts.username) == facts.username
        and mirror.seen_at is not None
        and now - mirror.seen_at < timedelta(hours=site.outage_hours)
    )


def ensure_mirrors(session: Session, account_ids: Collection[AccountId], site: str) -> dict[AccountId, Mirror]:
    """The accounts' mirror rows, held until the transaction ends; made where there is none yet."""
    # In the order of their ids: of two who want some of the same rows, one waits and neither for ever.
    query = select(Mirror).where(Mirror.site == site).order_by(Mirror.id).with_for_update()
    rows = {row.account_id: row for row in session.scalars(query.where(Mirror.account_id.in_(account_ids)))}
    missing = [account_id for account_id in account_ids if account_id not in rows]
    if missing:
        # Two sign-ins of one person may come here at once; the second finds the first one's row.
        insert = sqlite_insert if session.get_bind().dialect.name == "sqlite" else postgresql_insert
        fresh = [fresh_row(account_id, site) for account_id in missing]
        session.execute(insert(Mirror).values(fresh).on_conflict_do_nothing())
        rows |= {row.account_id: row for row in session.scalars(query.where(Mirror.account_id.in_(missing)))}
    return rows


def ensure_mirror(session: Session, account_id: AccountId, site: str) -> Mirror:
    """As `ensure_mirrors`, for one account."""
    return ensure_mirrors(session, [account_id], site)[account_id]


def fresh_row(account_id: AccountId, site: str) -> dict[str, Any]:
    """The values of a mirror row of which nothing is known."""
    return {
        "account_id": account_id,
        "site": site,
        "state": MirrorState.PENDING.value,
        "account_version": 0,
        "written": {},
        "problem": "",
        "conflicts": [],
    }


def settle(session: Session, site: str, versions: Mapping[AccountId, int]) -> None:
    """Note that each account was handled as of its version: due again only if it has changed since (or is being
    changed now: then the trigger of that transaction has the last word)."""
    session.flush()
    current = select(Account.version).where(Account.id == Mirror.account_id).scalar_subquery()
    statement = (
        update(Mirror)
        .where(Mirror.account_id == bindparam("handled"), Mirror.site == site)
        .values(
            due=case((current == bindparam("as_of"), False), else_=True), next_try_at=None, tries=0, leased_until=None
        )
    )
    if versions:
        rows = [{"handled": account_id, "as_of": version} for account_id, version in versions.items()]
        session.connection().execute(statement, rows)


def forget_mirror(session: Session, account_id: AccountId, site: str, *, now: datetime, origin: audit.Origin) -> None:
    """Begin again with a site as if the account had never been there. Nothing is written to Moodle."""
    session.execute(delete(Mirror).where(Mirror.account_id == account_id, Mirror.site == site))
    ensure_mirror(session, account_id, site).due = True
    note_waiting(session, Mirror)
    audit.record(session, "mirror.forgotten", outcome="ok", now=now, origin=origin, account_id=account_id, site=site)


def next_change(facts: AccountFacts, now: datetime) -> datetime | None:
    """When the gate's answer may change without anybody doing anything: a suspension or the rights end."""
    moments = [moment for moment in (facts.suspended_until, facts.rights_end_at) if moment is not None and moment > now]
    return min(moments, default=None)


def ask_for_sign_out(session: Session, account_id: AccountId, sites: Collection[str] | None = None) -> None:
    """Have the account's sessions in Moodle ended by the background work: at all sites, or at these."""
    rows = update(Mirror).where(Mirror.account_id == account_id, Mirror.owned)
    if sites is not None:
        rows = rows.where(Mirror.site.in_(sites))
    session.execute(rows.values(sign_out_pending=True))
    note_waiting(session, Mirror)
