"""Proofs: somebody reads a mailbox, shown once.

One mail carries two keys to one state: a link and a short typed code. Whichever is used first claims the proof, in one
atomic statement (I2), and both are spent. Opening the link changes nothing (I11): mail scanners open links.

Nothing of either key rests in the database. A random `nonce` does, and the keys are derived from it under the server's
secret; so a resend within the lifetime sends *the same* proof, and a first mail that arrives after the second still
works (D06). What a person sends us dies on its signature before it costs a query.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session, object_session

from external_accounts import audit, confirmation, revocations
from external_accounts.keys import Keys, UnknownKey
from external_accounts.proof_deadlines import CODE_LIFETIME, begin_life, hold_subject, is_waiting_for_its_mail
from external_accounts.proof_keys import (
    HANDLE,
    LINK,
    ProofKeys,
    code_of,
    link_secret,
    proof_keys,
    read_code,
    still_ours,
    stored_form,
)
from external_accounts.schema import AccountId, Address, Proof

CONFIRM_ADDRESS = "confirm address"
"""The one purpose whose claim has its effect here; what the others prove, their own modules do in the transaction of
the claim."""

UNDO_ADDRESS_CHANGE = "undo address change"
KEEP_ACCOUNT = "keep account"
UNDO_LINK = "undo link"
LASTING = (UNDO_ADDRESS_CHANGE, KEEP_ACCOUNT, UNDO_LINK)
"""What takes a change back outlives a new password: else whoever took an account over could make the change last."""

CODE_ATTEMPTS = 5
RESEND_PAUSE = timedelta(seconds=60)


class ProofUnusable(Exception):
    """The proof cannot be used. `proof` is the row when the key presented was a true one, for the page's next step."""

    def __init__(self, proof: Proof | None = None) -> None:
        super().__init__(self.__class__.__name__)
        self.proof = proof


class ProofUnknown(ProofUnusable):
    """No such proof, or a key that is not ours."""


class ProofExpired(ProofUnusable):
    """It was a true key, too late."""


class ProofUsed(ProofUnusable):
    """The proof was claimed before."""


class ProofCancelled(ProofUnusable):
    """The account changed in between (reset, other address), so the proof proves nothing any more."""


class CodeWrong(ProofUnusable):
    """The code is not the proof's. `attempts_left` tries remain."""

    def __init__(self, proof: Proof, attempts_left: int) -> None:
        super().__init__(proof)
        self.attempts_left = attempts_left


class CodeSpent(ProofUnusable):
    """The code's time or tries are over; the link of the same mail may still be good."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom or what a proof is about. At most one pending proof for each purpose and subject (D16)."""

    account_id: AccountId | None = None
    address_id: int | None = None
    registration_id: int | None = None
    sought: str = ""
    """What a stranger typed to find an account, in its one form. Whose it is, nobody looked up yet (I3)."""
    email_key: str = ""
    """The mailbox that is shown to be read, where one is named."""


def about(address: Address) -> Subject:
    """The proof that somebody reads this address of an account."""
    return Subject(account_id=address.account_id, address_id=address.id, email_key=address.email_key)


def request_proof(
    session: Session,
    keys: Keys,
    subject: Subject,
    *,
    purpose: str,
    lifetime: timedelta,
    service: str | None,
    locale: str,
    now: datetime,
    calendar_end: datetime | None = None,
) -> tuple[Proof, bool]:
    """The pending proof of this purpose and subject: the living one, or a new one (D16: one at a time).

    Returns the proof and whether a mail should go out now: a resend within `RESEND_PAUSE` sends nothing, silently.
    For a subject that is only `sought`, the caller takes a budget on it first (`throttle.reserve`): that is where two
    requests for the same text wait for each other.
    """
    hold_subject(session, account_id=subject.account_id, registration_id=subject.registration_id)
    living = _living(session, keys, subject, purpose, now)
    if living is not None:
        living.service = service or living.service
        if now - living.sent_at < RESEND_PAUSE:
            return living, False
        send_again(session, living, now=now)
        return living, True
    return make_proof(
        session,
        keys,
        subject,
        purpose=purpose,
        lifetime=lifetime,
        service=service,
        locale=locale,
        now=now,
        calendar_end=calendar_end,
    ), True


def send_again(session: Session, proof: Proof, *, now: datetime) -> None:
    """The same proof is about to be mailed once more; a code that is spent is replaced."""
    proof.sent_at = now
    begin_life(session, proof, now)
    if proof.code_expires_at <= now or proof.code_attempts >= CODE_ATTEMPTS:
        proof.code_round += 1
        proof.code_attempts = 0
        proof.code_expires_at = min(now + CODE_LIFETIME, proof.expires_at)


def make_proof(
    session: Session,
    keys: Keys,
    subject: Subject,
    *,
    purpose: str,
    lifetime: timedelta,
    service: str | None,
    locale: str,
    now: datetime,
    details: Mapping[str, Any] | None = None,
    calendar_end: datetime | None = None,
) -> Proof:
    """A new proof, whatever others there are: for what has happened and may be taken back, each time by its own link.

    `details` are JSON-able and hold no secret. It lasts until `calendar_end` at least: see `proof_deadlines`.
    """
    nonce = secrets.token_bytes(16)
    proof = Proof(
        handle=secrets.token_hex(16),
        account_id=subject.account_id,
        address_id=subject.address_id,
        registration_id=subject.registration_id,
        sought=subject.sought,
        purpose=purpose,
        email_key=subject.email_key,
        nonce=nonce,
        key_id=keys.current_id,
        link_hash=stored_form(link_secret(keys, purpose, nonce, keys.current_id)),
        created_at=now,
        lifetime_seconds=int(lifetime.total_seconds()),
        calendar_end=calendar_end,
        expires_at=max(now + lifetime, calendar_end or now),
        code_expires_at=now + min(CODE_LIFETIME, lifetime),
        code_attempts=0,
        code_round=0,
        sent_at=now,
        claimed_with="",
        service=service,
        locale=locale,
        details=dict(details or {}),
    )
    session.add(proof)
    _cancel_if_revoked(session, proof)
    return proof


def _cancel_if_revoked(session: Session, proof: Proof) -> None:
    """Everything of this moment may have been revoked meanwhile: the row is written first, then this is asked."""
    session.flush()
    if revocations.covers_proof(session, proof):
        proof.cancelled_at = proof.created_at
        session.flush()


def renew(keys: Keys, proof: Proof, *, now: datetime) -> None:
    """Make the row another proof: new link, new code, a whole lifetime. What was mailed before opens nothing any more.

    Where the row itself must stay, because its handle is the name of a page.
    """
    proof.nonce, proof.key_id = secrets.token_bytes(16), keys.current_id
    proof.link_hash = stored_form(link_secret(keys, proof.purpose, proof.nonce, proof.key_id))
    lifetime = timedelta(seconds=proof.lifetime_seconds)
    proof.created_at, proof.accepted_at = now, None
    proof.expires_at, proof.code_expires_at = now + lifetime, now + min(CODE_LIFETIME, lifetime)
    proof.code_attempts = proof.code_round = 0
    proof.claimed_at = proof.cancelled_at = None
    proof.claimed_with = ""
    if session := object_session(proof):
        _cancel_if_revoked(session, proof)


def _living(session: Session, keys: Keys, subject: Subject, purpose: str, now: datetime) -> Proof | None:
    pending = session.scalars(
        select(Proof).where(
            Proof.account_id == subject.account_id,
            Proof.address_id == subject.address_id,
            Proof.registration_id == subject.registration_id,
            Proof.sought == subject.sought,
            *((Proof.sought != "",) if subject.sought else ()),  # what the index is restricted to
            Proof.purpose == purpose,
            Proof.email_key == subject.email_key,
            Proof.claimed_at.is_(None),
            Proof.cancelled_at.is_(None),
            or_(Proof.expires_at > now, Proof.accepted_at.is_(None)),
        )
    )
    alive = (proof for proof in pending if proof.expires_at > now or is_waiting_for_its_mail(proof, now))
    return next((proof for proof in alive if still_ours(keys, proof)), None)


@dataclass(frozen=True, slots=True)
class FoundProof:
    """A proof looked at (not used): the row, and by which kind of token the visitor named it."""

    proof: Proof
    by: Literal["link", "handle"]


def look_at(session: Session, keys: Keys, token: str) -> FoundProof:
    """Find the proof a token names, changing nothing (I11).

    Raises:
        ProofUnknown: not a token of ours, or the proof is gone.
    """
    if len(token) <= 200:
        if (secret := keys.unsign(LINK, token)) is not None:
            proof = session.scalar(select(Proof).where(Proof.link_hash == stored_form(secret)))
            if proof is not None:
                return FoundProof(proof, "link")
        elif (handle := keys.unsign(HANDLE, token)) is not None:
            proof = session.scalar(select(Proof).where(Proof.handle == handle))
            if proof is not None:
                return FoundProof(proof, "handle")
    raise ProofUnknown


def state_of(proof: Proof, now: datetime) -> Literal["pending", "claimed", "cancelled", "expired"]:
    """Where the proof's life stands. At the very second of the deadline it is over."""
    if proof.claimed_at is not None:
        return "claimed"
    if proof.cancelled_at is not None:
        return "cancelled"
    return "pending" if now < proof.expires_at else "expired"


def claim_by_link(session: Session, proof_id: int, *, now: datetime, origin: audit.Origin) -> Proof:
    """Use the proof up by its link and do what it proves.

    Raises:
        ProofExpired, ProofUsed, ProofCancelled: exactly one of N parallel uses does not raise (I2).
    """
    return _claim(session, proof_id, "link", now=now, origin=origin)


def reserve_code_attempt(session: Session, proof_id: int, *, now: datetime) -> Proof:
    """Take one of the code's tries, *before* comparing, so that parallel guesses cannot exceed the cap.

    The caller commits this whatever the comparison says.

    Raises:
        CodeSpent: no tries or no time left. ProofExpired, ProofUsed, ProofCancelled: the proof itself is over.
    """
    taken = session.scalar(
        update(Proof)
        .where(
            Proof.id == proof_id,
            Proof.claimed_at.is_(None),
            Proof.cancelled_at.is_(None),
            Proof.code_expires_at > now,
            Proof.code_attempts < CODE_ATTEMPTS,
        )
        .values(code_attempts=Proof.code_attempts + 1)
        .returning(Proof.id)
    )
    proof = session.get_one(Proof, proof_id, populate_existing=True)
    if taken is None:
        _raise_if_over(session, proof, now)
        raise CodeSpent(proof)
    return proof


def claim_by_code(
    session: Session, keys: Keys, proof: Proof, typed: str, *, now: datetime, origin: audit.Origin
) -> Proof:
    """Use the proof up by its code, after `reserve_code_attempt`.

    Raises:
        CodeWrong: not the code. ProofExpired, ProofUsed, ProofCancelled: as for the link.
    """
    _compare(keys, proof, typed)
    return _claim(session, proof.id, "code", now=now, origin=origin)


def change_code_for_link(session: Session, keys: Keys, proof: Proof, typed: str, *, now: datetime) -> ProofKeys:
    """Spend the code, after `reserve_code_attempt`, for the link of the same mail: the proof itself is not used yet.

    For purposes where more than a click is needed (a new password): the browser that typed the code goes on as if it
    had opened the link. A code can be spent once.

    Raises:
        CodeWrong: not the code. CodeSpent: somebody else was faster, or its time is over.
        ProofExpired, ProofUsed, ProofCancelled: the proof itself is over.
    """
    _compare(keys, proof, typed)
    spent = session.scalar(
        update(Proof)
        .where(
            Proof.id == proof.id,
            Proof.claimed_at.is_(None),
            Proof.cancelled_at.is_(None),
            Proof.expires_at > now,
            Proof.code_round == proof.code_round,
            Proof.code_expires_at > now,
        )
        # Who knows the code has the mail, whatever the server's answer was.
        .values(code_expires_at=now, accepted_at=func.coalesce(Proof.accepted_at, now))
        .returning(Proof.id)
    )
    current = session.get_one(Proof, proof.id, populate_existing=True)
    if spent is None:
        _raise_if_over(session, current, now)
        raise CodeSpent(current)
    return proof_keys(keys, current)


def _compare(keys: Keys, proof: Proof, typed: str) -> None:
    try:
        right = hmac.compare_digest(code_of(keys, proof).encode(), read_code(typed).encode("utf-8", "replace"))
    except UnknownKey:
        right = False
    if not right:
        raise CodeWrong(proof, attempts_left=CODE_ATTEMPTS - proof.code_attempts)


def cancel_pending(session: Session, account_id: AccountId, now: datetime, *, address_id: int | None = None) -> None:
    """End every pending proof of an account (I10), or those that were made for one of its addresses; not `LASTING`."""
    pending = update(Proof).where(
        Proof.account_id == account_id,
        Proof.claimed_at.is_(None),
        Proof.cancelled_at.is_(None),
        Proof.purpose.not_in(LASTING),
    )
    if address_id is not None:
        pending = pending.where(Proof.address_id == address_id)
    session.execute(pending.values(cancelled_at=now))


def _claim(
    session: Session, proof_id: int, by: Literal["link", "code"], *, now: datetime, origin: audit.Origin
) -> Proof:
    claimed = session.scalar(
        update(Proof)
        .where(Proof.id == proof_id, Proof.claimed_at.is_(None), Proof.cancelled_at.is_(None), Proof.expires_at > now)
        .values(claimed_at=now, claimed_with=by)
        .returning(Proof.id)
    )
    proof = session.get_one(Proof, proof_id, populate_existing=True)
    if claimed is None:
        _raise_if_over(session, proof, now)
        raise ProofUnknown(proof)
    if proof.purpose == CONFIRM_ADDRESS:
        address = session.get(Address, proof.address_id)
        if address is None or address.email_key != proof.email_key:
            raise ProofCancelled(proof)
        confirmation.confirm_by_proof(session, address, proof, now=now, origin=origin)
    return proof


def _raise_if_over(session: Session, proof: Proof, now: datetime) -> None:
    # The error ends the transaction; the row it carries must stay readable for the page.
    session.expunge(proof)
    match state_of(proof, now):
        case "claimed":
            raise ProofUsed(proof)
        case "cancelled":
            raise ProofCancelled(proof)
        case "expired":
            raise ProofExpired(proof)
