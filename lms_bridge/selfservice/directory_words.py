"""What a directory did not do, in the words of the person who wanted it."""

from __future__ import annotations

from typing import TypedDict

from external_accounts.directory import (
    DirectoryError,
    DirectoryReadOnly,
    EntryMissing,
    PasswordRefused,
    Refusal,
)
from external_accounts.directory_passwords import PasswordBeingSet
from lms_bridge.i18n import gettext as _
from lms_bridge.selfservice.new_password import NewPasswordRefused


def in_words(error: DirectoryError) -> str:
    """A sentence or three, in the language in force: what it is, that nothing changed, what to do."""
    match error:
        case PasswordRefused():
            return _refused(error)
        case PasswordBeingSet():
            return _("The password of this account is being set at this very moment. Try again in a minute.")
        case DirectoryReadOnly():
            return _("The university's directory takes no changes at the moment. Nothing was changed: try again later.")
        case EntryMissing():
            return _(
                "The university's directory does not know this account yet. Nothing was changed: ask the help desk."
            )
    return _(
        "The university's directory does not answer at the moment. Nothing was changed: try again in some minutes."
    )


class OnTheForm(TypedDict, total=False):
    """What a form with the two password fields is told: a fault of the password, or one that is nobody's here."""

    refused: NewPasswordRefused
    trouble: str


def on_the_form(error: DirectoryError) -> OnTheForm:
    words = in_words(error)
    return {"refused": NewPasswordRefused((words,))} if isinstance(error, PasswordRefused) else {"trouble": words}


def status_of(error: DirectoryError) -> int:
    """The HTTP status: what the person can mend is 422, what time or others mend is 503."""
    return 422 if isinstance(error, PasswordRefused) else 503


def _refused(error: PasswordRefused) -> str:
    match error.reason:
        case Refusal.TOO_SHORT:
            return _("The university's directory refuses this password: it is too short. Choose a longer one.")
        case Refusal.TOO_LONG:
            return _("The university's directory refuses this password: it is too long. Choose a shorter one.")
        case Refusal.TOO_SIMPLE:
            return _("The university's directory refuses this password: it is too simple. Choose another one.")
        case Refusal.USED_BEFORE:
            return _("The university's directory refuses this password: you have used it before. Choose another one.")
        case Refusal.TOO_SOON:
            return _(
                "The university's directory refuses: your password was changed a short while ago. Try again later."
            )
        case Refusal.NOT_ALLOWED:
            return _("The university's directory does not let this password be changed. Ask the help desk.")
    if error.words:
        return _("The university's directory refuses this password. It says: “%(words)s”", words=error.words)
    return _("The university's directory refuses this password. Choose another one.")
