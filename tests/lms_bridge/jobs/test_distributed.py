"""Celery workers on RabbitMQ and on Redis, as processes: what leaves, how soon, and what survives which loss."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from lms_bridge.jobs.embedded import Runner
from tests.bridge_under_test import APP, BridgeUnderTest, Clock, forms
from tests.lms_bridge.jobs.conftest import Works, addresses, check_a_clean_stop, end, eventually, worker_caught_at
from tests.message_brokers import Broker
from tests.peers.programs import reserved_port

pytestmark = pytest.mark.xdist_group("brokers")


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/works.db"


@pytest.fixture
def broker_url(broker: Broker) -> str:
    return broker.url


@contextmanager
def stopped(broker: Broker) -> Iterator[None]:
    """The broker is away for a while, and comes back without its messages."""
    broker.stop()
    try:
        yield
    finally:
        broker.start()


@contextmanager
def served(works: Works) -> Iterator[BridgeUnderTest]:
    """`lms-bridge serve` on these settings."""
    with reserved_port() as port:
        works.values["public_url"] = url = f"http://127.0.0.1:{port}"
        process = works.command("serve", "--bind", f"127.0.0.1:{port}", "--workers", "2")

        def answers() -> bool:
            try:
                return requests.get(f"{url}/healthz", timeout=5).ok
            except requests.ConnectionError:
                return False

        eventually(answers)
        yield BridgeUnderTest(url, works.runtime, Clock(works.runtime.clock()), Runner(works.runtime))
        assert end(process) == 0


def ask_for_the_mail(bridge: BridgeUnderTest, username: str) -> float:
    """An unconfirmed learner asks for the mail; returns how many seconds the answer took."""
    bridge.add_account(username, confirmed=False)
    browser = bridge.browser()
    browser.sign_in(username, service=APP)
    [number] = [n for n, (action, _, _) in enumerate(forms(browser.page)) if action.startswith("/account/confirm")]
    started = time.monotonic()
    assert browser.submit(number).status_code == 200
    return time.monotonic() - started


def test_a_mail_that_a_request_writes_leaves_through_a_worker_that_only_wake_ups_reach(works: Works) -> None:
    works.worker("--no-beat")
    with served(works) as bridge:
        ask_for_the_mail(bridge, "ext.ada")
        eventually(lambda: works.received() == ["ext.ada@mail.example"])
        ask_for_the_mail(bridge, "ext.bob")
        eventually(lambda: len(works.received()) == 2)


def test_a_broker_that_is_away_neither_fails_nor_slows_a_request_and_the_sweep_finds_the_row(
    works: Works, broker: Broker
) -> None:
    # The bridge ends before the broker is back, so that no message can still arrive.
    with stopped(broker), served(works) as bridge:
        # A connection tried in the request would take a minute and more; a busy machine takes some seconds.
        assert ask_for_the_mail(bridge, "ext.ada") < 20
        assert ask_for_the_mail(bridge, "ext.bob") < 20
    assert broker.waiting() == 0
    assert works.states() == {"pending"}  # with a broker, serving processes leave it to the workers
    works.worker()
    eventually(lambda: works.received() == ["ext.ada@mail.example", "ext.bob@mail.example"])


def test_a_broker_that_stops_and_forgets_in_the_middle_loses_nothing_and_repeats_nothing(
    works: Works, broker: Broker
) -> None:
    waiting = addresses(30)
    _, hold = worker_caught_at(works, waiting, waiting[2])
    with stopped(broker):
        hold.release()
        works.write_mails(*addresses(5, "later"))
    works.write_mails("last@mail.example")
    everybody = sorted([*waiting, *addresses(5, "later"), "last@mail.example"])
    eventually(lambda: works.states() == {"sent"})
    assert works.received() == everybody


def test_a_worker_takes_messages_again_when_the_broker_is_back(works: Works, broker: Broker) -> None:
    works.worker("--no-beat")
    works.write_mails("first@mail.example")
    eventually(lambda: "first@mail.example" in works.received())
    with stopped(broker):
        pass

    def arrives() -> bool:
        works.write_mails("again@mail.example")
        return "again@mail.example" in works.received()

    eventually(arrives)


def test_a_worker_that_finds_no_broker_sweeps_by_itself_and_stops_when_told(works: Works, broker: Broker) -> None:
    with stopped(broker):
        worker = works.worker()
        works.write_mails(*addresses(3))
        eventually(lambda: works.received() == addresses(3))
        assert end(worker) == 0


def test_a_killed_workers_mails_are_taken_over_by_another(works: Works) -> None:
    waiting = addresses(10)
    killed, hold = worker_caught_at(works, waiting, waiting[3])
    end(killed, signal.SIGKILL)
    hold.release()
    works.worker()
    works.let_leases_end()
    eventually(lambda: works.states() == {"sent"})
    assert works.received() == waiting


def test_two_workers_with_a_beat_each_share_the_mails_and_send_each_once(works: Works) -> None:
    waiting = addresses(30)
    workers = [works.worker(), works.worker()]
    for address in waiting:
        works.write_mails(address)
    eventually(lambda: works.states() == {"sent"})
    assert works.received() == waiting
    assert [end(worker) for worker in workers] == [0, 0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_told_to_stop_finishes_what_it_has_in_hand(works: Works, number: int) -> None:
    check_a_clean_stop(works, number)
