"""The circuit breaker."""

from collections.abc import Callable

import pytest

from moodle_ws import Breaker, CircuitOpen, Maintenance, MoodleClient, NotFound, TokenInvalid, Unavailable
from moodle_ws.simulator import SimulatedMoodle


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(failures=3, pause=10, clock=clock)


def fail(breaker: Breaker, error: Exception) -> None:
    with pytest.raises(type(error)), breaker.guarding("f"):
        raise error


def succeed(breaker: Breaker) -> None:
    with breaker.guarding("f"):
        pass


def test_it_opens_after_failures_in_a_row_and_answers_at_once(breaker: Breaker) -> None:
    for _time in range(3):
        assert not breaker.is_open
        fail(breaker, Unavailable())
    assert breaker.is_open
    with pytest.raises(CircuitOpen), breaker.guarding("f"):
        pytest.fail("an open breaker must not let a call through")


def test_an_answer_in_between_starts_the_count_again(breaker: Breaker) -> None:
    for _time in range(4):
        fail(breaker, Unavailable())
        fail(breaker, Unavailable())
        succeed(breaker)
    assert not breaker.is_open


@pytest.mark.parametrize("refusal", [NotFound(), TokenInvalid()])
def test_a_refusal_is_an_answer(breaker: Breaker, refusal: Exception) -> None:
    for _time in range(5):
        fail(breaker, refusal)
    assert not breaker.is_open


def test_after_the_pause_one_call_tries_and_closes_it(breaker: Breaker, clock: Clock) -> None:
    for _time in range(3):
        fail(breaker, Maintenance())
    clock.now += 9.9
    assert breaker.is_open
    clock.now += 0.2
    with breaker.guarding("f"):
        assert breaker.is_open, "only one call at a time tries"
    assert not breaker.is_open


def test_a_try_that_fails_opens_it_for_another_pause(breaker: Breaker, clock: Clock) -> None:
    for _time in range(3):
        fail(breaker, Unavailable())
    clock.now += 11
    fail(breaker, Unavailable())
    assert breaker.is_open
    clock.now += 9
    assert breaker.is_open
    clock.now += 2
    succeed(breaker)
    assert not breaker.is_open


def test_a_try_that_ends_otherwise_leaves_room_for_the_next(breaker: Breaker, clock: Clock) -> None:
    for _time in range(3):
        fail(breaker, Unavailable())
    clock.now += 11
    fail(breaker, KeyError())
    succeed(breaker)
    assert not breaker.is_open


def test_a_client_with_a_breaker_stops_asking(
    moodle: SimulatedMoodle, connect: Callable[..., MoodleClient], breaker: Breaker, clock: Clock
) -> None:
    client = connect(moodle, breaker=breaker)
    moodle.faults.next("503", "503", "503")
    for _time in range(3):
        with pytest.raises(Maintenance):
            client.site_info()
    with pytest.raises(CircuitOpen):
        client.site_info()
    clock.now += 11
    assert client.site_info().userid == 3
