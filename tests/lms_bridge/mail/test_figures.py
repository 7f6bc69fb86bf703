"""D20: which domains deserve a look."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lms_bridge.mail.figures import Domain, flags, masked, mistyped

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("gmial.com", "gmail.com"),
        ("gmai.com", "gmail.com"),
        ("gmaill.com", "gmail.com"),
        ("gmsil.com", "gmail.com"),
        ("hotmial.fr", "hotmail.fr"),
        ("laposte.nte", "laposte.net"),
        ("gmail.com", ""),
        ("univ-poitiers.fr", ""),
        ("fee.fr", ""),
        ("gmail.co.uk", ""),
    ],
)
def test_a_slip_of_the_finger_in_a_usual_domain_is_seen(typed: str, meant: str) -> None:
    assert mistyped(typed) == meant


@pytest.mark.parametrize(
    ("domain", "flagged"),
    [
        (Domain("a.example", {"sent": 20, "bounced": 2}), []),
        (Domain("a.example", {"sent": 20, "bounced": 2, "failed": 1}), ["refuses"]),
        (Domain("a.example", {"sent": 100, "failed": 3}), []),
        (Domain("a.example", waiting=1, deferred=1, oldest_waiting=NOW - timedelta(hours=1)), []),
        (Domain("a.example", waiting=1, deferred=1, oldest_waiting=NOW - timedelta(hours=1, seconds=1)), ["stuck"]),
        (Domain("a.example", waiting=1, oldest_waiting=NOW - timedelta(hours=2)), []),
        (Domain("gmial.com", {"failed": 3}), ["refuses", "like gmail.com"]),
    ],
)
def test_d20_what_an_operator_should_look_at_is_flagged(domain: Domain, flagged: list[str]) -> None:
    assert flags(domain, NOW) == flagged


def test_a_server_s_words_are_shown_without_anybody_s_address() -> None:
    words = "550 5.1.1 <ada.lovelace@mail.example>: unknown; see http://x.example/a"
    assert masked(words) == "550 5.1.1 <a•••@mail.example>: unknown; see http://x.example/a"
