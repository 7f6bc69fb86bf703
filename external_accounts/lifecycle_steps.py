"""Taking the steps of an account's life: each account in a transaction of its own, decided again while it is held.

So a run that is killed has done whole accounts and no halves, and the next one finds what is left (I8).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy.orm import Session

from external_accounts import audit, erasure, proofs
from external_accounts.accounts import lock_account
from external_accounts.address_changes import Notices
from external_accounts.handovers import ENDED, hand_over
from external_accounts.institution_schema import LifecycleNotice
from external_accounts.lifecycle import ERASURE_WARNINGS, Due, Step, steps_due
from external_accounts.lifecycle_candidates import life_of
from external_accounts.lifecycle_mails import Terms, write_to
from external_accounts.local_calendar import end_of_retention
from external_accounts.schema import Account, AccountId


def take_due(
    session: Session,
    account_id: AccountId,
    terms: Terms,
    *,
    may: Callable[[Step], bool] = lambda _step: True,
    now: datetime,
    origin: audit.Origin,
) -> list[Step]:
    """Take every step that is due for the account, as long as `may` allows it. Returns them.

    The caller ends the sessions of an account that was closed or erased, in the same transaction (I10).
    """
    account = lock_account(session, account_id)
    done: list[Step] = []
    for due in steps_due(life_of(session, account.id), terms.policy(account.profile), now, terms.zone):
        if not may(due.step):
            break
        _take(session, account, due, terms, now, origin)
        done.append(due.step)
    return done


def _take(session: Session, account: Account, due: Due, terms: Terms, now: datetime, origin: audit.Origin) -> None:
    if due.step is Step.ERASE:
        notices = Notices(keys=terms.keys, locale=terms.locale, mail_domain=terms.mail_domain)
        erasure.erase_after_retention(session, account, notices=notices, now=now, origin=origin)
        return
    session.add(LifecycleNotice(account_id=account.id, kind=due.step.value, about=due.about, at=now))
    if due.step is Step.CLOSE:
        _close(session, account, due, now, origin)
    else:
        _warn(session, account, due, terms, now, origin)


def _close(session: Session, account: Account, due: Due, now: datetime, origin: audit.Origin) -> None:
    """The gate has been closed since the rights ended. What was under way ends, and other systems hear of it."""
    account.note_change()
    proofs.cancel_pending(session, account.id, now)
    hand_over(session, ENDED, account.id, now=now)
    audit.record(
        session,
        "lifecycle.closed",
        outcome="ok",
        now=now,
        origin=origin,
        account_id=account.id,
        end=due.about.isoformat(),
    )


def _warn(session: Session, account: Account, due: Due, terms: Terms, now: datetime, origin: audit.Origin) -> None:
    policy = terms.policy(account.profile)
    rights_end = account.rights_end_at or due.about
    kept_until: datetime | None = due.about
    if due.step not in ERASURE_WARNINGS:
        months = policy.retention_months
        kept_until = None if months is None else end_of_retention(rights_end, months, terms.zone)
    written = write_to(
        session,
        account,
        "erasure_warning" if due.step in ERASURE_WARNINGS else "rights_warning",
        terms,
        now,
        context={
            "rights_end": rights_end.isoformat(),
            "kept_until": kept_until.isoformat() if kept_until else "",
            "can_ask": policy.extension_months > 0,
        },
    )
    audit.record(
        session,
        "lifecycle.warned",
        outcome="ok" if written else "nowhere to write to",
        now=now,
        origin=origin,
        account_id=account.id,
        warning=due.step.value,
        end=due.about.isoformat(),
    )
