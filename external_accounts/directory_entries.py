"""Writing the entries of accounts to the directory that is named in them: after an import, and after each change.

The account is the truth, `DirectoryWrite` says how far the directory is behind. Nobody has to announce anything: an
account whose `version` is ahead of what was written is due. Writing an entry twice does no harm, so a worker that dies
leaves nothing but the wait of its lease.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from external_accounts.database import Database
from external_accounts.directory import Directory, DirectoryError, DirectoryUnavailable, Entry
from external_accounts.directory_passwords import entry_of
from external_accounts.institution_schema import DirectoryWrite
from external_accounts.schema import Account, AccountId

LEASE = timedelta(minutes=10)
"""For a batch; a worker that is gone costs so much time."""
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=6)
NOT_CONFIGURED = "there is no [[directories]] entry of that name"


@dataclass(frozen=True, slots=True)
class _Task:
    account_id: AccountId
    directory: str
    version: int
    entry: Entry


def pause_after(attempts: int) -> timedelta:
    """How long a write rests that failed `attempts` times."""
    doublings = min(attempts - 1, 12)  # beyond, it is the longest pause whatever the number
    return min(FIRST_PAUSE * (1 << doublings), LONGEST_PAUSE)


def write_due(
    database: Database, directories: Mapping[str, Directory], *, clock: Callable[[], datetime], limit: int
) -> int:
    """Write a batch of entries that are behind. Returns how many were written.

    A directory that does not answer is not asked again in this batch: what is left for it goes on waiting, uncounted.
    """
    with database.read() as session:  # woken by every changed account: most of the time there is nothing to take
        if session.scalar(_due(clock()).limit(1)) is None:
            return 0
    with database.begin() as session:
        tasks = _take(session, clock(), limit)
    silent: set[str] = set()
    failures: dict[AccountId, str] = {}
    for task in tasks:
        if task.directory in silent:
            continue
        failures[task.account_id] = _write(directories.get(task.directory), task.entry, silent)
    if tasks:
        with database.begin() as session:
            _settle(session, tasks, failures, clock())
    return sum(1 for failure in failures.values() if not failure)


def _write(directory: Directory | None, entry: Entry, silent: set[str]) -> str:
    """What went wrong, or nothing."""
    if directory is None:
        return NOT_CONFIGURED
    try:
        directory.save(entry)
    except DirectoryError as error:
        if isinstance(error, DirectoryUnavailable):
            silent.add(directory.name)
        return f"{type(error).__name__}: {error}"[:200]
    return ""


def _behind() -> ColumnElement[bool]:
    return and_(
        Account.directory != "",
        Account.erased_at.is_(None),
        or_(DirectoryWrite.account_id.is_(None), DirectoryWrite.version < Account.version),
    )


def _due(now: datetime) -> Select[Account]:
    return (
        select(Account)
        .outerjoin(DirectoryWrite, DirectoryWrite.account_id == Account.id)
        .where(_behind(), or_(DirectoryWrite.due_at.is_(None), DirectoryWrite.due_at <= now))
    )


def _take(session: Session, now: datetime, limit: int) -> list[_Task]:
    """Accounts whose entry is behind, leased."""
    accounts = session.scalars(
        _due(now).order_by(Account.id).limit(limit).with_for_update(of=Account, skip_locked=True)
    ).all()
    tasks = []
    for account in accounts:
        written = session.get(DirectoryWrite, account.id)
        if written is None:
            written = DirectoryWrite(account_id=account.id, version=0, attempts=0, last_error="")
            session.add(written)
        written.due_at = now + LEASE
        tasks.append(_Task(account.id, account.directory, account.version, entry_of(account)))
    return tasks


def _settle(session: Session, tasks: list[_Task], failures: Mapping[AccountId, str], now: datetime) -> None:
    for task in tasks:
        written = session.get(DirectoryWrite, task.account_id, with_for_update=True)
        if written is None:  # erased meanwhile
            continue
        failure = failures.get(task.account_id)
        if failure is None:
            written.due_at = None
        elif failure:
            written.attempts += 1
            written.last_error = failure
            written.due_at = now + pause_after(written.attempts)
        else:
            written.version, written.attempts, written.last_error, written.due_at = task.version, 0, "", None


@dataclass(frozen=True, slots=True)
class Behind:
    """What a directory has not got yet, for who runs the service."""

    directory: str
    count: int
    failed: int
    """Of these: tried in vain."""
    last_error: str


def behind(session: Session) -> list[Behind]:
    """The directories that have not got every entry, by name."""
    failed = func.count(DirectoryWrite.account_id).filter(DirectoryWrite.attempts > 0)
    rows = session.execute(
        select(Account.directory, func.count(Account.id), failed, func.max(DirectoryWrite.last_error))
        .outerjoin(DirectoryWrite, DirectoryWrite.account_id == Account.id)
        .where(_behind())
        .group_by(Account.directory)
        .order_by(Account.directory)
    )
    return [Behind(name, count, tried, error or "") for name, count, tried, error in rows]
