"""The tables of people whose accounts come from the university: activation, mailbox, life cycle, what is handed on.

They belong to the same metadata as `external_accounts.schema`; facts are stored, decisions are not.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    ForeignKey,
    Identity,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from external_accounts.database import Base
from external_accounts.schema import AccountId


class ActivationDraft(Base):
    """What somebody answered in the activation steps so far, so that they can go on elsewhere. Never a password."""

    __tablename__ = "activation_drafts"

    account_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"), primary_key=True, autoincrement=False)
    answers: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    updated_at: Mapped[datetime]


class ActivationLetter(Base):
    """The last letter with an activation code that was printed for an account (`external_accounts.letters`)."""

    __tablename__ = "activation_letters"

    account_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"), primary_key=True, autoincrement=False)
    code_hash: Mapped[str] = mapped_column(String(64), unique=True)
    """Of identifier and code; the code itself is on paper alone."""
    printed_at: Mapped[datetime]
    printed_by: Mapped[str] = mapped_column(String(120))
    expires_at: Mapped[datetime]


class MailboxChoice(Base):
    """How the person wants their university mailbox: handed to the university, which runs it."""

    __tablename__ = "mailbox_choices"

    account_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"), primary_key=True, autoincrement=False)
    forward_address_id: Mapped[int | None] = mapped_column(ForeignKey("addresses.id"))
    """In force only while that address is confirmed. None: nothing is forwarded."""
    keep_copy: Mapped[bool] = mapped_column(Boolean, default=True)
    antispam: Mapped[str] = mapped_column(String(20), default="")
    """A level's name from the settings; empty: the university's usual one."""
    updated_at: Mapped[datetime]


class DirectoryEntry(Base):
    """An entry of a directory that is kept here (`external_accounts.directory.embedded`)."""

    __tablename__ = "directory_entries"
    __table_args__ = (UniqueConstraint("directory", "username"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    directory: Mapped[str] = mapped_column(String(40))
    username: Mapped[str] = mapped_column(String(100))
    given_name: Mapped[str] = mapped_column(String(100), default="")
    family_name: Mapped[str] = mapped_column(String(100), default="")
    email: Mapped[str] = mapped_column(String(254), default="")
    password_hash: Mapped[str] = mapped_column(String(255), default="")
    """argon2id; empty: no password was set yet."""
    choices: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    """What was handed to it beside (public listing, forwarding)."""


class DirectoryPassword(Base):
    """What we know of a password that a directory holds: when it was set from here, and whether somebody is about it.

    `external_accounts.directory_passwords` alone writes it.
    """

    __tablename__ = "directory_passwords"
    __table_args__ = (
        Index(
            "ix_directory_passwords_unfinished_at",
            "unfinished_at",
            sqlite_where=text("unfinished_at IS NOT NULL"),
            postgresql_where=text("unfinished_at IS NOT NULL"),
        ),
    )

    account_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"), primary_key=True, autoincrement=False)
    set_at: Mapped[datetime | None]
    busy_until: Mapped[datetime | None]
    """Somebody writes to the directory now; at the latest then nobody does any more."""
    unfinished_at: Mapped[datetime | None]
    """When a write whose end nobody told is taken to have arrived; empty when it is known how it ended."""


class DirectoryWrite(Base):
    """How far the entry of an account is written to its directory. No row: not yet."""

    __tablename__ = "directory_writes"

    account_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"), primary_key=True, autoincrement=False)
    version: Mapped[int] = mapped_column(Integer, default=0)
    """`Account.version` as it was written last; 0: never."""
    due_at: Mapped[datetime | None]
    """Not before: somebody has it, or it failed and is tried again. Empty: when the account changes."""
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    """That failed, since it last worked."""
    last_error: Mapped[str] = mapped_column(String(200), default="")


class Handover(Base):
    """News of an account for the university's other systems, written with the change it tells about (I8).

    Holds no content: what is handed over is read at delivery, so that the last state arrives whatever the order.
    """

    __tablename__ = "handovers"
    __table_args__ = (
        Index(
            "ix_handovers_waiting",
            "id",
            sqlite_where=text("spread_at IS NULL"),
            postgresql_where=text("spread_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    event: Mapped[str] = mapped_column(String(40))
    """`mailbox.changed`, `directory.changed`, `account.activated`, `account.ended` …"""
    account_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"), index=True)
    key: Mapped[str] = mapped_column(String(40), unique=True)
    """The delivery's name: the same at every attempt, so that a receiver can recognise a repetition."""
    created_at: Mapped[datetime]
    spread_at: Mapped[datetime | None]
    """When it was worked out whom to tell: since then its deliveries are rows."""


class HandoverDelivery(Base):
    """One handover for one other system: a hook, or a directory."""

    __tablename__ = "handover_deliveries"
    __table_args__ = (Index("ix_handover_deliveries_due", "state", "target", "due_at"),)

    handover_id: Mapped[int] = mapped_column(ForeignKey("handovers.id"), primary_key=True, autoincrement=False)
    target: Mapped[str] = mapped_column(String(60), primary_key=True)
    """`hook:NAME` or `directory:NAME`, after the settings."""
    state: Mapped[str] = mapped_column(String(10))
    """`pending`, `done` or `failed`."""
    due_at: Mapped[datetime]
    leased_until: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    delivered_at: Mapped[datetime | None]
    last_error: Mapped[str] = mapped_column(String(500), default="")


class Extension(Base):
    """Somebody asks to keep their rights for longer."""

    __tablename__ = "extensions"
    __table_args__ = (
        Index("ix_extensions_state", "state", "asked_at"),
        Index("ix_extensions_state_id", "state", "id"),
        # One open request per account, enforced where two meet.
        Index(
            "uq_extensions_waiting",
            "account_id",
            unique=True,
            sqlite_where=text("state = 'waiting'"),
            postgresql_where=text("state = 'waiting'"),
        ),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    account_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"), index=True)
    state: Mapped[str] = mapped_column(String(12))
    """`waiting`, `accepted`, `refused`, `withdrawn` or `over` (the account's end came first)."""
    reason: Mapped[str] = mapped_column(String(500), default="")
    sponsor_id: Mapped[AccountId | None] = mapped_column(ForeignKey("accounts.id"))
    asked_at: Mapped[datetime]
    asked_until: Mapped[datetime]
    granted_until: Mapped[datetime | None]
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str] = mapped_column(String(120), default="")
    decision_reason: Mapped[str] = mapped_column(String(500), default="")


class LifecycleNotice(Base):
    """A warning that was mailed about one end of one account: written once, whatever runs again."""

    __tablename__ = "lifecycle_notices"
    __table_args__ = (UniqueConstraint("account_id", "kind", "about"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    account_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"))
    kind: Mapped[str] = mapped_column(String(30))
    """Which warning: `rights_30_days`, `rights_10_days`, `erasure_30_days` …"""
    about: Mapped[datetime]
    """The end it warned of: another end is warned of anew."""
    at: Mapped[datetime]


class AssistanceRequest(Base):
    """Somebody who cannot help themselves asks the help desk, without signing in. Claims nothing, proves nothing."""

    __tablename__ = "assistance_requests"
    __table_args__ = (
        Index("ix_assistance_requests_state", "state", "asked_at"),
        Index("ix_assistance_requests_state_id", "state", "id"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    asked_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(10))
    """`waiting` or `closed`."""
    reference: Mapped[str] = mapped_column(String(12), unique=True)
    """What the person names the request by. Says nothing of how many there are."""
    subject: Mapped[str] = mapped_column(String(30))
    """What they were doing: `lost_identifier`, `activation`, `sign_in` …"""
    given_name: Mapped[str] = mapped_column(String(100), default="")
    family_name: Mapped[str] = mapped_column(String(100), default="")
    identifier: Mapped[str] = mapped_column(String(254), default="")
    """As they typed it; nobody looked it up when they did."""
    contact: Mapped[str] = mapped_column(String(254))
    """Where to answer: an address or a telephone number, proved by nobody."""
    profile: Mapped[str] = mapped_column(String(40), default="")
    message: Mapped[str] = mapped_column(Text, default="")
    locale: Mapped[str] = mapped_column(String(10))
    closed_at: Mapped[datetime | None]
    closed_by: Mapped[str] = mapped_column(String(120), default="")
    closing_note: Mapped[str] = mapped_column(String(500), default="")


class ApiKey(Base):
    """A program that may use the API, and for what."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(String(60), unique=True)
    prefix: Mapped[str] = mapped_column(String(16), unique=True)
    """The key's public beginning, by which it is found."""
    secret_hash: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[str]] = mapped_column(JSON, default=list)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class ApiAnswer(Base):
    """What a request with an idempotency key was answered, so that its repetition gets the same and does nothing."""

    __tablename__ = "api_answers"

    key_id: Mapped[int] = mapped_column(ForeignKey("api_keys.id"), primary_key=True, autoincrement=False)
    idempotency_key: Mapped[str] = mapped_column(String(100), primary_key=True)
    request_hash: Mapped[str] = mapped_column(String(64))
    status: Mapped[int] = mapped_column(Integer)
    body: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    created_at: Mapped[datetime] = mapped_column(index=True)


class NameKey(Base):
    """By what names an account is found when somebody comes who may be the same person.

    Written by `external_accounts.name_index` alone. No name can be read from it.
    """

    __tablename__ = "name_keys"

    key: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    account_id: Mapped[AccountId] = mapped_column(
        ForeignKey("accounts.id"), primary_key=True, autoincrement=False, index=True
    )
