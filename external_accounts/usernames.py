"""User names of local accounts: proposed from what a person is called, kept in their own name space.

The name space is the university's `local.username_pattern`: no CAS may bring a name of it (LNK-06), so a name that is
in it, and that no account holds or held, is nobody else's. What is folded here is only a proposal; a name that exists
is never folded (I12).
"""

from __future__ import annotations

import itertools
import re
import secrets
import unicodedata
from collections.abc import Collection, Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts.accounts import Person, UsernameRefused, check_username
from external_accounts.schema import Account, SignInIdentity

_LETTERS = str.maketrans({"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "þ": "th", "ı": "i"})
_PART_LENGTH = 40
"""Longest part of a proposed name: two of them, a prefix and a number stay far below 100."""
_PROPOSALS = 50


def folded(name: str) -> str:
    """A name in the letters of user names: `Anne-Zoé D'Œuf` gives `anne-zoe-doeuf`; empty when nothing is left."""
    text = unicodedata.normalize("NFKD", name.lower().translate(_LETTERS))
    plain = "".join(letter for letter in text if not unicodedata.combining(letter) and letter not in "'’")
    return re.sub(r"[^a-z0-9]+", "-", plain)[:_PART_LENGTH].strip("-")


def proposals(form: str, person: Person, *, space: re.Pattern[str]) -> Iterator[str]:
    """Names made after `form` (such as `ext.{given}.{family}`), the plain one first, then numbered ones.

    Somebody whose name has no letter in common with user names gets a random one.
    """
    given, family = folded(person.given_name), folded(person.family_name)
    if not given and not family:
        given, family = secrets.token_hex(2), secrets.token_hex(3)
    plain = _formed(form, given, family)
    for number in range(1, _PROPOSALS):
        name = _numbered(plain, number)
        if space.fullmatch(name):
            yield name
    yield form.format(given=secrets.token_hex(4), family=secrets.token_hex(4))


def has_letters(person: Person) -> bool:
    """Whether the name has any letters that a user name may have."""
    return bool(folded(person.given_name) or folded(person.family_name))


def series(form: str, person: Person) -> Iterator[str]:
    """Names made after `form`, the plain one first, then numbered ones without end. Nothing in them is drawn.

    `form` may also have `{initial}`, the given name's first letter. The person `has_letters`.
    """
    plain = _formed(form, folded(person.given_name), folded(person.family_name))
    return (_numbered(plain, number) for number in itertools.count(1))


def _formed(form: str, given: str, family: str) -> str:
    return re.sub(r"\.{2,}", ".", form.format(given=given, family=family, initial=given[:1])).strip(".-")


def _numbered(plain: str, number: int) -> str:
    return plain if number == 1 else f"{plain}{number}"


def free_username(
    session: Session, form: str, person: Person, *, space: re.Pattern[str], reserved: Collection[str] = ()
) -> str:
    """The first proposal that no account holds or ever held, and that is not `reserved`."""
    names = [name for name in proposals(form, person, space=space) if name not in reserved]
    taken = set(session.scalars(select(Account.username).where(Account.username.in_(names))))
    # A name that somebody signs in by need not be what their account is called: see `linking`.
    taken |= set(session.scalars(select(SignInIdentity.subject).where(SignInIdentity.subject.in_(names))))
    return next(name for name in names if name not in taken)


def read_local_username(typed: str, *, space: re.Pattern[str]) -> str:
    """The user name a person chose. ASCII capitals are forgiven, nothing else is.

    Raises:
        UsernameRefused: outside the name space of local accounts, or what no Moodle would take (I12).
    """
    text = typed.strip()
    # Only ASCII is lower-cased: U+212A KELVIN SIGN would become a `k` (Moodle on MariaDB, §1).
    name = check_username(text.lower() if text.isascii() else text)
    if not space.fullmatch(name):
        raise UsernameRefused(name)
    return name
