"""Taking a link back: the closed account is what it was, with everything that had moved.

What was added to the kept account since stays there. Links and removals of ways in that came after this link, on either
account, are taken back first, the latest first: whoever made a link that was not theirs to make cannot make it last by
changes of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from external_accounts import audit, confirmation, joining, search_index, unlinking
from external_accounts.accounts import lock_account
from external_accounts.address_changes import drop_address
from external_accounts.engagements import LISTING
from external_accounts.handovers import LISTING_CHANGED, MAILBOX_CHANGED, hand_over
from external_accounts.identities import LOCAL
from external_accounts.institution_schema import DirectoryPassword, DirectoryWrite, Extension, MailboxChoice
from external_accounts.linking_schema import AccountLink, LikelyPair, UnlinkedIdentity
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


class LinkOver(Exception):
    """It was taken back before, or the time for it is over."""


@dataclass(frozen=True, slots=True)
class Parted:
    """What came of it: links that do not stand any more, the latest first."""

    links: tuple[AccountLink, ...]

    @property
    def account_ids(self) -> frozenset[AccountId]:
        return frozenset(one for link in self.links for one in (link.kept_id, link.other_id))


def part(session: Session, link_id: int, *, now: datetime, origin: audit.Origin, by: Proof | None = None) -> Parted:
    """Take the link back. `by` is the claimed proof that asks for it: its mailbox is shown to be read. The caller ends
    the sessions of all the accounts and tells people, in the same transaction (I8, I10).

    Raises:
        LinkOver: see there. Exactly one of N parallel uses does not raise (I2).
    """
    link = session.get_one(AccountLink, link_id)
    done = [_part_one(session, later, by, now, origin) for later in _later(session, link)]
    done.append(_part_one(session, link_id, by, now, origin))
    return Parted(tuple(done))


def links_since(session: Session, account_id: AccountId, since: datetime) -> list[int]:
    """Links of the account that stand and were made after a moment, the latest first."""
    return list(
        session.scalars(
            select(AccountLink.id)
            .where(
                or_(AccountLink.kept_id == account_id, AccountLink.other_id == account_id),
                AccountLink.linked_at >= since,
                AccountLink.undone_at.is_(None),
            )
            .order_by(AccountLink.id.desc())
        )
    )


def _later(session: Session, link: AccountLink) -> list[int]:
    """Links made after this one over any of the accounts that hang together with it, the latest first."""
    accounts = {link.kept_id, link.other_id}
    rows = session.execute(
        select(AccountLink.id, AccountLink.kept_id, AccountLink.other_id)
        .where(AccountLink.id > link.id, AccountLink.undone_at.is_(None))
        .where(AccountLink.linked_at >= link.linked_at)
        .order_by(AccountLink.id)
    ).all()
    found = []
    for row in rows:
        if accounts & {row.kept_id, row.other_id}:
            accounts |= {row.kept_id, row.other_id}
            found.append(row.id)
    return found[::-1]


def _part_one(session: Session, link_id: int, by: Proof | None, now: datetime, origin: audit.Origin) -> AccountLink:
    link = session.get_one(AccountLink, link_id)
    for account_id in sorted((link.kept_id, link.other_id)):
        lock_account(session, account_id)
    kept, other = session.get_one(Account, link.kept_id), session.get_one(Account, link.other_id)
    claimed = session.scalar(
        update(AccountLink)
        .where(AccountLink.id == link_id, AccountLink.undone_at.is_(None), AccountLink.undo_until > now)
        .values(undone_at=now, undone_by=origin.actor)
        .returning(AccountLink.id)
    )
    if claimed is None or kept.erased_at is not None:
        raise LinkOver
    session.refresh(link)
    _bring_back_ways_in(session, link, now, origin)
    before = joining.Before(**link.before)
    for account_id in (kept.id, other.id):
        cancel_pending(session, account_id, now)
    other.merged_into_id = None
    session.flush()
    _addresses(session, kept, other, before, by, now, origin)
    _ways_in(session, kept, other, before)
    _belongings(session, kept, other, before, now)
    _facts(session, kept, other, before)
    kept.note_change()
    other.note_change()
    link.before = {}
    session.flush()
    session.expire(kept, ["addresses", "identities"])
    session.expire(other, ["addresses", "identities"])
    for account_id in (kept.id, other.id):
        search_index.refresh(session, account_id)
        audit.record(
            session, "link.undone", outcome="ok", now=now, origin=origin, account_id=account_id, link_id=link.id
        )
    return link


def _bring_back_ways_in(session: Session, link: AccountLink, now: datetime, origin: audit.Origin) -> None:
    later = select(UnlinkedIdentity.id).where(
        UnlinkedIdentity.account_id == link.kept_id,
        UnlinkedIdentity.unlinked_at >= link.linked_at,
        UnlinkedIdentity.undone_at.is_(None),
    )
    for record_id in session.scalars(later.order_by(UnlinkedIdentity.id.desc())).all():
        try:
            with session.begin_nested():
                unlinking.bring_back(session, record_id, now=now, origin=origin)
        except unlinking.CannotComeBack:
            continue  # it leads elsewhere by now, and whoever has it there came by it


def _addresses(
    session: Session,
    kept: Account,
    other: Account,
    before: joining.Before,
    by: Proof | None,
    now: datetime,
    origin: audit.Origin,
) -> None:
    session.expire(kept, ["addresses"])
    session.expire(other, ["addresses"])
    current = [one for one in (*kept.addresses, *other.addresses) if one.is_primary]
    for address_id, key in before.parked:
        if (parked := session.get(Address, address_id)) is not None:
            parked.email_key = key
    for one in current:
        one.is_primary = False
    session.flush()
    for values in before.moved:
        row = session.get(Address, values["id"])
        # A number may be somebody else's by now: SQLite gives those of dropped rows again.
        if row is not None and (row.account_id, row.email_key) == (kept.id, values["email_key"]):
            row.account_id = other.id
        else:
            _again(session, kept, other, {**values, "account_id": other.id}, now)
    for values in before.dropped:
        _again(session, kept, other, values, now)
    session.flush()
    session.expire(kept, ["addresses"])
    session.expire(other, ["addresses"])
    for account in (kept, other):
        _settle(session, account, before.primaries, current, by, now, origin)


def _again(session: Session, kept: Account, other: Account, values: dict[str, Any], now: datetime) -> None:
    """A row that is not there any more: as it was, but for its confirmation, which only a proof gives (I4)."""
    owner = kept if values["account_id"] == kept.id else other
    taken = select(Address.id).where(Address.account_id == owner.id, Address.email_key == values["email_key"])
    if session.scalar(taken) is not None:
        return
    if owner is other:
        # Who read it for the kept account, and put it there again since, reads it for the other one.
        session.expire(kept, ["addresses"])
        twin = next((one for one in kept.addresses if one.email_key == values["email_key"]), None)
        if twin is not None and twin.created_at > datetime.fromisoformat(values["created_at"]):
            drop_address(session, kept, twin, now)
    number = {} if session.get(Address, values["id"]) is not None else {"id": values["id"]}
    row = Address(
        **number,
        account_id=owner.id,
        email=values["email"],
        email_key=values["email_key"],
        role=values["role"],
        self_added=values["self_added"],
        created_at=datetime.fromisoformat(values["created_at"]),
        lost_at=datetime.fromisoformat(values["lost_at"]) if values["lost_at"] else None,
        lost_reason=values["lost_reason"],
        confirmed_by="",
    )
    session.add(row)
    session.flush()


def _settle(
    session: Session,
    account: Account,
    primaries: list[int],
    current: list[Address],
    by: Proof | None,
    now: datetime,
    origin: audit.Origin,
) -> None:
    """The main address as it was; where it is gone, the one there is."""
    mine = account.addresses
    if by is not None:
        for one in mine:
            if one.confirmed_at is None and one.email_key == by.email_key:
                confirmation.confirm_by_proof(session, one, by, now=now, origin=origin)
    if not mine:
        return
    best = min(mine, key=lambda one: (one.id not in primaries, one not in current, one.confirmed_at is None, one.id))
    best.is_primary = True
    session.flush()


def _ways_in(session: Session, kept: Account, other: Account, before: joining.Before) -> None:
    for values in before.identities:
        row = session.scalar(
            select(SignInIdentity).where(
                SignInIdentity.issuer == values["issuer"], SignInIdentity.subject == values["subject"]
            )
        )
        local = values["issuer"] == LOCAL
        if row is not None and row.account_id == kept.id:
            row.account_id = other.id
            if local:
                session.execute(delete(LocalPassword).where(LocalPassword.account_id == kept.id))
        elif row is not None or not unlinking.restore(session, other.id, values, None):
            continue  # it leads elsewhere by now
        if local and before.password is not None:
            # As it was: whoever set another one since may not have been the owner.
            session.add(
                LocalPassword(
                    account_id=other.id,
                    hash=before.password["hash"],
                    set_at=datetime.fromisoformat(before.password["set_at"]),
                )
            )
    session.flush()
    session.expire_all()


TABLES: dict[str, Any] = {table.__tablename__: table for table, _column in joining.POINTING}


def _belongings(session: Session, kept: Account, other: Account, before: joining.Before, now: datetime) -> None:
    for table, ids in ((Engagement, before.engagements), (Extension, before.extensions)):
        model: Any = table
        session.execute(update(model).where(model.id.in_(ids), model.account_id == kept.id).values(account_id=other.id))
    listed = select(Engagement.id).where(Engagement.id.in_(before.engagements), Engagement.document == LISTING)
    if session.scalar(listed.limit(1)) is not None:
        hand_over(session, LISTING_CHANGED, kept.id, now=now)
    if before.mailbox_moved and session.get(MailboxChoice, kept.id) is not None:
        session.execute(update(MailboxChoice).where(MailboxChoice.account_id == kept.id).values(account_id=other.id))
        hand_over(session, MAILBOX_CHANGED, kept.id, now=now)
        hand_over(session, MAILBOX_CHANGED, other.id, now=now)
    for account_id, address_id in before.forwarded.items():
        if session.get(Address, address_id) is not None:
            session.execute(
                update(MailboxChoice)
                .where(MailboxChoice.account_id == int(account_id))
                .values(forward_address_id=address_id)
            )
    for name, column, ids in before.pointing:
        table = TABLES[name]
        session.execute(
            update(table).where(table.id.in_(ids), getattr(table, column) == kept.id).values({column: other.id})
        )
    for pair_id, state in before.pairs:
        session.execute(update(LikelyPair).where(LikelyPair.id == pair_id).values(state=state))
    session.expire_all()


def _facts(session: Session, kept: Account, other: Account, before: joining.Before) -> None:
    for name, (was, made) in before.kept.items():
        if _json(getattr(kept, name)) == made:  # what was changed since stays
            setattr(kept, name, _read(name, was))
    for name, was in before.other.items():
        setattr(other, name, _read(name, was))
    if kept.suspended_at is not None:
        # Neither was suspended when they were joined: whoever was since does not leave that behind by parting.
        other.suspended_at, other.suspended_until = kept.suspended_at, kept.suspended_until
        other.suspension_reason = kept.suspension_reason
    if before.external_key:
        mine, theirs = before.external_key
        if kept.external_key == theirs:
            kept.external_key = mine
            session.flush()
            other.external_key = theirs
    if before.swapped:
        joining.swap_names(session, kept, other)
    for name, version in before.directory_rows.items():
        table: Any = {one.__tablename__: one for one in (DirectoryPassword, DirectoryWrite)}[name]
        row = session.get(table, kept.id)
        if row is not None:
            untouched = isinstance(row, DirectoryWrite) and row.version == 0
            session.execute(update(table).where(table.account_id == kept.id).values(account_id=other.id))
            if isinstance(row, DirectoryWrite):
                session.execute(
                    update(DirectoryWrite)
                    .where(DirectoryWrite.account_id == other.id)
                    .values(version=version if untouched else 0)
                )
            session.expire_all()
    session.flush()


def _json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _read(name: str, value: Any) -> Any:
    return datetime.fromisoformat(value) if value is not None and name.endswith("_at") else value


def settle_due(session: Session, *, now: datetime, limit: int) -> int:
    """Forget what an undo would have needed, where the time for it is over, and what is left of who the closed account
    was. Its name and key stay: nobody gets them again. Returns for how many links and removals."""
    links = session.scalars(
        select(AccountLink)
        .where(AccountLink.undo_until <= now, AccountLink.undone_at.is_(None), AccountLink.settled_at.is_(None))
        .order_by(AccountLink.undo_until)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    for link in links:
        link.before, link.settled_at = {}, now
        _forget_closed(session, link.other_id)
    over = select(UnlinkedIdentity.id).where(
        UnlinkedIdentity.undo_until <= now, UnlinkedIdentity.undone_at.is_(None), UnlinkedIdentity.settled_at.is_(None)
    )
    ids = session.scalars(over.limit(limit)).all()
    session.execute(update(UnlinkedIdentity).where(UnlinkedIdentity.id.in_(ids)).values(before={}, settled_at=now))
    return len(links) + len(ids)


def forget_all(session: Session, kept_id: AccountId, now: datetime) -> None:
    """The kept account is erased: whatever an undo would have needed goes at once, and nothing is taken back."""
    for link in session.scalars(select(AccountLink).where(AccountLink.kept_id == kept_id)):
        if link.undone_at is None:
            link.before, link.undo_until, link.settled_at = {}, min(link.undo_until, now), now
            _forget_closed(session, link.other_id)
    session.execute(
        update(UnlinkedIdentity)
        .where(UnlinkedIdentity.account_id == kept_id, UnlinkedIdentity.undone_at.is_(None))
        .values(before={}, undo_until=now, settled_at=now)
    )


def closed_into(session: Session, kept_id: AccountId) -> list[AccountId]:
    """The accounts that were joined to this one, and those that had been joined to them."""
    found: list[AccountId] = []
    newest = [kept_id]
    while newest:
        newest = list(session.scalars(select(Account.id).where(Account.merged_into_id.in_(newest))))
        found += newest
    return found


def _forget_closed(session: Session, account_id: AccountId) -> None:
    account = lock_account(session, account_id)
    account.given_name = account.family_name = account.birth_name = account.unit = account.language = ""
    account.suspension_reason = ""
    account.external_key = account.last_sign_in_at = account.checked_at = account.reminded_at = None
    session.execute(delete(LocalPassword).where(LocalPassword.account_id == account_id))
    session.execute(delete(MailboxChoice).where(MailboxChoice.account_id == account_id))
    session.execute(update(SignInIdentity).where(SignInIdentity.account_id == account_id).values(attributes={}))
    left = select(Address.id).where(Address.account_id == account_id)
    session.execute(update(Proof).where(Proof.address_id.in_(left)).values(address_id=None))
    session.execute(delete(Address).where(Address.account_id == account_id))
    session.execute(
        update(Registration)
        .where(Registration.account_id == account_id)
        .values(email="", email_key="", given_name="", family_name="", reason="", decision_reason="")
    )
    session.flush()
