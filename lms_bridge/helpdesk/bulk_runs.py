"""One act on many accounts: looked at, confirmed, carried out by the background work.

    previewed → running → done, or stopped

What is shown is what is done: a preview stores whom it found and how each account stood, and an account that has
changed since is left alone and named. Each account is a transaction of its own, in which its line is ticked off too: a
process that dies has done whole accounts, and the next one goes on (I8).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import structlog
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.accounts import lock_account
from external_accounts.database import note_waiting
from external_accounts.schema import Account
from lms_bridge.helpdesk import people
from lms_bridge.helpdesk.acts import deeds, resending
from lms_bridge.helpdesk.acts.deeds import Deed, Doer, Wanted
from lms_bridge.helpdesk.refusals import Refusal, Refused
from lms_bridge.runtime import Runtime
from lms_bridge.schema import BulkLine, BulkRun

log = structlog.get_logger(__name__)

PREVIEWED, RUNNING, DONE, STOPPED = "previewed", "running", "done", "stopped"
READY, REFUSED, CHANGED = "ready", "refused", "changed"

MOST = 2000
"""Accounts at once."""
COUNTED_ABOVE = 20
"""Whoever acts on more must type how many: a list that is not the one they think is seen before it is too late."""
GOOD_FOR = timedelta(hours=24)
"""How long a preview can be carried out."""
KEEP = timedelta(days=30)
BATCH = 20


@dataclass(frozen=True, slots=True)
class Act:
    """Something that can be done to many."""

    deed: Deed
    check: Deed
    """Refuses, for one account, what the deed would refuse."""
    undone_by: str = ""


ACTS: Mapping[str, Act] = {
    "suspend": Act(deeds.suspend, deeds.check_suspend, undone_by="readmit"),
    "readmit": Act(deeds.readmit, deeds.check_readmit),
    "resend": Act(resending.resend, resending.check_needed),
    "extend": Act(deeds.extend, deeds.check_extend),
    "sessions": Act(deeds.end_sessions, deeds.check_end_sessions),
}


class NotAsShown(Exception):
    """The run was carried out, stopped or is too old; or the count that was typed is not the list's."""


@dataclass(frozen=True, slots=True)
class Target:
    """One line: what was typed, and the accounts it names."""

    typed: str
    accounts: Sequence[Account]


def prepare(
    session: Session, doer: Doer, act: str, wanted: Wanted, targets: Sequence[Target], *, undoes: int | None = None
) -> BulkRun:
    """Look at every line, and keep what was found. Nothing is done yet."""
    run = BulkRun(
        act=act,
        reason=wanted.reason,
        until=wanted.until.isoformat() if wanted.until else "",
        state=PREVIEWED,
        made_by=doer.username,
        made_by_id=doer.account_id,
        network=doer.origin.network,
        made_at=doer.now,
        undoes_id=undoes,
    )
    session.add(run)
    session.flush()
    seen: set[int] = set()
    lines = [_line(session, doer, run, wanted, target, seen) for target in targets]
    session.add_all(lines)
    session.flush()
    _record(session, run, PREVIEWED, doer.now, doer.origin, found=len(lines))
    return run


def _line(session: Session, doer: Doer, run: BulkRun, wanted: Wanted, target: Target, seen: set[int]) -> BulkLine:
    visible = [account for account in target.accounts if doer.may_see(account.unit)]
    line = BulkLine(run_id=run.id, typed=target.typed, state=REFUSED, refusal="", version=0)
    if len(visible) != 1:
        line.refusal = Refusal.SEVERAL_ACCOUNTS if visible else Refusal.NO_SUCH_ACCOUNT
        return line
    account = visible[0]
    line.account_id, line.version = account.id, account.version
    refusal = Refusal.TWICE if account.id in seen else why_not(session, doer, run.act, account, wanted)
    seen.add(account.id)
    line.state, line.refusal = (REFUSED, refusal) if refusal else (READY, "")
    return line


def why_not(session: Session, doer: Doer, act: str, account: Account, wanted: Wanted) -> Refusal | None:
    """Why the act is not done for this account; None: it is."""
    if account.id == doer.account_id:
        return Refusal.OWN_ACCOUNT
    if people.works_here(account, doer.bridge.settings):
        return Refusal.ONE_BY_ONE
    try:
        ACTS[act].check(session, doer, account, wanted)
    except Refused as refused:
        return refused.refusal
    return None


def counts(session: Session, run_id: int) -> dict[str, int]:
    """How many lines are in which state."""
    query = select(BulkLine.state, func.count()).where(BulkLine.run_id == run_id).group_by(BulkLine.state)
    return dict(session.execute(query).all())


def start(session: Session, doer: Doer, run_id: int, typed_count: int | None) -> None:
    """Have a preview carried out, by whoever made it. `typed_count`: how many they believe it is about.

    Raises:
        NotAsShown: of N at once exactly one starts it.
    """
    run = session.get_one(BulkRun, run_id, with_for_update=True, populate_existing=True)
    ready = counts(session, run_id).get(READY, 0)
    if run.state != PREVIEWED or run.made_by_id != doer.account_id or doer.now - run.made_at > GOOD_FOR or not ready:
        raise NotAsShown
    if ready > COUNTED_ABOVE and typed_count != ready:
        raise NotAsShown
    run.state, run.started_at = RUNNING, doer.now
    note_waiting(session, BulkRun)
    _record(session, run, "started", doer.now, doer.origin, ready=ready)


def stop(session: Session, doer: Doer, run_id: int) -> bool:
    """Do no more of it; what was done stays done. False when it does not run any more."""
    stopped = session.scalar(
        update(BulkRun)
        .where(BulkRun.id == run_id, BulkRun.state == RUNNING)
        .values(state=STOPPED, ended_at=doer.now)
        .returning(BulkRun.id)
    )
    if stopped is not None:
        _record(session, session.get_one(BulkRun, run_id), STOPPED, doer.now, doer.origin, **counts(session, run_id))
    return stopped is not None


def undo(session: Session, doer: Doer, run: BulkRun) -> BulkRun | None:
    """A preview of the contrary, for the accounts that this run changed and that nobody has changed the same way since.

    None where there is no contrary, or nothing is left to undo.
    """
    contrary = ACTS[run.act].undone_by
    if not contrary or run.state not in (DONE, STOPPED):
        return None
    query = (
        select(Account)
        .join(BulkLine, BulkLine.account_id == Account.id)
        .where(BulkLine.run_id == run.id, BulkLine.state == DONE, Account.suspended_at == BulkLine.at)
        .order_by(BulkLine.id)
    )
    targets = [Target(account.username, [account]) for account in session.scalars(query)]
    if not targets:
        return None
    return prepare(session, doer, contrary, Wanted(reason=run.reason), targets, undoes=run.id)


def carry_out(runtime: Runtime) -> int:
    """A batch of the oldest run. Returns how many lines were dealt with."""
    with runtime.database.read() as session:
        run = session.scalar(select(BulkRun).where(BulkRun.state == RUNNING).order_by(BulkRun.id).limit(1))
        if run is None:
            return 0
        ready = (BulkLine.run_id == run.id, BulkLine.state == READY)
        lines = session.scalars(select(BulkLine.id).where(*ready).order_by(BulkLine.id).limit(BATCH)).all()
    for line_id in lines:
        _carry_out(runtime, run, line_id)
    if not lines:
        _finish(runtime, run.id)
    return max(len(lines), 1)


def _carry_out(runtime: Runtime, run: BulkRun, line_id: int) -> None:
    doer = Doer(
        runtime,
        run.made_by_id,
        run.made_by,
        audit.Origin(network=run.network, actor=run.made_by),
        runtime.clock(),
        lambda _unit: True,  # whom they may see was asked when the list was made
    )
    wanted = Wanted(reason=run.reason, until=date.fromisoformat(run.until) if run.until else None)
    try:
        with runtime.database.begin() as session:
            line = _held(session, line_id)
            if line is None or line.account_id is None:
                return
            account = lock_account(session, line.account_id)
            line.at = doer.now
            if account.version != line.version:
                line.state = CHANGED
                return
            refusal = why_not(session, doer, run.act, account, wanted)
            if refusal is not None:
                raise Refused(refusal)
            ACTS[run.act].deed(session, doer, account, wanted)
            line.state = DONE
    except Refused as refused:
        _leave_alone(doer, line_id, refused.refusal)
    except Exception:  # one account that cannot be acted on must not hold up the others
        log.exception("helpdesk.bulk", run=run.id, line=line_id)
        _leave_alone(doer, line_id, Refusal.FAILED)


def _leave_alone(doer: Doer, line_id: int, refusal: Refusal) -> None:
    with doer.bridge.database.begin() as session:
        line = _held(session, line_id)
        if line is not None:
            line.state, line.refusal, line.at = REFUSED, refusal, doer.now


def _held(session: Session, line_id: int) -> BulkLine | None:
    """The line, held, if its run still runs and nobody else has dealt with it."""
    return session.scalar(
        select(BulkLine)
        .join(BulkRun, BulkRun.id == BulkLine.run_id)
        .where(BulkLine.id == line_id, BulkLine.state == READY, BulkRun.state == RUNNING)
        .with_for_update(of=BulkLine, skip_locked=True)
    )


def _finish(runtime: Runtime, run_id: int) -> None:
    now = runtime.clock()
    with runtime.database.begin() as session:
        run = session.get_one(BulkRun, run_id, with_for_update=True)
        found = counts(session, run_id)
        if run.state != RUNNING or found.get(READY):
            return
        run.state, run.ended_at = DONE, now
        _record(session, run, DONE, now, audit.Origin(network=run.network, actor=run.made_by), **found)


def purge(session: Session, now: datetime) -> None:
    """Forget runs that ended long ago, and previews that nobody carried out."""
    old = select(BulkRun.id).where(
        (BulkRun.ended_at < now - KEEP) | ((BulkRun.state == PREVIEWED) & (BulkRun.made_at < now - 2 * GOOD_FOR))
    )
    numbers = session.scalars(old).all()
    session.execute(update(BulkRun).where(BulkRun.undoes_id.in_(numbers)).values(undoes_id=None))
    session.execute(delete(BulkLine).where(BulkLine.run_id.in_(numbers)))
    session.execute(delete(BulkRun).where(BulkRun.id.in_(numbers)))


def _record(session: Session, run: BulkRun, outcome: str, now: datetime, origin: audit.Origin, **details: int) -> None:
    audit.record(
        session,
        "helpdesk.bulk",
        outcome=outcome,
        now=now,
        origin=origin,
        run=run.id,
        act=run.act,
        reason=run.reason,
        lines=details,
    )
