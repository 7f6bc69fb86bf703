"""What the audit trail notes about an account, in plain words: to the person (`sentence`)."""

from __future__ import annotations

from collections.abc import Mapping

from lms_bridge.i18n import N_
from lms_bridge.i18n import gettext as _

SENTENCES: Mapping[str, str] = {
    "account.activated": N_("Your account was activated."),
    "account.checked": N_("You said that your addresses are right."),
    "account.created": N_("Your account was created."),
    "account.erased": N_("The account was erased."),
    "account.exported": N_("Your data was downloaded."),
    "account.readmitted": N_("The suspension of your account was lifted."),
    "account.reminded": N_("We asked you by mail to check your addresses."),
    "account.suspended": N_("Your account was suspended."),
    "activation.announced": N_("We wrote to you how to activate the account."),
    "activation.answered": N_("Somebody asked for the message to activate the account; we wrote to you."),
    "address.added": N_("An address was added."),
    "address.confirmed": N_("An address was confirmed."),
    "address.corrected": N_("The help desk corrected an address."),
    "address.correction": N_("The help desk looked at the correction of an address."),
    "address.dropped": N_("An address that was never confirmed was removed."),
    "address.lost": N_("An address no longer counts as confirmed."),
    "address.primary": N_("The main address was changed."),
    "address.recovery": N_("An address became a recovery address."),
    "address.removed": N_("An address was removed."),
    "address.undone": N_("A change of addresses was undone."),
    "duplicates.declined": N_("You said that a second account is not yours."),
    "duplicates.proposed": N_("The help desk asked you whether you have a second account."),
    "engagement.accepted": N_("A document was accepted."),
    "engagement.withdrawn": N_("A consent was withdrawn."),
    "erasure.asked": N_("The deletion of the account was asked for."),
    "erasure.taken_back": N_("The account is kept after all."),
    "handover.retried": N_("Another system was told once more about your account."),
    "helpdesk.refused": N_("The help desk wanted to do something; it was not possible."),
    "helpdesk.reset_started": N_("The help desk had a link for a new password mailed to you."),
    "helpdesk.sessions_ended": N_("The help desk signed you out."),
    "helpdesk.viewed": N_("The help desk looked at your account."),
    "identity.added": N_("A way in was added."),
    "identity.removed": N_("A way in was removed."),
    "identity.restored": N_("A way in that had been removed is back."),
    "letter.printed": N_("A letter with a code for you was printed."),
    "letter.typed": N_("The code of your letter was typed."),
    "lifecycle.closed": N_("Your rights ended."),
    "lifecycle.warned": N_("We wrote to you that your rights will end."),
    "link.begun": N_("Somebody began to join another account to this one."),
    "link.declined": N_("You said that you have no other account."),
    "link.ended": N_("No account was joined after all."),
    "link.made": N_("Two accounts were joined."),
    "link.password": N_("The password was typed to join this account to another."),
    "link.proved": N_("It was shown that another account belongs to the same person."),
    "link.undone": N_("Two joined accounts became two again."),
    "lost_identifier.mailed": N_("Somebody looked for your user name; we wrote to you."),
    "mail.bounced": N_("One of our messages came back."),
    "mail.retried": N_("A message to you was sent again."),
    "mailbox.antispam": N_("The protection against spam was changed."),
    "mailbox.forwarding": N_("The forwarding of your mail was changed."),
    "merge.done": N_("Your course work in Moodle was moved to one user."),
    "mirror.look_again": N_("The help desk had your user in Moodle looked at again."),
    "password.changed": N_("The password was changed."),
    "password.chosen": N_("You chose your password."),
    "password.recovered": N_("A new password was chosen by a link we mailed."),
    "password.reset": N_("A new password was chosen by a link we mailed."),
    "password.settled": N_("A new password was perhaps set; to be safe, everything was signed out."),
    "proof.sent": N_("A link was mailed to one of your addresses."),
    "recovery.mailed": N_("Somebody asked for a forgotten password; we wrote to you."),
    "registration.completed": N_("Your registration was completed."),
    "rights.moved": N_("The end of your rights was moved."),
    "session.ended": N_("A session ended."),
    "session.everywhere": N_("Everything was signed out."),
    "session.others": N_("All other devices were signed out."),
    "session.renewed": N_("You showed again who you are."),
    "signin.again": N_("You showed again who you are."),
    "signin.cas": N_("You signed in with the university’s account."),
    "signin.local": N_("You signed in with your user name and password."),
    "why.mailed": N_("Somebody asked why you cannot enter; we wrote to you."),
}
REFUSED: Mapping[str, str] = {
    "link.password": N_("A wrong password was typed to join this account to another."),
    "proof.code": N_("A wrong code was typed."),
    "signin.again": N_("A wrong password was typed."),
    "signin.local": N_("Somebody tried to sign in with a wrong password."),
}
"""When the outcome was not `ok`, where that is a story of its own."""
TOLD_BY_ANOTHER = frozenset({"session.started", "mirror.forgotten"})
"""What says nothing beside the event it comes with."""


def sentence(event: str, outcome: str) -> str:
    """What happened, in plain words."""
    if outcome != "ok" and event in REFUSED:
        return _(REFUSED[event])
    # What a later version adds is not hidden from the person.
    return _(SENTENCES[event]) if event in SENTENCES else _("Something else was noted: %(event)s", event=event)
