"""D19: bounces read from a mailbox, on a real IMAP server over TLS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from external_accounts import outbox
from external_accounts.schema import Address, OutboxMail
from tests.bridge_under_test import BridgeUnderTest, running_bridge
from tests.lms_bridge.mail import returned
from tests.peers.imap_server import PASSWORD, USER, ImapServer, running_imap_server
from tests.peers.tls import Authority

ADA = "ext.ada@mail.example"


@pytest.fixture
def mailbox(authority: Authority) -> Iterator[ImapServer]:
    with running_imap_server(authority) as server:
        yield server


@contextmanager
def reading_bridge(
    path: Path, mailbox: ImapServer, authority: Authority, **imap: Any
) -> Iterator[tuple[BridgeUnderTest, OutboxMail]]:
    """A bridge that reads the mailbox, and a mail of it that a server has taken."""
    settings = {"host": "127.0.0.1", "port": 9, "security": "none", "sender": "noreply@univ.example"}
    settings["bounce_imap"] = {
        "host": "localhost", "port": mailbox.port, "username": USER, "password": PASSWORD, "timeout": 5,
        "ca_file": str(authority.ca_file), **imap,
    }  # fmt: skip
    with running_bridge(path, mail=settings) as bridge:
        bridge.add_account()
        now = bridge.clock()
        with bridge.runtime.database.begin() as session:
            mail = outbox.enqueue(session, "confirm_address", ADA, locale="fr", now=now, mail_domain="b.example")
            outbox.delivered(mail, now)
        yield bridge, mail


def confirmed(bridge: BridgeUnderTest) -> bool:
    with bridge.runtime.database.read() as session:
        return session.scalars(select(Address)).one().confirmed_at is not None


def test_d19_a_report_in_the_mailbox_counts_and_is_marked_read(
    tmp_path: Path, mailbox: ImapServer, authority: Authority
) -> None:
    with reading_bridge(tmp_path, mailbox, authority) as (bridge, mail):
        mailbox.put(returned.postfix(mail.message_id, ADA), "1.mx")
        mailbox.put(returned.out_of_office(mail.message_id, ADA), "2.mx")
        bridge.runner.run_once()
        assert not confirmed(bridge)
        assert (mailbox.flags("1.mx"), mailbox.flags("2.mx")) == ("S", "S")


def test_a_message_that_cannot_be_read_is_flagged_for_people_and_holds_nothing_up(
    tmp_path: Path, mailbox: ImapServer, authority: Authority
) -> None:
    with reading_bridge(tmp_path, mailbox, authority) as (bridge, mail):
        mailbox.put(b"\xff\xfe no header at all", "0.mx")
        mailbox.put(returned.postfix(mail.message_id, ADA), "1.mx")
        bridge.runner.run_once()
        assert not confirmed(bridge)
        assert mailbox.flags("0.mx") == "FS"


def test_one_process_looks_into_the_mailbox_at_a_time_and_again_a_minute_later(
    tmp_path: Path, mailbox: ImapServer, authority: Authority
) -> None:
    with reading_bridge(tmp_path, mailbox, authority) as (bridge, mail):
        bridge.runner.run_once()
        mailbox.put(returned.postfix(mail.message_id, ADA), "1.mx")
        bridge.runner.run_once()
        assert confirmed(bridge)
        bridge.clock.forward(minutes=1)
        bridge.runner.run_once()
        assert not confirmed(bridge)


@pytest.mark.parametrize("wrong", [{"password": "no"}, {"folder": "Nowhere"}, {"ca_file": None}, {"port": 9}])
def test_a_mailbox_that_cannot_be_read_stops_nothing(
    tmp_path: Path, mailbox: ImapServer, authority: Authority, wrong: dict[str, Any]
) -> None:
    with reading_bridge(tmp_path, mailbox, authority, **wrong) as (bridge, mail):
        mailbox.put(returned.postfix(mail.message_id, ADA), "1.mx")
        bridge.runner.run_once()
        assert confirmed(bridge)
        assert mailbox.flags("1.mx") == ""
