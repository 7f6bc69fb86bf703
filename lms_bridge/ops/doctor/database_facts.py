"""What the doctor reads in the bridge's own database. Nothing is kept: the one write is taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, aliased

from external_accounts import directory_entries, handover_deliveries
from external_accounts.addresses import mask_address
from external_accounts.database import Database
from external_accounts.directory_entries import Behind
from external_accounts.handover_deliveries import Figures
from external_accounts.schema import Account, Address, OutboxMail, Proof, ThrottleBucket
from lms_bridge import migrations
from lms_bridge.mail.figures import WEEK, Domain, by_domain
from lms_bridge.schema import Mirror, SsoSession, Ticket
from lms_bridge.sync import status as sync_status
from lms_bridge.sync.desired import CUSTOM
from lms_bridge.sync.status import SiteStatus

PATIENCE_SECONDS = 5.0
SAMPLE = 50
"""Mirrored users compared with Moodle: one look-up."""
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Mirrored:
    """Somebody the bridge believes to be in step on a site."""

    moodle_id: int
    username: str
    email: str | None
    """The confirmed primary address."""
    custom_fields: frozenset[str] = frozenset()
    """Short names of the custom profile fields that something was written into."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Rows that background work should have done: how many, since when, and whether anybody tried the oldest."""

    count: int = 0
    since: datetime | None = None
    tried: int = 0


@dataclass(frozen=True, slots=True)
class SiteRows:
    """What the database knows of one site."""

    sample: Sequence[Mirrored] = ()
    last_write: datetime | None = None
    """When a user whom the bridge created was last seen in step: creating and updating worked before that."""
    shared_addresses: Sequence[str] = ()
    """Confirmed addresses (masked) that two accounts with a user on this site share."""
    status: SiteStatus | None = None
    """Where the site stands, as `sync status` says it."""


@dataclass(frozen=True, slots=True)
class KeyUse:
    """Which secret keys living proofs were made under, and since when the newest key is in use."""

    needed: frozenset[str] = frozenset()
    current_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """`error` names what keeps the database from answering; then nothing else is known."""

    error: str = ""
    missing_file: bool = False
    version: frozenset[str] = frozenset()
    newest: frozenset[str] = frozenset()
    refuses_writes: str = ""
    journal_mode: str = ""
    foreign_keys: bool = True
    is_sqlite: bool = True
    clock_ahead: float = 0.0
    """Seconds, for a database server of its own."""
    mails: Waiting = field(default_factory=Waiting)
    logouts: Waiting = field(default_factory=Waiting)
    sessions: Waiting = field(default_factory=Waiting)
    sites: Mapping[str, SiteRows] = field(default_factory=dict)
    keys: KeyUse = field(default_factory=KeyUse)
    domains: Sequence[Domain] = ()
    """What became of the mails of a week, by domain."""
    behind: Sequence[Behind] = ()
    """What waits to be written to a directory."""
    told: Sequence[Figures] = ()
    """What other systems were told of accounts."""

    @property
    def current(self) -> bool:
        return not self.error and self.version == self.newest


class _TakenBack(Exception):
    """Ends the transaction of the trial write without keeping it."""


def read_database(url: str, site_names: Sequence[str], current_key: str, now: datetime) -> DatabaseFacts:
    """Everything of `DatabaseFacts`. `current_key` is the id of the newest secret key."""
    database = Database(url, pool_size=1, patience=PATIENCE_SECONDS)
    try:
        if database.is_sqlite and not Path(database.url.database or "").is_file():
            return DatabaseFacts(error="FileNotFoundError", missing_file=True)  # looking would create it
        return _read(database, site_names, current_key, now)
    except (SQLAlchemyError, OSError) as error:
        return DatabaseFacts(error=type(getattr(error, "orig", None) or error).__name__)
    finally:
        database.close()


def _read(database: Database, site_names: Sequence[str], current_key: str, now: datetime) -> DatabaseFacts:
    with database.engine.connect().execution_options(read_only=True) as connection:
        version = frozenset(MigrationContext.configure(connection).get_current_heads())
        sqlite = database.is_sqlite
        mode = str(connection.exec_driver_sql("PRAGMA journal_mode").scalar()) if sqlite else ""
        foreign = bool(connection.exec_driver_sql("PRAGMA foreign_keys").scalar()) if sqlite else True
        asked = datetime.now(UTC)
        theirs = asked if sqlite else connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    newest = frozenset(ScriptDirectory(str(Path(migrations.__file__).parent)).get_heads())
    facts = {
        "version": version,
        "newest": newest,
        "journal_mode": mode,
        "foreign_keys": foreign,
        "is_sqlite": sqlite,
        "clock_ahead": (theirs - asked).total_seconds(),
    }
    if version != newest:
        return DatabaseFacts(**facts)  # type: ignore[arg-type]
    status = {name: sync_status.of_site(database, name, now=now) for name in site_names}
    with database.read() as session:
        return DatabaseFacts(
            **facts,  # type: ignore[arg-type]
            refuses_writes=_refuses_writes(database),
            mails=_mails(session, now),
            logouts=_logouts(session, now),
            sessions=_sessions(session, now),
            sites={name: replace(_site_rows(session, name), status=status[name]) for name in site_names},
            keys=_key_use(session, current_key, now),
            domains=by_domain(session, since=now - WEEK),
            behind=directory_entries.behind(session),
            told=handover_deliveries.figures(session),
        )


def _refuses_writes(database: Database) -> str:
    try:
        with suppress(_TakenBack), database.begin() as session:
            session.add(ThrottleBucket(key="doctor", full_at_ms=0))
            session.flush()
            raise _TakenBack
    except SQLAlchemyError as error:
        return type(getattr(error, "orig", None) or error).__name__
    return ""


def _mails(session: Session, now: datetime) -> Waiting:
    waiting = (OutboxMail.state == "pending", OutboxMail.due_at <= now)
    count = session.scalar(select(func.count()).where(*waiting)) or 0
    oldest = session.execute(
        select(OutboxMail.due_at, OutboxMail.attempts).where(*waiting).order_by(OutboxMail.due_at).limit(1)
    ).first()
    return Waiting(count, oldest[0], oldest[1]) if oldest else Waiting()


def _logouts(session: Session, now: datetime) -> Waiting:
    waiting = (Ticket.logout_state == "pending", Ticket.logout_due_at <= now)
    count, since = session.execute(select(func.count(), func.min(Ticket.logout_due_at)).where(*waiting)).one()
    return Waiting(count, since)


def _sessions(session: Session, now: datetime) -> Waiting:
    over = (SsoSession.ended_at.is_(None), SsoSession.expires_at < now)
    count, since = session.execute(select(func.count(), func.min(SsoSession.expires_at)).where(*over)).one()
    return Waiting(count, since)


def _site_rows(session: Session, site: str) -> SiteRows:
    in_step = (Mirror.site == site, Mirror.state == "in_step", Mirror.moodle_id.is_not(None))
    rows = session.execute(
        select(Mirror.moodle_id, Account.username, Address.email, Mirror.written)
        .join(Account, Account.id == Mirror.account_id)
        .outerjoin(
            Address,
            (Address.account_id == Account.id) & Address.is_primary & Address.confirmed_at.is_not(None),
        )
        .where(*in_step, Mirror.suspended_by_us.is_(False))
        .order_by(Mirror.seen_at.desc(), Mirror.id)
        .limit(SAMPLE)
    )
    written = session.scalar(select(func.max(Mirror.seen_at)).where(*in_step, Mirror.owned))
    return SiteRows(
        [
            Mirrored(number, name, email, _custom_fields(fields))
            for number, name, email, fields in rows
            if number is not None
        ],
        written,
        _shared_addresses(session, site),
    )


def _custom_fields(written: Mapping[str, Any]) -> frozenset[str]:
    """Those with a value that Moodle shows: an unset box may be left out (versions page §1)."""
    return frozenset(
        name.removeprefix(CUSTOM) for name, value in written.items() if name.startswith(CUSTOM) and value != "0"
    )


def _shared_addresses(session: Session, site: str) -> list[str]:
    mirror = aliased(Mirror)
    shared = (
        select(func.min(Address.email))
        .join(mirror, mirror.account_id == Address.account_id)
        .join(Account, Account.id == Address.account_id)
        .where(mirror.site == site, mirror.moodle_id.is_not(None), Address.confirmed_at.is_not(None))
        .where(Account.merged_into_id.is_(None))
        .group_by(Address.email_key)
        .having(func.count(Address.account_id.distinct()) > 1)
        .order_by(Address.email_key)
        .limit(SHOWN)
    )
    return [mask_address(email) for email in session.scalars(shared) if email]


def _key_use(session: Session, current_key: str, now: datetime) -> KeyUse:
    living = (Proof.expires_at > now, Proof.claimed_at.is_(None), Proof.cancelled_at.is_(None))
    needed = frozenset(session.scalars(select(Proof.key_id).where(*living).distinct()))
    since = session.scalar(select(func.min(Proof.created_at)).where(Proof.key_id == current_key))
    return KeyUse(needed, since)
