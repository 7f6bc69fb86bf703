"""A real slapd: TLS, its password policy, rights, silence, standstill, and addresses that stand in for each other."""

from __future__ import annotations

import logging
import socket
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from external_accounts.directory import (
    Directory,
    DirectoryError,
    DirectoryReadOnly,
    DirectoryUnavailable,
    Entry,
    EntryMissing,
    PasswordRefused,
    Refusal,
)
from external_accounts.directory.ldap import PASSWORD_MODIFY, LdapDirectory
from tests.directory_server import (
    BASE,
    PEOPLE,
    READER,
    READER_PASSWORD,
    SERVICE_PASSWORD,
    DirectoryServer,
    StallingProxy,
)
from tests.external_accounts.directory.conftest import OpenDirectory
from tests.peers.programs import reserved_port
from tests.peers.tls import new_authority

ADA = Entry("ada", "Ada", "Lovelace", "ada@univ.example")
FIRST, SECOND = "une vieille horloge bleue", "sept violons dans la brume"
WRITES: dict[str, Callable[[Directory], None]] = {
    "save": lambda directory: directory.save(Entry("ada", "Augusta", "King", "ada@univ.example")),
    "set_password": lambda directory: directory.set_password("ada", SECOND),
    "write_choices": lambda directory: directory.write_choices("ada", {"forward_to": "a@mail.example"}),
}
READS: dict[str, Callable[[Directory], object]] = {
    "find": lambda directory: directory.find("ada"),
    "verify": lambda directory: directory.verify("ada", FIRST),
}


@pytest.fixture
def ada(open_directory: OpenDirectory) -> LdapDirectory:
    directory = open_directory()
    directory.save(ADA)
    directory.set_password("ada", FIRST)
    return directory


# TLS


def test_ldaps_verifies_the_certificate(slapd: DirectoryServer, open_directory: OpenDirectory) -> None:
    directory = open_directory(urls=(slapd.tls_url,), start_tls=False)
    directory.save(ADA)
    assert directory.find("ada") == ADA


@pytest.mark.parametrize("scheme", ["ldaps", "starttls"])
def test_a_certificate_of_an_unknown_authority_is_refused(
    tmp_path: Path, slapd: DirectoryServer, open_directory: OpenDirectory, scheme: str
) -> None:
    other = new_authority(tmp_path / "other")
    urls = (slapd.tls_url,) if scheme == "ldaps" else (slapd.url,)
    directory = open_directory(urls=urls, start_tls=scheme == "starttls", ca_file=other.ca_file)
    with pytest.raises(DirectoryUnavailable, match="TLS: self-signed certificate in certificate chain"):
        directory.find("ada")


def test_a_certificate_for_another_name_is_refused(slapd: DirectoryServer, open_directory: OpenDirectory) -> None:
    with StandIn(slapd.tls_port) as port, pytest.raises(DirectoryUnavailable, match="TLS: IP address mismatch"):
        open_directory(urls=(f"ldaps://127.0.0.2:{port}",), start_tls=False).find("ada")


class StandIn:
    """A server that answers at 127.0.0.2, with the certificate of 127.0.0.1."""

    def __init__(self, target: int) -> None:
        self._proxy = StallingProxy(target, host="127.0.0.2")

    def __enter__(self) -> int:
        return self._proxy.port

    def __exit__(self, *_error: object) -> None:
        self._proxy.close()


def test_a_server_without_starttls_gets_no_password(open_directory: OpenDirectory) -> None:
    """It answers that it cannot: the service account's password must not follow in the clear."""
    heard: list[bytes] = []
    refusal = bytes.fromhex("300c02010178070a01020400040000")[:14]
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            client, _ = listener.accept()
            heard.append(client.recv(4096))
            client.sendall(refusal)
            while data := client.recv(4096):
                heard.append(data)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with pytest.raises(DirectoryUnavailable):
            open_directory(urls=(f"ldap://127.0.0.1:{listener.getsockname()[1]}",)).find("ada")
        thread.join(20)
    assert SERVICE_PASSWORD.encode() not in b"".join(heard)


# The password policy


@pytest.mark.parametrize(("password", "reason"), [("thirteen sign", Refusal.TOO_SHORT), (FIRST, Refusal.USED_BEFORE)])
def test_the_policys_refusal_says_why(ada: LdapDirectory, password: str, reason: Refusal) -> None:
    with pytest.raises(PasswordRefused) as refused:
        ada.set_password("ada", password)
    assert refused.value.reason is reason
    assert refused.value.words
    assert ada.verify("ada", FIRST)


# Rights, and a server that takes no changes


def test_an_account_that_may_only_look_changes_nothing(ada: LdapDirectory, open_directory: OpenDirectory) -> None:
    reader = open_directory(bind_dn=READER, bind_password=READER_PASSWORD)
    assert reader.find("ada") == ADA  # it may not see whether there is a password
    for write in WRITES.values():
        with pytest.raises(DirectoryReadOnly, match="insufficientAccessRights"):
            write(reader)
    with pytest.raises(DirectoryReadOnly):
        reader.save(Entry("new", "N", "New"))
    assert (ada.find("ada"), ada.verify("ada", FIRST)) == (_with_password(ADA), True)


def test_a_server_that_is_read_only_changes_nothing(ada: LdapDirectory, restarted: DirectoryServer) -> None:
    restarted.stop()
    restarted.start(read_only=True)
    for write in WRITES.values():
        with pytest.raises(DirectoryReadOnly):
            write(ada)
    assert ada.find("ada") == _with_password(ADA)
    assert ada.verify("ada", FIRST)


def test_a_replicas_referral_is_not_followed(ada: LdapDirectory, restarted: DirectoryServer) -> None:
    """The address it names listens, and hears nothing."""
    with socket.create_server(("127.0.0.1", 0)) as named:
        named.settimeout(0.2)
        restarted.stop()
        restarted.start(referral=f"ldap://127.0.0.1:{named.getsockname()[1]}")
        for write in WRITES.values():
            with pytest.raises(DirectoryReadOnly, match="referral"):
                write(ada)
        with pytest.raises(TimeoutError):
            named.accept()
    assert ada.verify("ada", FIRST)


def test_where_no_entries_are_made_an_unknown_one_is_missing(ada: LdapDirectory, open_directory: OpenDirectory) -> None:
    directory = open_directory(create=False)
    with pytest.raises(EntryMissing):
        directory.save(Entry("new", "N", "New"))
    directory.save(Entry("ada", "Augusta", "King"))
    assert directory.find("ada") == Entry("ada", "Augusta", "King", ADA.email, has_password=True)


def test_where_entries_should_stand_is_not_there(open_directory: OpenDirectory) -> None:
    with pytest.raises(EntryMissing):
        open_directory(create_under=f"ou=nowhere,{PEOPLE}").save(ADA)


def test_an_entry_the_filter_hides_is_not_written_to(slapd: DirectoryServer, open_directory: OpenDirectory) -> None:
    with slapd.admin() as admin:
        admin.add(f"uid=ada,{PEOPLE}", ["account"], {"uid": "ada"})
    with pytest.raises(DirectoryReadOnly, match="user_filter does not find"):
        open_directory().save(ADA)


def test_two_entries_of_one_name_are_a_matter_for_a_human(slapd: DirectoryServer, ada: LdapDirectory) -> None:
    with slapd.admin() as admin:
        admin.add(f"cn=twin,{PEOPLE}", ["inetOrgPerson"], {"uid": "ada", "cn": "twin", "sn": "Twin"})
    for act in [*WRITES.values(), *READS.values()]:
        with pytest.raises(DirectoryReadOnly, match="2 entries have the same uid"):
            act(ada)


# A server that is not there, silent, or has another one beside it


@pytest.mark.parametrize("act", [*WRITES, *READS])
def test_a_stopped_server_is_unavailable_and_comes_back(
    ada: LdapDirectory, restarted: DirectoryServer, act: str
) -> None:
    restarted.stop()
    with pytest.raises(DirectoryUnavailable) as unavailable:
        (WRITES | READS)[act](ada)
    assert not unavailable.value.may_have_arrived
    restarted.start()
    assert ada.verify("ada", FIRST)


@pytest.mark.parametrize("act", [*WRITES, *READS])
@pytest.mark.parametrize("stage", ["at once", "during TLS"])
def test_a_silent_server_is_given_up_and_nothing_was_changed(
    proxy: StallingProxy, ada: LdapDirectory, open_directory: OpenDirectory, act: str, stage: str
) -> None:
    slow = open_directory(urls=(f"ldap://127.0.0.1:{proxy.port}",), timeout_seconds=1)
    proxy.stall_after = 0 if stage == "at once" else 40
    with pytest.raises(DirectoryUnavailable) as unavailable:
        (WRITES | READS)[act](slow)
    assert not unavailable.value.may_have_arrived
    assert ada.find("ada") == _with_password(ADA)
    assert ada.verify("ada", FIRST)
    proxy.stall_after = None
    assert slow.verify("ada", FIRST)


def test_a_write_whose_answer_is_lost_may_have_arrived(
    proxy: StallingProxy, ada: LdapDirectory, open_directory: OpenDirectory
) -> None:
    """In the clear, so that the proxy can tell the moment."""
    slow = open_directory(urls=(f"ldap://127.0.0.1:{proxy.port}",), start_tls=False, timeout_seconds=1)
    proxy.silent_after = PASSWORD_MODIFY.encode()
    with pytest.raises(DirectoryUnavailable) as unavailable:
        slow.set_password("ada", SECOND)
    assert unavailable.value.may_have_arrived
    assert ada.verify("ada", SECOND)


def test_the_next_address_is_taken_when_the_first_does_not_answer(
    slapd: DirectoryServer, proxy: StallingProxy, open_directory: OpenDirectory
) -> None:
    proxy.stall_after = 0
    with reserved_port() as nobody:
        urls = (f"ldap://127.0.0.1:{nobody}", f"ldap://127.0.0.1:{proxy.port}", slapd.url)
        directory = open_directory(urls=urls, timeout_seconds=1)
        directory.save(ADA)
        assert directory.find("ada") == ADA


def test_a_write_that_was_sent_is_not_sent_to_the_next_address(
    slapd: DirectoryServer, proxy: StallingProxy, ada: LdapDirectory, open_directory: OpenDirectory
) -> None:
    """The policy keeps a history: the same password twice would be refused, although it was set."""
    proxy.silent_after = PASSWORD_MODIFY.encode()
    urls = (f"ldap://127.0.0.1:{proxy.port}", slapd.url)
    with pytest.raises(DirectoryUnavailable):
        open_directory(urls=urls, start_tls=False, timeout_seconds=1).set_password("ada", SECOND)


def test_a_service_account_that_is_not_let_in_is_said(open_directory: OpenDirectory) -> None:
    with pytest.raises(DirectoryUnavailable, match="the service account is not let in"):
        open_directory(bind_password="not it").find("ada")


def test_a_base_that_is_not_there_has_nobody(open_directory: OpenDirectory) -> None:
    assert open_directory(base=f"ou=nowhere,{BASE}").find("ada") is None


# Secrets


def test_no_password_is_in_an_error_or_a_log(
    slapd: DirectoryServer,
    proxy: StallingProxy,
    ada: LdapDirectory,
    open_directory: OpenDirectory,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "hunter2 hunter2 hunter2"
    proxy.silent_after = PASSWORD_MODIFY.encode()
    slow = open_directory(urls=(f"ldap://127.0.0.1:{proxy.port}",), start_tls=False, timeout_seconds=1)
    reader = open_directory(bind_dn=READER, bind_password=READER_PASSWORD)
    told = [repr(slow.options), repr(reader.options)]
    attempts = ((slow, secret), (reader, secret), (ada, "hunter2"), (open_directory(bind_password=secret), secret))
    for directory, password in attempts:
        try:
            directory.set_password("ada", password)
        except DirectoryError as error:
            told.append("".join(traceback.format_exception(error)) + repr(vars(error)))
        else:
            raise AssertionError("nothing was refused")
    told += [record.getMessage() for record in caplog.records]
    for text in told:
        assert "hunter2" not in text
        assert SERVICE_PASSWORD not in text
        assert READER_PASSWORD not in text


def _with_password(entry: Entry) -> Entry:
    return Entry(entry.username, entry.given_name, entry.family_name, entry.email, has_password=True)
