"""Taking a way in off an account, and bringing it back (LNK-12).

A way in can go only where another one remains: nobody locks themselves out. For seven days it can be brought back, by
its owner or by any mailbox that was told.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.accounts import lock_account
from external_accounts.identities import LOCAL
from external_accounts.joining import identity_values
from external_accounts.linking import UNDO_FOR
from external_accounts.linking_schema import UnlinkedIdentity
from external_accounts.proofs import cancel_pending
from external_accounts.schema import Account, AccountId, LocalPassword, SignInIdentity


class LastWayIn(Exception):
    """Without it the account could not be entered any more, or it is not the account's at all."""


class CannotComeBack(Exception):
    """It leads to another account by now, or the time for it is over."""


@dataclass(frozen=True, slots=True)
class WayIn:
    """An identity as the rule sees it."""

    identity_id: int
    issuer: str


def usable(ways: Sequence[WayIn], *, has_password: bool, issuers: Collection[str]) -> list[WayIn]:
    """Those that open the account today: a CAS that settings name, or a user name with a password."""
    return [way for way in ways if (way.issuer == LOCAL and has_password) or way.issuer in issuers]


def may_go(identity_id: int, ways: Sequence[WayIn], *, has_password: bool, issuers: Collection[str]) -> bool:
    """Whether the account can be entered without this one."""
    return any(way.identity_id != identity_id for way in usable(ways, has_password=has_password, issuers=issuers))


def ways_of(account: Account) -> list[WayIn]:
    return [WayIn(identity.id, identity.issuer) for identity in account.identities]


def choose_other(
    session: Session, account_id: AccountId, identity_id: int, *, issuers: Collection[str]
) -> tuple[SignInIdentity, SignInIdentity]:
    """The identity that goes and one that stays; the account is held until the transaction ends.

    Raises:
        LastWayIn: see there.
    """
    account = lock_account(session, account_id)
    session.expire(account, ["identities"])
    gone = next((one for one in account.identities if one.id == identity_id), None)
    has_password = session.get(LocalPassword, account_id) is not None
    ways = ways_of(account)
    left = [way for way in usable(ways, has_password=has_password, issuers=issuers) if way.identity_id != identity_id]
    if gone is None or not left:
        raise LastWayIn
    return gone, next(one for one in account.identities if one.id == left[0].identity_id)


def unlink(session: Session, identity: SignInIdentity, *, now: datetime, origin: audit.Origin) -> UnlinkedIdentity:
    """Take the identity off. The caller chose it by `choose_other`, ends what it opened, and tells people."""
    account = session.get_one(Account, identity.account_id)
    before: dict[str, Any] = {"identity": identity_values(identity)}
    if identity.issuer == LOCAL and (password := session.get(LocalPassword, account.id)) is not None:
        before["password"] = {"hash": password.hash, "set_at": password.set_at.isoformat()}
        session.delete(password)
    record = UnlinkedIdentity(
        account_id=account.id,
        issuer=identity.issuer,
        unlinked_at=now,
        undo_until=now + UNDO_FOR,
        before=before,
    )
    session.add(record)
    session.delete(identity)
    cancel_pending(session, account.id, now)  # I10: a link that was mailed before must not bring the password back
    account.note_change()
    session.flush()
    session.expire(account, ["identities"])
    audit.record(
        session,
        "identity.removed",
        outcome="ok",
        now=now,
        origin=origin,
        account_id=account.id,
        issuer=record.issuer,
        unlinked_id=record.id,
    )
    return record


def bring_back(session: Session, record_id: int, *, now: datetime, origin: audit.Origin) -> UnlinkedIdentity:
    """Put the way in back where it was. The caller ends sessions and tells people.

    Raises:
        CannotComeBack: see there. Exactly one of N parallel uses does not raise.
    """
    record = session.get_one(UnlinkedIdentity, record_id)
    account = lock_account(session, record.account_id)
    if account.erased_at is not None or account.merged_into_id is not None:
        raise CannotComeBack
    claimed = session.scalar(
        update(UnlinkedIdentity)
        .where(
            UnlinkedIdentity.id == record_id, UnlinkedIdentity.undone_at.is_(None), UnlinkedIdentity.undo_until > now
        )
        .values(undone_at=now, undone_by=origin.actor)
        .returning(UnlinkedIdentity.id)
    )
    if claimed is None:
        raise CannotComeBack
    session.refresh(record)
    if not restore(session, account.id, record.before["identity"], record.before.get("password")):
        raise CannotComeBack
    record.before = {}
    account.note_change()
    session.flush()
    session.expire(account, ["identities"])
    audit.record(
        session,
        "identity.restored",
        outcome="ok",
        now=now,
        origin=origin,
        account_id=account.id,
        issuer=record.issuer,
        unlinked_id=record.id,
    )
    return record


def restore(session: Session, account_id: AccountId, identity: dict[str, Any], password: dict[str, Any] | None) -> bool:
    """Add the identity again as it was. False when its name leads to another account by now."""
    known = select(SignInIdentity.id).where(
        SignInIdentity.issuer == identity["issuer"], SignInIdentity.subject == identity["subject"]
    )
    has_local = select(SignInIdentity.id).where(SignInIdentity.account_id == account_id, SignInIdentity.issuer == LOCAL)
    if session.scalar(known) is not None:
        return False
    if identity["issuer"] == LOCAL and session.scalar(has_local) is not None:
        return False  # another user name with a password was made meanwhile: that one counts
    times = {name: datetime.fromisoformat(identity[name]) for name in ("created_at", "refreshed_at")}
    values = {**identity, **times}
    if session.get(SignInIdentity, values["id"]) is not None:
        del values["id"]  # SQLite gives the numbers of dropped rows again
    session.add(SignInIdentity(account_id=account_id, **values))
    if password is not None:
        session.merge(
            LocalPassword(
                account_id=account_id, hash=password["hash"], set_at=datetime.fromisoformat(password["set_at"])
            )
        )
    session.flush()
    return True
