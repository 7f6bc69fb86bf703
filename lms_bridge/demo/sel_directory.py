"""The people the simulated university CAS knows: an LDAP directory, reduced to what a CAS asks of it.

Some are kept here, with the demo's own passwords. Those whose password the bridge sets are in the directory `behind`:
a password set there is the one that works at the form, at once.
"""

from __future__ import annotations

import hmac
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from external_accounts.directory import Directory, DirectoryError, Entry

# An attribute name becomes an XML element name in validation answers (CAS 3.0.3, 2.5.7).
_ELEMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class SelUser:
    """One person. `attributes` are released as they stand; a list gives several values.

    Raises: ValueError when an attribute name cannot be an XML element name, or the user name is empty.
    """

    username: str
    password: str = field(repr=False)
    attributes: Mapping[str, str | list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not canonical(self.username):
            raise ValueError("a user needs a user name")
        for name in self.attributes:
            if not _ELEMENT_NAME.fullmatch(name):
                raise ValueError(f"attribute name {name!r} cannot be an XML element name")


def canonical(username: str) -> str:
    """The name the CAS asserts: LDAP compares `uid` without case or outer spaces (RFC 4517, caseIgnoreMatch)."""
    return username.strip().lower()


class SelDirectory:
    """Users by canonical name. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users: dict[str, SelUser] = {}
        self._own_password: set[str] = set()
        self._behind: Directory | None = None
        self._described: Callable[[Entry], SelUser] = _plainly

    def put_behind(self, directory: Directory, described: Callable[[Entry], SelUser]) -> None:
        """Whoever has an entry in `directory` has the password of that entry, also people nobody added here.

        `described` says what is released of those.
        """
        self._behind, self._described = directory, described

    def add(self, user: SelUser) -> None:
        """Add a person under the canonical form of the name.

        Raises: ValueError when the name is taken.
        """
        name = canonical(user.username)
        with self._lock:
            if name in self._users:
                raise ValueError(f"{name} is in the directory already")
            self._users[name] = replace(user, username=name)

    def get(self, username: str) -> SelUser | None:
        """The person of that name in any case, or None."""
        with self._lock:
            known = self._users.get(canonical(username))
        if known is not None:
            return known
        entry = self._entry(username)
        return self._described(entry) if entry is not None else None

    def _entry(self, username: str) -> Entry | None:
        return self._behind.find(canonical(username)) if self._behind is not None else None

    def set_password(self, username: str, password: str) -> None:
        """Replace the password. Sessions that exist go on, as in a CAS whose directory changes behind it.

        Raises: KeyError when nobody has that name.
        """
        name = canonical(username)
        with self._lock:
            self._users[name] = replace(self._users[name], password=password)
            self._own_password.add(name)

    def verify(self, username: str, password: str) -> SelUser | None:
        """The person, if the password is right; None for a wrong password as for an unknown name."""
        user = self.get(username)
        if self._behind is not None and self._entry(username) is not None:
            return user if self._behind.verify(canonical(username), password) else None
        if user is None or not user.password:
            return None
        same = hmac.compare_digest(user.password.encode("utf-8", "replace"), password.encode("utf-8", "replace"))
        return user if same else None

    def users(self) -> list[SelUser]:
        """Everybody, in the order they were added."""
        with self._lock:
            return list(self._users.values())

    def shows_password(self, username: str) -> bool:
        """Whether the password is still the demo's own. One that a person chose is never displayed."""
        with self._lock:
            user, own = self._users.get(canonical(username)), canonical(username) in self._own_password
        if self._entry(username) is None:
            return not own
        try:
            return user is not None and bool(user.password) and self.verify(username, user.password) is not None
        except DirectoryError:
            return False


def _plainly(entry: Entry) -> SelUser:
    return SelUser(entry.username, "")
