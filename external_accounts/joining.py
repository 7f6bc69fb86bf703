"""The transaction in which two accounts become one. `linking` has the rules, `parting` takes it back.

Whoever calls this has seen the proof of both sides (I5). Everything that moves is written down in `AccountLink.before`,
so that an undo brings back exactly what there was; that record is emptied when the time for it is over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from external_accounts import audit, linking, search_index
from external_accounts.accounts import lock_account
from external_accounts.database import note_waiting
from external_accounts.engagements import LISTING
from external_accounts.handovers import LISTING_CHANGED, MAILBOX_CHANGED, hand_over
from external_accounts.identities import LOCAL
from external_accounts.institution_schema import DirectoryPassword, DirectoryWrite, Extension, MailboxChoice
from external_accounts.linking import Joined, LinkRefused, Side, side_of
from external_accounts.linking_schema import AccountLink, AddressCorrection, LikelyPair
from external_accounts.proofs import cancel_pending
from external_accounts.schema import (
    Account,
    AccountId,
    Address,
    Engagement,
    LocalPassword,
    Proof,
    Registration,
    SignInIdentity,
)

POINTING: tuple[tuple[Any, str], ...] = (
    (Account, "sponsor_id"),
    (Registration, "sponsor_id"),
    (Extension, "sponsor_id"),
    (AddressCorrection, "account_id"),
)
"""Rows of others that point at the closed account: they point at the kept one instead."""
FACTS = (
    "profile",
    "rights_end_at",
    "given_name",
    "family_name",
    "birth_name",
    "unit",
    "directory",
    "language",
    "sponsor_id",
    "last_sign_in_at",
)
"""Columns of the kept account that `linking.joined` decides on. Names and the external key go their own way: they are
unique."""


@dataclass(slots=True)
class Before:
    """What an undo needs to know. Goes through JSON; holds one password hash at most, as `local_passwords` does."""

    kept: dict[str, list[Any]] = field(default_factory=dict)
    """Column → [before, after], where the link changed it."""
    other: dict[str, Any] = field(default_factory=dict)
    swapped: bool = False
    external_key: list[str | None] = field(default_factory=list)
    """[of the kept account, of the other], before."""
    identities: list[dict[str, Any]] = field(default_factory=list)
    password: dict[str, Any] | None = None
    moved: list[dict[str, Any]] = field(default_factory=list)
    dropped: list[dict[str, Any]] = field(default_factory=list)
    parked: list[list[Any]] = field(default_factory=list)
    """[id, key] of addresses that wait on the closed account under a key that nobody can type."""
    primaries: list[int] = field(default_factory=list)
    forwarded: dict[str, int] = field(default_factory=dict)
    """Account → the address its mail was forwarded to."""
    mailbox_moved: bool = False
    engagements: list[int] = field(default_factory=list)
    extensions: list[int] = field(default_factory=list)
    pointing: list[list[Any]] = field(default_factory=list)
    """[table, column, ids]."""
    directory_rows: dict[str, int] = field(default_factory=dict)
    """Table → 1 where the row moved; for `directory_writes`, how far it was written."""
    pairs: list[list[Any]] = field(default_factory=list)
    """[id, state] of likely pairs."""


def join(
    session: Session, kept_id: AccountId, other_id: AccountId, *, now: datetime, origin: audit.Origin
) -> AccountLink:
    """Join `other` to `kept`. The caller ends sessions and tells people, in the same transaction (I8).

    Raises:
        LinkRefused: see `linking.Refusal`.
    """
    # In the order of their ids: two links over the same accounts wait for each other and never for ever.
    for account_id in sorted((kept_id, other_id)):
        lock_account(session, account_id)
    kept, other = session.get_one(Account, kept_id), session.get_one(Account, other_id)
    session.expire(kept, ["addresses", "identities"])
    session.expire(other, ["addresses", "identities"])
    sides = side_of(kept), side_of(other)
    if (refusal := linking.refusal(*sides, now)) is not None:
        raise LinkRefused(refusal)
    before = Before()
    for account_id in (kept_id, other_id):
        cancel_pending(session, account_id, now)  # LNK-04
    _addresses(session, kept, other, before, now)
    _ways_in(session, kept, other, before)
    _belongings(session, kept, other, before, now)
    _facts(session, kept, other, linking.joined(*sides, now), before)
    _close(other, kept, sides[1], before)
    kept.note_change()
    other.note_change()
    _pairs(session, kept_id, other_id, before, now)
    link = AccountLink(
        kept_id=kept_id, other_id=other_id, linked_at=now, undo_until=now + linking.UNDO_FOR, before=_plain(before)
    )
    session.add(link)
    session.flush()
    session.expire(kept, ["addresses", "identities"])
    session.expire(other, ["addresses", "identities"])
    for account_id in (kept_id, other_id):
        search_index.refresh(session, account_id)
        audit.record(
            session,
            "link.made",
            outcome="ok",
            now=now,
            origin=origin,
            account_id=account_id,
            link_id=link.id,
            kept=account_id == kept_id,
        )
    return link


def _addresses(session: Session, kept: Account, other: Account, before: Before, now: datetime) -> None:
    plan = linking.addresses(kept.addresses, other.addresses)
    rows = {one.id: one for one in (*kept.addresses, *other.addresses)}
    before.primaries = [one.id for one in rows.values() if one.is_primary]
    before.forwarded = _forwardings(session, kept.id, other.id)
    for one in rows.values():
        one.is_primary = False
    session.flush()
    for address_id in plan.dropped:
        before.dropped.append(_address(rows[address_id]))
        _let_go(session, rows[address_id], now)
    for address_id in plan.parked:
        twin = next(one.id for one in kept.addresses if one.email_key == rows[address_id].email_key)
        session.execute(
            update(MailboxChoice).where(MailboxChoice.forward_address_id == address_id).values(forward_address_id=twin)
        )
        before.parked.append([address_id, rows[address_id].email_key])
        rows[address_id].email_key = f"closed:{address_id}"
    before.moved = [_address(rows[address_id]) for address_id in plan.moved]
    session.flush()
    session.execute(update(Address).where(Address.id.in_(plan.moved)).values(account_id=kept.id))
    if plan.primary is not None:
        session.execute(update(Address).where(Address.id == plan.primary).values(is_primary=True))
    session.expire_all()


def _forwardings(session: Session, *account_ids: AccountId) -> dict[str, int]:
    query = select(MailboxChoice.account_id, MailboxChoice.forward_address_id).where(
        MailboxChoice.account_id.in_(account_ids), MailboxChoice.forward_address_id.is_not(None)
    )
    return {str(account_id): address_id or 0 for account_id, address_id in session.execute(query)}


def _address(row: Address) -> dict[str, Any]:
    """All but whether it is confirmed: that no record can bring back (I4)."""
    return {
        "id": row.id,
        "account_id": row.account_id,
        "email": row.email,
        "email_key": row.email_key,
        "role": row.role,
        "self_added": row.self_added,
        "created_at": row.created_at.isoformat(),
        "lost_at": row.lost_at.isoformat() if row.lost_at else None,
        "lost_reason": row.lost_reason,
    }


def _let_go(session: Session, address: Address, now: datetime) -> None:
    session.execute(update(Proof).where(Proof.address_id == address.id).values(address_id=None))
    session.execute(
        update(MailboxChoice)
        .where(MailboxChoice.forward_address_id == address.id)
        .values(forward_address_id=None, updated_at=now)
    )
    session.execute(delete(AddressCorrection).where(AddressCorrection.address_id == address.id))
    session.delete(address)
    session.flush()


def _ways_in(session: Session, kept: Account, other: Account, before: Before) -> None:
    """Every way in leads to the kept account; a second user name with a password of its own leads nowhere any more."""
    has_local = any(identity.issuer == LOCAL for identity in kept.identities)
    for identity in list(other.identities):
        if identity.issuer == LOCAL and has_local:
            continue  # stays on the closed account, where nobody finds it
        before.identities.append(identity_values(identity))
        if identity.issuer == LOCAL:
            password = session.get(LocalPassword, other.id)
            if password is not None:
                before.password = {"hash": password.hash, "set_at": password.set_at.isoformat()}
                session.execute(
                    update(LocalPassword).where(LocalPassword.account_id == other.id).values(account_id=kept.id)
                )
        session.execute(update(SignInIdentity).where(SignInIdentity.id == identity.id).values(account_id=kept.id))
    session.expire_all()


def identity_values(identity: SignInIdentity) -> dict[str, Any]:
    return {
        "id": identity.id,
        "issuer": identity.issuer,
        "subject": identity.subject,
        "attributes": identity.attributes,
        "created_at": identity.created_at.isoformat(),
        "refreshed_at": identity.refreshed_at.isoformat(),
    }


def _belongings(session: Session, kept: Account, other: Account, before: Before, now: datetime) -> None:
    known = select(Engagement.document, Engagement.version).where(Engagement.account_id == kept.id)
    there = {(document, version) for document, version in session.execute(known)}
    for engagement in session.scalars(select(Engagement).where(Engagement.account_id == other.id)):
        if (engagement.document, engagement.version) not in there:
            before.engagements.append(engagement.id)
            engagement.account_id = kept.id
            if engagement.document == LISTING:
                hand_over(session, LISTING_CHANGED, kept.id, now=now)
    waiting = select(Extension.id).where(Extension.account_id == kept.id, Extension.state == "waiting")
    busy = session.scalar(waiting.limit(1)) is not None
    for extension in session.scalars(select(Extension).where(Extension.account_id == other.id)):
        if not (busy and extension.state == "waiting"):
            before.extensions.append(extension.id)
            extension.account_id = kept.id
    if session.get(MailboxChoice, kept.id) is None and session.get(MailboxChoice, other.id) is not None:
        before.mailbox_moved = True
        _move_row(session, MailboxChoice, other.id, kept.id)
        hand_over(session, MAILBOX_CHANGED, kept.id, now=now)
    for table, column in POINTING:
        pointer = getattr(table, column)
        ids = list(session.scalars(select(table.id).where(pointer == other.id, table.id != kept.id)))
        if ids:
            before.pointing.append([table.__tablename__, column, ids])
            session.execute(update(table).where(table.id.in_(ids)).values({column: kept.id}))
    session.flush()


def _move_row(session: Session, table: Any, of: AccountId, to: AccountId) -> None:
    session.execute(update(table).where(table.account_id == of).values(account_id=to))
    session.expire_all()


def _facts(session: Session, kept: Account, other: Account, facts: Joined, before: Before) -> None:
    if facts.directory != kept.directory:
        _directory_rows(session, kept, other, before)
    for name in FACTS:
        was, is_now = getattr(kept, name), getattr(facts, name)
        if was != is_now:
            before.kept[name] = [_json(was), _json(is_now)]
            setattr(kept, name, is_now)
    if facts.external_key != kept.external_key:
        before.external_key = [kept.external_key, other.external_key]
        other.external_key = None
        session.flush()
        kept.external_key = facts.external_key
    if facts.swaps_names:
        before.swapped = True
        swap_names(session, kept, other)
    session.flush()


def _directory_rows(session: Session, kept: Account, other: Account, before: Before) -> None:
    """The entry in the directory is the person's: what is known of it goes with the account that has it now."""
    for table in (DirectoryPassword, DirectoryWrite):
        row: Any = session.get(table, other.id)
        if row is None or session.get(table, kept.id) is not None:
            continue
        before.directory_rows[table.__tablename__] = row.version if isinstance(row, DirectoryWrite) else 1
        _move_row(session, table, other.id, kept.id)
    # Versions are counted by account: the entry is written once more.
    session.execute(update(DirectoryWrite).where(DirectoryWrite.account_id == kept.id).values(version=0, due_at=None))


def swap_names(session: Session, one: Account, two: Account) -> None:
    """Exchange two user names, which are unique at every moment."""
    first, second = one.username, two.username
    two.username = f"closing:{two.key}"  # nobody can have it: see `accounts.USERNAME_PATTERN`
    session.flush()
    one.username = second
    session.flush()
    two.username = first
    session.flush()


def _close(other: Account, kept: Account, was: Side, before: Before) -> None:
    before.other = {
        "rights_end_at": _json(was.rights_end_at),
        "directory": was.directory,
        "activation_mail_due_at": _json(other.activation_mail_due_at),
    }
    other.rights_end_at, other.directory, other.activation_mail_due_at = None, "", None
    other.merged_into_id = kept.id


def _pairs(session: Session, kept_id: AccountId, other_id: AccountId, before: Before, now: datetime) -> None:
    pairs = select(LikelyPair).where((LikelyPair.first_id == other_id) | (LikelyPair.second_id == other_id))
    for pair in session.scalars(pairs):
        before.pairs.append([pair.id, pair.state])
        pair.state = "linked" if kept_id in (pair.first_id, pair.second_id) else "gone"
        pair.decided_at = now
    note_waiting(session, Account)


def _json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _plain(before: Before) -> dict[str, Any]:
    return {name: getattr(before, name) for name in before.__dataclass_fields__}
