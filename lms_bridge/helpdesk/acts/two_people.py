"""What the help desk only begins, and somebody else must agree to: a colleague to a corrected address, the person
behind two accounts to their being joined."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from sqlalchemy.orm import Session

from external_accounts import corrections, link_proposals
from external_accounts.corrections import AddressThere, AlreadyAsked, Colleague, NotToBeCorrected, SecondPersonNeeded
from external_accounts.link_proposals import AlreadyProposed, CannotBeOne, NobodyToTell
from external_accounts.linking_schema import AddressCorrection
from external_accounts.pair_decisions import NeverAgain
from external_accounts.schema import Account, AccountId
from external_accounts.throttle import Throttled
from lms_bridge.helpdesk.acts import resending
from lms_bridge.helpdesk.acts.deeds import Doer, Wanted, still_there
from lms_bridge.helpdesk.refusals import Refusal, Refused
from lms_bridge.mail.notices import notices
from lms_bridge.ops.why import accounts_of

# --- A bounced address ---


def check_correction(_session: Session, _doer: Doer, account: Account, _wanted: Wanted) -> None:
    still_there(account)
    if not any(corrections.may_correct(address) for address in account.addresses):
        raise Refused(Refusal.NOTHING_TO_CORRECT)


def ask_for_correction(session: Session, doer: Doer, account: Account, wanted: Wanted) -> None:
    """Ask a colleague to agree to another address. Nothing changes yet."""
    check_correction(session, doer, account, wanted)
    if wanted.email is None:
        raise Refused(Refusal.NOTHING_TO_CORRECT)
    try:
        corrections.ask(
            session,
            account,
            int(wanted.which),
            wanted.email,
            reason=wanted.reason,
            by=Colleague(doer.account_id, doer.username),
            now=doer.now,
            origin=doer.origin,
        )
    except NotToBeCorrected:
        raise Refused(Refusal.NOTHING_TO_CORRECT) from None
    except AddressThere:
        raise Refused(Refusal.ADDRESS_THERE) from None
    except AlreadyAsked:
        raise Refused(Refusal.ALREADY_ASKED) from None


def decide_on_correction(
    session: Session, doer: Doer, correction_id: int, *, approve: bool, reason: str
) -> AddressCorrection:
    """Agree or refuse. A new address is written to at once: until somebody confirms it, it opens nothing.

    Raises:
        AlreadyDecided: somebody was faster.
        Refused: whoever asked does not decide.
    """
    account = session.get_one(AddressCorrection, correction_id).account_id
    locale = session.get_one(Account, account).language or doer.bridge.settings.default_language
    try:
        decided = corrections.decide(
            session,
            correction_id,
            approve=approve,
            reason=reason,
            by=Colleague(doer.account_id, doer.username),
            notices=notices(doer.bridge, locale),
            now=doer.now,
            origin=doer.origin,
        )
    except SecondPersonNeeded:
        raise Refused(Refusal.SECOND_PERSON) from None
    except Throttled:
        raise Refused(Refusal.TOO_MANY_CHANGES) from None
    if decided.address is not None:
        # Where that mailbox has had enough of our mails for now, the message is sent again later, by hand.
        with suppress(Refused), session.begin_nested():
            resending.send_first_needed(session, doer, decided.address.account, decided.address)
    return decided.correction


# --- Two accounts of one person ---


def check_proposal(_session: Session, _doer: Doer, account: Account, _wanted: Wanted) -> None:
    still_there(account)


def others_of_proposal(session: Session, _doer: Doer, wanted: Wanted) -> Collection[AccountId]:
    return [account.id for account in accounts_of(session, wanted.which)]


def propose_link(session: Session, doer: Doer, account: Account, wanted: Wanted) -> None:
    """Propose to the person behind this account and another one to join them. Only they can."""
    still_there(account)
    found = [other for other in accounts_of(session, wanted.which) if doer.may_see(other.unit)]
    if len(found) != 1:
        raise Refused(Refusal.SEVERAL_ACCOUNTS if found else Refusal.NO_SUCH_ACCOUNT)
    if found[0].id == doer.account_id:
        raise Refused(Refusal.OWN_ACCOUNT)
    try:
        link_proposals.propose(
            session,
            account.id,
            found[0].id,
            note=wanted.reason,
            by=doer.username,
            notices=notices(doer.bridge, doer.bridge.settings.default_language),
            now=doer.now,
            origin=doer.origin,
        )
    except CannotBeOne:
        raise Refused(Refusal.CANNOT_BE_ONE) from None
    except AlreadyProposed:
        raise Refused(Refusal.ALREADY_PROPOSED) from None
    except NeverAgain:
        raise Refused(Refusal.DECLINED_BEFORE) from None
    except NobodyToTell:
        raise Refused(Refusal.NOBODY_TO_TELL) from None
