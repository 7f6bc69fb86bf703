"""Why something is not done for an account: one name for each reason, and its words."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from lms_bridge.i18n import N_
from lms_bridge.i18n import gettext as _


class Refusal(StrEnum):
    """A reason, as the audit trail and files name it."""

    OWN_ACCOUNT = "own account"
    HELP_DESK = "help desk"
    ERASED = "erased"
    MERGED = "merged"
    ALREADY_SUSPENDED = "already suspended"
    NOT_SUSPENDED = "not suspended"
    NOTHING_TO_SEND = "nothing to send"
    NOWHERE_TO_WRITE = "nowhere to write"
    JUST_SENT = "just sent"
    ENOUGH_MAILS = "enough mails"
    NOTHING_TO_EXTEND = "nothing to extend"
    DAY_REFUSED = "day refused"
    NO_SUCH_SESSION = "no such session"
    NO_PASSWORDS = "no passwords"
    NOTHING_TO_CORRECT = "nothing to correct"
    ADDRESS_THERE = "address there"
    ALREADY_ASKED = "already asked"
    SECOND_PERSON = "second person"
    TOO_MANY_CHANGES = "too many changes"
    NO_SUCH_ACCOUNT = "no such account"
    SEVERAL_ACCOUNTS = "several accounts"
    CANNOT_BE_ONE = "cannot be one"
    ALREADY_PROPOSED = "already proposed"
    DECLINED_BEFORE = "declined before"
    NOBODY_TO_TELL = "nobody to tell"
    ONE_BY_ONE = "one by one"
    TWICE = "twice"
    FAILED = "failed"


_WORDS: Mapping[Refusal, str] = {
    Refusal.OWN_ACCOUNT: N_("This is your own account. What you may change there is under “My account”."),
    Refusal.HELP_DESK: N_("This person works at the help desk: only an administrator may do this."),
    Refusal.ERASED: N_("The account was erased: nothing is left of it but its name."),
    Refusal.MERGED: N_("The account was joined to another one: act on the one that was kept."),
    Refusal.ALREADY_SUSPENDED: N_("The account is suspended already."),
    Refusal.NOT_SUSPENDED: N_("The account is not suspended."),
    Refusal.NOTHING_TO_SEND: N_("There is nothing to send: the address is confirmed and nothing else is waited for."),
    Refusal.NOWHERE_TO_WRITE: N_("The account has no address that can be written to."),
    Refusal.JUST_SENT: N_("This message left less than a minute ago. Wait until it has arrived."),
    Refusal.ENOUGH_MAILS: N_("This mailbox has received several of our messages within the hour. Try again later."),
    Refusal.NOTHING_TO_EXTEND: N_("The rights of this account do not end, or its profile allows no extension."),
    Refusal.DAY_REFUSED: N_("This day is not after the present end, or further away than the profile allows."),
    Refusal.NO_SUCH_SESSION: N_("This session is over already."),
    Refusal.NO_PASSWORDS: N_("No password can be set by a link here."),
    Refusal.NOTHING_TO_CORRECT: N_(
        "No address of this account can be corrected here: a confirmed one is changed by its owner, the university's "
        "own where it comes from."
    ),
    Refusal.ADDRESS_THERE: N_("The account has this address already."),
    Refusal.ALREADY_ASKED: N_("A request to correct this address waits already."),
    Refusal.SECOND_PERSON: N_("Whoever asked for a correction does not decide on it: somebody else must agree."),
    Refusal.TOO_MANY_CHANGES: N_("The addresses of this account were changed too often lately. Try again later."),
    Refusal.NO_SUCH_ACCOUNT: N_("There is no account of that identifier."),
    Refusal.SEVERAL_ACCOUNTS: N_("Several accounts have this address: give the user name."),
    Refusal.CANNOT_BE_ONE: N_("These two cannot be joined: it is the same account, or one of them is over."),
    Refusal.ALREADY_PROPOSED: N_("This was proposed already. The person has not answered yet."),
    Refusal.ONE_BY_ONE: N_("This person works at the help desk: act on them one by one."),
    Refusal.TWICE: N_("This account is in the list already."),
    Refusal.FAILED: N_("It did not work. Whoever runs the service finds the error in the log; nothing was changed."),
    Refusal.DECLINED_BEFORE: N_("They have said no: they are not asked again."),
    Refusal.NOBODY_TO_TELL: N_("Neither account has a confirmed address: nobody would read the proposal."),
}


class Refused(Exception):
    """It is not done, for a reason that somebody can read."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


def words(refusal: str) -> str:
    """The reason in the language in force; one that a later version wrote comes back as it is."""
    return _(_WORDS[Refusal(refusal)]) if refusal in set(Refusal) else refusal
