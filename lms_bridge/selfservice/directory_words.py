"""What a directory did not do, in the words of the person who wanted it."""

from __future__ import annotations

from external_accounts.directory import DirectoryError, DirectoryReadOnly, EntryMissing, PasswordRefused
from external_accounts.directory_passwords import PasswordBeingSet
from lms_bridge.i18n import gettext as _


def in_words(error: DirectoryError) -> str:
    """A sentence or three, in the language in force: what it is, that nothing changed, what to do."""
    match error:
        case PasswordRefused():
            return _("The university's directory refuses this password. Choose another one.")
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


def status_of(error: DirectoryError) -> int:
    """The HTTP status: what the person can mend is 422, what time or others mend is 503."""
    return 422 if isinstance(error, PasswordRefused) else 503
