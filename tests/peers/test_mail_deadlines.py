"""TOK-06, D08: greylisting takes nothing from the time people have. A real mail server, a clock that is moved."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select

from external_accounts.proof_keys import proof_keys
from external_accounts.schema import Proof
from tests.bridge_under_test import BridgeUnderTest, Browser, Clock, heading, running_bridge
from tests.lms_bridge.mailing import in_french
from tests.peers.mail_server import MailServer, running_mail_server
from tests.peers.programs import reserved_port
from tests.peers.test_mail_server import ask_for_the_mail, link_in, part

GREYLISTED = "451 4.7.1 Greylisted, come back later"
TAKEN = "250 OK"
NIGHTS = [
    # Asked, taken 40 minutes later; the deadline 24 hours after that, in the words of the mail.
    pytest.param(
        datetime(2026, 3, 28, 0, 45, tzinfo=UTC),
        "dimanche 29 mars 2026 à 3 h 25, heure de Paris",
        id="the night that loses an hour",
    ),
    pytest.param(
        datetime(2026, 10, 24, 0, 45, tzinfo=UTC),
        "dimanche 25 octobre 2026 à 2 h 25, heure de Paris",
        id="the night that gains an hour",
    ),
]


@dataclass
class World:
    bridge: BridgeUnderTest
    server: MailServer

    def proof(self) -> Proof:
        with self.bridge.runtime.database.read() as session:
            return session.scalars(select(Proof)).one()

    def pass_time(self, **delta: float) -> None:
        self.bridge.clock.forward(**delta)
        self.bridge.runner.run_once()

    def greylist_for(self, **delta: float) -> Browser:
        """Ada asks for the mail; the server takes it at the first try after this time."""
        self.server.to_recipient = lambda _: GREYLISTED
        browser = ask_for_the_mail(self.bridge)
        self.bridge.runner.run_once()
        self.server.to_recipient = lambda _: TAKEN
        self.pass_time(**delta)
        return browser


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    with ExitStack() as stack:

        def begin(moment: datetime | None = None) -> World:
            port = stack.enter_context(reserved_port())
            server = stack.enter_context(running_mail_server(port))
            mail = {"host": "127.0.0.1", "port": port, "security": "none", "sender": "noreply@univ.example"}
            clock = Clock(moment) if moment else Clock()
            return World(stack.enter_context(running_bridge(tmp_path, clock=clock, mail=mail)), server)

        yield begin


def plain(text: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


@pytest.mark.parametrize(("asked", "words"), NIGHTS)
@pytest.mark.parametrize(("seconds", "status"), [(-1, 200), (0, 410), (1, 410)], ids=["T-1s", "T", "T+1s"])
def test_d08_the_deadline_is_counted_from_acceptance_and_page_and_mail_state_it(
    start: Any, asked: datetime, words: str, seconds: int, status: int
) -> None:
    world = start(asked)
    waiting = world.greylist_for(minutes=40)
    [message] = world.server.accepted
    for text in (part(message, "plain"), part(message, "html"), waiting.get(waiting.page.url).text):
        assert words in plain(text)
    link = link_in(part(message, "plain"))
    browser = world.bridge.browser()
    browser.get(link)
    world.bridge.clock.moment = asked + timedelta(hours=24, minutes=40, seconds=seconds)
    pressed = browser.submit()
    assert pressed.status_code == status
    assert heading(pressed) == in_french("E-mail confirmed" if status == 200 else "This link is too old")


def test_the_code_of_a_greylisted_mail_works_its_whole_ten_minutes(start: Any) -> None:
    world = start()
    waiting = world.greylist_for(hours=2)
    [code] = re.findall(r"^\w{4}-\w{4}$", part(world.server.accepted[0], "plain"), re.MULTILINE)
    world.bridge.clock.forward(minutes=10, seconds=-1)
    assert heading(waiting.submit(code=code)) == in_french("E-mail confirmed")


def test_a_resend_of_a_mail_that_was_taken_lengthens_nothing(start: Any) -> None:
    world = start()
    waiting = ask_for_the_mail(world.bridge)
    world.bridge.runner.run_once()
    ends = world.proof().expires_at
    world.bridge.clock.forward(minutes=5)
    waiting.get(waiting.page.url)
    waiting.submit(1)
    world.bridge.runner.run_once()
    assert len(world.server.accepted) == 2
    assert world.proof().expires_at == ends


def test_two_mails_of_one_proof_state_the_deadline_of_the_one_that_was_taken_first(start: Any) -> None:
    world = start()
    world.server.to_recipient = lambda _: GREYLISTED
    waiting = ask_for_the_mail(world.bridge)
    for _ in range(8):
        world.pass_time(minutes=2)  # the first mail now rests for a quarter of an hour
    waiting.get(waiting.page.url)
    waiting.submit(1)
    world.server.to_recipient = lambda _: TAKEN
    world.pass_time(seconds=1)
    assert len(world.server.accepted) == 1
    world.pass_time(minutes=16)
    first, second = world.server.accepted
    ends = [re.findall(r".*heure de Paris", part(message, "plain"))[0] for message in (first, second)]
    assert ends[0] == ends[1]
    assert link_in(part(first, "plain")) == link_in(part(second, "plain"))
    assert world.proof().accepted_at is not None


def test_a_mail_whose_answer_was_lost_never_stated_more_time_than_there_is(start: Any) -> None:
    world = start()
    world.server.to_content = lambda _: "hang up"
    ask_for_the_mail(world.bridge)
    world.bridge.runner.run_once()
    stated = world.proof().expires_at
    world.server.to_content = lambda _: TAKEN
    world.pass_time(minutes=5)
    assert world.proof().expires_at >= stated
    assert len(world.server.accepted) == 1


def test_a_proof_claimed_while_its_mail_was_greylisted_is_not_mailed(start: Any) -> None:
    world = start()
    world.server.to_recipient = lambda _: GREYLISTED
    waiting = ask_for_the_mail(world.bridge)
    world.bridge.runner.run_once()
    with world.bridge.runtime.database.read() as session:
        token = proof_keys(world.bridge.runtime.keys, session.scalars(select(Proof)).one()).link_token
    waiting.get(f"/account/confirm/{token}")
    waiting.submit()
    world.server.to_recipient = lambda _: TAKEN
    world.pass_time(minutes=5)
    assert world.server.accepted == []


def test_a_key_that_is_rotated_while_a_mail_is_greylisted_spoils_nothing(tmp_path: Path) -> None:
    with reserved_port() as port, running_mail_server(port) as server:
        mail = {"host": "127.0.0.1", "port": port, "security": "none", "sender": "noreply@univ.example"}
        old, new = "o" * 40, "n" * 40
        server.to_recipient = lambda _: GREYLISTED
        with running_bridge(tmp_path, mail=mail, secret_keys=[old]) as bridge:
            ask_for_the_mail(bridge)
            bridge.runner.run_once()
        server.to_recipient = lambda _: TAKEN
        with running_bridge(tmp_path, mail=mail, secret_keys=[new, old]) as bridge:
            bridge.clock.forward(hours=3)
            bridge.runner.run_once()
            browser = bridge.browser()
            browser.get(urlsplit(link_in(part(server.accepted[0], "plain"))).path)
            assert heading(browser.submit()) == in_french("E-mail confirmed")


def test_d18_a_mail_server_down_for_an_hour_loses_nothing_sends_nothing_twice_and_takes_no_time(
    tmp_path: Path,
) -> None:
    with reserved_port() as port:
        mail = {"host": "127.0.0.1", "port": port, "security": "none", "sender": "noreply@univ.example"}
        with running_bridge(tmp_path, mail=mail) as bridge:
            with running_mail_server(port) as server:
                ask_for_the_mail(bridge, "ext.before")
                bridge.runner.run_once()
                assert len(server.accepted) == 1
            for minute in range(60):
                if minute % 20 == 0:
                    ask_for_the_mail(bridge, f"ext.during{minute}")
                bridge.runner.run_once()
                bridge.clock.forward(minutes=1)
            with running_mail_server(port) as server:
                ask_for_the_mail(bridge, "ext.after")
                for _ in range(40):
                    bridge.runner.run_once()
                    bridge.clock.forward(minutes=1)
                to = sorted(str(message["To"]) for message in server.accepted)
                assert to == [f"ext.{name}@mail.example" for name in ("after", "during0", "during20", "during40")]
                assert len(set(server.seen_ids)) == len(server.seen_ids) == 4
            with bridge.runtime.database.read() as session:
                for proof in session.scalars(select(Proof)):
                    assert proof.accepted_at is not None
                    assert proof.expires_at == proof.accepted_at + timedelta(hours=24)
