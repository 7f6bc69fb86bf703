"""A university's directory over LDAP (supann, inetOrgPerson).

Policy of every call:

* A connection of its own, to the first address that answers: over TLS with the certificate and its name verified, and
  signed in with the bridge's service account. A server that is silent, busy or not to be trusted is passed over.
* A write that was sent to one server is never sent to another: whether it arrived is not known then.
* Referrals are not followed: they would carry the service account's password to an address that a server names.
* A user name finds one entry whose attribute is exactly this name, or none.
* A password is sent as it was typed, in UTF-8: the CAS compares it so. No password is part of an error or of a log.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from ldap3 import BASE, MODIFY_REPLACE, NONE, SIMPLE, SUBTREE, Connection, Server, Tls
from ldap3.core.exceptions import LDAPException, LDAPStartTLSError
from ldap3.core.results import (
    RESULT_ADMIN_LIMIT_EXCEEDED,
    RESULT_BUSY,
    RESULT_CONSTRAINT_VIOLATION,
    RESULT_ENTRY_ALREADY_EXISTS,
    RESULT_INVALID_CREDENTIALS,
    RESULT_NO_SUCH_OBJECT,
    RESULT_SUCCESS,
    RESULT_TIME_LIMIT_EXCEEDED,
    RESULT_UNAVAILABLE,
)
from ldap3.extend.standard.modifyPassword import ModifyPassword

from external_accounts.directory import (
    DirectoryReadOnly,
    DirectoryUnavailable,
    Entry,
    EntryMissing,
    PasswordRefused,
    Refusal,
)
from external_accounts.directory.ldap_options import LdapOptions
from external_accounts.directory.ldap_text import PASSWORD_POLICY, escaped, policy_refusal, said

PASSWORD_MODIFY = "1.3.6.1.4.1.4203.1.11.1"  # noqa: S105 (the operation's number: RFC 3062)
LONGEST_SEARCH_SECONDS = 15.0
"""For a server that answers, over all addresses: a page waits for it."""

_PASSED_OVER = frozenset({RESULT_BUSY, RESULT_UNAVAILABLE, RESULT_TIME_LIMIT_EXCEEDED, RESULT_ADMIN_LIMIT_EXCEEDED})


class NotConnected(DirectoryUnavailable):
    """An address could not be used: at which step, for who runs the service."""

    def __init__(self, reason: str, step: Literal["connect", "tls", "sign in"]) -> None:
        super().__init__(reason)
        self.step = step


@dataclass(frozen=True, slots=True)
class _Found:
    dn: str
    attributes: Mapping[str, Sequence[str]]


class LdapDirectory:
    """One directory, behind one or several addresses that hold the same."""

    def __init__(self, name: str, options: LdapOptions) -> None:
        self.name = name
        self.options = options
        self._context: ssl.SSLContext | None = None

    def find(self, username: str) -> Entry | None:
        with self._signed_in() as connection:
            found = self._find(connection, username)
            if found is None:
                return None
            # Whether there is one is asked without reading it: that takes no right to see hashes.
            has_password = bool(self._search(connection, found.dn, "(userPassword=*)", BASE, ["1.1"]))
        return Entry(
            username,
            given_name=_first(found, self.options.given_name),
            family_name=_first(found, self.options.family_name),
            email=_first(found, self.options.email),
            has_password=has_password,
        )

    def save(self, entry: Entry) -> None:
        with self._signed_in() as connection:
            found = self._find(connection, entry.username)
            wanted = _described(self.options, entry)
            if found is not None:
                self._replace(connection, found, wanted)
            elif self.options.create:
                self._add(connection, entry.username, wanted)
            else:
                raise EntryMissing(f"{self.name} has no such entry, and none is made from here")

    def set_password(self, username: str, password: str) -> None:
        with self._signed_in() as connection:
            found = self._found(connection, username)
            operation = ModifyPassword(
                connection, found.dn, None, password.encode(), controls=[(PASSWORD_POLICY, False, None)]
            )
            result = self._write(connection, operation.send)
            if result["result"] == RESULT_SUCCESS:
                return
            words = said(str(result.get("message") or ""), secret=password)
            refusal = _policy(result)
            if refusal is None and result["result"] == RESULT_CONSTRAINT_VIOLATION:
                refusal = Refusal.OTHER
            if refusal is not None:
                raise PasswordRefused(words, refusal)
            raise self._refused(result)

    def verify(self, username: str, password: str) -> bool:
        try:
            secret = password.encode()
        except UnicodeEncodeError:  # half a character: nobody's
            return False
        if not secret or b"\0" in secret:
            return False  # RFC 4513, 5.1.2: without a password a name is let in as nobody, and that is a success
        with self._signed_in() as connection:
            found = self._find(connection, username)
        if found is None:
            return False
        with self._connected() as connection:
            result = self._bind(connection, found.dn, secret)
        if result["result"] in (RESULT_SUCCESS, RESULT_INVALID_CREDENTIALS):
            return bool(result["result"] == RESULT_SUCCESS)
        raise DirectoryUnavailable(f"{self.name}: {_code(result)}")

    def write_choices(self, username: str, choices: Mapping[str, str]) -> None:
        wanted: dict[str, list[str]] = {}
        for name, value in choices.items():
            place = self.options.choices.get(name)
            if place is not None:
                written = place.values.get(value, value)
                wanted[place.attribute] = [written] if written else []
        if not wanted:
            return
        with self._signed_in() as connection:
            self._replace(connection, self._found(connection, username), wanted)

    # Entries

    def _found(self, connection: Connection, username: str) -> _Found:
        found = self._find(connection, username)
        if found is None:
            raise EntryMissing(f"{self.name} has no such entry")
        return found

    def _find(self, connection: Connection, username: str) -> _Found | None:
        attribute = self.options.user_attribute
        wanted = f"(&{self.options.user_filter}({attribute}={escaped(username)}))"
        places = {place.attribute for place in self.options.choices.values()}
        names = {attribute, *self.options.given_name, *self.options.family_name, *self.options.full_name}
        found = self._search(
            connection, self.options.base, wanted, SUBTREE, sorted(names | {*self.options.email} | places)
        )
        # The server compares without case and accents of width; a user name of ours is exact (I12).
        exact = [one for one in found if username in one.attributes.get(attribute.lower(), ())]
        if len(exact) > 1:
            raise DirectoryReadOnly(f"{self.name}: {len(exact)} entries have the same {attribute}")
        return exact[0] if exact else None

    def _search(
        self, connection: Connection, base: str, wanted: str, scope: Any, attributes: list[str]
    ) -> list[_Found]:
        try:
            connection.search(base, wanted, scope, attributes=attributes, size_limit=5)
        except Exception as error:  # noqa: BLE001 (as in _write)
            raise DirectoryUnavailable(f"{self.name}: {_kind(error)}") from None
        if connection.result["result"] == RESULT_NO_SUCH_OBJECT:
            return []
        if connection.result["result"] != RESULT_SUCCESS:
            raise DirectoryUnavailable(f"{self.name}: {_code(connection.result)} when searching")
        return [
            _Found(row["dn"], {name.lower(): _texts(values) for name, values in row["raw_attributes"].items()})
            for row in connection.response or ()
            if row["type"] == "searchResEntry"
        ]

    def _add(self, connection: Connection, username: str, wanted: Mapping[str, list[str]]) -> None:
        options = self.options
        name = f"{options.user_attribute}={escaped(username)},{options.create_under or options.base}"
        attributes: dict[str, Any] = {key: list(values) for key, values in options.fixed.items()}
        attributes |= {key: values for key, values in wanted.items() if values}
        attributes[options.user_attribute] = [username]
        result = self._write(connection, lambda: connection.add(name, list(options.object_classes), attributes))  # type: ignore[no-untyped-call]
        if result["result"] == RESULT_ENTRY_ALREADY_EXISTS:
            found = self._find(connection, username)
            if found is None:
                raise DirectoryReadOnly(f"{self.name} has an entry of that name which user_filter does not find")
            self._replace(connection, found, wanted)  # somebody else made it a moment ago
        elif result["result"] != RESULT_SUCCESS:
            raise self._refused(result)

    def _replace(self, connection: Connection, found: _Found, wanted: Mapping[str, list[str]]) -> None:
        changes = {
            name: [(MODIFY_REPLACE, values)]
            for name, values in wanted.items()
            if sorted(values) != sorted(found.attributes.get(name.lower(), ()))
        }
        if not changes:
            return
        result = self._write(connection, lambda: connection.modify(found.dn, changes))  # type: ignore[no-untyped-call]
        if result["result"] != RESULT_SUCCESS:
            raise self._refused(result)

    def _write(self, connection: Connection, send: Callable[[], Any]) -> Mapping[str, Any]:
        """The server's answer to one write."""
        try:
            send()
        except Exception as error:  # noqa: BLE001 (an answer that makes no sense fails anywhere in the library)
            raise DirectoryUnavailable(f"{self.name}: {_kind(error)}", may_have_arrived=True) from None
        result: Mapping[str, Any] = connection.result
        if result["result"] in _PASSED_OVER:
            raise DirectoryUnavailable(f"{self.name}: {_code(result)}")
        return result

    def _refused(self, result: Mapping[str, Any]) -> DirectoryReadOnly | EntryMissing:
        if result["result"] == RESULT_NO_SUCH_OBJECT:
            return EntryMissing(f"{self.name}: the entry, or where it should stand, is not there")
        return DirectoryReadOnly(f"{self.name}: {_code(result)}")

    # Connections

    @contextmanager
    def _signed_in(self) -> Iterator[Connection]:
        with self._connected(as_service=True) as connection:
            yield connection

    @contextmanager
    def _connected(self, *, as_service: bool = False) -> Iterator[Connection]:
        connection = self._first_that_answers(as_service=as_service)
        try:
            yield connection
        finally:
            with suppress(LDAPException, OSError):
                connection.unbind()

    def _first_that_answers(self, *, as_service: bool) -> Connection:
        give_up_at = time.monotonic() + LONGEST_SEARCH_SECONDS
        reasons: list[str] = []
        for url in self.options.urls:
            if reasons and time.monotonic() >= give_up_at:
                break
            try:
                return self.connect(url, as_service=as_service)
            except DirectoryUnavailable as error:
                reasons.append(str(error))
        raise DirectoryUnavailable("; ".join(reasons))

    def connect(self, url: str, *, as_service: bool) -> Connection:
        """A connection to this address, over TLS as the options say.

        Raises:
            NotConnected: with the address and the reason.
        """
        options = self.options
        parts = urlsplit(url)
        secure = parts.scheme == "ldaps"
        host = parts.hostname or ""
        tls = _VerifyingTls(host, self._tls_context)
        server = Server(
            host,
            port=parts.port or (636 if secure else 389),
            use_ssl=secure,
            tls=tls,
            get_info=NONE,
            connect_timeout=options.timeout_seconds,
        )
        connection = Connection(
            server,
            client_strategy="SYNC",
            auto_referrals=False,
            check_names=False,
            # ldap3's own decoder falls over a referral in the answer to a password modification.
            fast_decoder=False,
            receive_timeout=options.timeout_seconds,
        )
        try:
            connection.open(read_server_info=False)
            if options.start_tls and not secure and not connection.start_tls(read_server_info=False):
                raise NotConnected(f"{url}: StartTLS was not taken", "tls")
            if as_service:
                result = self._bind(connection, options.bind_dn, options.bind_password.encode())
                if result["result"] != RESULT_SUCCESS:
                    raise NotConnected(f"{url}: the service account is not let in ({_code(result)})", "sign in")
        except NotConnected:
            _drop(connection)
            raise
        except Exception as error:  # noqa: BLE001 (as in _write)
            _drop(connection)
            why = tls.failure or connection.last_error or _kind(error)
            secured = tls.failure or isinstance(error, LDAPStartTLSError)
            raise NotConnected(f"{url}: {why}", "tls" if secured else "connect") from None
        return connection

    def _tls_context(self) -> ssl.SSLContext:
        """Made once: reading the system's authorities costs more than a connection."""
        if self._context is None:
            ca_file = self.options.ca_file
            self._context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        return self._context

    def _bind(self, connection: Connection, dn: str, password: bytes) -> Mapping[str, Any]:
        """The answer to a simple bind."""
        # As bytes: a text would be folded (SASLprep) and be another password than the one that was set.
        connection.user, connection.password = dn, password
        connection.authentication = SIMPLE
        try:
            connection.bind(read_server_info=False)
        except Exception as error:  # noqa: BLE001 (as in _write)
            raise DirectoryUnavailable(f"{self.name}: {_kind(error)}") from None
        finally:
            connection.password = None
        result: Mapping[str, Any] = connection.result
        return result


class _VerifyingTls(Tls):
    """TLS as Python does it by default: the chain, and the name or address that was asked for."""

    def __init__(self, host: str, context: Callable[[], ssl.SSLContext]) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._host, self._context = host, context
        self.failure = ""

    def wrap_socket(self, connection: Connection, do_handshake: bool = False) -> None:
        try:
            # A handshake is small messages to and fro: they must not be held back for fuller packets.
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.socket = self._context().wrap_socket(connection.socket, server_hostname=self._host)
        except (ssl.SSLError, OSError) as error:
            self.failure = f"TLS: {getattr(error, 'verify_message', '') or error}"
            raise


def _described(options: LdapOptions, entry: Entry) -> dict[str, list[str]]:
    """What an entry should say. What we do not know is left as it is."""
    full = f"{entry.given_name} {entry.family_name}".strip() or entry.username
    # `sn` and `cn` must not be empty in a person's entry (RFC 4519); a name of one word is the family name there.
    known = (
        (options.given_name, entry.given_name),
        (options.family_name, entry.family_name or entry.given_name or entry.username),
        (options.full_name, full),
        (options.email, entry.email),
    )
    return {name: [text] for names, text in known if text for name in names}


def _first(found: _Found, names: Sequence[str]) -> str:
    return next((value for name in names for value in found.attributes.get(name.lower(), ())), "")


def _texts(values: Sequence[bytes]) -> list[str]:
    return [value.decode("utf-8", "replace") for value in values]


def _policy(result: Mapping[str, Any]) -> Refusal | None:
    control = (result.get("controls") or {}).get(PASSWORD_POLICY)
    value = control.get("value") if control else None
    return policy_refusal(bytes(value)) if value else None


def _code(result: Mapping[str, Any]) -> str:
    message = said(str(result.get("message") or ""), secret="")
    return f"{result.get('description')} ({result.get('result')})" + (f": {message}" if message else "")


def _kind(error: Exception) -> str:
    return type(error).__name__


def _drop(connection: Connection) -> None:
    with suppress(Exception):  # whatever state the library left it in
        connection.strategy.close()
