"""The tables of people who turn out to have two accounts: finding them, proving it, joining and parting them.

They belong to the same metadata as `external_accounts.schema`; facts are stored, decisions are not.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    Integer,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from external_accounts.database import Base
from external_accounts.schema import AccountId


class LinkCeremony(Base):
    """Somebody is about to show that a second account is theirs. What is proved counts for this ceremony alone (I5)."""

    __tablename__ = "link_ceremonies"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    handle: Mapped[str] = mapped_column(String(32), unique=True)
    """Names the ceremony in addresses of pages. Gives no right by itself: the session does."""
    account_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"), index=True)
    """Whose session it was begun in."""
    session_id: Mapped[int]
    """The sign-in it is bound to; another one of the same person has no part in it."""
    issuer: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(100))
    """By which identity that session signed in."""
    this_proved_at: Mapped[datetime | None]
    """When this side was shown afresh."""
    other_issuer: Mapped[str] = mapped_column(String(40), default="")
    other_subject: Mapped[str] = mapped_column(String(100), default="")
    other_account_id: Mapped[AccountId | None] = mapped_column(ForeignKey("accounts.id"))
    other_proved_at: Mapped[datetime | None]
    proof_id: Mapped[int | None] = mapped_column(ForeignKey("proofs.id"))
    """The proof to the other side's confirmed address, where one is asked for."""
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str] = mapped_column(String(20), default="")
    """`linked`, `given_up`, `failed` …; empty while it goes on."""
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    """What the other side's CAS said, where that side has no account yet. Emptied when the ceremony ends."""


class AccountLink(Base):
    """Two accounts that were joined: one is kept, the other is closed and named by nothing any more."""

    __tablename__ = "account_links"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    kept_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"), index=True)
    other_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"), index=True)
    linked_at: Mapped[datetime]
    undo_until: Mapped[datetime] = mapped_column(index=True)
    undone_at: Mapped[datetime | None]
    undone_by: Mapped[str] = mapped_column(String(120), default="")
    before: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    """What an undo puts back: whose every moved row was. Emptied when the time for it is over."""
    settled_at: Mapped[datetime | None]
    """When that was done, and what was left of who the closed account was had gone."""


class UnlinkedIdentity(Base):
    """A way in that was taken off an account, and that can be brought back for some days."""

    __tablename__ = "unlinked_identities"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    account_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"), index=True)
    issuer: Mapped[str] = mapped_column(String(40))
    unlinked_at: Mapped[datetime]
    undo_until: Mapped[datetime] = mapped_column(index=True)
    undone_at: Mapped[datetime | None]
    undone_by: Mapped[str] = mapped_column(String(120), default="")
    before: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    """The row as it was, and the password that went with it, hashed. Emptied when the time for it is over."""
    settled_at: Mapped[datetime | None]


class LikelyPair(Base):
    """Two accounts that may be one person's. Says so to people; joins nothing."""

    __tablename__ = "likely_pairs"
    __table_args__ = (
        UniqueConstraint("first_id", "second_id"),
        CheckConstraint("first_id < second_id", name="in_order"),
        Index("ix_likely_pairs_state", "state", "points", "id"),
        Index("ix_likely_pairs_second_id", "second_id"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    first_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"))
    second_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"))
    points: Mapped[int] = mapped_column(Integer)
    facts: Mapped[list[str]] = mapped_column(JSON, default=list)
    """Why, by the names of `external_accounts.duplicates.Fact`. Of a pair that was decided: as they were then."""
    new_facts: Mapped[list[str]] = mapped_column(JSON, default=list)
    """What has come to light since a decision, for which the pair is open again."""
    state: Mapped[str] = mapped_column(String(12))
    """`open`, `proposed` (to the person), `declined` (by them), `dismissed` (by the help desk), `linked`, `gone`."""
    found_at: Mapped[datetime]
    proposed_at: Mapped[datetime | None]
    proposed_by: Mapped[str] = mapped_column(String(120), default="")
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str] = mapped_column(String(120), default="")
    note: Mapped[str] = mapped_column(String(500), default="")
    declined_at: Mapped[datetime | None]
    """When one of the two said that the other is not theirs: they are never asked again, whatever is found."""


class PairCheck(Base):
    """An account whose likely pairs are to be looked for: it is new, or something changed that they depend on.

    Written by triggers (`lms_bridge/migrations/triggers.py`), so that no way of changing an account forgets it.
    """

    __tablename__ = "pair_checks"

    account_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"), primary_key=True, autoincrement=False)
    noted: Mapped[int] = mapped_column(Integer, server_default="1")
    """Grows with every change: who has looked drops the row only if it is still as it was."""
    leased_until: Mapped[datetime | None]
    """Somebody looks; if they die, another one does from then on."""


class PersonKey(Base):
    """A number that names a person elsewhere in the university, hashed (`external_accounts.duplicates.person_key`)."""

    __tablename__ = "person_keys"

    key: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    account_id: Mapped[AccountId] = mapped_column(
        ForeignKey("accounts.id"), primary_key=True, autoincrement=False, index=True
    )


class AddressCorrection(Base):
    """An agent says that a bounced address was mistyped and what it should be; a second one must agree."""

    __tablename__ = "address_corrections"
    __table_args__ = (
        Index("ix_address_corrections_state", "state", "id"),
        # One open request per address, enforced where two meet.
        Index(
            "uq_address_corrections_waiting",
            "address_id",
            unique=True,
            sqlite_where=text("state = 'waiting'"),
            postgresql_where=text("state = 'waiting'"),
        ),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    account_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"), index=True)
    address_id: Mapped[int | None] = mapped_column(ForeignKey("addresses.id", ondelete="SET NULL"))
    """Empty once that address is gone from the account."""
    old_email: Mapped[str] = mapped_column(String(254))
    """As it was when it was asked: if the person has changed it since, nothing is corrected."""
    new_email: Mapped[str] = mapped_column(String(254))
    reason: Mapped[str] = mapped_column(String(500))
    """How the agent knows."""
    state: Mapped[str] = mapped_column(String(12))
    """`waiting`, `approved`, `refused`, `withdrawn` or `over` (the address changed meanwhile)."""
    asked_at: Mapped[datetime]
    asked_by: Mapped[str] = mapped_column(String(120))
    asked_by_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"))
    """By whom, whatever they are called by the time somebody decides."""
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str] = mapped_column(String(120), default="")
    decision_reason: Mapped[str] = mapped_column(String(500), default="")


class SearchWord(Base):
    """A word by whose beginning an account is found at the help desk. Written by `external_accounts.search_index`."""

    __tablename__ = "search_words"
    __table_args__ = (
        Index("ix_search_words_account_id", "account_id", "word"),
        # Ten rows an account: without a number of their own they take half the room.
        {"sqlite_with_rowid": False},
    )

    word: Mapped[str] = mapped_column(
        # Ordered byte by byte: a beginning is then a range of the index, whatever the database's language.
        String(64).with_variant(String(64, collation="C"), "postgresql"),
        primary_key=True,
    )
    """Folded as `external_accounts.duplicates.words` does it."""
    account_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"), primary_key=True, autoincrement=False)
