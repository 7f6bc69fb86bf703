"""What people are told when accounts are joined or parted, or when a way in goes: every confirmed address, each with a
link of its own that takes it back, and a receipt that anybody can have checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import outbox, proofs
from external_accounts.address_changes import Notices
from external_accounts.keys import Keys
from external_accounts.linking import UNDO_FOR
from external_accounts.linking_schema import AccountLink, UnlinkedIdentity
from external_accounts.proofs import UNDO_LINK, Subject
from external_accounts.schema import Account, AccountId, Address, Proof

RECEIPT = "link receipt"
"""The purpose under which receipts are signed."""


def receipt(keys: Keys, link: AccountLink, kept: Account, other: Account, *, names: tuple[str, str]) -> str:
    """A text that says what was joined and when, and its signature, in one line. `names` are those of before."""
    moment = link.linked_at.replace(microsecond=0).isoformat()
    text = (
        f"LMS-Bridge link {link.id} at {moment}: {names[0]} + {names[1]} = {kept.username} (closed: {other.username})"
    )
    return keys.sign(RECEIPT, text)


def read_receipt(keys: Keys, typed: str) -> str | None:
    """What a receipt says, if it is one of ours and whole; line ends that a mail program added are forgiven."""
    return keys.unsign(RECEIPT, " ".join(typed.split())) if len(typed) < 2000 else None


@dataclass(frozen=True, slots=True)
class Told:
    """Somebody to be told: an address as it is now, and whose it was before the change."""

    account_id: AccountId
    email: str
    email_key: str


def confirmed_of(session: Session, account_ids: Iterable[AccountId]) -> list[Told]:
    """The confirmed addresses of these accounts, each mailbox once."""
    query = (
        select(Address.account_id, Address.email, Address.email_key)
        .where(Address.account_id.in_(sorted(account_ids)), Address.confirmed_at.is_not(None))
        .order_by(Address.id)
    )
    found: dict[str, Told] = {}
    for account_id, email, key in session.execute(query):
        found.setdefault(key, Told(account_id, email, key))
    return list(found.values())


def tell_joined(
    session: Session,
    link: AccountLink,
    told: Iterable[Told],
    notices: Notices,
    *,
    names: tuple[str, str],
    now: datetime,
) -> None:
    """The receipt, to every confirmed address of both sides as it was before the link."""
    kept, other = session.get_one(Account, link.kept_id), session.get_one(Account, link.other_id)
    text = receipt(notices.keys, link, kept, other, names=names)
    for one in told:
        _send(
            session,
            "accounts_joined",
            one,
            notices,
            now,
            undo={"link": link.id},
            context={"receipt": text, "kept": kept.username, "names": list(names)},
        )


def tell_way_in(
    session: Session,
    account_id: AccountId,
    change: str,
    issuer: str,
    notices: Notices,
    *,
    record: UnlinkedIdentity | None = None,
    now: datetime,
) -> None:
    """A way in was `added`, `removed` or `restored`. A removal can be taken back by the link of each mail."""
    undo = {"unlinked": record.id} if record is not None and change == "removed" else None
    for one in confirmed_of(session, [account_id]):
        _send(session, "way_in_changed", one, notices, now, undo=undo, context={"change": change, "issuer": issuer})


def tell_parted(session: Session, told: Iterable[Told], notices: Notices, *, moved: bool, now: datetime) -> None:
    """`moved`: course work was moved in an application meanwhile, and stays there."""
    for one in told:
        _send(session, "accounts_parted", one, notices, now, context={"moved": moved})


def _send(
    session: Session,
    template: str,
    to: Told,
    notices: Notices,
    now: datetime,
    *,
    undo: dict[str, Any] | None = None,
    context: dict[str, Any] | None = None,
) -> None:
    proof: Proof | None = None
    if undo is not None:
        proof = proofs.make_proof(
            session,
            notices.keys,
            Subject(account_id=to.account_id, email_key=to.email_key),
            purpose=UNDO_LINK,
            lifetime=UNDO_FOR,
            service=None,
            locale=notices.locale,
            now=now,
            details=undo,
        )
    outbox.enqueue(
        session,
        template,
        to.email,
        locale=notices.locale,
        now=now,
        mail_domain=notices.mail_domain,
        account_id=to.account_id,
        proof_id=proof.id if proof is not None else None,
        context=context,
    )


def end_undo_links(
    session: Session, account_ids: Iterable[AccountId], details: list[dict[str, Any]], now: datetime
) -> None:
    """The other links of what was taken back are over."""
    pending = select(Proof).where(
        Proof.account_id.in_(sorted(account_ids)),
        Proof.purpose == UNDO_LINK,
        Proof.claimed_at.is_(None),
        Proof.cancelled_at.is_(None),
    )
    for proof in session.scalars(pending):
        if proof.details in details:
            proof.cancelled_at = now
