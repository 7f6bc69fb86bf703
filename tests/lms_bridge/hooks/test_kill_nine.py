"""I8: a worker is killed with SIGKILL while it tells another system, again and again; nothing is lost."""

from __future__ import annotations

import random
import signal
import socket
import threading
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

from sqlalchemy import select, update

from external_accounts.handovers import ENDED, hand_over
from external_accounts.institution_schema import HandoverDelivery
from tests.bridge_under_test import running_bridge, settings_values
from tests.lms_bridge.cas.listeners import Listener, accepts
from tests.lms_bridge.hooks.conftest import told, values
from tests.lms_bridge.jobs.conftest import SECONDS, command_process, eventually
from tests.served_bridge import to_toml

EVENTS, KILLS, SEED = 60, 5, 8


def takes_its_time(connection: socket.socket, over: threading.Event) -> None:
    time.sleep(0.03)
    accepts(connection, over)


def test_i8_kill_nine_every_event_arrives_and_twice_only_under_its_own_id(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    with Listener(takes_its_time) as receiver:
        settings = settings_values(tmp_path, **values(receiver, directories=[], profiles=[], upstreams=[]))
        config = tmp_path / "lms-bridge.toml"
        config.write_text(to_toml(settings), encoding="utf-8")
        with running_bridge(tmp_path, **settings) as bridge:
            account_id = bridge.add_account("ext.ada")
            with bridge.runtime.database.begin() as session:
                handed = [hand_over(session, ENDED, account_id, now=bridge.clock()) for _ in range(EVENTS)]
                session.flush()
                expected = len({one.id for one in handed})

            def states() -> list[str]:
                with bridge.runtime.database.read() as session:
                    return list(session.scalars(select(HandoverDelivery.state)))

            def a_run_that_ends(*, after: int | None) -> None:
                before = len(receiver.received)
                with command_process(config, "worker") as worker:
                    try:
                        if after is None:
                            eventually(lambda: len(states()) == expected and set(states()) == {"done"})
                        else:
                            receiver.wait_for(before + after, seconds=SECONDS)
                    finally:
                        worker.send_signal(signal.SIGTERM if after is None else signal.SIGKILL)
                        worker.wait(SECONDS)
                past = bridge.runtime.clock() - timedelta(seconds=1)
                with bridge.runtime.database.begin() as session:  # as if two minutes had passed
                    held = update(HandoverDelivery).where(HandoverDelivery.leased_until.is_not(None))
                    session.execute(held.values(leased_until=past))

            for _ in range(KILLS):
                a_run_that_ends(after=chance.randint(1, 8))
            assert "pending" in states(), "there was something left to lose"
            a_run_that_ends(after=None)
        arrived = Counter(told(one)["id"] for one in receiver.received)
    assert len(arrived) == expected
    assert sum(arrived.values()) <= expected + KILLS, "each kill may have cut one answer off"
