"""Everything issued before a moment is void: written down first, ended afterwards.

A sign-in that is under way carries an earlier time than its commit. So whoever issues something looks, *after* writing
its row and in the same transaction, whether that moment was revoked meanwhile (`covers_…`): a transaction that wrote
before the revocation was committed is waited for (`is_settled`) and then ended like the others, one that wrote later
finds the revocation. Nothing slips through between the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, bindparam, or_, select, text
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.audit_schema import Revocation
from external_accounts.database import Prepared
from external_accounts.schema import Account, AccountId, Proof, Registration, SignInIdentity


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose: of all, of one profile, or of those who come by one issuer."""

    profile: str = ""
    issuer: str = ""

    def accounts(self, column: Any) -> tuple[ColumnElement[bool], ...]:
        """Restricts a column of account ids to the profile."""
        return (column.in_(select(Account.id).where(Account.profile == self.profile)),) if self.profile else ()

    def proofs(self) -> tuple[ColumnElement[bool], ...]:
        """Restricts proofs. Whose a search is, nobody knows before it is looked up: it is always within; and so is
        who registers, but for another profile."""
        if not self.profile and not self.issuer:
            return ()
        owner, registration = Proof.account_id, Proof.registration_id
        mine = [*self.accounts(owner)]
        if self.issuer:
            mine.append(owner.in_(select(SignInIdentity.account_id).where(SignInIdentity.issuer == self.issuer)))
        asked = select(Registration.id)
        if self.profile:
            asked = asked.where(Registration.profile == self.profile)
        return (or_(*mine, Proof.sought != "", registration.in_(asked)),)


@dataclass(frozen=True, slots=True)
class Declared:
    """A revocation that was written down."""

    id: int
    transaction: str | None
    """PostgreSQL's number of the transaction that wrote it."""


def declare(session: Session, before: datetime, scope: Scope, *, now: datetime, origin: audit.Origin) -> Declared:
    """Write a revocation down, or find the one that was: pressing the button twice is pressing it once."""
    known = session.scalar(
        select(Revocation).where(
            Revocation.before == before, Revocation.profile == scope.profile, Revocation.issuer == scope.issuer
        )
    )
    if known is None:
        known = Revocation(
            before=before, profile=scope.profile, issuer=scope.issuer, asked_at=now, asked_by=origin.actor, counts={}
        )
        session.add(known)
        session.flush()
    audit.record(
        session,
        "panic.pressed",
        outcome="ok",
        now=now,
        origin=origin,
        before=before.isoformat(),
        profile=scope.profile,
        issuer=scope.issuer,
    )
    if session.get_bind().dialect.name != "postgresql":
        return Declared(known.id, None)
    return Declared(known.id, session.scalar(text("SELECT CAST(pg_current_xact_id() AS text)")))


def is_settled(session: Session, declared: Declared) -> bool:
    """Whether every transaction that had written before the revocation was there has ended. On SQLite they have."""
    if declared.transaction is None:
        return True
    oldest = text("SELECT pg_snapshot_xmin(pg_current_snapshot()) > CAST(:mine AS xid8)")
    return bool(session.scalar(oldest, {"mine": declared.transaction}))


_AFTER = Prepared(lambda: select(Revocation.profile, Revocation.issuer).where(Revocation.before > bindparam("moment")))


def covers_session(session: Session, *, created_at: datetime, account_id: AccountId, issuer: str) -> bool:
    """Whether a session of this moment is revoked. To be asked after its row was written."""
    found = _AFTER.within(session, {"moment": created_at})
    if not found:
        return False
    profile = session.scalar(select(Account.profile).where(Account.id == account_id))
    return any(of in ("", profile) and through in ("", issuer) for of, through in found)


def covers_proof(session: Session, proof: Proof) -> bool:
    """Whether a proof is revoked. To be asked after its row was written."""
    scopes = [Scope(*row) for row in _AFTER.within(session, {"moment": proof.created_at})]
    within = (select(Proof.id).where(Proof.id == proof.id, *scope.proofs()) for scope in scopes)
    return any(session.scalar(query) is not None for query in within)
