"""What the audit trail notes about an account, in plain words to colleagues: `sentence`.

Where the person's own words (`activity_words`) speak of nobody they serve here too.
"""

from __future__ import annotations

from collections.abc import Mapping

from lms_bridge.i18n import N_
from lms_bridge.i18n import gettext as _
from lms_bridge.selfservice.account import activity_words

SENTENCES: Mapping[str, str] = {
    **activity_words.SENTENCES,
    "account.activated": N_("The account was activated."),
    "account.checked": N_("The person said that their addresses are right."),
    "account.created": N_("The account was created."),
    "account.exported": N_("The data of the account was downloaded."),
    "account.readmitted": N_("The suspension was lifted."),
    "account.reminded": N_("The person was asked by mail to check their addresses."),
    "account.suspended": N_("The account was suspended."),
    "activation.announced": N_("The first message about the activation was sent."),
    "activation.answered": N_("The message about the activation was asked for again and sent."),
    "address.corrected": N_("An address was corrected."),
    "address.correction": N_("The correction of an address was dealt with."),
    "duplicates.declined": N_("The person said that a second account is not theirs."),
    "duplicates.proposed": N_("The person was asked whether they have a second account."),
    "handover.retried": N_("Another system was told once more about the account."),
    "helpdesk.refused": N_("Something was to be done here; it was not possible."),
    "helpdesk.reset_started": N_("A link for a new password was mailed to the person."),
    "helpdesk.sessions_ended": N_("The sessions of the account were ended."),
    "helpdesk.viewed": N_("The account was looked at here."),
    "letter.printed": N_("The account letter was printed."),
    "letter.typed": N_("The code of the account letter was typed."),
    "lifecycle.closed": N_("The rights ended."),
    "lifecycle.warned": N_("The person was told that their rights will end."),
    "link.declined": N_("The person said that they have no other account."),
    "lost_identifier.mailed": N_("A lost user name was looked for; the person was written to."),
    "mail.bounced": N_("A message came back."),
    "mail.retried": N_("A message was sent again."),
    "mailbox.forwarding": N_("The forwarding of the mail was changed."),
    "merge.done": N_("The course work in Moodle was moved to one user."),
    "mirror.forgotten": N_("The bridge let go of the account’s user in Moodle."),
    "mirror.look_again": N_("The user in Moodle was looked at again."),
    "password.chosen": N_("The person chose their password."),
    "password.recovered": N_("A new password was chosen by a mailed link."),
    "password.reset": N_("A new password was chosen by a mailed link."),
    "proof.sent": N_("A link was mailed to one of the addresses."),
    "recovery.mailed": N_("A forgotten password was asked about; the person was written to."),
    "registration.completed": N_("The registration was completed."),
    "rights.moved": N_("The end of the rights was moved."),
    "session.renewed": N_("The person showed again who they are."),
    "session.started": N_("A session began."),
    "signin.again": N_("The person showed again who they are."),
    "signin.cas": N_("Sign-in with the university’s account."),
    "signin.local": N_("Sign-in with user name and password."),
    "why.mailed": N_("The question why one cannot enter was asked; the person was written to."),
}
REFUSED: Mapping[str, str] = {
    **activity_words.REFUSED,
    "signin.local": N_("Attempt to sign in with a wrong password."),
}


def sentence(event: str, outcome: str) -> str:
    """What happened, in plain words. The event's own name stands beside it."""
    if outcome != "ok" and event in REFUSED:
        return _(REFUSED[event])
    return _(SENTENCES[event]) if event in SENTENCES else _("Something else was noted.")
