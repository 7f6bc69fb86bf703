"""D19: what is a bounce, of whom, and what is something else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lms_bridge.mail import dsn
from tests.lms_bridge.mail import returned

OURS, ADA = "<0123456789abcdef0123456789abcdef@connexion.univ.example>", "ada@mail.example"


@pytest.mark.parametrize(
    ("sample", "status"),
    [(returned.postfix, "5.1.1"), (returned.exchange, "5.1.10"), (returned.exim, "5.1.1"), (returned.qmail, "5.1.1")],
)
def test_each_kind_of_server_is_understood(sample: Callable[[str, str], bytes], status: str) -> None:
    bounce = dsn.read(sample(OURS, ADA))
    assert bounce is not None
    [report] = bounce.reports
    assert (report.status, report.recipients) == (status, frozenset({ADA}))
    assert OURS in bounce.message_ids
    assert "noreply@univ.example" in bounce.delivered_to


@pytest.mark.parametrize("sample", [returned.out_of_office, returned.complaint])
def test_what_is_no_bounce_is_left_alone(sample: Callable[[str, str], bytes]) -> None:
    assert dsn.read(sample(OURS, ADA)) is None


@pytest.mark.parametrize("action", ["delayed", "delivered", "relayed", "expanded"])
def test_news_that_is_no_failure_is_no_bounce(action: str) -> None:
    assert dsn.read(returned.postfix(OURS, ADA, action=action, status="4.4.1")) is None


@pytest.mark.parametrize("raw", [b"", b"\x00\xff\xfe garbage without a header", b"\n\nonly a body"])
def test_what_is_no_message_is_said_to_be_unreadable(raw: bytes) -> None:
    with pytest.raises(dsn.Unreadable):
        dsn.read(raw)


@given(cut=st.integers(0, 2500), noise=st.binary(max_size=40))
def test_a_broken_report_breaks_nothing(cut: int, noise: bytes) -> None:
    raw = returned.postfix(OURS, ADA)
    broken = raw[:cut] + noise + raw[cut + len(noise) :]
    with suppress(dsn.Unreadable):
        dsn.read(broken)


def test_what_a_server_says_can_be_stored_whatever_it_is() -> None:
    raw = returned.postfix(OURS, ADA).replace(b"Recipient address rejected", b"\x00\xff\xed\xa0\x80 rejected")
    bounce = dsn.read(raw)
    assert bounce is not None
    [report] = bounce.reports
    assert "\0" not in report.text
    assert report.text.encode("utf-8")
