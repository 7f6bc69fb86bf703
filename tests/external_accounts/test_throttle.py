"""Throttling: a budget that refills steadily, counted where all processes see it, and that locks nobody out."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from ipaddress import ip_network
from itertools import count
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

from external_accounts import throttle
from external_accounts.database import Database
from external_accounts.throttle import Limit, Throttled, Use, network_use
from tests.external_accounts.conftest import NOW

ORDINARY, CAMPUS = Limit("ordinary", burst=3, every=10), Limit("campus", burst=300, every=1)
_subjects = count()


def try_once(database: Database, uses: Sequence[Use], now: datetime) -> bool:
    try:
        with database.begin() as session:
            throttle.reserve(session, uses, now)
    except Throttled:
        return False
    return True


@given(
    burst=st.integers(1, 6),
    every=st.integers(1, 30),
    pauses=st.lists(st.integers(0, 60_000), min_size=1, max_size=25),
)
def test_no_window_ever_holds_more_uses_than_burst_and_refill(
    embedded: Database, burst: int, every: int, pauses: list[int]
) -> None:
    use = Use(Limit("property", burst=burst, every=every), str(next(_subjects)))
    moment, taken = NOW, []
    for pause in pauses:
        moment += timedelta(milliseconds=pause)
        if try_once(embedded, [use], moment):
            taken.append(moment)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            elapsed = (taken[last] - taken[first]).total_seconds()
            assert last - first + 1 <= burst + elapsed / every


@given(every=st.integers(1, 600), used=st.integers(1, 5))
def test_the_pause_it_names_is_enough_and_not_a_second_too_long(embedded: Database, every: int, used: int) -> None:
    use = Use(Limit("pause", burst=used, every=every), str(next(_subjects)))
    for _ in range(used):
        assert try_once(embedded, [use], NOW)
    with pytest.raises(Throttled) as refused, embedded.begin() as session:
        throttle.reserve(session, [use], NOW)
    pause = timedelta(seconds=refused.value.retry_after)
    assert not try_once(embedded, [use], NOW + pause - timedelta(seconds=1))
    assert try_once(embedded, [use], NOW + pause)


def test_forty_threads_at_once_get_exactly_the_burst(database: Database) -> None:
    use, start = Use(Limit("threads", burst=7, every=60), "one"), Barrier(40)

    def attempt(_number: int) -> bool:
        start.wait(timeout=30)
        return try_once(database, [use], NOW)

    with ThreadPoolExecutor(40) as pool:
        assert sum(pool.map(attempt, range(40))) == 7


def test_a_refusal_by_one_budget_takes_nothing_from_the_others(database: Database) -> None:
    small, large = Use(Limit("small", burst=1, every=60), "x"), Use(Limit("large", burst=2, every=60), "x")
    assert try_once(database, [small, large], NOW)
    assert not any(try_once(database, [small, large], NOW) for _ in range(5))
    assert try_once(database, [large], NOW)
    assert not try_once(database, [large], NOW)


def test_giving_back_returns_one_use_and_not_the_whole_count_d42(database: Database) -> None:
    use = Use(ORDINARY, "shared")
    assert all(try_once(database, [use], NOW) for _ in range(3))
    with database.begin() as session:
        throttle.give_back(session, [use])
    assert [try_once(database, [use], NOW) for _ in range(2)] == [True, False]


def test_a_cleared_budget_is_full_again_d39(database: Database) -> None:
    use = Use(ORDINARY, "reset")
    assert [try_once(database, [use], NOW) for _ in range(4)] == [True, True, True, False]
    with database.begin() as session:
        throttle.clear(session, [use])
    assert try_once(database, [use], NOW)


def test_cleaning_up_forgets_full_budgets_and_keeps_used_ones(database: Database) -> None:
    use = Use(ORDINARY, "purged")
    assert all(try_once(database, [use], NOW) for _ in range(3))
    for moment, available in ((NOW + timedelta(seconds=9), False), (NOW + timedelta(seconds=30), True)):
        with database.begin() as session:
            throttle.purge(session, moment)
        assert try_once(database, [use], moment) is available


def test_subjects_of_any_text_are_counted_apart(embedded: Database) -> None:
    for subject in ("", "é", "a\0b", "\ud800", "x" * 5000):
        uses = [Use(ORDINARY, subject)]
        assert [try_once(embedded, uses, NOW) for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize(
    ("address", "subject", "limit"),
    [
        ("203.0.113.7", "203.0.113.7", ORDINARY),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64", ORDINARY),
        ("2001:db8:1:2:bbbb::9", "2001:db8:1:2::/64", ORDINARY),
        ("::ffff:203.0.113.7", "203.0.113.7", ORDINARY),
        ("10.4.200.1", "10.4.0.0/16", CAMPUS),
        ("::ffff:10.4.0.9", "10.4.0.0/16", CAMPUS),
        ("10.5.0.1", "10.5.0.1", ORDINARY),
        ("2001:db8:ca::5", "2001:db8:ca::/48", CAMPUS),
        ("", "unknown", ORDINARY),
        ("not an address", "unknown", ORDINARY),
    ],
)
def test_a_caller_draws_on_its_campus_its_64_or_itself_d41(address: str, subject: str, limit: Limit) -> None:
    campus = [ip_network("10.4.0.0/16"), ip_network("2001:db8:ca::/48")]
    assert network_use(address, campus, ordinary=ORDINARY, campus_limit=CAMPUS) == Use(limit, subject)


def test_nobody_can_guess_more_than_a_hundred_times_in_a_row_within_an_hour_pwd_07(embedded: Database) -> None:
    use = Use(throttle.SIGN_IN_IDENTIFIER, "victim")
    assert sum(try_once(embedded, [use], NOW + timedelta(seconds=second)) for second in range(0, 2400, 6)) <= 100
