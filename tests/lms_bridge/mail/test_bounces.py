"""D19: a mail that came back is written down, and the gate closes on an address that is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from external_accounts import audit, outbox
from external_accounts.bounces import Patience, Refusal, Severity, note_bounce
from external_accounts.schema import Address, AuditEvent, OutboxMail
from lms_bridge.mail.return_path import envelope_sender, mail_named_by
from tests.bridge_under_test import APP, BridgeUnderTest, running_bridge
from tests.lms_bridge.mail import returned
from tests.peers.mail_server import MailServer, running_mail_server
from tests.peers.programs import reserved_port

ADA = "ext.ada@mail.example"
RETURNS = "retours@univ.example"


@dataclass
class Post:
    """A bridge, its mail server, and the folder that undeliverable mail comes back to."""

    bridge: BridgeUnderTest
    server: MailServer
    folder: Path

    def send(self, recipient: str = ADA) -> OutboxMail:
        """A mail that the server has taken."""
        clock = self.bridge.clock
        with self.bridge.runtime.database.begin() as session:
            context = {"link": "x", "deadline": "x"}
            mail = outbox.enqueue(
                session,
                "confirm_address",
                recipient,
                locale="fr",
                now=clock(),
                mail_domain="b.example",
                context=context,
            )
        self.bridge.runner.run_once()
        return self.row(mail.id)

    def row(self, mail_id: int) -> OutboxMail:
        with self.bridge.runtime.database.read() as session:
            return session.get_one(OutboxMail, mail_id)

    def comes_back(self, raw: bytes, name: str = "1.mail") -> None:
        (self.folder / name).write_bytes(raw)
        self.bridge.runner.run_once()

    def address(self) -> Address:
        with self.bridge.runtime.database.read() as session:
            return session.scalars(select(Address)).one()

    def is_admitted(self) -> bool:
        browser = self.bridge.browser()
        browser.sign_in("ext.ada")
        answer = browser.get("/cas/login", params={"service": APP}, follow=False)
        return answer.is_redirect and "ticket=" in answer.headers["Location"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Post]]:
    with ExitStack() as stack:

        def begin(**settings: Any) -> Post:
            port = stack.enter_context(reserved_port())
            server = stack.enter_context(running_mail_server(port))
            folder = tmp_path / "returns"
            folder.mkdir()
            mail = {"host": "127.0.0.1", "port": port, "security": "none", "sender": "noreply@univ.example"}
            mail |= {"bounce_folder": str(folder), **settings}
            bridge = stack.enter_context(running_bridge(tmp_path, mail=mail))
            bridge.add_account()
            return Post(bridge, server, folder)

        yield begin


@pytest.fixture
def post(start: Callable[..., Post]) -> Post:
    return start()


def test_d19_a_mailbox_that_is_not_there_loses_its_confirmation_and_the_gate_closes(post: Post) -> None:
    assert post.is_admitted()
    mail = post.send()
    post.comes_back(returned.postfix(mail.message_id, ADA))
    after = post.row(mail.id)
    assert (after.state, after.bounce_status, after.bounced_at) == ("bounced", "5.1.1", post.bridge.clock())
    address = post.address()
    assert (address.confirmed_at, address.lost_reason) == (None, "bounce")
    assert not post.is_admitted()
    with post.bridge.runtime.database.read() as session:
        by_job = select(AuditEvent).where(AuditEvent.actor == "job:read_bounces")
        events = {event.event: event.outcome for event in session.scalars(by_job)}
    assert events == {"mail.bounced": "no such mailbox", "address.lost": "bounce"}


@pytest.mark.parametrize("sample", [returned.exchange, returned.exim, returned.qmail])
def test_other_servers_reports_count_the_same(post: Post, sample: Callable[[str, str], bytes]) -> None:
    post.comes_back(sample(post.send().message_id, ADA))
    assert post.address().lost_reason == "bounce"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("5.2.2", "552 5.2.2 mailbox full"),
        ("5.7.1", "550 5.7.1 blocked by policy"),
        ("4.4.1", "450 4.4.1 no route"),
        ("5.0.0", "552 5.2.2 over quota"),
    ],
)
def test_a_refusal_that_is_not_about_the_mailbox_is_noted_only(post: Post, status: str, words: str) -> None:
    mail = post.send()
    post.comes_back(returned.postfix(mail.message_id, ADA, status=status, words=words))
    after = post.row(mail.id)
    assert after.state == "sent"
    assert after.bounce_status in words
    assert post.is_admitted()


def test_other_final_refusals_take_the_confirmation_away_at_the_third(post: Post) -> None:
    for count in range(3):
        assert post.is_admitted()
        mail = post.send()
        post.comes_back(returned.postfix(mail.message_id, ADA, status="5.2.1", words="550 5.2.1 disabled"), f"{count}")
    assert post.address().lost_reason == "bounce"


def test_what_came_back_before_a_new_confirmation_is_forgiven(post: Post) -> None:
    for count in range(2):
        mail = post.send()
        post.comes_back(returned.postfix(mail.message_id, ADA, status="5.2.1", words="550 5.2.1 disabled"), f"{count}")
    post.bridge.clock.forward(minutes=5)
    with post.bridge.runtime.database.begin() as session:
        post.bridge.confirm(session, session.scalars(select(Address)).one().account)
    mail = post.send()
    post.comes_back(returned.postfix(mail.message_id, ADA, status="5.2.1", words="550 5.2.1 disabled"), "3")
    assert post.is_admitted()


def test_the_same_report_twice_counts_once(start: Callable[..., Post]) -> None:
    post = start(bounces_no_such_mailbox=2)
    mail = post.send()
    for name in ("1", "2", "3"):
        post.comes_back(returned.postfix(mail.message_id, ADA), name)
    assert post.is_admitted()


def test_a_forged_report_about_a_mail_we_did_not_send_changes_nothing(post: Post) -> None:
    post.send()
    post.comes_back(returned.postfix("<0123456789abcdef0123456789abcdef@b.example>", ADA))
    assert post.is_admitted()


def test_a_report_about_a_mail_to_somebody_else_changes_nothing(post: Post) -> None:
    mine = post.send("eve@mail.example")
    post.comes_back(returned.postfix(mine.message_id, ADA))
    assert post.address().confirmed_at is not None
    assert post.row(mine.id).state == "sent"


def test_a_forwarding_that_is_refused_elsewhere_is_noted_only(post: Post) -> None:
    mail = post.send()
    post.comes_back(returned.postfix(mail.message_id, "ada@elsewhere.example"))
    assert post.is_admitted()
    assert post.row(mail.id).bounce_status == "5.1.1"


def test_the_original_recipient_is_as_good_as_the_final_one(post: Post) -> None:
    mail = post.send()
    post.comes_back(returned.postfix(mail.message_id, "u4711@store.mail.example", original=ADA))
    assert not post.is_admitted()


@pytest.mark.parametrize("sample", [returned.out_of_office, returned.complaint])
def test_out_of_office_replies_and_complaints_are_put_aside(post: Post, sample: Callable[[str, str], bytes]) -> None:
    post.comes_back(sample(post.send().message_id, ADA))
    assert post.is_admitted()
    assert (post.folder / "done" / "1.mail").is_file()


def test_a_poisoned_file_is_put_aside_and_holds_nothing_up(post: Post) -> None:
    mail = post.send()
    (post.folder / "0.mail").write_bytes(b"\x00\x01\x02")
    (post.folder / "00.mail").write_bytes(b"")
    post.comes_back(returned.postfix(mail.message_id, ADA, words="550 5.1.1 \x00 <{0}>"))
    assert sorted(path.name for path in (post.folder / "unreadable").iterdir()) == ["0.mail", "00.mail"]
    assert not post.is_admitted()


def test_a_file_that_is_being_written_is_left_alone(post: Post) -> None:
    for name in (".1.mail", "1.tmp"):
        post.comes_back(b"half a mess", name)
    assert sorted(path.name for path in post.folder.iterdir()) == [".1.mail", "1.tmp"]


def test_a_maildir_is_read_as_one(post: Post) -> None:
    mail = post.send()
    for name in ("new", "cur", "tmp"):
        (post.folder / name).mkdir()
    (post.folder / "new" / "1764.M1P2.mx,S=900:2,").write_bytes(returned.postfix(mail.message_id, ADA))
    post.bridge.runner.run_once()
    assert not post.is_admitted()
    assert list((post.folder / "new").iterdir()) == []


def test_what_was_put_aside_is_forgotten_after_a_month(post: Post) -> None:
    post.comes_back(b"Subject: x\n\ny", "1.mail")
    post.bridge.clock.forward(days=31)
    post.comes_back(b"Subject: x\n\ny", "2.mail")
    assert not (post.folder / "done" / "1.mail").exists()


def test_a_mail_can_be_named_by_its_envelope_sender_alone(start: Callable[..., Post]) -> None:
    post = start(bounce_address=RETURNS)
    post.send()
    [(sender, _)] = post.server.envelopes
    assert sender.startswith("retours+b")
    post.comes_back(returned.postfix("<nothing@of.ours>", ADA, to=sender))
    assert not post.is_admitted()


def test_an_envelope_sender_that_we_did_not_sign_names_nothing(start: Callable[..., Post]) -> None:
    post = start(bounce_address=RETURNS)
    mail = post.send()
    for tag in (f"b{mail.id}-0123456789abcdef", f"b{mail.id}-", f"b{mail.id}", "b-", "bx-0123456789abcdef"):
        post.comes_back(returned.postfix("<nothing@of.ours>", ADA, to=f"retours+{tag}@univ.example"), tag)
    assert post.is_admitted()


def test_an_envelope_sender_survives_folded_case_and_a_change_of_keys(start: Callable[..., Post]) -> None:
    runtime = start(bounce_address=RETURNS).bridge.runtime
    sender = envelope_sender(runtime.settings.mail, runtime.keys, 4711)
    assert mail_named_by(runtime.keys, sender.upper()) == 4711
    old = runtime.settings.secret_keys[0].get_secret_value()
    assert mail_named_by(type(runtime.keys)(["n" * 32, old]), sender) == 4711
    assert mail_named_by(type(runtime.keys)(["n" * 32]), sender) is None
    assert len(sender.partition("@")[0]) <= 64


@pytest.mark.parametrize(
    ("answer", "state", "admitted"),
    [
        ("550 5.1.1 No such user", "failed", False),
        ("550 5.7.1 Blocked", "failed", True),
        ("550 no", "failed", True),
        ("450 4.1.1 Not now", "pending", True),
    ],
)
def test_a_refusal_at_once_counts_as_one_that_comes_back(post: Post, answer: str, state: str, admitted: bool) -> None:
    post.server.to_recipient = lambda _: answer
    mail = post.send()
    assert post.row(mail.id).state == state
    assert post.is_admitted() is admitted


def test_d18_a_server_that_refuses_our_sender_loses_no_mail(post: Post) -> None:
    post.server.to_sender = lambda _: "550 5.7.1 sender not allowed"
    mail = post.send()
    assert post.row(mail.id).state == "pending"
    post.server.to_sender = lambda _: "250 OK"
    post.bridge.clock.forward(minutes=1)
    post.bridge.runner.run_once()
    assert post.row(mail.id).state == "sent"


def test_a_folder_that_is_gone_stops_nothing_else(post: Post) -> None:
    with suppress(OSError):
        post.folder.rmdir()
    assert post.send().state == "sent"


def test_a_mail_that_comes_back_before_we_have_noted_that_it_left_has_come_back(post: Post) -> None:
    def comes_back_at_once(_recipient: str) -> str:
        with post.bridge.runtime.database.begin() as session:
            mail = session.scalars(select(OutboxMail)).one()
            said = Refusal("5.1.1", Severity.NO_SUCH_MAILBOX, "unknown", "folder")
            note_bounce(session, mail, said, patience=Patience(), now=post.bridge.clock(), origin=audit.SYSTEM)
        return "250 OK"

    post.server.to_content = comes_back_at_once
    assert post.send().state == "bounced"
    assert not post.is_admitted()
