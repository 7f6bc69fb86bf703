"""The tables that stand beside the audit trail: signed checkpoints of its chain, and what was revoked at one blow."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Identity, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from external_accounts.database import Base


class AuditCheckpoint(Base):
    """How far the chain had come at a moment, signed with the server's key: whoever cuts the end off is found out."""

    __tablename__ = "audit_checkpoints"
    __table_args__ = (Index("ix_audit_checkpoints_position", "position"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    position: Mapped[int]
    hash: Mapped[str] = mapped_column(String(64))
    """That of the event at `position`."""
    at: Mapped[datetime]
    key_id: Mapped[str] = mapped_column(String(16))
    signature: Mapped[str] = mapped_column(String(64))


class Revocation(Base):
    """Everything issued before a moment is void, for all or for some: written first, so that what is under way at
    that moment finds it (see `external_accounts.revocations`)."""

    __tablename__ = "revocations"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    before: Mapped[datetime] = mapped_column(index=True)
    profile: Mapped[str] = mapped_column(String(40), default="")
    """Only accounts of this profile; empty: of all."""
    issuer: Mapped[str] = mapped_column(String(40), default="")
    """Only sessions opened through this issuer, and proofs of accounts that sign in by it; empty: any."""
    asked_at: Mapped[datetime]
    asked_by: Mapped[str] = mapped_column(String(120))
    done_at: Mapped[datetime | None]
    """Empty: the clearing up was not finished; asking again goes on with it."""
    counts: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
