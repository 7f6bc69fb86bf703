"""The directory: where the password behind a CAS door lives.

`Directory` is the port. What stands behind it is the university's LDAP, or a table of our own (`embedded`) where there
is none. A call may take a network's time: never make one inside a database transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class DirectoryError(Exception):
    """A directory did not do what it was asked; nothing was changed in it, but see `DirectoryUnavailable`."""


class DirectoryUnavailable(DirectoryError):
    """It does not answer, or not in time; the same write may be tried again."""

    def __init__(self, reason: str = "", *, may_have_arrived: bool = False) -> None:
        """`may_have_arrived`: a write was sent, and no answer came; otherwise nothing was changed."""
        super().__init__(reason)
        self.may_have_arrived = may_have_arrived


class EntryMissing(DirectoryError):
    """It has no such entry, and may not be given one from here."""


class DirectoryReadOnly(DirectoryError):
    """It takes no changes at the moment, or not from us: a matter for the operator."""


class Refusal(StrEnum):
    """Why a password policy refuses, as far as a directory tells (draft-behera-ldap-password-policy, `error`)."""

    TOO_SHORT = "too short"
    TOO_LONG = "too long"
    TOO_SIMPLE = "too simple"
    USED_BEFORE = "used before"
    TOO_SOON = "too soon"
    NOT_ALLOWED = "not allowed"
    OTHER = ""


class PasswordRefused(DirectoryError):
    """Its own password policy refuses. `words` is what it said, in its own language; may be empty."""

    def __init__(self, words: str = "", reason: Refusal = Refusal.OTHER) -> None:
        super().__init__(reason or "refused")  # its own words are for the person: they may repeat what was typed
        self.words, self.reason = words, reason


@dataclass(frozen=True, slots=True)
class Entry:
    """What a directory knows of one person, as far as the bridge writes it."""

    username: str
    given_name: str = ""
    family_name: str = ""
    email: str = ""
    has_password: bool = False


class Directory(Protocol):
    """Every method may raise `DirectoryUnavailable`."""

    @property
    def name(self) -> str: ...

    def find(self, username: str) -> Entry | None:
        """The entry of exactly this user name."""

    def save(self, entry: Entry) -> None:
        """Create the entry, or bring names and address of the one there is up to date. Touches no password.

        Raises:
            EntryMissing: there is none, and the settings say that none is made.
            DirectoryReadOnly: see there.
        """

    def set_password(self, username: str, password: str) -> None:
        """Give the entry this password.

        Raises:
            EntryMissing, DirectoryReadOnly, PasswordRefused: see there.
        """

    def verify(self, username: str, password: str) -> bool:
        """Whether this is the entry's password. False also when there is no such entry."""

    def write_choices(self, username: str, choices: Mapping[str, str]) -> None:
        """Hand over what the person chose (`listed`, `forward_to`, `keep_copy`, `antispam` …), where it has a place.

        Raises:
            EntryMissing, DirectoryReadOnly: see there.
        """
