"""Correcting an address that no message reaches: one person of the help desk asks, a second one agrees.

    waiting → approved (the address is another one), refused, withdrawn; or over (the address changed meanwhile)

Whoever can put their own address in the place of somebody's can take their account. So it takes two people, it is only
for an address that nobody has shown to read, what comes in its place is not confirmed by it (I4), and every confirmed
address of the account is told and can undo it for a week. The university's own addresses are corrected where they come
from, and a forwarding by its owner.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import audit, outbox
from external_accounts.accounts import lock_account
from external_accounts.address_changes import INSTITUTIONAL, Notices, correct_address
from external_accounts.addresses import EmailAddress, mask_address, stored_address
from external_accounts.bounces import BOUNCE
from external_accounts.linking_schema import AddressCorrection
from external_accounts.mailbox import FORWARDING
from external_accounts.schema import Account, AccountId, Address

WAITING, APPROVED, REFUSED, WITHDRAWN, OVER = "waiting", "approved", "refused", "withdrawn", "over"


class NotToBeCorrected(Exception):
    """The address is confirmed, the university's, a forwarding, or not there (any more): see `may_correct`."""


class AddressThere(Exception):
    """The account has the new address already."""


class AlreadyAsked(Exception):
    """A request for this address waits; asking twice changes nothing."""


class SecondPersonNeeded(Exception):
    """Whoever asked does not decide."""


class NotTheirs(Exception):
    """Only whoever asked takes a request back."""


class AlreadyDecided(Exception):
    """Somebody decided before, or the request was withdrawn; `correction` says what and who."""

    def __init__(self, correction: AddressCorrection) -> None:
        super().__init__(correction.state)
        self.correction = correction


@dataclass(frozen=True, slots=True)
class Colleague:
    """Who asks or decides."""

    account_id: AccountId
    username: str


def may_correct(address: Address) -> bool:
    return address.confirmed_at is None and address.role not in (INSTITUTIONAL, FORWARDING)


def waiting_for(session: Session, address_id: int) -> AddressCorrection | None:
    """The request that waits for this address."""
    query = select(AddressCorrection).where(
        AddressCorrection.address_id == address_id, AddressCorrection.state == WAITING
    )
    return session.scalar(query)


def ask(
    session: Session,
    account: Account,
    address_id: int,
    email: EmailAddress,
    *,
    reason: str,
    by: Colleague,
    now: datetime,
    origin: audit.Origin,
) -> AddressCorrection:
    """Ask for another address in the place of one of `account`, which is held. Nothing of it changes yet.

    Raises:
        NotToBeCorrected, AddressThere, AlreadyAsked: nothing was written.
    """
    address = next((one for one in account.addresses if one.id == address_id), None)
    if address is None or not may_correct(address):
        raise NotToBeCorrected
    if any(one.email_key == email.key for one in account.addresses):
        raise AddressThere
    if waiting_for(session, address_id) is not None:
        raise AlreadyAsked
    correction = AddressCorrection(
        account_id=account.id,
        address_id=address_id,
        old_email=address.email,
        new_email=email.email,
        reason=reason,
        state=WAITING,
        asked_at=now,
        asked_by=by.username,
        asked_by_id=by.account_id,
        decided_by="",
        decision_reason="",
    )
    session.add(correction)
    session.flush()
    _record(session, correction, "asked", now, origin, reason=reason)
    return correction


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of a request."""

    correction: AddressCorrection
    address: Address | None
    """The new address, where it was put in place: a message that confirms it is to be sent."""


def decide(
    session: Session,
    correction_id: int,
    *,
    approve: bool,
    reason: str,
    by: Colleague,
    notices: Notices,
    now: datetime,
    origin: audit.Origin,
) -> Decided:
    """Agree, or refuse. Agreeing to a request whose address changed meanwhile changes nothing: it is `over`.

    Raises:
        AlreadyDecided: of N at once exactly one decides.
        SecondPersonNeeded: nothing was decided.
    """
    correction, account = _held(session, correction_id)
    if _asked_themself(session, correction, by):
        raise SecondPersonNeeded
    old = _as_it_was(account, correction)
    email = stored_address(correction.new_email)
    if approve and (old is None or any(one.email_key == email.key for one in account.addresses)):
        _settle(session, correction, OVER, by, reason, now, origin)
        return Decided(correction, None)
    if not approve or old is None:
        _settle(session, correction, REFUSED, by, reason, now, origin)
        return Decided(correction, None)
    may_be_reached = old.lost_reason != BOUNCE
    address = correct_address(session, account, old, email, notices=notices, now=now, origin=origin)
    session.refresh(correction)
    correction.address_id = address.id
    _settle(session, correction, APPROVED, by, reason, now, origin)
    if may_be_reached:
        # Perhaps somebody else's: it names neither the account nor its owner.
        outbox.enqueue(
            session,
            "address_let_go",
            correction.old_email,
            locale=notices.locale,
            now=now,
            mail_domain=notices.mail_domain,
        )
    return Decided(correction, address)


def withdraw(
    session: Session, correction_id: int, *, by: Colleague, now: datetime, origin: audit.Origin
) -> AddressCorrection:
    """Whoever asked takes it back.

    Raises:
        AlreadyDecided: too late.
        NotTheirs: somebody else asked.
    """
    correction, _account = _held(session, correction_id)
    if not _asked_themself(session, correction, by):
        raise NotTheirs
    _settle(session, correction, WITHDRAWN, by, "", now, origin)
    return correction


def _held(session: Session, correction_id: int) -> tuple[AddressCorrection, Account]:
    """The request and its account, held: first the account, as everybody who changes one does.

    Raises:
        AlreadyDecided: it does not wait any more.
    """
    correction = session.get_one(AddressCorrection, correction_id)
    account = lock_account(session, correction.account_id)
    session.refresh(correction, with_for_update=True)
    if correction.state != WAITING:
        session.expunge(correction)
        raise AlreadyDecided(correction)
    return correction, account


def _asked_themself(session: Session, correction: AddressCorrection, by: Colleague) -> bool:
    """Whether it is the same person, also after they joined two accounts of theirs."""
    asked = session.get_one(Account, correction.asked_by_id)
    return by.account_id in (asked.id, asked.merged_into_id) or by.username == correction.asked_by


def _as_it_was(account: Account, correction: AddressCorrection) -> Address | None:
    """The address, if it stands as it did when the request was made, and nobody has confirmed it since."""
    if account.erased_at is not None or account.merged_into_id is not None:
        return None
    found = next((one for one in account.addresses if one.id == correction.address_id), None)
    return found if found is not None and found.email == correction.old_email and may_correct(found) else None


def _settle(
    session: Session,
    correction: AddressCorrection,
    state: str,
    by: Colleague,
    reason: str,
    now: datetime,
    origin: audit.Origin,
) -> None:
    correction.state, correction.decided_at = state, now
    correction.decided_by, correction.decision_reason = by.username, reason
    session.flush()
    _record(session, correction, state, now, origin, reason=reason)


def _record(
    session: Session, correction: AddressCorrection, outcome: str, now: datetime, origin: audit.Origin, *, reason: str
) -> None:
    audit.record(
        session,
        "address.correction",
        outcome=outcome,
        now=now,
        origin=origin,
        account_id=correction.account_id,
        correction_id=correction.id,
        old=mask_address(correction.old_email),
        new=mask_address(correction.new_email),
        asked_by=correction.asked_by,
        reason=reason,
    )
