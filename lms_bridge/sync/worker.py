"""The continuous part: accounts that changed are brought into step one by one, within a second.

Rows are taken by lease, so any number of workers may share them, and a killed one's rows are taken over. A change of
many accounts at once (an import gone wrong) does not slip past the guard because it comes one by one: closings are
counted over the last hour, and a wave of changes waits for a run over the whole site that an operator can look at.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog
from sqlalchemy import func, or_, select, update

from external_accounts.schema import AccountId
from lms_bridge import gate
from lms_bridge.runtime import Runtime
from lms_bridge.schema import JournalEntry, Mirror, SiteState
from lms_bridge.settings.moodle_sites import Site
from lms_bridge.sync import guard, source
from lms_bridge.sync.actions import Kind
from lms_bridge.sync.lease import AlreadyRunning
from lms_bridge.sync.runs import Orders, run_site, tools_of
from lms_bridge.sync.sites import NoServiceBehind, policy_behind
from lms_bridge.sync.source import Entry
from lms_bridge.sync.step import RETRY, step
from lms_bridge.sync.ties import NONE, ties_of
from moodle_ws.errors import MoodleError

log = structlog.get_logger(__name__)

BATCH = 20
"""Rows taken at once: the other jobs have their turn after them."""
LEASE = timedelta(minutes=2)
WINDOW = timedelta(hours=1)
HOLD = timedelta(minutes=1)


def work_on_due(runtime: Runtime) -> int:
    """Bring accounts into step that changed, or whose time came. Returns how many were taken."""
    taken = 0
    for name in runtime.sites.names:
        try:
            taken += _work_on_site(runtime, runtime.sites.site(name))
        except NoServiceBehind:
            continue  # settings have a site that no service uses: `config check` and the doctor say so
    return taken


def _work_on_site(runtime: Runtime, site: Site) -> int:
    now = runtime.clock()
    if runtime.sites.client(site.name).unavailable:
        return 0  # the breaker is open: nobody is tried until Moodle had time to come back
    if _is_wave(runtime, site, now):
        return 0
    policy = policy_behind(runtime.settings, site.name)
    rows = _take(runtime, site.name, now)
    held = 0
    for position, account_id in enumerate(rows):
        entry = source.one(runtime.database, account_id, site.name)
        assert entry is not None  # noqa: S101 (accounts are never deleted)
        if _is_one_closing_too_many(runtime, site, entry, policy, now):
            held += 1
            _put_off(runtime, site.name, [account_id], now + HOLD)
            continue
        try:
            step(runtime.database, runtime.sites, site.name, entry, policy, now=now, entering=False)
        except MoodleError:
            # Nobody else is tried until the site had time to come back.
            _put_off(runtime, site.name, rows[position + 1 :], now + RETRY)
            return 0
    if held:
        limit = _closing_limit(runtime, site, now)
        _hold(runtime, site.name, f"more than {limit} users would be suspended within an hour", now)
    elif rows:
        _release(runtime, site.name)
    return len(rows) - held


def _take(runtime: Runtime, site: str, now: datetime) -> Sequence[AccountId]:
    """Lease some rows that are due, oldest first."""
    # The site on both sides: SQLite looks into both indexes for an "or" of whole conditions only.
    here = Mirror.site == site
    due = or_(here & Mirror.due, here & (Mirror.recheck_at <= now))
    free = or_(Mirror.leased_until.is_(None), Mirror.leased_until <= now)
    ready = or_(Mirror.next_try_at.is_(None), Mirror.next_try_at <= now)
    picked = select(Mirror.id).where(due, free, ready).order_by(Mirror.id).limit(BATCH)
    if not runtime.database.is_sqlite:
        picked = picked.with_for_update(skip_locked=True)
    with runtime.database.read() as session:
        if session.scalar(select(Mirror.id).where(due, free, ready).limit(1)) is None:
            return ()  # the usual case costs no write
    with runtime.database.begin() as session:
        rows = session.execute(
            update(Mirror)
            .where(Mirror.id.in_(picked.scalar_subquery() if runtime.database.is_sqlite else picked))
            .values(leased_until=now + LEASE, due=True)
            .returning(Mirror.account_id)
        )
        return sorted(rows.scalars())


def _is_wave(runtime: Runtime, site: Site, now: datetime) -> bool:
    """Whether so many accounts changed at once that a run over the whole site has to take them."""
    with runtime.database.read() as session:
        here = Mirror.site == site.name
        due = session.scalar(select(func.count()).select_from(Mirror).where(here, Mirror.due)) or 0
        if due <= site.guard.refresh.floor:
            return False
        known = session.scalar(select(func.count()).where(here, Mirror.moodle_id.is_not(None))) or 0
    limits = site.guard.on(now.astimezone(runtime.settings.zone).date())
    most = max(guard.limit_of(limits.refresh, known), guard.limit_of(limits.create, known))
    if due <= most:
        return False
    _hold(runtime, site.name, f"{due} accounts changed at once, {most} are allowed", now)
    return True


def _is_one_closing_too_many(runtime: Runtime, site: Site, entry: Entry, policy: gate.Policy, now: datetime) -> bool:
    """Whether bringing this account into step would suspend one user too many within the hour: its own, or one that
    has to be out of its way first."""
    if not any(_would_be_closed(one, policy, now) for one in (entry, *_predecessors(runtime, site, entry))):
        return False
    query = select(func.count()).where(
        JournalEntry.site == site.name,
        JournalEntry.kind == Kind.CLOSE.value,
        JournalEntry.run_id.is_(None),
        JournalEntry.reason.in_([obstacle.value for obstacle in gate.Obstacle]),
        JournalEntry.at > now - WINDOW,
    )
    with runtime.database.read() as session:
        closed = session.scalar(query) or 0
    return closed >= _closing_limit(runtime, site, now)


def _would_be_closed(entry: Entry, policy: gate.Policy, now: datetime) -> bool:
    mirror = entry.mirror
    return mirror.owned and not mirror.suspended_by_us and not gate.decide(entry.subject.facts, policy, now).admitted


def _predecessors(runtime: Runtime, site: Site, entry: Entry) -> Iterator[Entry]:
    tied = ties_of(runtime.database, [entry], site).get(entry.account_id, NONE)
    for other in tied.before:
        theirs = source.one(runtime.database, other.account_id, site.name)
        if theirs is not None:
            yield theirs


def _closing_limit(runtime: Runtime, site: Site, now: datetime) -> int:
    with runtime.database.read() as session:
        known = session.scalar(select(func.count()).where(Mirror.site == site.name, Mirror.moodle_id.is_not(None)))
    limits = site.guard.on(now.astimezone(runtime.settings.zone).date())
    return guard.limit_of(limits.close, known or 0)


def _put_off(runtime: Runtime, site: str, account_ids: Sequence[AccountId], until: datetime) -> None:
    with runtime.database.begin() as session:
        session.execute(
            update(Mirror)
            .where(Mirror.site == site, Mirror.account_id.in_(account_ids))
            .values(next_try_at=until, leased_until=None)
        )


def _hold(runtime: Runtime, site: str, reason: str, now: datetime) -> None:
    """Say that changes wait for an operator: once in the log, and in `sync status` until a run has dealt with them."""
    with runtime.database.begin() as session:
        fresh = session.execute(
            update(SiteState)
            .where(SiteState.site == site, SiteState.held_since.is_(None))
            .values(held_since=now, held_reason=reason)
            .returning(SiteState.site)
        ).all()
    if fresh:
        log.error("sync.held", site=site, reason=reason, answer="lms-bridge sync plan, then apply")


def _release(runtime: Runtime, site: str) -> None:
    """Nothing is held any more."""
    with runtime.database.read() as session:
        held = session.scalar(select(SiteState.held_since).where(SiteState.site == site))
    if held is not None:
        with runtime.database.begin() as session:
            session.execute(update(SiteState).where(SiteState.site == site).values(held_since=None, held_reason=""))


def run_nightly(runtime: Runtime) -> int:
    """The run over each whole site that is due tonight; one process makes it. Returns how many were made."""
    made = 0
    now = runtime.clock()
    local = now.astimezone(runtime.settings.zone)
    for name in runtime.sites.names:
        site = runtime.sites.site(name)
        if site.nightly is None or local.time() < site.nightly or not _begin_night(runtime, name, f"{local:%Y-%m-%d}"):
            continue
        made += 1
        orders = Orders(write=True, actor="job:nightly", kind="nightly")
        try:
            with TemporaryDirectory(prefix=f"lms-bridge-{secrets.token_hex(4)}-") as folder:
                run_site(tools_of(runtime, name), name, orders, Path(folder))
        except (MoodleError, AlreadyRunning, NoServiceBehind) as error:
            log.error("sync.nightly", site=name, outcome=type(error).__name__, error=str(error))
    return made


def _begin_night(runtime: Runtime, site: str, day: str) -> bool:
    """Claim tonight's run of a site: true for one caller only. A site first met today waits for tomorrow."""
    with runtime.database.read() as session:
        state = session.get(SiteState, site)
        if state is None or state.nightly_day >= day:
            return False
        first = not state.nightly_day
    with runtime.database.begin() as session:
        claimed = session.execute(
            update(SiteState)
            .where(SiteState.site == site, SiteState.nightly_day < day)
            .values(nightly_day=day)
            .returning(SiteState.site)
        ).all()
    return bool(claimed) and not first
