"""The rules for values that Moodle would refuse, cut or never find, checked before anything is sent.

A refused value fails the whole call and, with the production debug level, Moodle does not say which one
(ground truth §1, §3). Values are refused here, never repaired: folding a user name would make another person of it
(MariaDB page §1).
"""

import re

from moodle_ws.errors import BadRow

# Lower case on raw bytes; the only set on which every database agrees about equality (MariaDB page §1, "safe set").
USERNAME = re.compile(r"[a-z0-9._@-]{1,100}\Z")

_AUTH = re.compile(r"[a-z][a-z0-9_]{0,19}\Z")
_LANG = re.compile(r"[a-z]{2,3}(_[a-z0-9]+)*\Z")
# What PHP's FILTER_VALIDATE_EMAIL takes, without quoted names and bare addresses of machines.
_ATOM = r"[!#$%&'*+/=?^_`{|}~A-Za-z0-9-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"(?=.{{1,64}}@){_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+(?=[A-Za-z]){_LABEL}\Z")
_SHORTNAME = re.compile(r"[A-Za-z0-9_-]{1,255}\Z")
_TAG = re.compile(r"<[A-Za-z/!?]")

LENGTHS = {"firstname": 100, "lastname": 100, "email": 100, "idnumber": 255}


def check_text(value: str, *, index: int, field: str) -> None:
    """Refuses what no field takes: NUL (`form-null-byte`) and text that has no UTF-8 form (`form-invalid-utf8`)."""
    if "\0" in value:
        raise BadRow("NUL in a value", index=index, field=field)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise BadRow("not valid Unicode text", index=index, field=field) from None


def check_username(value: str, *, index: int) -> None:
    """A user name Moodle takes and finds again, whatever its settings. Raises BadRow."""
    if not USERNAME.match(value):
        raise BadRow("a user name has 1 to 100 of a-z 0-9 . _ - @", index=index, field="username")


def check_email(value: str, *, index: int) -> None:
    """An address Moodle takes: ASCII, one @, at most 64 characters before it, a dot in the domain (`create-bad-email`)
    and a letter after the last one, at most 100 characters. Raises BadRow."""
    check_length(value, index=index, field="email")
    if not _EMAIL.match(value):
        raise BadRow("not an e-mail address Moodle accepts", index=index, field="email")


def check_name(value: str, *, index: int, field: str) -> None:
    """A first or last name: not blank, no markup, at most 100 characters. Raises BadRow.

    Moodle accepts a blank name on update and then stops the person at the next sign-in (`update-firstname-empty`).
    """
    check_length(value, index=index, field=field)
    if not value.strip():
        raise BadRow("cannot be blank", index=index, field=field)
    if _TAG.search(value):
        raise BadRow("cannot contain markup", index=index, field=field)


def check_auth(value: str, *, index: int) -> None:
    """The short name of a sign-in method. Raises BadRow."""
    if not _AUTH.match(value):
        raise BadRow("not the name of a sign-in method", index=index, field="auth")


def check_lang(value: str, *, index: int) -> None:
    """A language pack's code, such as `fr` or `en_us`. Raises BadRow."""
    if not _LANG.match(value):
        raise BadRow("not the code of a language pack", index=index, field="lang")


def check_customfield(shortname: str, value: str, *, index: int) -> None:
    """A custom profile field: a short name of letters, digits, `_` and `-`, as the wire's `type` takes it (anything
    else refuses the whole call). Raises BadRow."""
    place = f"customfields[{shortname}]"
    if not _SHORTNAME.match(shortname):
        raise BadRow("not the short name of a profile field", index=index, field="customfields")
    check_text(value, index=index, field=place)


def check_length(value: str, *, index: int, field: str) -> None:
    """Moodle counts characters, not bytes (MariaDB page §3); too long a value rolls the whole call back."""
    check_text(value, index=index, field=field)
    if len(value) > LENGTHS[field]:
        raise BadRow(f"longer than {LENGTHS[field]} characters", index=index, field=field)
