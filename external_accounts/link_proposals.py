"""Proposing a link for two accounts that nothing but the help desk took for one person's. Only the person can join them
(D30); what the proposal says to whom is `pair_decisions`'.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import audit, pair_decisions
from external_accounts.accounts import lock_account
from external_accounts.address_changes import Notices
from external_accounts.likely_pairs import OPEN, PROPOSED
from external_accounts.linking_schema import LikelyPair
from external_accounts.schema import AccountId


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
        CannotBeOne, AlreadyProposed, NeverAgain, NobodyToTell: the transaction is to be given up.
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
    if pair is None:
        pair = LikelyPair(first_id=first, second_id=second, points=0, facts=[], found_at=now)
        session.add(pair)
    pair.state, pair.note = OPEN, note  # somebody has looked anew, whatever was decided before
    session.flush()
    mails = pair_decisions.propose(
        session, pair.id, by=by, locale=notices.locale, mail_domain=notices.mail_domain, now=now, origin=origin
    )
    if not mails:
        raise NobodyToTell
    return pair
