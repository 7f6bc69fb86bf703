"""`lms-bridge mail …` beside a running bridge (D20)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from external_accounts import outbox
from external_accounts.schema import AuditEvent, OutboxMail
from tests.bridge_under_test import BridgeUnderTest, Clock, running_bridge, settings_values
from tests.peers.mail_server import MailServer, running_mail_server
from tests.peers.programs import reserved_port
from tests.served_bridge import to_toml

LMS_BRIDGE = Path(sys.executable).parent / "lms-bridge"


@dataclass
class Office:
    bridge: BridgeUnderTest
    server: MailServer
    config: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [LMS_BRIDGE, "--config", self.config, "mail", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    def status(self) -> Any:
        return json.loads(self.run("status", "--json").stdout)

    def send(self, *recipients: str) -> list[int]:
        """Mails that the runner has offered once."""
        with self.bridge.runtime.database.begin() as session:
            now = self.bridge.clock()
            mails = [
                outbox.enqueue(session, "test", recipient, locale="fr", now=now, mail_domain="b.example")
                for recipient in recipients
            ]
            session.flush()
            ids = [mail.id for mail in mails]
        self.bridge.runner.run_once()
        return ids

    def states(self) -> list[str]:
        with self.bridge.runtime.database.read() as session:
            return list(session.scalars(select(OutboxMail.state).order_by(OutboxMail.id)))


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with reserved_port() as port, running_mail_server(port) as server:
        mail = {"host": "127.0.0.1", "port": port, "security": "none", "sender": "noreply@univ.example"}
        with running_bridge(tmp_path, mail=mail, clock=Clock()) as bridge:
            values = settings_values(tmp_path, public_url=bridge.url, mail=mail)
            config = tmp_path / "operator.toml"
            config.write_text(to_toml(values), encoding="utf-8")
            yield Office(bridge, server, config)


def answer_by_domain(address: str) -> str:
    domain = address.partition("@")[2]
    return {"no.example": f"550 5.1.1 <{address}> unknown", "later.example": "451 4.7.1 Greylisted"}.get(
        domain, "250 OK"
    )


def test_d20_the_status_counts_by_domain_and_says_what_each_server_said(office: Office) -> None:
    office.server.to_recipient = answer_by_domain
    office.send("a@yes.example", "b@yes.example", "c@no.example", "d@no.example", "ada@no.example", "f@later.example")
    status = office.status()["7d"]
    assert status["all"]["sent"] == 2
    assert status["domains"]["yes.example"]["flags"] == []
    assert status["domains"]["no.example"]["failed"] == 3
    assert status["domains"]["no.example"]["flags"] == ["refuses"]
    assert status["domains"]["no.example"]["last_error"] == "550 5.1.1 <a•••@no.example> unknown"
    assert (status["domains"]["later.example"]["waiting"], status["domains"]["later.example"]["deferred"]) == (1, 1)
    shown = office.run("status").stdout
    assert "Waiting: 1, of them tried in vain: 1, the oldest since " in shown
    assert "Last 24h: 2 sent, 0 bounced, 3 failed, 0 expired" in shown
    assert "refuses" in shown
    assert "ada@" not in shown


def test_a_day_and_a_week_are_told_apart(office: Office) -> None:
    office.bridge.clock.forward(days=-2)
    office.send("a@yes.example")
    status = office.status()
    assert (status["24h"]["all"]["sent"], status["7d"]["all"]["sent"]) == (0, 1)


def test_the_status_of_an_empty_outbox_is_shown_too(office: Office) -> None:
    assert office.run("status").stdout.startswith("Waiting: 0, of them tried in vain: 0\n")


def test_what_a_domain_refused_is_sent_again_when_it_lets_us(office: Office) -> None:
    office.server.to_recipient = lambda address: "550 5.7.1 blocked" if "blocks" in address else "250 OK"
    office.send("a@blocks.example", "b@blocks.example", "c@yes.example", "d@notblocks.example")
    assert office.states() == ["failed", "failed", "sent", "failed"]
    office.server.to_recipient = lambda _: "250 OK"
    done = office.run("retry", "--domain", "blocks.example")
    assert done.stdout == "2 to be sent again, by the next round of the background work.\n"
    office.bridge.clock.forward(minutes=1)
    office.bridge.runner.run_once()
    assert office.states() == ["sent", "sent", "sent", "failed"]
    with office.bridge.runtime.database.read() as session:
        [actor] = set(session.scalars(select(AuditEvent.actor).where(AuditEvent.event == "mail.retried")))
        assert actor.startswith("cli:")


def test_one_mail_is_sent_again_by_its_id(office: Office) -> None:
    office.server.to_recipient = lambda _: "550 5.7.1 blocked"
    first, _ = office.send("a@blocks.example", "b@blocks.example")
    office.server.to_recipient = lambda _: "250 OK"
    assert office.run("retry", str(first)).returncode == 0
    office.bridge.clock.forward(minutes=1)
    office.bridge.runner.run_once()
    assert office.states() == ["sent", "failed"]


@pytest.mark.parametrize(
    "words", [(), ("1", "--domain", "x.example"), ("4711",), ("--domain", "nowhere.example"), ("1",)]
)
def test_a_retry_of_nothing_is_refused(office: Office, words: tuple[str, ...]) -> None:
    office.send("a@yes.example")  # sent: nothing to do again
    assert office.run("retry", *words).returncode == 2


def test_a_test_mail_goes_out_at_once_and_the_server_s_word_is_shown(office: Office) -> None:
    office.server.to_content = lambda _: "250 2.0.0 queued as 4C2F31C0"
    done = office.run("test", "admin@univ.example")
    assert done.returncode == 0, done.stderr
    assert "took the mail to a•••@univ.example: 250 2.0.0 queued as 4C2F31C0" in done.stdout
    [message] = office.server.accepted
    assert message["Subject"] == "UT – message d'essai"
    assert str(message["Message-ID"]) in done.stdout
    assert office.states() == []


def test_a_test_mail_in_english(office: Office) -> None:
    office.run("test", "admin@univ.example", "--lang", "en")
    assert office.server.accepted[0]["Subject"].endswith("test message")


@pytest.mark.parametrize(
    ("stage", "answer"),
    [("to_sender", "550 5.7.1 not you"), ("to_recipient", "550 5.1.1 no"), ("to_content", "554 5.6.0 no")],
)
def test_a_refused_test_mail_says_why(office: Office, stage: str, answer: str) -> None:
    setattr(office.server, stage, lambda _: answer)
    done = office.run("test", "admin@univ.example")
    assert done.returncode == 4
    assert f"did not take it: {answer}" in done.stderr


def test_a_test_mail_without_a_server_says_so(office: Office, tmp_path: Path) -> None:
    office.config.write_text(office.config.read_text().replace(f"port = {office.server.port}", "port = 9"))
    done = office.run("test", "admin@univ.example")
    assert done.returncode == 4
    assert "127.0.0.1:9 did not take it" in done.stderr


def test_a_test_mail_to_what_is_no_address_is_refused(office: Office) -> None:
    assert office.run("test", "not an address").returncode == 2
