"""The linking ceremony: somebody who is signed in shows afresh that a second account is theirs too.

A ceremony belongs to one session of one account, by the identity it was opened with, and what is proved in it counts
for it alone (I5, LNK-07). It lasts half an hour and ends once: linked, given up, or refused. Nothing of the other side
is told to anybody before both sides are proved.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from external_accounts import audit, joining, linking, outbox, proofs
from external_accounts.accounts import Person, UsernameTaken, lock_account
from external_accounts.addresses import primary_address
from external_accounts.identities import LOCAL, Assertion, attach, take_in
from external_accounts.keys import Keys
from external_accounts.linking import LinkRefused, Refusal, side_of
from external_accounts.linking_schema import AccountLink, LinkCeremony
from external_accounts.mailbox import FORWARDING
from external_accounts.proofs import Subject
from external_accounts.schema import Account, AccountId, Address, LocalPassword, Proof, SignInIdentity

LIFETIME = timedelta(minutes=30)
LINK_ACCOUNTS = "link accounts"
"""The purpose of the proof that goes to the other side's confirmed address."""


class CeremonyOver(Exception):
    """It ended, it is too old, or it belongs to another session."""


@dataclass(frozen=True, slots=True)
class Bound:
    """Whose a ceremony is: the session, and who is signed in by it."""

    account_id: AccountId
    session_id: int
    issuer: str
    identity_id: int


def begin(session: Session, who: Bound, *, proved_at: datetime, now: datetime, origin: audit.Origin) -> LinkCeremony:
    """A new ceremony; an earlier one of the same session is given up. `proved_at`: when this side was shown afresh."""
    lock_account(session, who.account_id)
    session.execute(
        update(LinkCeremony)
        .where(LinkCeremony.session_id == who.session_id, LinkCeremony.ended_at.is_(None))
        .values(ended_at=now, outcome="given_up", details={})
    )
    ceremony = LinkCeremony(
        handle=secrets.token_hex(16),
        account_id=who.account_id,
        session_id=who.session_id,
        issuer=who.issuer,
        subject=session.get_one(SignInIdentity, who.identity_id).subject,
        this_proved_at=proved_at,
        created_at=now,
        expires_at=now + LIFETIME,
        details={},
    )
    session.add(ceremony)
    session.flush()
    _record(session, "link.begun", "ok", ceremony, now, origin)
    return ceremony


def find(session: Session, handle: str, who: Bound, *, now: datetime) -> LinkCeremony:
    """The living ceremony of this very session.

    Raises:
        CeremonyOver: see there.
    """
    ceremony = session.scalar(select(LinkCeremony).where(LinkCeremony.handle == handle))
    if ceremony is None or not _is_theirs(ceremony, who) or not is_open(ceremony, now):
        raise CeremonyOver
    return ceremony


def _is_theirs(ceremony: LinkCeremony, who: Bound) -> bool:
    return (ceremony.account_id, ceremony.session_id, ceremony.issuer) == (who.account_id, who.session_id, who.issuer)


def is_open(ceremony: LinkCeremony, now: datetime) -> bool:
    return ceremony.ended_at is None and now < ceremony.expires_at


def is_proved(ceremony: LinkCeremony) -> bool:
    """Whether both sides are."""
    return ceremony.this_proved_at is not None and ceremony.other_proved_at is not None


def prove_by_cas(
    session: Session, ceremony: LinkCeremony, assertion: Assertion, *, now: datetime, origin: audit.Origin
) -> None:
    """The other side typed its password at the CAS just now. Signs nobody in and makes no account."""
    identity = session.scalar(
        select(SignInIdentity).where(
            SignInIdentity.issuer == assertion.issuer, SignInIdentity.subject == assertion.subject
        )
    )
    ceremony.other_issuer, ceremony.other_subject = assertion.issuer, assertion.subject
    ceremony.other_account_id = identity.account_id if identity is not None else None
    ceremony.other_proved_at, ceremony.proof_id = now, None
    ceremony.details = {"assertion": asdict(assertion)}
    _record(session, "link.proved", "ok", ceremony, now, origin)


def proof_mailbox(account: Account) -> Address | None:
    """Where the proof of an account that is kept here goes: to an address that is confirmed, or nowhere."""
    main = primary_address(account)
    boxes = [one for one in account.addresses if one.confirmed_at is not None and one.role != FORWARDING]
    return main if main in boxes else next(iter(boxes), None)


def send_proof(
    session: Session,
    keys: Keys,
    ceremony: LinkCeremony,
    account_id: AccountId,
    *,
    may_mail: bool,
    locale: str,
    mail_domain: str,
    now: datetime,
    origin: audit.Origin,
) -> Proof | None:
    """After the right password: the mail to the account's confirmed address. None where there is no such address.

    `may_mail` says that the budgets allow it; the page is the same if they do not.
    """
    account = lock_account(session, account_id)
    mailbox = proof_mailbox(account)
    if mailbox is None:
        return None
    if ceremony.proof_id is not None:
        session.execute(
            update(Proof).where(Proof.id == ceremony.proof_id, Proof.claimed_at.is_(None)).values(cancelled_at=now)
        )
    identity = next(one for one in account.identities if one.issuer == LOCAL)
    proof = proofs.make_proof(
        session,
        keys,
        Subject(account_id=account_id, address_id=mailbox.id, email_key=mailbox.email_key),
        purpose=LINK_ACCOUNTS,
        lifetime=ceremony.expires_at - now,
        service=None,
        locale=locale,
        now=now,
        details={"ceremony": ceremony.handle},
    )
    session.flush()
    ceremony.other_issuer, ceremony.other_subject, ceremony.other_account_id = LOCAL, identity.subject, account_id
    ceremony.other_proved_at, ceremony.proof_id, ceremony.details = None, proof.id, {}
    if may_mail:
        outbox.enqueue(
            session,
            "link_accounts",
            mailbox.email,
            locale=locale,
            now=now,
            mail_domain=mail_domain,
            account_id=account_id,
            proof_id=proof.id,
        )
    audit.record(session, "proof.sent", outcome="ok", now=now, origin=origin, account_id=account_id, proof_id=proof.id)
    return proof


def prove_by_mail(
    session: Session, ceremony: LinkCeremony, proof: Proof, *, now: datetime, origin: audit.Origin
) -> None:
    """`proof`, claimed in this transaction, shows that the other side reads its mailbox.

    Raises:
        CeremonyOver: the proof was made for another ceremony, or another attempt of this one.
    """
    if proof.claimed_at is None or ceremony.proof_id != proof.id or proof.account_id != ceremony.other_account_id:
        raise CeremonyOver
    ceremony.other_proved_at = now
    _record(session, "link.proved", "ok", ceremony, now, origin)


def give_up(session: Session, ceremony: LinkCeremony, *, outcome: str, now: datetime, origin: audit.Origin) -> None:
    """End it without a link."""
    ended = session.scalar(
        update(LinkCeremony)
        .where(LinkCeremony.id == ceremony.id, LinkCeremony.ended_at.is_(None))
        .values(ended_at=now, outcome=outcome[:20], details={})
        .returning(LinkCeremony.id)
    )
    if ended is not None:
        _record(session, "link.ended", outcome, ceremony, now, origin)


@dataclass(frozen=True, slots=True)
class Prospect:
    """Both sides, proved: what the last page shows, and what is in the way."""

    this: linking.Side
    other: linking.Side | None
    """None: the other side has no account yet, only a way in."""
    other_name: str
    """User name of the other side, as its CAS or we have it."""
    other_person: Person
    refusal: Refusal | None


def prospect(session: Session, ceremony: LinkCeremony, *, now: datetime) -> Prospect:
    """What would be joined. Only for a ceremony whose sides are both proved.

    Raises:
        CeremonyOver: they are not.
    """
    if not is_proved(ceremony):
        raise CeremonyOver
    this = session.get_one(Account, ceremony.account_id)
    if ceremony.other_account_id is None:
        assertion = assertion_of(ceremony)
        return Prospect(
            side_of(this),
            None,
            assertion.subject,
            assertion.person,
            _refusal_of_new(session, this, assertion, now),
        )
    other = session.get_one(Account, ceremony.other_account_id)
    refusal = linking.refusal(side_of(this), side_of(other), now) or _stale(session, ceremony)
    return Prospect(side_of(this), side_of(other), other.username, Person(other.given_name, other.family_name), refusal)


def assertion_of(ceremony: LinkCeremony) -> Assertion:
    values: Mapping[str, Any] = ceremony.details["assertion"]
    return Assertion(**{**values, "person": Person(**values["person"])})


def _refusal_of_new(session: Session, this: Account, assertion: Assertion, now: datetime) -> Refusal | None:
    holder = session.scalar(select(Account.id).where(Account.username == assertion.subject))
    if holder is not None and holder != this.id:
        return Refusal.NAME_TAKEN
    return linking.refusal(side_of(this), _as_newcomer(assertion, now), now)


def _stale(session: Session, ceremony: LinkCeremony) -> Refusal | None:
    """Whether what was proved still holds: the way in leads where it led, with the password that was typed (I10)."""
    for issuer, subject, account_id, proved_at in (
        (ceremony.issuer, ceremony.subject, ceremony.account_id, ceremony.this_proved_at),
        (ceremony.other_issuer, ceremony.other_subject, ceremony.other_account_id, ceremony.other_proved_at),
    ):
        owner = session.scalar(
            select(SignInIdentity.account_id).where(SignInIdentity.issuer == issuer, SignInIdentity.subject == subject)
        )
        if owner != account_id:
            return Refusal.STALE
        if issuer == LOCAL:
            set_at = session.scalar(select(LocalPassword.set_at).where(LocalPassword.account_id == account_id))
            if set_at is None or proved_at is None or set_at > proved_at:
                return Refusal.STALE
    return None


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a ceremony."""

    kept_id: AccountId
    link: AccountLink | None
    """None: a way in was added, no account was closed."""


def conclude(
    session: Session,
    ceremony: LinkCeremony,
    *,
    keep_other: bool,
    trusted_domains: Sequence[str] = (),
    now: datetime,
    origin: audit.Origin,
) -> Done:
    """Do it. `trusted_domains` are those of the other side's CAS (`confirmation.confirm_by_issuer`).

    The ceremony is claimed in the same transaction: of N parallel confirmations one succeeds (I2).

    Raises:
        CeremonyOver: it was concluded, ended or is too old, or not everything is proved.
        LinkRefused: see `linking.Refusal`.
    """
    held = sorted(one for one in (ceremony.account_id, ceremony.other_account_id) if one is not None)
    for account_id in held:
        lock_account(session, account_id)
    claimed = session.scalar(
        update(LinkCeremony)
        .where(
            LinkCeremony.id == ceremony.id,
            LinkCeremony.ended_at.is_(None),
            LinkCeremony.expires_at > now,
            LinkCeremony.this_proved_at.is_not(None),
            LinkCeremony.other_proved_at.is_not(None),
        )
        .values(ended_at=now, outcome="linked")
        .returning(LinkCeremony.id)
    )
    if claimed is None:
        raise CeremonyOver
    session.refresh(ceremony)
    this_id, other_id = ceremony.account_id, ceremony.other_account_id
    if other_id is None:
        if (identity := _known_by_now(session, ceremony)) is not None:
            ceremony.other_account_id = other_id = identity.account_id  # they signed in by it meanwhile
        else:
            return _add(session, ceremony, trusted_domains, now, origin)
    if (refusal := _stale(session, ceremony)) is not None:
        raise LinkRefused(refusal)
    kept_id, closed_id = (other_id, this_id) if keep_other else (this_id, other_id)
    link = joining.join(session, kept_id, closed_id, now=now, origin=origin)
    ceremony.details = {}
    return Done(kept_id, link)


def _known_by_now(session: Session, ceremony: LinkCeremony) -> SignInIdentity | None:
    return session.scalar(
        select(SignInIdentity).where(
            SignInIdentity.issuer == ceremony.other_issuer, SignInIdentity.subject == ceremony.other_subject
        )
    )


def _add(
    session: Session, ceremony: LinkCeremony, trusted_domains: Sequence[str], now: datetime, origin: audit.Origin
) -> Done:
    """The other side has no account. Where its name is free, it gets the one it would have got at its first sign-in,
    closed at once: so both names stay this person's, and an undo has something to go back to."""
    this = session.get_one(Account, ceremony.account_id)
    assertion = assertion_of(ceremony)
    ceremony.details = {}
    if this.username == assertion.subject:
        if (refusal := linking.refusal(side_of(this), _as_newcomer(assertion, now), now)) is not None:
            raise LinkRefused(refusal)
        attach(session, this, assertion, now=now, origin=origin)
        return Done(this.id, None)
    try:
        newcomer = take_in(session, assertion, trusted_domains=trusted_domains, now=now, origin=origin)
    except UsernameTaken:
        raise LinkRefused(Refusal.NAME_TAKEN) from None
    link = joining.join(session, this.id, newcomer.id, now=now, origin=origin)
    return Done(this.id, link)


def _as_newcomer(assertion: Assertion, now: datetime) -> linking.Side:
    return linking.Side(
        account_id=0, username=assertion.subject, profile=assertion.profile, institutional=True, activated_at=now
    )


def _record(
    session: Session, event: str, outcome: str, ceremony: LinkCeremony, now: datetime, origin: audit.Origin
) -> None:
    """For both sides: each of them may read in its own trail that somebody was at it, not who."""
    for account_id in {ceremony.account_id, ceremony.other_account_id} - {None}:
        audit.record(
            session,
            event,
            outcome=outcome,
            now=now,
            origin=origin,
            account_id=account_id,
            ceremony=ceremony.handle[:8],
        )
