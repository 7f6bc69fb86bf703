"""Several workers on one database, as processes: each row is done once, and what a killed one held is taken over."""

from __future__ import annotations

import signal

import pytest

from lms_bridge.mail.delivery import BATCH
from tests.lms_bridge.jobs.conftest import Works, addresses, check_a_clean_stop, end, eventually, worker_caught_at


def test_a_killed_workers_mails_are_taken_over_when_its_lease_ends_and_not_before(works: Works) -> None:
    waiting = addresses(BATCH)
    killed, hold = worker_caught_at(works, waiting, waiting[3])
    end(killed, signal.SIGKILL)
    hold.release()
    works.worker()
    works.write_mails("later@mail.example")
    eventually(lambda: "later@mail.example" in works.received())
    assert works.received() == sorted([*waiting[:3], "later@mail.example"])
    works.let_leases_end()
    eventually(lambda: works.states() == {"sent"})
    assert works.received() == sorted([*waiting, "later@mail.example"])


def test_two_workers_share_the_mails_and_send_each_once(works: Works) -> None:
    waiting = addresses(30)
    first, hold = worker_caught_at(works, waiting, waiting[0])
    works.put_to_sleep(first)  # it keeps its lease, and does nothing
    hold.release()
    works.worker()
    eventually(lambda: len(works.received()) == len(waiting) - BATCH)
    first.send_signal(signal.SIGCONT)
    eventually(lambda: works.states() == {"sent"})
    assert works.received() == waiting


def test_a_worker_whose_lease_ended_while_it_slept_sends_nothing_again(works: Works) -> None:
    waiting = addresses(5)
    asleep, hold = worker_caught_at(works, waiting, waiting[0])
    works.put_to_sleep(asleep)
    hold.release()
    works.let_leases_end()
    works.worker()
    eventually(lambda: works.states() == {"sent"})
    asleep.send_signal(signal.SIGCONT)
    works.write_mails("later@mail.example")
    eventually(lambda: "later@mail.example" in works.received())
    end(asleep)
    # The one it was in the middle of may go out twice, under one Message-ID; those behind it may not.
    assert works.received().count(waiting[0]) <= 2
    assert sorted(set(works.received())) == sorted([*waiting, "later@mail.example"])
    assert len(works.received()) - works.received().count(waiting[0]) == len(waiting)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_told_to_stop_finishes_what_it_has_in_hand(works: Works, number: int) -> None:
    check_a_clean_stop(works, number)
