"""D14, I3: asking for a known and for an unknown account takes as long, measured."""

from __future__ import annotations

import random
import time
from pathlib import Path
from statistics import median

import pytest

from lms_bridge.jobs import functions
from tests.bridge_under_test import forms, running_bridge

PAIRS = 1000
NAMES = 50


@pytest.mark.parametrize(("path", "field"), [("/account/forgot", "username"), ("/account/activate", "identifier")])
def test_a_thousand_requests_each_way_cannot_be_told_apart_by_their_time_tok_01_d14_i3(
    tmp_path: Path, path: str, field: str
) -> None:
    """A sign test on 1,000 pairs, one request for a known and one for an unknown name, in an order drawn by lot.

    If the time does not depend on the name, each pair is a fair coin whatever else the machine does: noise, drift and
    other work fall on both sides of a pair by lot. Of 1,000 coins, the share of heads has a standard deviation of 1.6
    percentage points; the bound of 10 is 6.3 of them, which chance passes once in three thousand million runs. With
    nothing but the look-up put into the request, the share was 91 %.
    """
    lot = random.Random(20261125)
    with running_bridge(tmp_path, throttle={"campus_prefixes": ["127.0.0.0/8"]}) as bridge:
        for number in range(NAMES):
            bridge.add_account(f"ext.known{number:02}")
        browser = bridge.browser()
        browser.get(path)
        _, _, fields = forms(browser.page)[0]

        def spent(name: str) -> float:
            begun = time.perf_counter()
            answer = browser.session.post(
                f"{bridge.url}{path}", data=fields | {field: name}, allow_redirects=False, timeout=30
            )
            took = time.perf_counter() - begun
            assert answer.status_code == 303
            return took

        known: list[float] = []
        unknown: list[float] = []
        for number in range(PAIRS):
            pair = [(f"ext.known{number % NAMES:02}", known), (f"ext.other{number % NAMES:02}", unknown)]
            for name, times in lot.sample(pair, 2):
                times.append(spent(name))
            if number % NAMES == NAMES - 1:
                # What was found lies in the database now; the next round asks again: 10 minutes later the same
                # search, the fourth time a new one.
                functions.answer_searches(bridge.runtime)
                bridge.clock.forward(minutes=10 if number % (4 * NAMES) != 4 * NAMES - 1 else 31)
    slower = sum(one > other for one, other in zip(known, unknown, strict=True)) / PAIRS
    assert 0.4 < slower < 0.6, (slower, median(known), median(unknown))
