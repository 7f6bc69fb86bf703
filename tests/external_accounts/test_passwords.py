"""Password hashing: one password whatever keyboard it is typed on, bounded work, the same work for nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import pytest
from argon2 import PasswordHasher
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.pwhash import argon2id

from external_accounts.passwords import MAX_PASSWORD_LENGTH, HashingBusy, PasswordHashing

CHEAP = {"time_cost": 1, "memory_kib": 64}


@pytest.fixture
def hashing() -> Iterator[PasswordHashing]:
    hashing = PasswordHashing(**CHEAP)
    yield hashing
    hashing.close()


@settings(max_examples=30)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80))
def test_every_text_a_form_can_send_is_a_password_that_verifies(hashing: PasswordHashing, password: str) -> None:
    stored = hashing.hash(password)
    assert hashing.verify(stored, password).correct
    assert not hashing.verify(stored, password + "x").correct


@pytest.mark.parametrize(
    ("chosen", "typed"),
    [
        ("mot de passe d\u00e9j\u00e0 vu", "mot de passe de\u0301ja\u0300 vu"),
        ("ﬁnalement \uff11\uff12", "finalement 12"),
    ],
)
def test_two_keyboards_type_the_same_password_pwd_02(hashing: PasswordHashing, chosen: str, typed: str) -> None:
    assert hashing.verify(hashing.hash(chosen), typed).correct


@pytest.mark.parametrize("other", ["correct horse", "correct horse\0", "correct horse\0battery!", "\0", ""])
def test_the_whole_value_counts_and_a_nul_cuts_nothing_off_pwd_02(hashing: PasswordHashing, other: str) -> None:
    assert not hashing.verify(hashing.hash("correct horse\0battery"), other).correct


def test_sixty_four_characters_and_far_more_are_accepted_pwd_02(hashing: PasswordHashing) -> None:
    long = "é" * MAX_PASSWORD_LENGTH
    stored = hashing.hash(long)
    assert hashing.verify(stored, long).correct
    assert not hashing.verify(stored, long[:-1]).correct


@pytest.mark.parametrize("impossible", ["x" * (MAX_PASSWORD_LENGTH + 1), "x" * 1_000_000, "half \ud800 a letter"])
def test_what_cannot_be_a_password_is_wrong_and_nothing_breaks(hashing: PasswordHashing, impossible: str) -> None:
    assert not hashing.verify(hashing.hash("correct horse battery"), impossible).correct
    assert not hashing.verify(None, impossible).correct


def test_a_too_long_password_is_wrong_even_where_the_empty_one_were_right(hashing: PasswordHashing) -> None:
    stored = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash("")
    assert not hashing.verify(stored, "x" * 2000).correct


def test_nobody_has_a_password(hashing: PasswordHashing) -> None:
    assert not hashing.verify(None, "").correct
    assert not hashing.verify(None, "correct horse battery").correct


@pytest.mark.parametrize("stored", ["", "x", "$argon2id$broken", "$2b$12$abcdefghijklmnopqrstuv"])
def test_a_damaged_hash_is_nobody_s_password(hashing: PasswordHashing, stored: str) -> None:
    assert not hashing.verify(stored, "correct horse battery").correct


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_a_hash_of_another_program_is_good_and_renewed_pwd_06(hashing: PasswordHashing, lanes: int) -> None:
    theirs = PasswordHasher(time_cost=3, memory_cost=256, parallelism=lanes).hash("mot de passe déjà vu")
    assert hashing.verify(theirs, "mot de passe déjà vu").new_hash
    assert not hashing.verify(theirs, "mot de passe deja vu").correct


def test_another_program_takes_our_hash() -> None:
    hashing = PasswordHashing()
    stored = hashing.hash("correct horse battery")
    hashing.close()
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert PasswordHasher().verify(stored, "correct horse battery")


def test_changed_parameters_ask_for_a_new_hash_and_equal_ones_do_not_pwd_06(hashing: PasswordHashing) -> None:
    old = PasswordHasher(time_cost=2, memory_cost=64, parallelism=1).hash("correct horse battery")
    verdict = hashing.verify(old, "correct horse battery")
    assert verdict.correct
    assert verdict.new_hash
    again = hashing.verify(verdict.new_hash, "correct horse battery")
    assert again.correct
    assert again.new_hash is None
    assert hashing.verify(old, "wrong horse battery").new_hash is None


def test_hashing_never_uses_more_threads_than_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    busy, most, lock = 0, 0, threading.Lock()
    really = argon2id.verify

    def counted(*arguments: bytes) -> bool:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        try:
            return really(*arguments)
        finally:
            with lock:
                busy -= 1

    monkeypatch.setattr(argon2id, "verify", counted)
    hashing = PasswordHashing(threads=2, queue=40, time_cost=2, memory_kib=2048)
    stored = hashing.hash("correct horse battery")
    with ThreadPoolExecutor(24) as pool:
        verdicts = list(pool.map(lambda _: hashing.verify(stored, "correct horse battery"), range(24)))
    hashing.close()
    assert all(verdict.correct for verdict in verdicts)
    assert most == 2


def test_a_queue_longer_than_anybody_waits_is_refused_at_once_and_recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    release, started = threading.Event(), threading.Semaphore(0)
    hashing = PasswordHashing(threads=1, queue=1, **CHEAP)
    stored = hashing.hash("correct horse battery")
    really = argon2id.verify

    def slow(*arguments: bytes) -> bool:
        started.release()
        release.wait(timeout=30)
        return really(*arguments)

    monkeypatch.setattr(argon2id, "verify", slow)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(hashing.verify, stored, "correct horse battery")]
        assert started.acquire(timeout=30)
        waiting.append(pool.submit(hashing.verify, stored, "correct horse battery"))
        deadline = time.monotonic() + 30
        while not _refused(hashing, stored) and time.monotonic() < deadline:
            pass
        with pytest.raises(HashingBusy):
            hashing.verify(stored, "correct horse battery")
        release.set()
        assert all(one.result(timeout=30).correct for one in waiting)
    assert hashing.verify(stored, "correct horse battery").correct
    hashing.close()


def _refused(hashing: PasswordHashing, stored: str) -> bool:
    if hashing._room.acquire(blocking=False):  # the second caller has not taken its place yet
        hashing._room.release()
        return False
    return True


def test_nobody_costs_as_much_time_as_somebody_i3() -> None:
    hashing = PasswordHashing(time_cost=2, memory_kib=4096)
    stored = hashing.hash("correct horse battery")
    times: dict[str | None, list[float]] = {None: [], stored: []}
    for _ in range(31):
        for who, spent in times.items():
            begun = time.perf_counter()
            hashing.verify(who, "wrong horse battery")
            spent.append(time.perf_counter() - begun)
    hashing.close()
    nobody, somebody = median(times[None]), median(times[stored])
    assert 0.5 < nobody / somebody < 2
