"""Writing what was decided: new accounts by the hundred, changes one by one, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, update
from sqlalchemy.orm import Session

from external_accounts import audit, name_index, search_index
from external_accounts.accounts import lock_account
from external_accounts.address_changes import drop_address
from external_accounts.addresses import EmailAddress, primary_address, set_primary_address, stored_address
from external_accounts.database import note_waiting
from external_accounts.handovers import ENDED, hand_over
from external_accounts.identities import LOCAL
from external_accounts.imports import INSTITUTIONAL, RECOVERY, Decision
from external_accounts.institution_schema import LifecycleNotice, NameKey
from external_accounts.linking_schema import SearchWord
from external_accounts.profiles import ProfilePolicy
from external_accounts.proofs import cancel_pending
from external_accounts.rights import move_end
from external_accounts.schema import Account, AccountId, Address, SignInIdentity

CLOSED = "closed"
"""The life cycle's notice that an account was closed: what belongs to it is done here."""

EndSessions = Callable[[Session, AccountId], None]
"""Ends the sessions of an account in the same transaction: they are not this package's."""


@dataclass(frozen=True, slots=True)
class Pen:
    """Who writes, when, and for whom."""

    profiles: Mapping[str, ProfilePolicy]
    now: datetime
    origin: audit.Origin
    run: str
    """Names the run in the audit trail."""
    language: str
    end_sessions: EndSessions


def create(session: Session, decisions: Sequence[Decision], usernames: Mapping[str, str], pen: Pen) -> None:
    """Make the accounts of decisions to create. `usernames`: by key.

    Their addresses are not confirmed by this (I4).

    Raises:
        IntegrityError: a user name or a key was taken meanwhile.
    """
    if not decisions:
        return
    keys = [decision.external_key for decision in decisions]
    # A tombstone keeps its user name and gives its key to whoever comes back after the erasure.
    gone = update(Account).where(Account.external_key.in_(keys), Account.erased_at.is_not(None))
    session.execute(gone.values(external_key=None))
    rows = [_account(decision, usernames[decision.external_key], pen) for decision in decisions]
    made = session.execute(insert(Account).returning(Account.id, Account.external_key), rows)
    ids: dict[str | None, AccountId] = {key: number for number, key in made}
    identities, addresses, names, search = [], [], [], []
    for decision, row in zip(decisions, rows, strict=True):
        number = ids[decision.external_key]
        identities.append(
            {
                "account_id": number,
                "issuer": pen.profiles[row["profile"]].issuer or LOCAL,
                "subject": row["username"],
                "attributes": {},
                "created_at": pen.now,
                "refreshed_at": pen.now,
            }
        )
        held = _addresses(number, decision.changes, pen.now)
        addresses += held
        search += search_index.rows(
            number,
            username=row["username"],
            given_name=row["given_name"],
            family_name=row["family_name"],
            birth_name=row["birth_name"],
            unit=row["unit"],
            emails=[address["email_key"] for address in held],
        )
        names += name_index.rows(number, row["given_name"], row["family_name"], row["birth_name"])
        audit.record(
            session,
            "account.created",
            outcome="ok",
            now=pen.now,
            origin=pen.origin,
            account_id=number,
            external_key=decision.external_key,
            run=pen.run,
            notes=list(decision.notes),
        )
    session.execute(insert(SignInIdentity), identities)
    if addresses:
        session.execute(insert(Address), addresses)
    session.execute(insert(NameKey), names)
    session.execute(insert(SearchWord), search)
    note_waiting(session, Account)


def _account(decision: Decision, username: str, pen: Pen) -> dict[str, Any]:
    said = decision.changes
    policy = pen.profiles[said["profile"]]
    # Where another system of the university gives out the password, there is nothing to activate here.
    activated = bool(policy.issuer) and not policy.directory
    return {
        "external_key": decision.external_key,
        "username": username,
        "profile": policy.name,
        "given_name": said["given_name"],
        "family_name": said["family_name"],
        "birth_name": said.get("birth_name", ""),
        "unit": said.get("unit", ""),
        "language": said.get("language", pen.language),
        "directory": policy.directory,
        "sponsor_id": said.get("sponsor_id"),
        "rights_end_at": said.get("rights_end_at"),
        "created_at": pen.now,
        "activated_at": pen.now if activated else None,
        "activation_mail_due_at": pen.now if "private_email" in said and not activated else None,
    }


def _addresses(account_id: AccountId, said: Mapping[str, Any], now: datetime) -> list[dict[str, Any]]:
    """The institutional address is the main one, where there is one."""
    rows: dict[str, dict[str, Any]] = {}
    for name, role in (("institutional_email", INSTITUTIONAL), ("private_email", RECOVERY)):
        if name in said:
            email = stored_address(said[name])
            row = {"account_id": account_id, "email": email.email, "email_key": email.key, "role": role}
            rows.setdefault(email.key, row | {"is_primary": not rows, "created_at": now, "confirmed_by": ""})
    return list(rows.values())


def change(session: Session, decision: Decision, pen: Pen) -> None:
    """Bring one account to what was decided."""
    account = lock_account(session, decision.account_id or 0)
    before = account.rights_end_at
    for name, value in decision.changes.items():
        if name not in ("private_email", "institutional_email", "rights_end_at"):
            setattr(account, name, value)
    if "institutional_email" in decision.changes:
        _set_address(session, account, stored_address(decision.changes["institutional_email"]), INSTITUTIONAL, pen.now)
    if "private_email" in decision.changes:
        _set_address(session, account, stored_address(decision.changes["private_email"]), RECOVERY, pen.now)
        if account.activated_at is None:
            account.activation_mail_due_at = pen.now
    account.note_change()
    session.flush()
    if "rights_end_at" in decision.changes:
        move_end(session, account.id, decision.changes["rights_end_at"], now=pen.now, origin=pen.origin)
    if decision.kind == "end":
        _close(session, account, pen)
    reachable = any(one.role == RECOVERY for one in account.addresses)
    if decision.kind == "revive" and account.activated_at is None and reachable:
        account.activation_mail_due_at = pen.now
    audit.record(
        session,
        {"end": "account.ended", "revive": "account.revived"}.get(decision.kind, "account.updated"),
        outcome="ok",
        now=pen.now,
        origin=pen.origin,
        account_id=account.id,
        external_key=decision.external_key,
        run=pen.run,
        fields=sorted(decision.changes),
        end_before=before.isoformat() if before else None,
        notes=list(decision.notes),
    )


def _close(session: Session, account: Account, pen: Pen) -> None:
    """The rights are over as of now: sessions and pending proofs end (I10), other systems are told."""
    assert account.rights_end_at is not None  # noqa: S101 (that is what an end is)
    pen.end_sessions(session, account.id)
    cancel_pending(session, account.id, pen.now)
    account.activation_mail_due_at = None
    hand_over(session, ENDED, account.id, now=pen.now)
    session.add(LifecycleNotice(account_id=account.id, kind=CLOSED, about=account.rights_end_at, at=pen.now))


def _set_address(session: Session, account: Account, email: EmailAddress, role: str, now: datetime) -> None:
    """Put `email` in the place of the address of this role. What the person confirmed stays and stays the main one."""
    former = next((one for one in account.addresses if one.role == role), None)
    primary = primary_address(account)
    is_main = primary is None or primary is former or (role == INSTITUTIONAL and primary.confirmed_at is None)
    if is_main:
        set_primary_address(session, account, email, role=role, now=now)
    else:
        row = Address(email=email.email, email_key=email.key, role=role, created_at=now, confirmed_by="")
        account.addresses.append(row)
    session.flush()
    if former is not None:
        drop_address(session, account, former, now)
