"""The profile of a person who comes in through a CAS follows the rules of the settings, and nothing less certain."""

from __future__ import annotations

from typing import Any

from external_accounts import audit
from external_accounts.identities import sign_in_with_assertion
from lms_bridge.settings.sections import ProfileRule, Upstream
from lms_bridge.signin.upstream import read_assertion
from tests.bridge_under_test import BridgeUnderTest

SEL = Upstream(
    issuer="sel",
    cas_url="https://cas.univ.example/cas",
    profile_rules=(ProfileRule(attribute="affiliation", value="student", profile="student"),),
)


def profile_after(bridge: BridgeUnderTest, *sign_ins: dict[str, Any]) -> str:
    """The profile of one person after these sign-ins, each with its CAS attributes."""
    profile = ""
    for attributes in sign_ins:
        assertion = read_assertion(SEL, "jdupont", attributes, canonical=str)
        with bridge.runtime.database.begin() as session:
            account, _ = sign_in_with_assertion(
                session, assertion, trusted_domains=(), now=bridge.clock(), origin=audit.SYSTEM
            )
            profile = account.profile
    return profile


def test_a_first_sign_in_takes_the_rule_that_matches(bridge: BridgeUnderTest) -> None:
    assert profile_after(bridge, {"affiliation": ["member", "student"]}) == "student"


def test_a_first_sign_in_without_a_matching_rule_takes_the_door_s_profile(bridge: BridgeUnderTest) -> None:
    assert profile_after(bridge, {"affiliation": "faculty"}) == "staff"


def test_somebody_who_becomes_a_student_is_one_at_the_next_sign_in(bridge: BridgeUnderTest) -> None:
    assert profile_after(bridge, {"affiliation": "faculty"}, {"affiliation": "student"}) == "student"


def test_an_attribute_that_is_missing_today_takes_no_profile_away(bridge: BridgeUnderTest) -> None:
    assert profile_after(bridge, {"affiliation": "student"}, {}) == "student"
