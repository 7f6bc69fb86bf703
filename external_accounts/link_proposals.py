"""Proposing a link: the help desk believes that two accounts are one person's. Only the person can join them (D30).

A proposal changes no account. Both sides are told by a mail that says what may be done and names neither account: who
reads one mailbox must not learn from it whose the other account is (LNK-11).
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import audit, outbox
from external_accounts.accounts import lock_account
from external_accounts.address_changes import Notices
from external_accounts.linking_schema import LikelyPair
from external_accounts.mailbox import FORWARDING
from external_accounts.schema import Account, AccountId

PROPOSED = "proposed"


class CannotBeOne(Exception):
    """Twice the same account, or one of them is erased or joined to another one already."""


class AlreadyProposed(Exception):
    """The proposal stands; making it twice changes nothing, and writes to nobody."""


class NobodyToTell(Exception):
    """Neither account has a confirmed address: the proposal would reach nobody."""


def propose(
    session: Session,
    first_id: AccountId,
    second_id: AccountId,
    *,
    note: str,
    by: str,
    notices: Notices,
    now: datetime,
    origin: audit.Origin,
) -> LikelyPair:
    """Propose to the person behind two accounts that they join them. `note` is why, for colleagues.

    Raises:
        CannotBeOne, AlreadyProposed, NobodyToTell: nothing was written.
    """
    first, second = sorted((first_id, second_id))
    # In the order of their numbers: two who propose the same the other way round do not wait for each other for ever.
    accounts = [lock_account(session, account_id) for account_id in dict.fromkeys((first, second))]
    if len(accounts) == 1 or any(one.erased_at is not None or one.merged_into_id is not None for one in accounts):
        raise CannotBeOne
    pair = session.scalar(
        select(LikelyPair).where(LikelyPair.first_id == first, LikelyPair.second_id == second).with_for_update()
    )
    if pair is not None and pair.state == PROPOSED:
        raise AlreadyProposed
    if not sum(_tell(session, account, notices, now) for account in accounts):
        raise NobodyToTell
    if pair is None:
        pair = LikelyPair(first_id=first, second_id=second, points=0, facts=[], found_at=now)
        session.add(pair)
    pair.state, pair.note = PROPOSED, note
    pair.proposed_at, pair.proposed_by = now, by
    pair.decided_at, pair.decided_by = None, ""
    session.flush()
    for account, other in ((accounts[0], accounts[1]), (accounts[1], accounts[0])):
        audit.record(
            session,
            "link.proposed",
            outcome="ok",
            now=now,
            origin=origin,
            account_id=account.id,
            pair_id=pair.id,
            other_account_id=other.id,
            reason=note,
        )
    return pair


def _tell(session: Session, account: Account, notices: Notices, now: datetime) -> int:
    """Write to the confirmed addresses of one side; returns how many those are."""
    told = [one for one in account.addresses if one.confirmed_at is not None and one.role != FORWARDING]
    for address in told:
        outbox.enqueue(
            session,
            "link_proposed",
            address.email,
            locale=account.language or notices.locale,
            now=now,
            mail_domain=notices.mail_domain,
            account_id=account.id,
        )
    return len(told)
