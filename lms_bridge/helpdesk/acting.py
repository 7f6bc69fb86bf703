"""The pages by which one account is acted on: look, say why, show who you are, done; or why not, with nothing lost.

Every form carries how the account stood when its page was made (`seen`). If it has changed meanwhile, nothing is done:
the page comes back as it was filled in, and says what was changed and by whom. Pressing the button once more is then a
decision about the account as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from flask import abort, redirect, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.accounts import lock_account
from external_accounts.schema import Account, AccountId, AuditEvent
from external_accounts.spreadsheets import read_date
from lms_bridge.helpdesk import changes, reach
from lms_bridge.helpdesk.acts.deeds import Deed, Doer, Wanted, name_of
from lms_bridge.helpdesk.members import DESK, Member, NotSignedIn, agent, row_number
from lms_bridge.helpdesk.refusals import Refused, words
from lms_bridge.i18n import gettext as _
from lms_bridge.selfservice.account.identity import ask_first
from lms_bridge.signin.again import FRESH_AT_THE_DESK
from lms_bridge.web.request import current, runtime

PATH = f"{DESK}/accounts"
REASON = 500
"""Characters of a reason."""


class Changed(Exception):
    """The account is not any more as the page showed it; `seen` is what the page was made of."""

    def __init__(self, seen: Seen) -> None:
        super().__init__(seen.version)
        self.seen = seen


@dataclass(frozen=True, slots=True)
class Seen:
    """How an account stood when a page was made."""

    version: int
    event: int
    """The newest of its events in the audit trail."""

    def __str__(self) -> str:
        return f"{self.version}-{self.event}"

    @classmethod
    def now(cls, session: Session, account: Account) -> Seen:
        newest = session.scalar(select(func.max(AuditEvent.id)).where(AuditEvent.account_id == account.id))
        return cls(account.version, newest or 0)

    @classmethod
    def typed(cls) -> Seen:
        """What the form carries. A form without it cannot be ours."""
        version, _dash, event = request.form.get("seen", "").partition("-")
        numbers = (row_number(version), row_number(event))
        if numbers[0] is None or numbers[1] is None:
            abort(400)
        return cls(numbers[0], numbers[1])


class Mistyped(Exception):
    """What was typed cannot be meant: `errors` by field."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__(*errors)
        self.errors = errors


def nothing_more(_session: Session, _doer: Doer, _account: Account) -> dict[str, Any]:
    return {}


def nobody_else(_session: Session, _doer: Doer, _wanted: Wanted) -> Collection[AccountId]:
    return ()


@dataclass(frozen=True, slots=True)
class Page:
    """One act as a page of its own, at `/helpdesk/accounts/<number>/<name>`."""

    name: str
    template: str
    deed: Deed
    check: Deed
    """Whether there is anything to do: refuses as the deed would, and writes nothing."""
    read: Callable[[Doer], Wanted]
    """What was typed. Raises: Mistyped."""
    about: Callable[[Session, Doer, Account], Mapping[str, Any]] = nothing_more
    """What else the template shows."""
    others: Callable[[Session, Doer, Wanted], Collection[AccountId]] = nobody_else
    """Accounts that the deed holds besides: all are held in the order of their numbers."""


def show(page: Page, number: str) -> ResponseReturnValue:
    who = agent()
    with runtime().database.read() as session:
        return _rendered(session, page, visible(session, number, who), who)


def do(page: Page, number: str) -> ResponseReturnValue:
    """What was typed is read first, then who it is that types is asked, then it is done: each keeps the form."""
    who = agent()
    bridge = runtime()
    doer = doer_of(who)
    with bridge.database.read() as session:
        account = visible(session, number, who)
        account_id, seen = account.id, Seen.typed()
        try:
            wanted = page.read(doer)
        except Mistyped as wrong:
            return _rendered(session, page, account, who, errors=wrong.errors), 422
    if (question := shown_again()) is not None:
        return question
    try:
        with bridge.database.begin() as session:
            hold_in_order(session, {account_id, *page.others(session, doer, wanted)})
            page.deed(session, doer, held(session, account_id, who, seen), wanted)
    except Changed:
        with bridge.database.read() as session:
            account = visible(session, number, who)
            told = changes.since(session, account, seen.event)
            return _rendered(session, page, account, who, changed=told), 409
    except Refused as refused:
        note_refusal(page.name, account_id, who, refused)
        with bridge.database.read() as session:
            return _rendered(session, page, visible(session, number, who), who, refused=refused), 409
    return redirect(f"{PATH}/{account_id}?done={page.name}", 303)


def doer_of(who: Member) -> Doer:
    bridge = runtime()
    return Doer(bridge, who.account_id, who.username, who.origin, bridge.clock(), who.may_see)


def shown_again() -> ResponseReturnValue | None:
    """The question who it is that acts, with this request's form kept; None when they have just shown it."""
    person = current()
    if person is None:
        raise NotSignedIn
    return ask_first(person, FRESH_AT_THE_DESK)


def visible(session: Session, number: str, who: Member) -> Account:
    """The account of this number; an account of others' is not there."""
    found = row_number(number)
    account = session.get(Account, found) if found is not None else None
    if account is None or not who.may_see(account.unit):
        abort(404)
    return account


def hold_in_order(session: Session, account_ids: Collection[AccountId]) -> None:
    """Hold accounts so that two who want the same ones wait for each other once, and not for ever."""
    for account_id in sorted(account_ids):
        lock_account(session, account_id)


def held(session: Session, account_id: int, who: Member, seen: Seen) -> Account:
    """The account, held until the transaction ends, if it is as the page showed it and within reach.

    Raises:
        Changed: it is not as it was.
        Refused: it is out of this person's reach.
    """
    account = lock_account(session, account_id)
    if not who.may_see(account.unit):
        abort(404)
    if account.version != seen.version:
        raise Changed(seen)
    refusal = reach.reach(session, who, account, runtime().settings)
    if refusal is not None:
        raise Refused(refusal)
    return account


def note_refusal(act: str, account_id: int, who: Member, refused: Refused) -> None:
    """Nothing was done; that somebody wanted to is written down all the same."""
    bridge = runtime()
    with bridge.database.begin() as session:
        audit.record(
            session,
            "helpdesk.refused",
            outcome=refused.refusal.value,
            now=bridge.clock(),
            origin=who.origin,
            account_id=account_id,
            act=act,
        )


def read_reason(errors: dict[str, str], *, needed: bool = True) -> str:
    """The reason that was typed, on one line; what is wrong with it goes into `errors`."""
    reason = " ".join(request.form.get("reason", "").split())
    if len(reason) > REASON:
        errors["reason"] = _("At most %(count)s characters.", count=REASON)
    elif needed and not reason:
        errors["reason"] = _("Say in a few words why.")
    return reason


def read_day(errors: dict[str, str], doer: Doer, *, needed: bool) -> date | None:
    """The last day that was typed, which must not be over; what is wrong with it goes into `errors`."""
    try:
        day = read_date(request.form.get("until", ""))
    except ValueError:
        errors["until"] = _("This is not a date. It looks like 2027-06-30.")
        return None
    if day is None and needed:
        errors["until"] = _("This is not a date. It looks like 2027-06-30.")
    if day is not None and day < doer.now.astimezone(doer.bridge.settings.zone).date():
        errors["until"] = _("This day is over. Choose a later one.")
    return day


def _rendered(
    session: Session,
    page: Page,
    account: Account,
    who: Member,
    *,
    errors: Mapping[str, str] | None = None,
    changed: list[str] | None = None,
    refused: Refused | None = None,
) -> str:
    doer = doer_of(who)
    why_not = _why_not(session, page, account, who, doer)
    return render_template(
        page.template,
        action=f"{PATH}/{account.id}/{page.name}",
        back_url=f"{PATH}/{account.id}",
        name=name_of(account),
        username=account.username,
        seen=Seen.now(session, account),
        typed=request.form,
        errors=errors or {},
        error=bool(errors) or refused is not None or changed is not None,
        changed=changed,
        refusal=words(refused.refusal) if refused is not None else None,
        why_not=why_not if refused is None or why_not != words(refused.refusal) else None,
        possible=why_not is None,
        longest=REASON,
        **page.about(session, doer, account),
    )


def _why_not(session: Session, page: Page, account: Account, who: Member, doer: Doer) -> str | None:
    """Why the act cannot be done now, in words; None: it can."""
    refusal = reach.reach(session, who, account, doer.bridge.settings)
    if refusal is not None:
        return words(refusal)
    try:
        page.check(session, doer, account, Wanted())
    except Refused as refused:
        return words(refused.refusal)
    return None
