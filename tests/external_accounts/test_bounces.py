"""D19: what a refusal says of a mailbox, and when it outweighs a confirmation."""

from __future__ import annotations

import pytest

from external_accounts.bounces import Patience, Severity, enhanced_status, is_refuted, severity

NO_SUCH, UNREACHABLE, PASSING = Severity.NO_SUCH_MAILBOX, Severity.UNREACHABLE, Severity.PASSING


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        ("5.1.1", 550, NO_SUCH),
        ("5.1.2", 550, NO_SUCH),
        ("5.1.10", 556, NO_SUCH),
        ("5.0.0", 550, UNREACHABLE),
        ("5.2.1", 550, UNREACHABLE),
        ("5.4.1", 550, UNREACHABLE),
        ("", 550, UNREACHABLE),
        ("", 553, UNREACHABLE),
        ("", 554, PASSING),
        ("", 552, PASSING),
        ("5.1.8", 501, PASSING),
        ("5.2.2", 552, PASSING),
        ("5.3.4", 552, PASSING),
        ("5.4.6", 554, PASSING),
        ("5.6.0", 554, PASSING),
        ("5.7.1", 550, PASSING),
        ("5.7.26", 550, PASSING),
        ("4.1.1", 450, PASSING),
        ("4.2.2", 452, PASSING),
    ],
)
def test_d19_only_what_is_about_the_mailbox_counts(status: str, code: int, said: Severity) -> None:
    assert severity(status, code) is said


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("550 5.1.1 <a@b.example>: unknown", "5.1.1"),
        ("550-5.7.26 This mail is unauthenticated", "5.7.26"),
        ("host 192.5.1.1 said 550 no", ""),
        ("connect to 5.1.1.4: refused", ""),
        ("version 3.5.1.1", ""),
        ("no code at all", ""),
    ],
)
def test_an_enhanced_code_is_found_and_an_ip_address_is_none(text: str, status: str) -> None:
    assert enhanced_status(text) == status


@pytest.mark.parametrize(
    ("bounces", "refuted"),
    [
        ([NO_SUCH], True),
        ([UNREACHABLE], False),
        ([UNREACHABLE] * 2, False),
        ([UNREACHABLE] * 3, True),
        ([], False),
    ],
)
def test_one_no_such_mailbox_or_three_other_refusals_outweigh_a_confirmation(
    bounces: list[Severity], refuted: bool
) -> None:
    assert is_refuted(bounces, Patience()) is refuted


def test_the_patience_is_a_setting() -> None:
    assert not is_refuted([NO_SUCH], Patience(no_such_mailbox=2))
    assert is_refuted([NO_SUCH, NO_SUCH], Patience(no_such_mailbox=2))
