"""Ending an account: at its owner's wish (asked for, taken back within a week, or carried out), or after its retention.

Carried out, the row stays as a tombstone: its id, its key and its user name, which nobody gets again, so that another
system's user is never taken for somebody else's. Everything that says who the person was goes, in two steps: at once
what can be used or read (`erase`), and, when nothing is under way any more, the rows that the last messages needed
(`forget`). The audit trail keeps that things happened and forgets to whom (`audit_sealing.pseudonymise_account`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from external_accounts import audit, likely_pairs, outbox, parting, proofs
from external_accounts.accounts import lock_account
from external_accounts.address_changes import Notices
from external_accounts.handovers import ERASED, hand_over
from external_accounts.identities import LOCAL
from external_accounts.institution_schema import (
    ActivationDraft,
    DirectoryEntry,
    DirectoryPassword,
    DirectoryWrite,
    Extension,
    LifecycleNotice,
    MailboxChoice,
)
from external_accounts.linking_schema import AddressCorrection, LinkCeremony
from external_accounts.proofs import KEEP_ACCOUNT, Subject
from external_accounts.schema import (
    Account,
    AccountId,
    Address,
    LocalPassword,
    OutboxMail,
    Proof,
    Registration,
    SignInIdentity,
)

GRACE = timedelta(days=7)


class NotTheirs(Exception):
    """The account is the university's: it ends with the person's time there, not here."""


def may_ask(issuers: Sequence[str]) -> bool:
    """Whether an account that signs in by these issuers can be ended here: one that is kept here alone."""
    return all(issuer == LOCAL for issuer in issuers)


def ask(session: Session, account_id: AccountId, *, notices: Notices, now: datetime, origin: audit.Origin) -> datetime:
    """Note that the person wants the account deleted, and tell them how to take it back. Returns when it will be.

    Asking again changes nothing.

    Raises:
        NotTheirs: see there.
    """
    account = lock_account(session, account_id)
    if not may_ask([identity.issuer for identity in account.identities]):
        raise NotTheirs
    if account.erasure_due_at is not None:
        return account.erasure_due_at
    account.erasure_asked_at, account.erasure_due_at = now, now + GRACE
    audit.record(session, "erasure.asked", outcome="ok", now=now, origin=origin, account_id=account_id)
    for address in _confirmed(account):
        proof = proofs.make_proof(
            session,
            notices.keys,
            Subject(account_id=account_id, email_key=address.email_key),
            purpose=KEEP_ACCOUNT,
            lifetime=GRACE,
            service=None,
            locale=notices.locale,
            now=now,
        )
        _tell(session, "erasure_asked", address, notices, now, proof_id=proof.id)
    return account.erasure_due_at


def take_back(
    session: Session, account_id: AccountId, *, notices: Notices, now: datetime, origin: audit.Origin
) -> bool:
    """Keep the account after all. False when nothing was asked for, or it is too late."""
    account = lock_account(session, account_id)
    if account.erased_at is not None or account.erasure_due_at is None:
        return False
    account.erasure_asked_at = account.erasure_due_at = None
    session.execute(
        update(Proof)
        .where(Proof.account_id == account_id, Proof.purpose == KEEP_ACCOUNT, Proof.claimed_at.is_(None))
        .values(cancelled_at=now)
    )
    audit.record(session, "erasure.taken_back", outcome="ok", now=now, origin=origin, account_id=account_id)
    for address in _confirmed(account):
        _tell(session, "erasure_taken_back", address, notices, now)
    return True


def take_back_by_link(
    session: Session, proof_id: int, *, notices: Notices, now: datetime, origin: audit.Origin
) -> bool:
    """As `take_back`, by the link of the mail.

    Raises:
        ProofExpired, ProofUsed, ProofCancelled: exactly one of N parallel uses does not raise (I2).
    """
    account = lock_account(session, session.get_one(Proof, proof_id).account_id or 0)
    proofs.claim_by_link(session, proof_id, now=now, origin=origin)
    return take_back(session, account.id, notices=notices, now=now, origin=origin)


def due(session: Session, now: datetime, *, limit: int) -> list[AccountId]:
    """Accounts whose week is over, or of which something is left to forget."""
    query = select(Account.id).where(Account.erasure_due_at <= now).order_by(Account.erasure_due_at).limit(limit)
    return list(session.scalars(query))


def erase(session: Session, account_id: AccountId, *, notices: Notices, now: datetime, origin: audit.Origin) -> bool:
    """Erase the account. False when it was taken back meanwhile, or is erased already.

    The account is held first, as by a sign-in that is under way: either that one finds no password any more, or its
    session is there for whoever ends the sessions after this, in the same transaction (I10).
    """
    account = lock_account(session, account_id)
    if account.erased_at is not None or account.erasure_due_at is None or account.erasure_due_at > now:
        return False
    if _may_still_be_kept(session, account_id, now):
        return False
    _carry_out(session, account, "erasure_done", notices, now, origin)
    return True


def erase_after_retention(
    session: Session, account: Account, *, notices: Notices, now: datetime, origin: audit.Origin
) -> None:
    """Erase an account of which the rule has decided so; the caller holds it. What is left is forgotten as always."""
    account.erasure_due_at = now
    _carry_out(session, account, "retention_over", notices, now, origin)


def _carry_out(
    session: Session, account: Account, last_mail: str, notices: Notices, now: datetime, origin: audit.Origin
) -> None:
    account_id = account.id
    session.execute(delete(LocalPassword).where(LocalPassword.account_id == account_id))
    for table in (DirectoryPassword, DirectoryWrite):
        session.execute(delete(table).where(table.account_id == account_id))
    told = [(address.email, account.language or notices.locale) for address in _confirmed(account)]
    account.erased_at = now
    account.given_name = account.family_name = account.language = account.suspension_reason = ""
    account.birth_name = account.unit = ""
    account.external_key = account.activation_mail_due_at = None
    account.last_sign_in_at = account.checked_at = account.reminded_at = None
    account.note_change()
    session.execute(update(SignInIdentity).where(SignInIdentity.account_id == account_id).values(attributes={}))
    session.execute(
        update(Proof).where(Proof.account_id == account_id).values(address_id=None, email_key="", details={})
    )
    session.execute(
        update(Proof)
        .where(Proof.account_id == account_id, Proof.claimed_at.is_(None), Proof.cancelled_at.is_(None))
        .values(cancelled_at=now)
    )
    # Proofs of an account that was joined to this one point at addresses that moved.
    own = select(Address.id).where(Address.account_id == account_id)
    session.execute(update(Proof).where(Proof.address_id.in_(own)).values(address_id=None, email_key=""))
    _drop_institutional(session, account, now)
    for closed_id in parting.closed_into(session, account_id):
        parting.forget_all(session, closed_id, now)
    parting.forget_all(session, account_id, now)
    session.execute(delete(Address).where(Address.account_id == account_id))
    session.expire(account, ["addresses"])
    session.execute(
        update(Registration)
        .where(Registration.account_id == account_id)
        .values(email="", email_key="", given_name="", family_name="", reason="", decision_reason="")
    )
    pending = select(OutboxMail).where(OutboxMail.account_id == account_id, OutboxMail.state == "pending")
    for mail in session.scalars(pending):
        outbox.withdrawn(mail, "account erased")
    audit.record(session, "account.erased", outcome="ok", now=now, origin=origin, account_id=account_id)
    for email, locale in told:
        # Without the account: what this last mail needs must not keep anything of it.
        outbox.enqueue(session, last_mail, email, locale=locale, now=now, mail_domain=notices.mail_domain)


def _drop_institutional(session: Session, account: Account, now: datetime) -> None:
    """What the university knew of the person here. Its other systems are told by a hand-over."""
    for table in (ActivationDraft, AddressCorrection, MailboxChoice, LifecycleNotice):
        session.execute(delete(table).where(table.account_id == account.id))
    session.execute(
        delete(DirectoryEntry).where(
            DirectoryEntry.directory == account.directory, DirectoryEntry.username == account.username
        )
    )
    session.execute(
        update(Extension)
        .where(Extension.account_id == account.id, Extension.state == "waiting")
        .values(state="over", decided_at=now)
    )
    session.execute(update(Extension).where(Extension.account_id == account.id).values(reason="", decision_reason=""))
    likely_pairs.forget(session, [account.id])
    hand_over(session, ERASED, account.id, now=now)


def _may_still_be_kept(session: Session, account_id: AccountId, now: datetime) -> bool:
    """Whether a link that was mailed still stands: a mail that was late has stated a later deadline."""
    pending = select(Proof.id).where(
        Proof.account_id == account_id,
        Proof.purpose == KEEP_ACCOUNT,
        Proof.claimed_at.is_(None),
        Proof.cancelled_at.is_(None),
        Proof.expires_at > now,
    )
    return session.scalar(pending.limit(1)) is not None


def forget(session: Session, account_id: AccountId) -> None:
    """Drop the last rows of an erased account: identities, proofs, mails. Its sessions' rows are gone by now."""
    account = lock_account(session, account_id)
    session.execute(
        delete(LinkCeremony).where(
            or_(LinkCeremony.account_id == account_id, LinkCeremony.other_account_id == account_id)
        )
    )
    own = select(Proof.id).where(Proof.account_id == account_id)
    session.execute(delete(OutboxMail).where(or_(OutboxMail.account_id == account_id, OutboxMail.proof_id.in_(own))))
    session.execute(delete(Proof).where(Proof.account_id == account_id))
    session.execute(delete(SignInIdentity).where(SignInIdentity.account_id == account_id))
    account.erasure_due_at = None


def _confirmed(account: Account) -> list[Address]:
    return [address for address in account.addresses if address.confirmed_at is not None]


def _tell(
    session: Session, template: str, address: Address, notices: Notices, now: datetime, *, proof_id: int | None = None
) -> None:
    outbox.enqueue(
        session,
        template,
        address.email,
        locale=notices.locale,
        now=now,
        mail_domain=notices.mail_domain,
        account_id=address.account_id,
        proof_id=proof_id,
    )
