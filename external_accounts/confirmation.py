"""The single writer of "confirmed" (invariant I4).

An address becomes confirmed when a proof made for that very address is claimed, or when the university configured an
issuer as trusted for that address's own domain. Nothing else in the product writes these columns: not a reset, not a
link, not an import.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.handovers import MAILBOX_CHANGED, hand_over
from external_accounts.institution_schema import MailboxChoice
from external_accounts.schema import Address, Proof


class ProvesNothing(ValueError):
    """The proof is not claimed, or was made for another mailbox."""


def confirm_by_proof(session: Session, address: Address, proof: Proof, *, now: datetime, origin: audit.Origin) -> None:
    """Set the address confirmed because `proof`, made for that very mailbox, was claimed.

    Raises:
        ProvesNothing: it was not. A mistake of the caller, never of a person.
    """
    if proof.claimed_at is None or not proof.email_key or proof.email_key != address.email_key:
        raise ProvesNothing
    _confirm(session, address, by="proof", now=now, origin=origin, proof_id=proof.id)


def confirm_by_issuer(
    session: Session,
    address: Address,
    *,
    issuer: str,
    trusted_domains: Collection[str],
    now: datetime,
    origin: audit.Origin,
) -> None:
    """Set the address confirmed when `issuer` may speak for its domain; otherwise change nothing.

    `trusted_domains` are ASCII, lower case, matched whole: trust in `univ.example` says nothing about
    `etu.univ.example`.
    """
    domain = address.email_key.rpartition("@")[2]
    if address.confirmed_at is None and domain in trusted_domains:
        _confirm(session, address, by=issuer, now=now, origin=origin)


def lose_confirmation(session: Session, address: Address, *, reason: str, now: datetime, origin: audit.Origin) -> None:
    """Take the confirmation away (bounce, change), saying why."""
    address.confirmed_at, address.lost_at, address.lost_reason = None, now, reason
    address.account.note_change()
    _tell_the_mailbox(session, address, now)
    audit.record(
        session,
        "address.lost",
        outcome=reason,
        now=now,
        origin=origin,
        account_id=address.account_id,
        address_id=address.id,
    )


def _confirm(
    session: Session, address: Address, *, by: str, now: datetime, origin: audit.Origin, proof_id: int | None = None
) -> None:
    address.confirmed_at, address.confirmed_by = now, by
    address.lost_at, address.lost_reason = None, ""
    address.account.note_change()
    _tell_the_mailbox(session, address, now)
    audit.record(
        session,
        "address.confirmed",
        outcome="ok",
        now=now,
        origin=origin,
        account_id=address.account_id,
        address_id=address.id,
        by=by,
        proof_id=proof_id,
    )


def _tell_the_mailbox(session: Session, address: Address, now: datetime) -> None:
    """A forwarding to that address begins or ends with this."""
    forwards = select(MailboxChoice.account_id).where(
        MailboxChoice.account_id == address.account_id, MailboxChoice.forward_address_id == address.id
    )
    if session.scalar(forwards) is not None:
        hand_over(session, MAILBOX_CHANGED, address.account_id, now=now)
