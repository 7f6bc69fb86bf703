"""What people decide about likely pairs: the help desk sets one aside or proposes it, the person says that it is not
them. Only the person can join the two, by proving both (`external_accounts.linking`, D30).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from external_accounts import audit, outbox
from external_accounts.duplicates import PROVEN
from external_accounts.likely_pairs import DECLINED, DISMISSED, OPEN, PROPOSED, WAITING
from external_accounts.linking_schema import LikelyPair
from external_accounts.schema import Account, AccountId, Address

REASON_LENGTH = 500


class AlreadyDecided(Exception):
    """Somebody decided before, or the pair is gone; `pair` says what and who."""

    def __init__(self, pair: LikelyPair) -> None:
        super().__init__(pair.state)
        self.pair = pair


class NeverAgain(Exception):
    """The person said once that the other account is not theirs: they are not asked again."""


def _held(session: Session, pair_id: int, *states: str) -> LikelyPair:
    """The pair, held until the transaction ends. Raises: AlreadyDecided."""
    pair = session.get_one(LikelyPair, pair_id, with_for_update=True, populate_existing=True)
    if pair.state not in states:
        session.expunge(pair)
        raise AlreadyDecided(pair)
    return pair


def dismiss(session: Session, pair_id: int, *, reason: str, by: str, now: datetime, origin: audit.Origin) -> LikelyPair:
    """Two people: set the pair aside. It opens again when something stronger is found, or somebody reopens it.

    Raises:
        AlreadyDecided: of N at once exactly one decides; the others are told who did.
    """
    pair = _held(session, pair_id, OPEN, PROPOSED)
    pair.state, pair.note, pair.new_facts = DISMISSED, reason[:REASON_LENGTH], []
    pair.decided_at, pair.decided_by = now, by
    _record_quietly(session, pair, "dismissed", now, origin)
    return pair


def reopen(session: Session, pair_id: int, *, now: datetime, origin: audit.Origin) -> LikelyPair:
    """Take a dismissal back.

    Raises:
        AlreadyDecided: it was no dismissal, or is not one any more.
    """
    pair = _held(session, pair_id, DISMISSED)
    pair.state, pair.note = OPEN, ""
    pair.decided_at, pair.decided_by = None, ""
    _record_quietly(session, pair, "reopened", now, origin)
    return pair


def propose(
    session: Session,
    pair_id: int,
    *,
    by: str,
    locale: str,
    mail_domain: str,
    now: datetime,
    origin: audit.Origin,
) -> int:
    """Ask the person: on their pages, and by a mail to every confirmed address of both accounts. Returns the mails.

    The mail names neither account, and is the same whoever reads it: who of the two is whose, nobody knows yet.
    `locale` is for accounts without a language.

    Raises:
        AlreadyDecided, NeverAgain: nothing was changed.
    """
    pair = _held(session, pair_id, OPEN)
    if pair.declined_at is not None:
        raise NeverAgain
    pair.state, pair.proposed_at, pair.proposed_by = PROPOSED, now, by
    recipients = _mailboxes(session, (pair.first_id, pair.second_id))
    for address, language in recipients.values():
        outbox.enqueue(
            session,
            "link_proposed",
            address.email,
            locale=language or locale,
            now=now,
            mail_domain=mail_domain,
            account_id=address.account_id,
        )
    for account_id in (pair.first_id, pair.second_id):
        audit.record(
            session,
            "duplicates.proposed",
            outcome="ok",
            now=now,
            origin=origin,
            account_id=account_id,
            pair_id=pair.id,
            mails=len(recipients),
        )
    return len(recipients)


def _mailboxes(session: Session, account_ids: Collection[AccountId]) -> Mapping[str, tuple[Address, str]]:
    """The confirmed addresses of the accounts with the account's language, each mailbox once."""
    rows = session.execute(
        select(Address, Account.language)
        .join(Account, Account.id == Address.account_id)
        .where(Address.account_id.in_(account_ids), Address.confirmed_at.is_not(None), Account.erased_at.is_(None))
        .order_by(Address.id.desc())
    )
    return {address.email_key: (address, language) for address, language in rows}


def decline(session: Session, pair_id: int, account_id: AccountId, *, now: datetime, origin: audit.Origin) -> bool:
    """The owner of `account_id` says that the other account is not theirs. False: there is nothing to say any more."""
    pair = session.get(LikelyPair, pair_id, with_for_update=True, populate_existing=True)
    if pair is None or account_id not in (pair.first_id, pair.second_id) or pair.state not in WAITING:
        return False
    pair.state, pair.declined_at, pair.new_facts = DECLINED, now, []
    pair.decided_at = now
    pair.decided_by = session.scalars(select(Account.username).where(Account.id == account_id)).one()
    audit.record(
        session, "duplicates.declined", outcome="ok", now=now, origin=origin, account_id=account_id, pair_id=pair.id
    )
    return True


def offer_for(session: Session, account_id: AccountId) -> int | None:
    """The pair that may be shown to the owner of the account, or None.

    Names alone never make one: it would tell strangers of each other. What the two accounts share must be proven to
    belong to one person (a confirmed address, a number of the university), or the help desk has looked and proposes it.
    """
    theirs = or_(LikelyPair.first_id == account_id, LikelyPair.second_id == account_id)
    query = select(LikelyPair).where(theirs, LikelyPair.state.in_(WAITING), LikelyPair.declined_at.is_(None))
    for pair in session.scalars(query.order_by(LikelyPair.points.desc(), LikelyPair.id)):
        if pair.state == PROPOSED or PROVEN.intersection(pair.facts):
            return pair.id
    return None


def _record_quietly(session: Session, pair: LikelyPair, what: str, now: datetime, origin: audit.Origin) -> None:
    """Without the accounts: their owners read their own trail, and would learn that somebody is like them."""
    audit.record(session, f"duplicates.{what}", outcome="ok", now=now, origin=origin, pair_id=pair.id)
