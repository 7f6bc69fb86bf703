"""Extensions: somebody asks to keep their rights for longer; who answers for them, or the help desk, decides.

    waiting → accepted (the end of rights moves), refused, withdrawn; or over (the account was erased)

Who answers for the account decides by a link of their own, mailed to their confirmed address (a proof: single use, and
opening it changes nothing), or in the console. Of two who decide at once one does. Rights that end while a request
waits end as they would; a request that is accepted afterwards revives the account.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from external_accounts import audit, outbox, proofs
from external_accounts.accounts import Person, lock_account
from external_accounts.institution_schema import Extension
from external_accounts.lifecycle_candidates import WAITING
from external_accounts.lifecycle_mails import Terms, write_to
from external_accounts.local_calendar import add_months, end_of_day, local_day
from external_accounts.proofs import ProofCancelled, Subject
from external_accounts.rights import move_end
from external_accounts.schema import Account, AccountId, Address, Proof

DECIDE_EXTENSION = "decide extension"
"""Purpose of the proof by which somebody who answers for an account decides without signing in."""
LINK_LIFE = timedelta(days=14)

ACCEPTED, REFUSED, WITHDRAWN = "accepted", "refused", "withdrawn"


class NothingToExtend(Exception):
    """The account's rights do not end by themselves, or its profile takes no requests, or it is erased."""


class DayRefused(Exception):
    """The day asked for lies before the end there is, or further away than may be granted at once."""


class AlreadyWaiting(Exception):
    """A request waits; asking twice changes nothing."""


class AlreadyDecided(Exception):
    """Somebody decided before, or the request was withdrawn; `extension` says what and who."""

    def __init__(self, extension: Extension) -> None:
        super().__init__(extension.state)
        self.extension = extension


def days_open(account: Account, terms: Terms, now: datetime) -> tuple[date, date] | None:
    """The first and the last day until which the account may be extended; None: none can be asked for."""
    months = terms.policy(account.profile).extension_months
    if account.rights_end_at is None or not months or account.erased_at is not None:
        return None
    today, end = local_day(now, terms.zone), local_day(account.rights_end_at, terms.zone)
    return max(today, end) + timedelta(days=1), add_months(max(today, end), months)


def _moment(account: Account, day: date, terms: Terms, now: datetime) -> datetime:
    """Raises: NothingToExtend, DayRefused."""
    possible = days_open(account, terms, now)
    if possible is None:
        raise NothingToExtend
    if not possible[0] <= day <= possible[1]:
        raise DayRefused
    return end_of_day(day, terms.zone)


def current(session: Session, account_id: AccountId) -> Extension | None:
    """The request the account made last."""
    query = select(Extension).where(Extension.account_id == account_id).order_by(Extension.id.desc()).limit(1)
    return session.scalar(query)


def ask(
    session: Session,
    account_id: AccountId,
    *,
    until: date,
    reason: str,
    terms: Terms,
    now: datetime,
    origin: audit.Origin,
) -> Extension:
    """Ask to keep the rights until the end of that day. Whoever decides is written to.

    Raises:
        NothingToExtend, DayRefused, AlreadyWaiting: nothing was written.
    """
    account = lock_account(session, account_id)
    asked_until = _moment(account, until, terms, now)
    newest = current(session, account_id)
    if newest is not None and newest.state == WAITING:
        raise AlreadyWaiting
    found = _sponsor(session, account, now)
    extension = Extension(
        account_id=account_id,
        state=WAITING,
        reason=reason,
        sponsor_id=found[0].id if found else None,
        asked_at=now,
        asked_until=asked_until,
        decided_by="",
        decision_reason="",
    )
    session.add(extension)
    session.flush()
    _tell_deciders(session, extension, account, found, terms, now)
    _record(session, extension, "asked", now, origin, until=asked_until.isoformat())
    return extension


def _sponsor(session: Session, account: Account, now: datetime) -> tuple[Account, Address] | None:
    """Who answers for the account and can be written to. Nobody answers for themselves."""
    if account.sponsor_id is None or account.sponsor_id == account.id:
        return None
    found = session.execute(
        select(Account, Address)
        .join(Address, Address.account_id == Account.id)
        .where(
            Account.id == account.sponsor_id,
            Account.erased_at.is_(None),
            Account.suspended_at.is_(None),
            or_(Account.rights_end_at.is_(None), Account.rights_end_at > now),
            Address.confirmed_at.is_not(None),
        )
        .order_by(Address.is_primary.desc(), Address.id)
        .limit(1)
    ).first()
    return (found[0], found[1]) if found else None


def _tell_deciders(
    session: Session,
    extension: Extension,
    account: Account,
    found: tuple[Account, Address] | None,
    terms: Terms,
    now: datetime,
) -> None:
    context = {
        "extension_id": extension.id,
        "applicant": Person(account.given_name, account.family_name).display_name or account.username,
        "username": account.username,
        "reason": extension.reason,
        "rights_end": account.rights_end_at.isoformat() if account.rights_end_at else "",
        "asked_until": extension.asked_until.isoformat(),
    }
    if found is None:
        for recipient in terms.deciders:
            outbox.enqueue(
                session,
                "extension_waiting",
                recipient,
                locale=terms.locale,
                now=now,
                mail_domain=terms.mail_domain,
                context=context,
            )
        return
    sponsor, address = found
    locale = sponsor.language or terms.locale
    proof = proofs.make_proof(
        session,
        terms.keys,
        Subject(account_id=sponsor.id, email_key=address.email_key),
        purpose=DECIDE_EXTENSION,
        lifetime=LINK_LIFE,
        service=None,
        locale=locale,
        now=now,
        details={"extension_id": extension.id},
    )
    outbox.enqueue(
        session,
        "extension_decide",
        address.email,
        locale=locale,
        now=now,
        mail_domain=terms.mail_domain,
        account_id=sponsor.id,
        proof_id=proof.id,
        context=context,
    )


def withdraw(session: Session, account_id: AccountId, *, now: datetime, origin: audit.Origin) -> bool:
    """The person takes the request back. False when none waits any more."""
    lock_account(session, account_id)
    withdrawn = session.scalar(
        update(Extension)
        .where(Extension.account_id == account_id, Extension.state == WAITING)
        .values(state=WITHDRAWN, decided_at=now)
        .returning(Extension.id)
    )
    if withdrawn is None:
        return False
    extension = session.get_one(Extension, withdrawn, populate_existing=True)
    _end_links(session, extension, now)
    _record(session, extension, WITHDRAWN, now, origin)
    return True


def of_link(session: Session, proof: Proof) -> Extension:
    """The request that the link of a mail is about."""
    return session.get_one(Extension, int(proof.details["extension_id"]))


def decide_by_link(
    session: Session,
    proof: Proof,
    *,
    accept: bool,
    until: date | None,
    reason: str,
    terms: Terms,
    now: datetime,
    origin: audit.Origin,
) -> Extension:
    """As `decide`, by the link of the mail, which is used up.

    Raises:
        ProofExpired, ProofUsed, ProofCancelled: exactly one of N parallel uses does not raise (I2). Cancelled too when
            whoever it was mailed to no longer answers for the account.
        AlreadyDecided, NothingToExtend, DayRefused: as for `decide`; the link stays good.
    """
    extension = of_link(session, proof)
    account = lock_account(session, extension.account_id)
    sponsor = _sponsor(session, account, now)
    if sponsor is None or sponsor[0].id != proof.account_id:
        raise ProofCancelled(proof)
    proofs.claim_by_link(session, proof.id, now=now, origin=origin)
    by = sponsor[0].username
    return decide(
        session,
        extension.id,
        accept=accept,
        until=until,
        reason=reason,
        terms=terms,
        by=by,
        now=now,
        origin=audit.Origin(network=origin.network, actor=by),
    )


def decide(
    session: Session,
    extension_id: int,
    *,
    accept: bool,
    until: date | None,
    reason: str,
    terms: Terms,
    by: str,
    now: datetime,
    origin: audit.Origin,
    unasked: bool = False,
) -> Extension:
    """Grant the request (until the day asked for, or until another one) or refuse it. The person is told by mail, in
    words that speak of no request where they made none (`unasked`).

    Raises:
        AlreadyDecided: of N at once exactly one decides; the others are told who did.
        NothingToExtend, DayRefused: nothing was decided.
    """
    extension = session.get_one(Extension, extension_id)
    account = lock_account(session, extension.account_id)
    session.refresh(extension, with_for_update=True)
    if extension.state != WAITING:
        session.expunge(extension)
        raise AlreadyDecided(extension)
    if accept:
        day = until or local_day(extension.asked_until, terms.zone)
        extension.granted_until = _moment(account, day, terms, now)
    extension.state = ACCEPTED if accept else REFUSED
    extension.decided_at, extension.decided_by, extension.decision_reason = now, by, reason
    session.flush()
    _end_links(session, extension, now)
    _record(
        session,
        extension,
        extension.state,
        now,
        origin,
        until=extension.granted_until.isoformat() if extension.granted_until else None,
    )
    if extension.granted_until is not None:
        move_end(session, account.id, extension.granted_until, now=now, origin=origin)
    context = {
        "granted_until": extension.granted_until.isoformat() if extension.granted_until else "",
        "rights_end": account.rights_end_at.isoformat() if account.rights_end_at else "",
        "reason": reason,
        "unasked": unasked,
    }
    write_to(session, account, "extension_accepted" if accept else "extension_refused", terms, now, context=context)
    return extension


def grant(
    session: Session,
    account_id: AccountId,
    *,
    until: date,
    reason: str,
    terms: Terms,
    by: str,
    now: datetime,
    origin: audit.Origin,
) -> Extension:
    """Let the rights end at that day without having been asked; a request that waits is answered by it.

    Raises:
        NothingToExtend, DayRefused: nothing was written.
    """
    account = lock_account(session, account_id)
    asked_until = _moment(account, until, terms, now)
    extension = current(session, account_id)
    unasked = extension is None or extension.state != WAITING
    if extension is None or unasked:
        extension = Extension(
            account_id=account_id,
            state=WAITING,
            reason="",
            asked_at=now,
            asked_until=asked_until,
            decided_by="",
            decision_reason="",
        )
        session.add(extension)
        session.flush()
    return decide(
        session,
        extension.id,
        accept=True,
        until=until,
        reason=reason,
        terms=terms,
        by=by,
        now=now,
        origin=origin,
        unasked=unasked,
    )


def _end_links(session: Session, extension: Extension, now: datetime) -> None:
    """No link decides any more what was decided."""
    pending = session.scalars(
        select(Proof).where(
            Proof.account_id == extension.sponsor_id,
            Proof.purpose == DECIDE_EXTENSION,
            Proof.claimed_at.is_(None),
            Proof.cancelled_at.is_(None),
        )
    )
    for proof in pending:
        if proof.details["extension_id"] == extension.id:
            proof.cancelled_at = now


def _record(
    session: Session, extension: Extension, outcome: str, now: datetime, origin: audit.Origin, **details: object
) -> None:
    audit.record(
        session,
        "extension",
        outcome=outcome,
        now=now,
        origin=origin,
        account_id=extension.account_id,
        extension_id=extension.id,
        **details,
    )
