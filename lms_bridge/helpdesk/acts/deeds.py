"""The acts themselves, in a transaction that holds the account: what may be done, and doing it.

An act is refused by a name (`Refused`), before anything is written. What was done is told to the person where they
would want to know of it, and stands in the audit trail with who did it and why, all in the same transaction (I8). No
act shows or sets a password, shows a link, or opens a session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import accounts, audit, extensions, recovery
from external_accounts.accounts import Person
from external_accounts.addresses import EmailAddress
from external_accounts.extensions import DayRefused, NothingToExtend
from external_accounts.lifecycle_mails import write_to
from external_accounts.local_calendar import end_of_day
from external_accounts.schema import Account, AccountId
from lms_bridge.gate import is_suspended
from lms_bridge.helpdesk.refusals import Refusal, Refused
from lms_bridge.lifecycle.terms import terms
from lms_bridge.runtime import Runtime
from lms_bridge.schema import SsoSession
from lms_bridge.signin import sessions
from lms_bridge.sync.mirrors import ask_for_sign_out


@dataclass(frozen=True, slots=True)
class Doer:
    """Who acts, and when."""

    bridge: Runtime
    account_id: AccountId
    username: str
    origin: audit.Origin
    """With who acts."""
    now: datetime
    may_see: Callable[[str], bool]
    """Whether accounts of a unit are within their reach."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for, as far as the act needs it."""

    reason: str = ""
    until: date | None = None
    which: str = ""
    """One of several: a session's number, the key of something to send, an address's number, another account."""
    email: EmailAddress | None = None


Deed = Callable[[Session, Doer, Account, Wanted], None]
"""Does it for an account that is held. Raises `Refused`, and then has written nothing that may stay."""


def still_there(account: Account) -> None:
    """Raises: Refused, for an account of which nothing is left, or which is another one's now."""
    if account.erased_at is not None:
        raise Refused(Refusal.ERASED)
    if account.merged_into_id is not None:
        raise Refused(Refusal.MERGED)


def name_of(account: Account) -> str:
    return Person(account.given_name, account.family_name).display_name or account.username


# --- Suspending ---


def check_suspend(_session: Session, doer: Doer, account: Account, _wanted: Wanted) -> None:
    still_there(account)
    if is_suspended(account, doer.now):
        raise Refused(Refusal.ALREADY_SUSPENDED)


def suspend(session: Session, doer: Doer, account: Account, wanted: Wanted) -> None:
    """Close everything to the account, until the end of a day or until it is lifted. Its sessions end (I10); Moodle,
    where closing a user ends its sessions, follows within seconds."""
    check_suspend(session, doer, account, wanted)
    until = end_of_day(wanted.until, doer.bridge.settings.zone) if wanted.until else None
    accounts.suspend(session, account, reason=wanted.reason, until=until, now=doer.now, origin=doer.origin)
    sessions.end_all_of(session, account.id, reason="suspended", now=doer.now, origin=doer.origin)
    tell(session, doer, account, "account_suspended", suspended_until=until.isoformat() if until else "")


def check_readmit(_session: Session, doer: Doer, account: Account, _wanted: Wanted) -> None:
    still_there(account)
    if not is_suspended(account, doer.now):
        raise Refused(Refusal.NOT_SUSPENDED)


def readmit(session: Session, doer: Doer, account: Account, wanted: Wanted) -> None:
    """Lift a suspension before its end."""
    check_readmit(session, doer, account, wanted)
    accounts.readmit(session, account, now=doer.now, origin=doer.origin, reason=wanted.reason)
    tell(session, doer, account, "account_readmitted")


# --- Sessions ---


def check_end_sessions(_session: Session, _doer: Doer, account: Account, _wanted: Wanted) -> None:
    still_there(account)


def end_sessions(session: Session, doer: Doer, account: Account, wanted: Wanted) -> None:
    """End one session of the account, or all of them; Moodle's all end with it, which knows no single ones."""
    still_there(account)
    if wanted.which:
        _end_one(session, doer, account, wanted.which)
    else:
        sessions.end_all_of(session, account.id, reason="ended by the help desk", now=doer.now, origin=doer.origin)
        ask_for_sign_out(session, account.id)
    audit.record(
        session,
        "helpdesk.sessions_ended",
        outcome="one" if wanted.which else "all",
        now=doer.now,
        origin=doer.origin,
        account_id=account.id,
        reason=wanted.reason,
    )
    tell(session, doer, account, "sessions_ended")


def _end_one(session: Session, doer: Doer, account: Account, which: str) -> None:
    mine = select(SsoSession.id).where(
        SsoSession.account_id == account.id, SsoSession.id == int(which), SsoSession.ended_at.is_(None)
    )
    if session.scalar(mine) is None:
        raise Refused(Refusal.NO_SUCH_SESSION)
    names = sessions.end(session, [int(which)], reason="ended by the help desk", now=doer.now, origin=doer.origin)
    registry = doer.bridge.registry
    behind = {service.site for name in names if (service := registry.by_name(name)) and service.site}
    if behind:
        ask_for_sign_out(session, account.id, behind)


# --- The end of rights ---


def check_extend(_session: Session, doer: Doer, account: Account, wanted: Wanted) -> None:
    still_there(account)
    possible = extensions.days_open(account, terms(doer.bridge), doer.now)
    if possible is None:
        raise Refused(Refusal.NOTHING_TO_EXTEND)
    if wanted.until is not None and not possible[0] <= wanted.until <= possible[1]:
        raise Refused(Refusal.DAY_REFUSED)


def extend(session: Session, doer: Doer, account: Account, wanted: Wanted) -> None:
    """Let the rights end later, as far as the profile's policy goes. A request that waits is answered by it."""
    check_extend(session, doer, account, wanted)
    if wanted.until is None:
        raise Refused(Refusal.DAY_REFUSED)
    try:
        extensions.grant(
            session,
            account.id,
            until=wanted.until,
            reason=wanted.reason,
            terms=terms(doer.bridge),
            by=doer.username,
            now=doer.now,
            origin=doer.origin,
        )
    except NothingToExtend:
        raise Refused(Refusal.NOTHING_TO_EXTEND) from None
    except DayRefused:
        raise Refused(Refusal.DAY_REFUSED) from None


# --- A new password ---


def check_reset(_session: Session, doer: Doer, account: Account, _wanted: Wanted) -> None:
    still_there(account)
    if not doer.bridge.settings.local.enabled and not doer.bridge.directories:
        raise Refused(Refusal.NO_PASSWORDS)
    if not recovery.mailboxes(account):
        raise Refused(Refusal.NOWHERE_TO_WRITE)


def start_reset(session: Session, doer: Doer, account: Account, wanted: Wanted) -> None:
    """As if the person had asked for it on `/account/forgot`: the mail goes to their mailboxes, from behind the pages.

    An account whose password is kept elsewhere is told where. Nobody but the mailbox ever sees the link.
    """
    check_reset(session, doer, account, wanted)
    sought = recovery.sought_text("username", account.username)
    locale = account.language or doer.bridge.settings.default_language
    proof = recovery.ask(session, doer.bridge.keys, sought, may_mail=True, service=None, locale=locale, now=doer.now)
    if proof.search_due_at != doer.now:
        raise Refused(Refusal.JUST_SENT)
    audit.record(
        session,
        "helpdesk.reset_started",
        outcome="ok",
        now=doer.now,
        origin=doer.origin,
        account_id=account.id,
        reason=wanted.reason,
        proof_id=proof.id,
    )


def tell(session: Session, doer: Doer, account: Account, template: str, **context: str) -> None:
    """Write to the person what was done; to nobody where no address of theirs is confirmed."""
    told: Mapping[str, str] = context
    write_to(session, account, template, terms(doer.bridge), doer.now, context=told)
