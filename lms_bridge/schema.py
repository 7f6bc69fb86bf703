"""The tables of the service: sessions, tickets, mirrors. They point at accounts; accounts do not know them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Boolean, ForeignKey, Index, Integer, String, Text, UniqueConstraint, false
from sqlalchemy import Identity as Generated
from sqlalchemy.orm import Mapped, mapped_column

from external_accounts.database import Base
from external_accounts.schema import AccountId


class SsoSession(Base):
    """A sign-in at the bridge (CAS: the ticket-granting ticket). Only the hash of the cookie is kept."""

    __tablename__ = "sso_sessions"

    id: Mapped[int] = mapped_column(Generated(), primary_key=True)
    secret_hash: Mapped[str] = mapped_column(String(64), unique=True)
    account_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"), index=True)
    identity_id: Mapped[int] = mapped_column(ForeignKey("identities.id"))
    issuer: Mapped[str] = mapped_column(String(40))
    upstream_ticket_hash: Mapped[str | None] = mapped_column(String(64), index=True)
    """Hash of the upstream CAS's ticket, by which its single logout names the session."""
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    """Moved forward at most once a minute, so that a page view does not cost a write."""
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str] = mapped_column(String(40), default="")
    network: Mapped[str] = mapped_column(String(50), default="")
    user_agent: Mapped[str] = mapped_column(String(200), default="")


class Ticket(Base):
    """A service ticket or proxy ticket. Only its hash is kept until it is spent.

    Once validated the text is kept too: single logout must name it (CAS-12), and it opens nothing any more.
    """

    __tablename__ = "tickets"
    __table_args__ = (Index("ix_tickets_logout", "logout_state", "logout_due_at"),)

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    session_id: Mapped[int] = mapped_column(ForeignKey("sso_sessions.id"), index=True)
    account_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"))
    service: Mapped[str] = mapped_column(Text)
    """Byte for byte as the browser brought it."""
    service_name: Mapped[str] = mapped_column(String(40))
    from_new_login: Mapped[bool] = mapped_column(Boolean)
    proxies: Mapped[list[str] | None] = mapped_column(JSON)
    """For a proxy ticket: the callbacks it came through, latest first. None for a service ticket."""
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    claimed_at: Mapped[datetime | None]
    validated: Mapped[bool] = mapped_column(Boolean, server_default=false())
    spent_ticket: Mapped[str | None] = mapped_column(String(64))
    logout_state: Mapped[str | None] = mapped_column(String(10))
    """None: nothing to tell. `pending`, `sent`, `failed`: the back-channel message of single logout."""
    logout_due_at: Mapped[datetime | None]
    logout_attempts: Mapped[int] = mapped_column(Integer, server_default="0")


class ProxyGrant(Base):
    """A proxy-granting ticket: lets a service ask for proxy tickets while the session lives."""

    __tablename__ = "proxy_grants"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    session_id: Mapped[int] = mapped_column(ForeignKey("sso_sessions.id"), index=True)
    account_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"))
    service_name: Mapped[str] = mapped_column(String(40))
    callbacks: Mapped[list[str]] = mapped_column(JSON)
    """The chain of callbacks, latest first."""
    expires_at: Mapped[datetime]


class Mirror(Base):
    """What we last wrote to a Moodle site for an account, and what we last saw there."""

    __tablename__ = "mirrors"
    __table_args__ = (UniqueConstraint("account_id", "site"), UniqueConstraint("site", "moodle_id"))

    id: Mapped[int] = mapped_column(Generated(), primary_key=True)
    account_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"))
    site: Mapped[str] = mapped_column(String(40))
    moodle_id: Mapped[int | None]
    state: Mapped[str] = mapped_column(String(20), default="pending")
    """`pending` (to be written), `in_step`, `conflict` (a human must look), `suspended_elsewhere`."""
    owned: Mapped[bool] = mapped_column(Boolean, server_default=false())
    """Whether the bridge created the user or was told to take it over: only then fields are written (I7)."""
    suspended_by_us: Mapped[bool] = mapped_column(Boolean, server_default=false())
    written: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    """Field by field, the values of the last write that Moodle acknowledged."""
    account_version: Mapped[int] = mapped_column(Integer, default=0)
    """`accounts.version` that `written` stands for."""
    seen_at: Mapped[datetime | None]
    """When a look-up last found exactly this user, in step (I12)."""
    sign_out_pending: Mapped[bool] = mapped_column(Boolean, server_default=false())
    """The person signed out everywhere: Moodle's sessions are to be ended (suspend and lift, see the sync room)."""
    problem: Mapped[str] = mapped_column(String(200), default="")
