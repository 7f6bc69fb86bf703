"""The confirmation mail at a real SMTP server: as it arrives, and when the server does not want it now, or ever."""

from __future__ import annotations

import re
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, timedelta
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from external_accounts import outbox
from external_accounts.schema import OutboxMail
from tests.bridge_under_test import APP, BridgeUnderTest, Browser, forms, running_bridge, ticket_in
from tests.peers.mail_server import MailServer, running_mail_server
from tests.peers.programs import reserved_port
from tests.peers.tls import Authority

ADA = "ext.ada@mail.example"


@pytest.fixture
def port() -> Iterator[int]:
    with reserved_port() as free:
        yield free


@contextmanager
def bridge_with_mail(folder: Path, port: int, **mail: Any) -> Iterator[BridgeUnderTest]:
    settings = {
        "host": "127.0.0.1", "port": port, "security": "none", "sender": "noreply@univ.example", "timeout": 2, **mail,
    }  # fmt: skip
    with running_bridge(folder, mail=settings) as bridge:
        yield bridge


@pytest.fixture
def bridge(tmp_path: Path, port: int) -> Iterator[BridgeUnderTest]:
    """A bridge that sends its mail to `port`."""
    with bridge_with_mail(tmp_path, port) as running:
        yield running


@pytest.fixture
def server(port: int) -> Iterator[MailServer]:
    with running_mail_server(port) as running:
        yield running


def ask_for_the_mail(bridge: BridgeUnderTest, username: str = "ext.ada") -> Browser:
    """An unconfirmed learner signs in, reads what stands in the way, and presses the button."""
    bridge.add_account(username, confirmed=False)
    browser = bridge.browser()
    browser.sign_in(username, service=APP)
    [number] = [n for n, (action, _, _) in enumerate(forms(browser.page)) if action.startswith("/account/confirm")]
    assert browser.submit(number).status_code == 200
    return browser


def rows(bridge: BridgeUnderTest) -> list[OutboxMail]:
    with bridge.runtime.database.read() as session:
        return list(session.scalars(select(OutboxMail).order_by(OutboxMail.id)))


def part(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    assert body is not None
    text: str = body.get_content()
    return text.replace("\r\n", "\n")


def link_in(text: str) -> str:
    found = re.search(r"https?://\S+/account/confirm/[^\s\"<]+", text)
    assert found, text
    return found.group()


def test_the_mail_arrives_with_the_headers_mail_systems_look_at(bridge: BridgeUnderTest, server: MailServer) -> None:
    ask_for_the_mail(bridge)
    bridge.runner.run_once()
    [message] = server.accepted
    assert server.envelopes == [("noreply@univ.example", [ADA])]
    assert message["To"] == ADA
    assert message["From"].addresses[0].addr_spec == "noreply@univ.example"
    assert message["Reply-To"] == "aide@univ.example"
    assert message["Auto-Submitted"] == "auto-generated"
    assert re.fullmatch(r"<[0-9a-f]{32}@[a-z0-9.-]+>", message["Message-ID"])
    assert parsedate_to_datetime(message["Date"]) == bridge.clock()
    assert message["Content-Language"] == "fr"
    assert "Appli" in message["Subject"]


def test_the_mail_says_the_same_in_text_and_in_html(bridge: BridgeUnderTest, server: MailServer) -> None:
    ask_for_the_mail(bridge)
    bridge.runner.run_once()
    [message] = server.accepted
    assert message.get_content_type() == "multipart/alternative"
    text, html = part(message, "plain"), part(message, "html")
    assert "Bonjour Ada Lovelace" in text
    assert link_in(text) == link_in(html)
    [code] = re.findall(r"^\w{4}-\w{4}$", text, re.MULTILINE)
    assert code in html


def test_the_mail_loads_nothing_from_anywhere(bridge: BridgeUnderTest, server: MailServer) -> None:
    ask_for_the_mail(bridge)
    bridge.runner.run_once()
    html = part(server.accepted[0], "html")
    assert not re.search(r"<(img|link|script|iframe|object|base)\b|\ssrc=|url\(|@import", html, re.IGNORECASE)
    assert set(re.findall(r'href="(\w+:)', html)) <= {"http:", "mailto:"}


def test_the_mail_states_its_exact_deadline(bridge: BridgeUnderTest, server: MailServer) -> None:
    ask_for_the_mail(bridge)
    bridge.runner.run_once()
    ends = (bridge.clock() + timedelta(hours=24)).astimezone(ZoneInfo("Europe/Paris"))
    blanks = str.maketrans("\u00a0\u202f", "  ")
    for kind in ("plain", "html"):
        said = " ".join(part(server.accepted[0], kind).replace("&nbsp;", " ").translate(blanks).split())
        assert f"{ends.year} à {ends.hour} h {ends.minute:02d}, heure de Paris" in said


def test_the_link_of_the_mail_opens_the_way_to_the_application(bridge: BridgeUnderTest, server: MailServer) -> None:
    browser = ask_for_the_mail(bridge)
    bridge.runner.run_once()
    elsewhere = bridge.browser()
    elsewhere.get(link_in(part(server.accepted[0], "plain")))
    assert elsewhere.submit().status_code == 200
    assert ticket_in(browser.get("/cas/login", params={"service": APP}, follow=False))


def test_a_greylisted_mail_is_offered_again_later_and_stays_the_same_mail(
    bridge: BridgeUnderTest, server: MailServer
) -> None:
    ask_for_the_mail(bridge)
    server.to_content = lambda _: "451 4.7.1 Greylisted, come back later"
    bridge.runner.run_once()
    bridge.runner.run_once()
    assert len(server.seen_ids) == 1  # not before its time
    server.to_content = lambda _: "250 OK"
    bridge.clock.forward(seconds=20)
    bridge.runner.run_once()
    bridge.clock.forward(hours=1)
    bridge.runner.run_once()
    assert len(server.accepted) == 1
    assert len(server.seen_ids) == 2
    assert len(set(server.seen_ids)) == 1
    assert rows(bridge)[0].state == "sent"


def test_greylisting_of_the_recipient_is_no_final_refusal_either(bridge: BridgeUnderTest, server: MailServer) -> None:
    ask_for_the_mail(bridge)
    server.to_recipient = lambda _: "450 4.2.0 Greylisted"
    bridge.runner.run_once()
    server.to_recipient = lambda _: "250 OK"
    bridge.clock.forward(seconds=20)
    bridge.runner.run_once()
    assert len(server.accepted) == 1


@pytest.mark.parametrize("stage", ["to_recipient", "to_content"])
def test_a_final_refusal_is_kept_for_people_to_see_and_not_tried_again(
    bridge: BridgeUnderTest, server: MailServer, stage: str
) -> None:
    ask_for_the_mail(bridge)
    setattr(server, stage, lambda _: "550 5.1.1 No such user here")
    bridge.runner.run_once()
    tried = len(server.tried)
    bridge.clock.forward(hours=12)
    bridge.runner.run_once()
    assert len(server.tried) == tried == 1
    [row] = rows(bridge)
    assert row.state == "failed"
    assert "550 5.1.1 No such user here" in row.last_error


def test_a_refused_mail_does_not_hold_up_the_others(bridge: BridgeUnderTest, server: MailServer) -> None:
    for username in ("ext.bad", "ext.ada", "ext.bob"):
        ask_for_the_mail(bridge, username)
    server.to_recipient = lambda address: "550 no" if address.startswith("ext.bad") else "250 OK"
    bridge.runner.run_once()
    assert sorted(message["To"] for message in server.accepted) == [ADA, "ext.bob@mail.example"]


def test_a_mail_the_server_hangs_up_on_does_not_hold_up_the_others(bridge: BridgeUnderTest, server: MailServer) -> None:
    for username in ("ext.bad", "ext.ada", "ext.bob"):
        ask_for_the_mail(bridge, username)
    server.to_content = lambda address: "hang up" if address.startswith("ext.bad") else "250 OK"
    for _ in range(4):
        bridge.runner.run_once()
        bridge.clock.forward(minutes=2)
    assert sorted(message["To"] for message in server.accepted) == [ADA, "ext.bob@mail.example"]


def test_a_mail_this_version_cannot_write_does_not_hold_up_the_others(
    bridge: BridgeUnderTest, server: MailServer
) -> None:
    with bridge.runtime.database.begin() as session:
        outbox.enqueue(session, "of_a_newer_version", ADA, locale="fr", now=bridge.clock(), mail_domain="univ.example")
    ask_for_the_mail(bridge, "ext.bob")
    bridge.runner.run_once()
    assert [message["To"] for message in server.accepted] == ["ext.bob@mail.example"]
    assert [row.state for row in rows(bridge)] == ["pending", "sent"]


def test_a_mail_that_breaks_the_mail_library_does_not_hold_up_the_others(
    bridge: BridgeUnderTest, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = smtplib.SMTP.send_message

    def break_for_ada(self: smtplib.SMTP, message: EmailMessage, *args: Any, **options: Any) -> Any:
        if message["To"] == ADA:
            raise UnicodeError("as a library may")
        return send(self, message, *args, **options)

    monkeypatch.setattr(smtplib.SMTP, "send_message", break_for_ada)
    ask_for_the_mail(bridge)
    ask_for_the_mail(bridge, "ext.bob")
    bridge.runner.run_once()
    assert [row.state for row in rows(bridge)] == ["pending", "sent"]
    assert rows(bridge)[0].attempts == 1


def test_i8_a_mail_server_that_is_down_loses_no_mail_and_gets_each_once(bridge: BridgeUnderTest, port: int) -> None:
    ask_for_the_mail(bridge)
    ask_for_the_mail(bridge, "ext.bob")
    for _ in range(5):
        bridge.runner.run_once()
        bridge.clock.forward(minutes=30)
    assert [row.state for row in rows(bridge)] == ["pending", "pending"]
    with running_mail_server(port) as server:
        for _ in range(3):
            bridge.runner.run_once()
            bridge.clock.forward(minutes=30)
        assert sorted(message["To"] for message in server.accepted) == [ADA, "ext.bob@mail.example"]


def test_the_request_that_asks_for_a_mail_does_not_wait_for_the_mail_server(bridge: BridgeUnderTest) -> None:
    ask_for_the_mail(bridge)  # nobody listens on the port, and the page came all the same (I3)
    assert [row.attempts for row in rows(bridge)] == [0]


def test_a_mail_whose_link_is_over_is_not_sent_any_more(bridge: BridgeUnderTest, port: int) -> None:
    ask_for_the_mail(bridge)
    bridge.runner.run_once()
    bridge.clock.forward(hours=48)
    with running_mail_server(port) as server:
        bridge.runner.run_once()
        assert server.seen_ids == []
    assert [row.state for row in rows(bridge)] == ["expired"]


def tls_context(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority.certificate, authority.key)
    return context


def test_mail_leaves_encrypted_and_with_a_password_when_settings_say_so(
    tmp_path: Path, port: int, authority: Authority
) -> None:
    login = {"username": "bridge", "password": "s3cret", "ca_file": str(authority.ca_file)}
    with (
        running_mail_server(port, tls=tls_context(authority), login=("bridge", "s3cret")) as server,
        bridge_with_mail(tmp_path, port, security="starttls", **login) as bridge,
    ):
        ask_for_the_mail(bridge)
        bridge.runner.run_once()
        assert len(server.accepted) == 1


def test_no_mail_goes_to_a_server_whose_certificate_nobody_vouches_for(
    tmp_path: Path, port: int, authority: Authority
) -> None:
    with (
        running_mail_server(port, tls=tls_context(authority)) as server,
        bridge_with_mail(tmp_path, port, security="starttls") as bridge,
    ):
        ask_for_the_mail(bridge)
        bridge.runner.run_once()
        assert server.tried == []
        [row] = rows(bridge)
        assert row.state == "pending"
        assert "certificate" in row.last_error.lower()


def test_no_mail_leaves_in_clear_when_starttls_is_set_and_not_offered(
    tmp_path: Path, port: int, server: MailServer
) -> None:
    with bridge_with_mail(tmp_path, port, security="starttls") as bridge:
        ask_for_the_mail(bridge)
        bridge.runner.run_once()
        assert server.tried == []
        assert rows(bridge)[0].state == "pending"


@pytest.mark.filterwarnings("ignore:Requiring AUTH")  # aiosmtpd is right, and the test server is on loopback
def test_a_wrong_mail_password_is_no_reason_to_drop_mail(tmp_path: Path, port: int) -> None:
    with (
        running_mail_server(port, login=("bridge", "right")) as server,
        bridge_with_mail(tmp_path, port, username="bridge", password="wrong") as bridge,
    ):
        ask_for_the_mail(bridge)
        bridge.runner.run_once()
        assert server.tried == []
        [row] = rows(bridge)
        assert row.state == "pending"
        assert "wrong" not in row.last_error
        assert row.due_at.astimezone(UTC) > bridge.clock()
