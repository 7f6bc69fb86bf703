"""What can be seen of an LDAP directory without changing anything: for who runs the service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ldap3 import BASE, SUBTREE, Connection
from ldap3.core.results import RESULT_SIZE_LIMIT_EXCEEDED, RESULT_SUCCESS

from external_accounts.directory.ldap import PASSWORD_MODIFY, LdapDirectory, NotConnected


@dataclass(frozen=True, slots=True)
class AddressSeen:
    """One address of a directory. With a `trouble` nothing else is known."""

    url: str
    trouble: str = ""
    step: Literal["", "connect", "tls", "sign in", "search"] = ""
    """Where it stopped."""
    password_modify: bool = False
    """Whether it offers to set passwords (RFC 3062)."""
    base: bool = False
    people: bool = False
    """Whether the service account sees anybody there."""


def look_at_address(directory: LdapDirectory, url: str) -> AddressSeen:
    """Connect, secure, sign in, and search."""
    try:
        connection = directory.connect(url, as_service=True)
    except NotConnected as error:
        return AddressSeen(url, str(error).removeprefix(f"{url}: "), error.step)
    options = directory.options
    try:
        offered = _offered(connection)
        base = _finds(connection, options.base, "(objectClass=*)", BASE)
        people = base and _finds(connection, options.base, options.user_filter, SUBTREE)
    except Exception as error:  # noqa: BLE001 (an answer that makes no sense fails anywhere in the library)
        return AddressSeen(url, type(error).__name__, "search")
    finally:
        connection.strategy.close()
    return AddressSeen(url, password_modify=PASSWORD_MODIFY in offered, base=base, people=people)


def _offered(connection: Connection) -> set[str]:
    connection.search("", "(objectClass=*)", BASE, attributes=["supportedExtension"])
    rows = connection.response or ()
    return {
        value.decode("ascii", "replace")
        for row in rows
        for value in row.get("raw_attributes", {}).get("supportedExtension", ())
    }


def _finds(connection: Connection, base: str, wanted: str, scope: Literal["BASE", "SUBTREE"]) -> bool:
    connection.search(base, wanted, scope, attributes=["1.1"], size_limit=1)
    found = [row for row in connection.response or () if row["type"] == "searchResEntry"]
    return bool(found) and connection.result["result"] in (RESULT_SUCCESS, RESULT_SIZE_LIMIT_EXCEEDED)
