"""Setting a password in the directory that holds it, for somebody who proved that they may.

Two stores that know nothing of each other change, and a network lies between them. So it goes in three steps: claim
the proof (one transaction), write to the directory (no transaction is open), finish (another transaction: what a new
password ends, and its mails). A directory that did not do it gives the proof back.

Killed in between, the directory may have the new password while sessions of the old one go on. `DirectoryPassword`
remembers that a write is under way, and background work finishes what nobody finished (`next_unfinished`, `settle`).
docs/explanation/directory-passwords.md goes through every point.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.accounts import lock_account
from external_accounts.database import Database
from external_accounts.directory import Directory, DirectoryError, DirectoryUnavailable, Entry, EntryMissing
from external_accounts.institution_schema import DirectoryPassword
from external_accounts.schema import Account, AccountId, Proof

BUSY_FOR = timedelta(minutes=1)
"""As long as a directory is waited for at most, and as `proofs.RESEND_PAUSE`: whoever was cut off and asks again gets a
new link when another attempt is let in."""
UNFINISHED_AFTER = timedelta(minutes=5)
"""Whoever has not finished by then does not live any more."""


class PasswordBeingSet(DirectoryUnavailable):
    """Somebody else sets this account's password at this moment; nothing was used up. Trying again will do."""


def set_password(
    database: Database,
    directory: Directory,
    password: str,
    *,
    event: str,
    claim: Callable[[Session, datetime], Account],
    proof: Proof | None,
    finish: Callable[[Session, Account, datetime], None],
    clock: Callable[[], datetime],
    origin: audit.Origin,
) -> None:
    """Set the password of the account that `claim` returns.

    Args:
        event: what the audit trail calls it when the directory did not do it; `finish` records that it did.
        claim: uses the proof up at the moment it is given (that names the claim), and returns the account, held. What
            it raises goes through; nothing was changed then. It holds the account before it claims a proof that is
            bound to it (`lock_account`, then `claim_by_link`): `finish` holds the account while it ends such proofs,
            and in the other order the two wait for each other.
        proof: the row that `claim` uses up, as it was looked at; None where something else shows that they may.
        finish: what a new password ends and tells, in the transaction that says that it is set. The account is held.

    Raises:
        DirectoryError: the directory did not do it, and the proof can be used again. See there for the kinds.
        PasswordBeingSet: somebody else is about it.
    """
    claimed_at = clock()
    with database.begin() as session:
        account = claim(session, claimed_at)
        _begin(session, account, now=claimed_at)
        account_id, entry = account.id, entry_of(account)
    try:
        _write(directory, entry, password)
    except Exception as error:
        with database.begin() as session:
            _give_up(session, account_id, proof, claimed_at, error)
            audit.record(
                session,
                event,
                outcome="refused" if isinstance(error, DirectoryError) else "failed",
                now=clock(),
                origin=origin,
                account_id=account_id,
                directory=directory.name,
                reason=type(error).__name__,
            )
        raise
    with database.begin() as session:
        account = lock_account(session, account_id)
        done_at = clock()
        settle(session, account, now=done_at)
        finish(session, account, done_at)


def set_at(session: Session, account_id: AccountId) -> datetime | None:
    """When the password was last set from here, as far as that is known."""
    stored = session.get(DirectoryPassword, account_id, populate_existing=True)
    return stored.set_at if stored is not None else None


def entry_of(account: Account) -> Entry:
    """What the directory is told of an account. Its institutional address only: others are the person's own."""
    institutional = next((address.email for address in account.addresses if address.role == "institutional"), "")
    return Entry(account.username, account.given_name, account.family_name, institutional)


def next_unfinished(session: Session, now: datetime) -> Account | None:
    """An account whose password somebody began to set and never said how it went, held until the transaction ends."""
    account_id = session.scalar(
        select(DirectoryPassword.account_id)
        .where(DirectoryPassword.unfinished_at <= now)
        .order_by(DirectoryPassword.unfinished_at)
        .limit(1)
    )
    if account_id is None:
        return None
    account = lock_account(session, account_id)
    stored = session.get_one(DirectoryPassword, account_id, populate_existing=True)
    return account if stored.unfinished_at is not None and stored.unfinished_at <= now else None


def settle(session: Session, account: Account, *, now: datetime) -> None:
    """Note that the password was set, or must be taken to have been. The caller ends what that ends."""
    stored = _stored(session, account.id)
    stored.set_at, stored.busy_until, stored.unfinished_at = now, None, None


def _begin(session: Session, account: Account, *, now: datetime) -> None:
    """Say that a write is under way; the account is held.

    Raises:
        PasswordBeingSet: another one is.
    """
    stored = _stored(session, account.id)
    if stored.busy_until is not None and now < stored.busy_until:
        raise PasswordBeingSet
    stored.busy_until, stored.unfinished_at = now + BUSY_FOR, now + UNFINISHED_AFTER
    session.flush()


def _write(directory: Directory, entry: Entry, password: str) -> None:
    try:
        directory.set_password(entry.username, password)
    except EntryMissing:
        # The job that writes entries has not come to this one yet.
        directory.save(entry)
        directory.set_password(entry.username, password)


def _give_up(
    session: Session, account_id: AccountId, proof: Proof | None, claimed_at: datetime, error: Exception
) -> None:
    lock_account(session, account_id)
    stored = _stored(session, account_id)
    stored.busy_until = None
    unsure = not isinstance(error, DirectoryError) or (
        isinstance(error, DirectoryUnavailable) and error.may_have_arrived
    )
    if not unsure:
        stored.unfinished_at = None
    if proof is not None:
        # Only our own claim: the row may have become another proof meanwhile (`proofs.renew`).
        session.execute(
            update(Proof)
            .where(Proof.id == proof.id, Proof.link_hash == proof.link_hash, Proof.claimed_at == claimed_at)
            .values(claimed_at=None, claimed_with="")
        )


def _stored(session: Session, account_id: AccountId) -> DirectoryPassword:
    """The row, of an account that is held; a new one also where an erasure took it away meanwhile."""
    stored = session.get(DirectoryPassword, account_id, populate_existing=True)
    if stored is None:
        stored = DirectoryPassword(account_id=account_id)
        session.add(stored)
    return stored
