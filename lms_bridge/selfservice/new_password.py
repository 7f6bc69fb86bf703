"""A new password from a form: judged, and the reasons in words.

The template's half is `templates/password_fields.html`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from external_accounts import password_policy as policy
from external_accounts.password_lists import PasswordFile
from external_accounts.passwords import MAX_PASSWORD_LENGTH, normal_form
from external_accounts.schema import Account
from lms_bridge.i18n import gettext as _
from lms_bridge.settings import Settings


class NewPasswordRefused(Exception):
    """The password cannot be used: `reasons` for the first field, `again` for the second one."""

    def __init__(self, reasons: tuple[str, ...], again: str | None = None) -> None:
        super().__init__()
        self.reasons, self.again = reasons, again

    @property
    def first(self) -> str:
        """For the top of the page."""
        return self.reasons[0] if self.reasons else self.again or ""


def read_new_password(form: Mapping[str, str], settings: Settings, *, about: Iterable[str]) -> str:
    """The password of the fields `password` and `password_again`, if it may be used.

    Args:
        about: what is known of the person: see `words_of`, or names and addresses of somebody without an account.

    Raises:
        NewPasswordRefused: with the reasons in the language in force.
    """
    password, again = form.get("password", ""), form.get("password_again", "")
    if not password:
        raise NewPasswordRefused((_("Enter a new password."),))
    reasons = tuple(reasons_against(password, settings, about=about))
    same = password == again or (
        len(again) <= MAX_PASSWORD_LENGTH and not reasons and normal_form(password) == normal_form(again)
    )
    if reasons or not same:
        raise NewPasswordRefused(reasons, None if same else _("The two passwords are not the same."))
    return password


def reasons_against(password: str, settings: Settings, *, about: Iterable[str]) -> list[str]:
    """Why a password may not be used, in the language in force; empty when it may."""
    rules = settings.passwords
    leaked = PasswordFile(rules.leaked_file).holds if rules.leaked_file else None
    words = [*about, *_university(settings)]
    found = policy.weaknesses(password, context=words, minimum=rules.fewest, is_leaked=leaked)
    return [_in_words(weakness) for weakness in found]


def words_of(account: Account) -> list[str]:
    """What is known of an account's person, for `about`."""
    return words_about(
        account.given_name, account.family_name, account.username, *(address.email for address in account.addresses)
    )


def words_about(*known: str) -> list[str]:
    """Names, user names and addresses. Of an address only what stands before the `@`: its domain says nothing."""
    return [text.rpartition("@")[0] if "@" in text else text for text in known]


def _university(settings: Settings) -> list[str]:
    labels = [text for service in settings.services for text in service.label.values()]
    return [settings.institution.name, settings.institution.short_name, *labels, *settings.passwords.words]


def _in_words(weakness: policy.Weakness) -> str:
    match weakness:
        case policy.TooShort(minimum):
            return _("This password is too short: at least %(minimum)d characters.", minimum=minimum)
        case policy.TooLong(maximum):
            return _("This password is too long: at most %(maximum)d characters.", maximum=maximum)
        case policy.NotText():
            return _("This password contains half a character, which could not be typed again.")
        case policy.Common():
            return _("Many people choose this password, or one that differs by a few figures only. It is tried first.")
        case policy.Leaked():
            return _("This password is in a list of stolen passwords.")
        case policy.Predictable():
            return _("This password is a repetition, or keys that stand in a row. It is tried first.")
        case policy.SaysWho(word):
            return _("This password contains “%(word)s”, which others know of you or the university.", word=word)
