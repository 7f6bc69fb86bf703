"""The tables of the people: what the database holds of an account.

Facts are stored, decisions are not: whether somebody may enter is computed by the gate from these rows each time.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy import (
    Identity as Generated,
)
from sqlalchemy.orm import Mapped, mapped_column, object_session, relationship

from external_accounts.database import Base, note_waiting

AccountId = int


class Account(Base):
    """What the bridge knows of one person."""

    __tablename__ = "accounts"
    __table_args__ = (
        Index(
            "ix_accounts_activation_mail_due_at",
            "activation_mail_due_at",
            sqlite_where=text("activation_mail_due_at IS NOT NULL"),
            postgresql_where=text("activation_mail_due_at IS NOT NULL"),
        ),
        Index(
            "ix_accounts_directory",
            "id",
            sqlite_where=text("directory <> ''"),
            postgresql_where=text("directory <> ''"),
        ),
        Index(
            "ix_accounts_merged_into_id",
            "merged_into_id",
            sqlite_where=text("merged_into_id IS NOT NULL"),
            postgresql_where=text("merged_into_id IS NOT NULL"),
        ),
        Index(
            "ix_accounts_rights_end_at",
            "rights_end_at",
            sqlite_where=text("rights_end_at IS NOT NULL"),
            postgresql_where=text("rights_end_at IS NOT NULL"),
        ),
    )

    id: Mapped[AccountId] = mapped_column(Generated(), primary_key=True)
    username: Mapped[str] = mapped_column(String(100), unique=True)
    """The name asserted to applications: matches `^[a-z0-9._@-]{1,100}$` (invariant I12), never reused."""
    key: Mapped[str] = mapped_column(String(20), unique=True, default=lambda: secrets.token_hex(10))
    """Names the account in other systems for ever, whatever its user name becomes. Says nothing about the person."""
    profile: Mapped[str] = mapped_column(String(40))
    given_name: Mapped[str] = mapped_column(String(100), default="")
    family_name: Mapped[str] = mapped_column(String(100), default="")
    language: Mapped[str] = mapped_column(String(10), default="")
    """The person's choice, or empty when none was made."""
    created_at: Mapped[datetime]
    activated_at: Mapped[datetime | None]
    suspended_at: Mapped[datetime | None]
    suspended_until: Mapped[datetime | None]
    suspension_reason: Mapped[str] = mapped_column(String(500), default="")
    rights_end_at: Mapped[datetime | None]
    erased_at: Mapped[datetime | None]
    merged_into_id: Mapped[AccountId | None] = mapped_column(ForeignKey("accounts.id"))
    """The account that the person kept when they joined this one to it (`external_accounts.linking`)."""
    last_sign_in_at: Mapped[datetime | None]
    erasure_asked_at: Mapped[datetime | None]
    """When the person asked for the deletion; until `erasure_due_at` they can take it back."""
    erasure_due_at: Mapped[datetime | None] = mapped_column(index=True)
    checked_at: Mapped[datetime | None]
    """When the person last looked through their contact details and said that they are right."""
    reminded_at: Mapped[datetime | None]
    """When they were last asked to, or to renew their password."""
    external_key: Mapped[str | None] = mapped_column(String(100), unique=True)
    """The person's key in the staff office's files, where the account comes from there."""
    birth_name: Mapped[str] = mapped_column(String(100), default="")
    """Only ever used to recognise a person who comes twice."""
    unit: Mapped[str] = mapped_column(String(100), default="")
    """Department or service, as the staff office names it."""
    directory: Mapped[str] = mapped_column(String(40), default="")
    """The directory that holds the password; empty: it is kept here, or we do not know."""
    sponsor_id: Mapped[AccountId | None] = mapped_column(ForeignKey("accounts.id"))
    """Who answers for the account: decides on extensions, and gets the mail of a technical account."""
    activation_mail_due_at: Mapped[datetime | None]
    """Since when the first activation mail is waited for. The background work writes it."""
    version: Mapped[int] = mapped_column(Integer, default=1)
    """Grows with every change that other systems mirror; the sync compares it with what it last wrote."""

    addresses: Mapped[list[Address]] = relationship(back_populates="account", order_by="Address.id")
    identities: Mapped[list[SignInIdentity]] = relationship(back_populates="account", order_by="SignInIdentity.id")

    def note_change(self) -> None:
        """Let `version` grow. The database counts: two changes at the same moment are two, or a mirror misses one."""
        self.version = Account.version + 1
        if session := object_session(self):
            note_waiting(session, Account)


class SignInIdentity(Base):
    """One way an account signs in: (issuer, subject). Belongs to one account only."""

    __tablename__ = "identities"
    __table_args__ = (UniqueConstraint("issuer", "subject"),)

    id: Mapped[int] = mapped_column(Generated(), primary_key=True)
    account_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"), index=True)
    issuer: Mapped[str] = mapped_column(String(40))
    """`local`, or the name of a configured CAS."""
    subject: Mapped[str] = mapped_column(String(100))
    attributes: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    """What the issuer released, after the allow-list. Data, never proof (LNK-05)."""
    created_at: Mapped[datetime]
    refreshed_at: Mapped[datetime]

    account: Mapped[Account] = relationship(back_populates="identities")


class Address(Base):
    """An e-mail address of an account."""

    __tablename__ = "addresses"
    __table_args__ = (
        UniqueConstraint("account_id", "email_key"),
        # One primary address per account, enforced where two requests meet.
        Index(
            "uq_addresses_primary",
            "account_id",
            unique=True,
            sqlite_where=text("is_primary = 1"),
            postgresql_where=text("is_primary"),
        ),
        CheckConstraint("confirmed_at IS NULL OR lost_at IS NULL", name="confirmed_or_lost"),
        Index(
            "ix_addresses_bounced",
            "id",
            sqlite_where=text("lost_reason = 'bounce'"),
            postgresql_where=text("lost_reason = 'bounce'"),
        ),
    )

    id: Mapped[int] = mapped_column(Generated(), primary_key=True)
    account_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"), index=True)
    email: Mapped[str] = mapped_column(String(254))
    """As the person wrote it, domain normalised: the only form mail is ever sent to."""
    email_key: Mapped[str] = mapped_column(String(254), index=True)
    """The form compared: see `external_accounts.addresses.email_key`."""
    role: Mapped[str] = mapped_column(String(20))
    """`institutional`, `recovery`, `contact` or `forwarding`."""
    is_primary: Mapped[bool] = mapped_column(Boolean, server_default=false())
    self_added: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    """Whoever had the account in hand added it; no operator, import or CAS named it (LNK-03)."""
    created_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    """Set by `external_accounts.confirmation` alone (invariant I4)."""
    confirmed_by: Mapped[str] = mapped_column(String(40), default="")
    """`proof`, or the issuer trusted for this domain."""
    lost_at: Mapped[datetime | None]
    lost_reason: Mapped[str] = mapped_column(String(40), default="")

    account: Mapped[Account] = relationship(back_populates="addresses")


class LocalPassword(Base):
    """The argon2id hash of a local account's password; its parameters are part of the hash string."""

    __tablename__ = "local_passwords"

    account_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    hash: Mapped[str] = mapped_column(String(255))
    set_at: Mapped[datetime]


class Proof(Base):
    """A pending, single-use demonstration that somebody reads a mailbox.

    The link's secret and the code are derived from `nonce` under the server's key and are nowhere stored, so that a
    copy of the database opens nothing and a resend can still send the same proof (TOK-05, D06).
    """

    __tablename__ = "proofs"
    __table_args__ = (
        Index("ix_proofs_pending", "account_id", "purpose", "claimed_at", "cancelled_at"),
        Index("ix_proofs_sought", "sought", sqlite_where=text("sought <> ''"), postgresql_where=text("sought <> ''")),
        Index(
            "ix_proofs_search_due",
            "search_due_at",
            sqlite_where=text("search_due_at IS NOT NULL"),
            postgresql_where=text("search_due_at IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Generated(), primary_key=True)
    handle: Mapped[str] = mapped_column(String(32), unique=True)
    """Public name of the proof on waiting pages. Gives no right by itself."""
    account_id: Mapped[AccountId | None] = mapped_column(ForeignKey("accounts.id"))
    address_id: Mapped[int | None] = mapped_column(ForeignKey("addresses.id"))
    registration_id: Mapped[int | None] = mapped_column(ForeignKey("registrations.id"), index=True)
    sought: Mapped[str] = mapped_column(String(320), default="")
    """What a stranger typed to find an account (`username:…`, `email:…`): looked up after the answer, never before."""
    purpose: Mapped[str] = mapped_column(String(30))
    email_key: Mapped[str] = mapped_column(String(254))
    """The mailbox the proof was made for, where it is one: if the row's address changes, the proof proves nothing."""
    nonce: Mapped[bytes] = mapped_column(LargeBinary(16))
    key_id: Mapped[str] = mapped_column(String(16))
    link_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    lifetime_seconds: Mapped[int] = mapped_column(Integer)
    """How long the link is good, counted from the moment a mail server took the mail."""
    calendar_end: Mapped[datetime | None]
    """A moment of the calendar that the link is good until, whenever its mail was taken."""
    accepted_at: Mapped[datetime | None]
    """When a mail server first took it."""
    expires_at: Mapped[datetime]
    code_expires_at: Mapped[datetime]
    code_attempts: Mapped[int] = mapped_column(Integer, default=0)
    code_round: Mapped[int] = mapped_column(Integer, default=0)
    """Grows when a resend finds the code's time or tries spent: the link stays, the code is a new one."""
    sent_at: Mapped[datetime]
    search_due_at: Mapped[datetime | None]
    """Since when somebody waits for what is `sought` to be looked up; empty once that was done."""
    claimed_at: Mapped[datetime | None]
    claimed_with: Mapped[str] = mapped_column(String(10), default="")
    cancelled_at: Mapped[datetime | None]
    service: Mapped[str | None] = mapped_column(Text)
    """Where the person wanted to go when the proof was asked for."""
    locale: Mapped[str] = mapped_column(String(10))
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    """What else its purpose needs to know (which address an undo brings back). No secret."""


class Registration(Base):
    """Somebody who asks for an account, or is invited to one. No account exists before the address is proved."""

    __tablename__ = "registrations"
    __table_args__ = (
        Index("ix_registrations_state", "state", "expires_at"),
        Index("ix_registrations_state_id", "state", "id"),
        Index(
            "ix_registrations_mail_due_at",
            "mail_due_at",
            sqlite_where=text("mail_due_at IS NOT NULL"),
            postgresql_where=text("mail_due_at IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Generated(), primary_key=True)
    mode: Mapped[str] = mapped_column(String(10))
    """`asked` (by the person) or `invited`."""
    state: Mapped[str] = mapped_column(String(12))
    """`unproved` → (`waiting` for a decision →) `accepted` → `done`; or `refused`, `withdrawn`."""
    email: Mapped[str] = mapped_column(String(254))
    email_key: Mapped[str] = mapped_column(String(254), index=True)
    given_name: Mapped[str] = mapped_column(String(100), default="")
    family_name: Mapped[str] = mapped_column(String(100), default="")
    profile: Mapped[str] = mapped_column(String(40))
    language: Mapped[str] = mapped_column(String(10), default="")
    service: Mapped[str | None] = mapped_column(Text)
    charter_version: Mapped[str] = mapped_column(String(40), default="")
    charter_accepted_at: Mapped[datetime | None]
    reason: Mapped[str] = mapped_column(String(500), default="")
    """Why they ask, in their words."""
    sponsor_id: Mapped[AccountId | None] = mapped_column(ForeignKey("accounts.id"), index=True)
    """Who answers for them."""
    rights_end_at: Mapped[datetime | None]
    """When the account's rights will end."""
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(120), default="")
    """`cli:NAME` or a user name; empty when the person asked."""
    expires_at: Mapped[datetime]
    """When it is over by itself: unproved or undecided for too long, or the link not used; else when it ended."""
    mail_due_at: Mapped[datetime | None]
    """Since when the answer by mail is waited for. The background work looks the address up and writes it (I3)."""
    proved_at: Mapped[datetime | None]
    proof_id: Mapped[int | None]
    """The claimed proof that showed that the address is read."""
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str] = mapped_column(String(120), default="")
    decision_reason: Mapped[str] = mapped_column(String(500), default="")
    account_id: Mapped[AccountId | None] = mapped_column(ForeignKey("accounts.id"))
    """What came of it."""


class Engagement(Base):
    """Dated, versioned acceptance of a document, or a consent."""

    __tablename__ = "engagements"
    __table_args__ = (UniqueConstraint("account_id", "document", "version"),)

    id: Mapped[int] = mapped_column(Generated(), primary_key=True)
    account_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"))
    document: Mapped[str] = mapped_column(String(40))
    version: Mapped[str] = mapped_column(String(40))
    accepted_at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]


class OutboxMail(Base):
    """A mail to be sent, written in the same transaction as the change it tells about (invariant I8).

    Holds no rendered text: link and code are derived again at delivery, so that no secret rests here.
    """

    __tablename__ = "outbox_mails"
    __table_args__ = (
        Index("ix_outbox_mails_due", "state", "due_at"),
        Index("ix_outbox_mails_account_id", "account_id"),
        Index(
            "ix_outbox_mails_proof_id",
            "proof_id",
            sqlite_where=text("proof_id IS NOT NULL"),
            postgresql_where=text("proof_id IS NOT NULL"),
        ),
        # What the help desk looks through, however many mails arrived.
        Index(
            "ix_outbox_mails_undelivered",
            "id",
            sqlite_where=text("state IN ('bounced', 'failed')"),
            postgresql_where=text("state IN ('bounced', 'failed')"),
        ),
        Index(
            "ix_outbox_mails_bounced_at",
            "bounced_at",
            sqlite_where=text("bounced_at IS NOT NULL"),
            postgresql_where=text("bounced_at IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Generated(), primary_key=True)
    template: Mapped[str] = mapped_column(String(40))
    recipient: Mapped[str] = mapped_column(String(254))
    locale: Mapped[str] = mapped_column(String(10))
    account_id: Mapped[AccountId | None] = mapped_column(ForeignKey("accounts.id"))
    proof_id: Mapped[int | None] = mapped_column(ForeignKey("proofs.id"))
    context: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    message_id: Mapped[str] = mapped_column(String(100), unique=True)
    """The Message-ID: the same at every attempt, so that a receiver can recognise a repetition."""
    created_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(10), default="pending")
    """`pending`, `sent`, `bounced` (taken, then sent back), `failed` (permanent) or `expired` (of no use any more)."""
    due_at: Mapped[datetime]
    leased_until: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    sent_at: Mapped[datetime | None]
    bounced_at: Mapped[datetime | None]
    bounce_status: Mapped[str] = mapped_column(String(20), default="")
    """The enhanced status code of the report that came back (`5.1.1`)."""
    last_error: Mapped[str] = mapped_column(String(500), default="")


class AuditEvent(Base):
    """Who did what to whom, from where, with which outcome. Appended in the transaction of the change.

    Triggers (`lms_bridge/migrations/audit_triggers.py`) refuse deletion and every change but two: sealing, once, and
    dropping what says who it was together with the salt. See `external_accounts.audit_chain`.
    """

    __tablename__ = "audit_events"
    __table_args__ = (
        Index("uq_audit_events_position", "position", unique=True),
        Index(
            "ix_audit_events_unsealed",
            "id",
            sqlite_where=text("position IS NULL"),
            postgresql_where=text("position IS NULL"),
        ),
        Index(
            "ix_audit_events_personal",
            "at",
            sqlite_where=text("salt IS NOT NULL"),
            postgresql_where=text("salt IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Generated(), primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    event: Mapped[str] = mapped_column(String(60))
    outcome: Mapped[str] = mapped_column(String(40))
    account_id: Mapped[AccountId | None] = mapped_column(index=True)
    actor: Mapped[str] = mapped_column(String(120), default="")
    network: Mapped[str] = mapped_column(String(50), default="")
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    position: Mapped[int | None]
    """The place in the chain, from 1 without a gap. Empty: not sealed yet."""
    salt: Mapped[str | None] = mapped_column(String(32))
    """Goes when account, actor, network and details go."""
    commitment: Mapped[str | None] = mapped_column(String(64))
    hash: Mapped[str | None] = mapped_column(String(64))


class ThrottleBucket(Base):
    """One counter of `external_accounts.throttle`, shared by all processes. The key is hashed: no address rests."""

    __tablename__ = "throttle_buckets"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    full_at_ms: Mapped[int] = mapped_column(BigInteger, index=True)
    """The moment (ms since the epoch) at which the whole budget is available again: GCRA's theoretical arrival time.
    A number, because one atomic statement must compute with it on every database."""
