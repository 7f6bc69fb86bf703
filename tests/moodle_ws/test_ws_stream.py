"""Reading many people as a stream, and one client in several threads."""

import itertools
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moodle_ws import BadRow, InvalidResponse, MoodleClient, Unavailable, UserUpdate
from moodle_ws.simulator import SimulatedMoodle

Connect = Callable[..., MoodleClient]
FIRST = 10
PEOPLE = 130


@pytest.fixture
def peopled(moodle: SimulatedMoodle) -> SimulatedMoodle:
    for number in range(PEOPLE):
        values = {"email": f"p{number}@example.test", "idnumber": f"N{number}"}
        moodle.site.add_user(f"p{number}", id=FIRST + number, auth="cas", firstname="P", lastname="L", **values)
    return moodle


@pytest.mark.parametrize(("field", "prefix"), [("username", "p"), ("idnumber", "N"), ("id", "")])
def test_batches_come_in_the_order_given_with_whom_they_found(
    peopled: SimulatedMoodle, client: MoodleClient, field: str, prefix: str
) -> None:
    shift = FIRST if field == "id" else 0
    values = [f"{prefix}{number + shift}" for number in range(PEOPLE + 20)]
    read = list(client.iter_users_by_field(field, values))  # type: ignore[arg-type]
    assert [value for batch in read for value in batch.values] == values
    assert [len(batch.values) for batch in read] == [50, 50, 50]
    assert [user.id for batch in read for user in batch.users] == list(range(FIRST, FIRST + PEOPLE))
    assert all(batch.poisoned == () for batch in read)


def test_a_poisoned_value_is_told_in_its_batch_and_the_stream_goes_on(
    peopled: SimulatedMoodle, client: MoodleClient
) -> None:
    for number in (3, 60, 61):
        peopled.site.users[FIRST + number].auth = "removed"
    read = list(client.iter_users_by_field("username", [f"p{number}" for number in range(PEOPLE)]))
    assert [batch.poisoned for batch in read] == [("p3",), ("p60", "p61"), ()]
    assert sum(len(batch.users) for batch in read) == PEOPLE - 3


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(poisoned=st.sets(st.integers(0, 49)))
def test_exactly_the_poisoned_values_are_named_whatever_they_are(
    peopled: SimulatedMoodle, client: MoodleClient, poisoned: set[int]
) -> None:
    for number in range(50):
        peopled.site.users[FIRST + number].auth = "removed" if number in poisoned else "cas"
    peopled.calls.clear()
    values = [f"p{number}" for number in range(50)]
    (batch,) = client.iter_users_by_field("username", values)
    assert batch.poisoned == tuple(f"p{number}" for number in sorted(poisoned))
    assert {user.username for user in batch.users} == set(values) - set(batch.poisoned)
    assert len(peopled.calls) <= (1 + 12 * len(poisoned) if poisoned else 1)
    if poisoned:
        with pytest.raises(InvalidResponse) as caught:
            client.users_by_field("username", values)
        assert caught.value.poisoned == batch.poisoned
        assert caught.value.outcomes == batch.users


def test_values_are_taken_only_as_they_are_needed(peopled: SimulatedMoodle, client: MoodleClient) -> None:
    taken: list[int] = []

    def endless() -> Iterator[int]:
        for number in itertools.count(FIRST):
            taken.append(number)
            yield number

    stream = client.iter_users_by_field("id", endless())
    assert taken == []
    next(stream)
    assert len(taken) == 50
    next(stream)
    assert len(taken) == 100
    assert len(peopled.calls) == 2


def test_memory_stays_flat_however_many_are_read(peopled: SimulatedMoodle, client: MoodleClient) -> None:
    def most_memory(values: int) -> int:
        tracemalloc.start()
        for _batch in client.iter_users_by_field("id", (FIRST + number % PEOPLE for number in range(values))):
            pass
        _now, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        peopled.calls.clear()
        return most

    most_memory(500)
    # 4,000 more people would take several megabytes.
    assert most_memory(5000) < most_memory(1000) + 500_000


def test_a_bad_value_is_named_by_its_place_in_the_whole_stream(peopled: SimulatedMoodle, client: MoodleClient) -> None:
    values: list[str | int] = [str(FIRST + number) for number in range(60)]
    values[55] = "x"
    stream = client.iter_users_by_field("id", values)
    next(stream)
    with pytest.raises(BadRow) as caught:
        next(stream)
    assert caught.value.index == 55


# -- threads ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [2, 4])
def test_threads_share_one_client_with_a_connection_each_that_is_used_again(threads: int) -> None:
    simulated = SimulatedMoodle()
    for number in range(PEOPLE):
        simulated.site.add_user(f"p{number}", id=FIRST + number, auth="cas")
    together = threading.Barrier(threads)
    with simulated.serve() as handle, MoodleClient(handle.url, simulated.site.options.token) as client:

        def read(number: int) -> int:
            if number < threads:
                together.wait(timeout=10)  # at least once, all of them are at work
            (user,) = client.users_by_field("username", [f"p{number}"])
            assert user.username == f"p{number}"
            return user.id

        with ThreadPoolExecutor(threads) as pool:
            assert list(pool.map(read, range(PEOPLE))) == list(range(FIRST, FIRST + PEOPLE))
        assert handle.connections <= threads


def test_connections_that_fail_in_one_thread_do_not_disturb_the_others(
    peopled: SimulatedMoodle, connect: Connect
) -> None:
    client = connect(peopled, read_retries=0)
    peopled.faults.next(*["drop", ""] * 40)

    def read(number: int) -> str:
        try:
            return str([user.username for user in client.users_by_field("username", [f"p{number}"])])
        except Unavailable:
            return "unavailable"

    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(read, range(80)))
    assert told.count("unavailable") == 40
    assert all(words in {"unavailable", f"['p{number}']"} for number, words in enumerate(told))


def test_a_connection_closed_while_idle_is_noticed_before_a_write_is_sent_on_it() -> None:
    simulated = SimulatedMoodle()
    simulated.site.add_user("anne", id=FIRST, auth="cas")
    with simulated.serve() as handle, MoodleClient(handle.url, simulated.site.options.token) as client:
        client.site_info()
        handle.close_connections()
        assert client.update_users([UserUpdate(id=FIRST, suspended=True)])[0].applied
        assert handle.connections == 2
