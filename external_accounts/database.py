"""The database: one engine, short transactions, and statements compiled once.

Two ways in:

* `Database.begin()` / `Database.read()` give an ORM session. Everything that is not hot uses them.
* `Prepared` runs a SQLAlchemy Core statement straight on the driver's connection. SQLAlchemy compiles it once per
  dialect; per call only the driver works. Ticket issue and ticket validation use it, because there the ORM's share of
  the work was larger than the database's.

SQLite runs in WAL mode and takes its write lock at BEGIN (`BEGIN IMMEDIATE`), so that two writers queue instead of
deadlocking on an upgrade. PostgreSQL runs the same code.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, DateTime, Engine, Integer, MetaData, create_engine, event
from sqlalchemy.engine import Connection, Dialect, make_url
from sqlalchemy.engine.interfaces import BindTyping
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection
from sqlalchemy.sql import ClauseElement
from sqlalchemy.types import TypeDecorator

from external_accounts.writing_turns import Turns

PATIENCE_SECONDS = 10.0
"""SQLite's busy handler is unfair under two writers; transactions are short, so a generous wait costs nothing."""

PING_AFTER_SECONDS = 2.0
"""How long a connection rests before it is tried first: a try is a way to PostgreSQL and back."""

_USED_AT, _DRIVER = "used at", "driver"


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime. Naive values are refused: a time without a zone is a bug an hour away."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime reached the database")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """All tables of the product share one metadata, so that one transaction and one migration see them all."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    # SQLite generates keys for INTEGER only; PostgreSQL must not run out of 32 bits on audit rows.
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime(),
        int: BigInteger().with_variant(Integer(), "sqlite"),
    }


Waiting = frozenset[type[Base]]
"""Kinds of rows of which some wait for background work."""
_WAITING = "waiting rows"


def note_waiting(session: Session, kind: type[Base]) -> None:
    """Say that this transaction leaves rows of `kind` to the background work: it is woken when they are committed.

    Whoever writes such rows says so, in the same place. A wake-up is a courtesy: without it the next sweep finds them.
    """
    session.info.setdefault(_WAITING, set()).add(kind)


DriverConnection = PoolProxiedConnection | sqlite3.Connection
"""What statements run on that go past SQLAlchemy (`Prepared`)."""


class Database:
    """The engine and the two ways to use it. One per process; safe to share between threads."""

    def __init__(self, url: str, *, pool_size: int = 8, patience: float = PATIENCE_SECONDS) -> None:
        """Open `url` (`sqlite:///…` or `postgresql+psycopg://…`). Connects lazily.

        `patience` is how many seconds a statement waits for a lock, a free connection, or a silent server.
        """
        self.url = make_url(url)
        self._patience = patience
        options: dict[str, Any] = {"pool_size": pool_size, "max_overflow": 4, "pool_timeout": patience}
        # The connection used last: what it read is still in its cache, and the others may rest.
        options["pool_use_lifo"] = True
        # An error's text would name them, and with them addresses and password hashes, to whoever reads the log.
        options["hide_parameters"] = True
        if self.url.get_backend_name() == "sqlite":
            options["connect_args"] = {"timeout": patience, "check_same_thread": False}
        else:
            wait = int(patience * 1000)
            options["connect_args"] = {
                "connect_timeout": max(2, int(patience)),  # libpq takes less than 2 for 2
                "options": f"-c lock_timeout={wait} -c statement_timeout={wait}",
                "tcp_user_timeout": wait,
            }
        self.engine: Engine = create_engine(self.url, **options)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._turns = Turns(self.url.database if self.is_sqlite else None, patience)
        self._spare = _Spare(self.url.database or "", patience, pool_size) if self.is_sqlite else None
        self.on_waiting: Callable[[Waiting], None] = lambda _kinds: None
        """Called with what `note_waiting` noted, once the transaction has committed. Must return at once."""
        if self.is_sqlite:
            event.listen(self.engine, "connect", _configure_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            event.listen(self.engine, "checkin", _note_use)
            event.listen(self.engine, "checkout", self._ping_after_a_pause)

    def _ping_after_a_pause(self, connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
        """A connection that answered a moment ago will answer again; one that rested may have been closed meanwhile."""
        if time.monotonic() - record.info.get(_USED_AT, 0.0) < PING_AFTER_SECONDS:
            return
        try:
            self.engine.dialect.do_ping(connection)
        except self.engine.dialect.loaded_dbapi.Error as error:
            raise DisconnectionError from error

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """A write transaction: commits at the end of the block, rolls back on an exception."""
        with self._turns.mine(), Session(self.engine, expire_on_commit=False) as session, session.begin():
            session.info[_DRIVER] = session.connection()  # for `Prepared.within`: asking each time is dear
            yield session
        if kinds := session.info.get(_WAITING):
            self.on_waiting(frozenset(kinds))

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A read-only look: never takes SQLite's write lock, never commits."""
        with (
            self.engine.connect().execution_options(read_only=True) as connection,
            Session(bind=connection, expire_on_commit=False, autoflush=False) as session,
        ):
            yield session

    @contextmanager
    def driver_for_writing(self) -> Iterator[DriverConnection]:
        """As `driver`, for a statement that writes."""
        with self.turn(), self.driver() as connection:
            yield connection

    def turn(self) -> AbstractContextManager[None]:
        """This thread's turn to write, for the length of the block. To be taken before a connection, never after: who
        has the turn may be waiting for one."""
        return self._turns.mine()

    def driver(self) -> AbstractContextManager[DriverConnection]:
        """The driver's own connection, for `Prepared`. Each statement is a transaction of its own.

        On PostgreSQL that saves the way there and back for BEGIN and for COMMIT.

        Raises:
            SQLAlchemyError: whatever the driver raises, under SQLAlchemy's name for it.
        """
        return _Spared(self._spare, self.engine.dialect) if self._spare is not None else _FromPool(self)

    def close(self) -> None:
        if self._spare is not None:
            self._spare.close()
        self.engine.dispose()
        self._turns.close()


class _FromPool:
    """The length of one use of a driver's connection of the pool (see `_Turn`)."""

    __slots__ = ("_connection", "_database")

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> PoolProxiedConnection:
        try:
            connection = self._connection = self._database.engine.raw_connection()
            try:
                connection.driver_connection.autocommit = True  # type: ignore[union-attr]
            except self._error:
                self._put_back()
                raise
        except self._error as error:
            raise _known_error(error, self._database.engine.dialect) from error
        return connection

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        try:
            self._put_back()
        except self._error as broken:
            raise _known_error(broken, self._database.engine.dialect) from broken
        if isinstance(error, self._error):
            raise _known_error(error, self._database.engine.dialect) from error

    def _put_back(self) -> None:
        try:
            self._connection.driver_connection.autocommit = False  # type: ignore[union-attr]
        except self._error:
            self._connection.invalidate()  # broken: the pool must not hand it out again
        self._connection.close()

    @property
    def _error(self) -> type[Exception]:
        return self._database.engine.dialect.loaded_dbapi.Error


class _Spare:
    """SQLite connections for `Database.driver`, the one used last first: what it read is still in its cache.

    Beside the engine's pool, whose bookkeeping costs as much as what a validation asks of the database.
    """

    def __init__(self, path: str, patience: float, keep: int) -> None:
        self._path, self._patience, self._keep = path, patience, keep
        self._connections: list[sqlite3.Connection] = []

    def take(self) -> sqlite3.Connection:
        with suppress(IndexError):
            return self._connections.pop()
        connection = sqlite3.connect(self._path, timeout=self._patience, check_same_thread=False)
        _configure_sqlite(connection, None)
        return connection

    def put_back(self, connection: sqlite3.Connection) -> None:
        if len(self._connections) < self._keep:
            self._connections.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        while self._connections:
            self._connections.pop().close()


class _Spared:
    """The length of one use of such a connection. One that saw an error is not used again."""

    __slots__ = ("_connection", "_dialect", "_spare")

    def __init__(self, spare: _Spare, dialect: Dialect) -> None:
        self._spare, self._dialect = spare, dialect

    def __enter__(self) -> sqlite3.Connection:
        try:
            self._connection = self._spare.take()
        except sqlite3.Error as error:
            raise _known_error(error, self._dialect) from error
        return self._connection

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if error is None:
            self._spare.put_back(self._connection)
            return
        self._connection.close()
        if isinstance(error, sqlite3.Error):
            raise _known_error(error, self._dialect) from error


def _note_use(_connection: Any, record: ConnectionPoolEntry) -> None:
    record.info[_USED_AT] = time.monotonic()


def _configure_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transaction control would begin lazily and deferred; _begin_sqlite does it explicitly.
    connection.isolation_level = None
    cursor = connection.cursor()
    # A small page cache for each of many connections: the file is in the system's cache anyway.
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "temp_store=MEMORY", "cache_size=-400"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    read_only = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


class Prepared:
    """A Core statement compiled once per dialect and run on the driver's connection.

    Parameters are given by name as with SQLAlchemy. Times are passed and returned as aware UTC datetimes; the two
    dialects' storage forms are handled here because no SQLAlchemy type sees these rows.
    """

    def __init__(self, statement: Callable[[], ClauseElement]) -> None:
        """`statement` builds the Core statement; it is called once, on first use, when all tables are known."""
        self._statement = statement
        self._compiled: dict[str, tuple[str, dict[str, Any]]] = {}

    def run(
        self, connection: DriverConnection, database: Database, parameters: Mapping[str, Any]
    ) -> Sequence[tuple[Any, ...]]:
        """Execute and return all rows (none for a statement that returns nothing)."""
        return self._run(connection, database.engine.dialect, parameters)

    def within(self, session: Session, parameters: Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
        """Execute inside the transaction of an ORM session. What the session has not flushed yet is not seen."""
        connection: Connection = session.info.get(_DRIVER) or session.connection()
        return self._run(connection.connection, connection.dialect, parameters)

    def _run(
        self, connection: DriverConnection, dialect: Dialect, parameters: Mapping[str, Any]
    ) -> Sequence[tuple[Any, ...]]:
        sql, constants = self._compiled.get(dialect.name) or self._compile(dialect)
        if isinstance(connection, sqlite3.Connection):
            try:
                return connection.execute(sql, {**_bound(parameters), **constants}).fetchall()
            except sqlite3.Error as error:
                raise _known_error(error, dialect) from error
        values = {**(_bound(parameters) if dialect.name == "sqlite" else parameters), **constants}
        cursor = connection.cursor()
        try:
            cursor.execute(sql, values)
            return cursor.fetchall() if cursor.description else ()
        except dialect.loaded_dbapi.Error as error:
            raise _known_error(error, dialect) from error
        finally:
            cursor.close()

    def _compile(self, dialect: Dialect) -> tuple[str, dict[str, Any]]:
        compiled: Any = self._statement().compile(dialect=_named_dialect(dialect))
        # Values written into the statement itself become parameters too; the caller does not know them.
        constants = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        self._compiled[dialect.name] = str(compiled), constants
        return self._compiled[dialect.name]


def _known_error(error: Exception, dialect: Dialect) -> BaseException:
    """A driver's error as SQLAlchemy's, which callers catch: this module goes past the place where it is translated."""
    return DBAPIError.instance(None, None, error, dialect.loaded_dbapi.Error, hide_parameters=True, dialect=dialect)


def _named_dialect(dialect: Dialect) -> Dialect:
    named: Dialect = type(dialect)(paramstyle="named" if dialect.name == "sqlite" else "pyformat")  # type: ignore[call-arg]
    # For psycopg SQLAlchemy casts every parameter (`%(name)s::VARCHAR`), which the server does not need here.
    named.bind_typing = BindTyping.NONE
    return named


def _bound(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as SQLite takes them."""
    return {key: stored_time(value) if isinstance(value, datetime) else value for key, value in parameters.items()}


def stored_time(moment: datetime) -> str:
    """SQLite's text form of a time, as SQLAlchemy's `DateTime` writes it: comparable as text."""
    return moment.astimezone(UTC).isoformat(" ", "microseconds")[: -len("+00:00")]


def read_time(value: Any) -> datetime | None:
    """A time as `Prepared` rows hold it (text on SQLite, datetime on PostgreSQL), as aware UTC."""
    if value is None:
        return None
    if isinstance(value, str):
        return datetime.fromisoformat(f"{value}+00:00")
    moment: datetime = value
    return moment.astimezone(UTC)
