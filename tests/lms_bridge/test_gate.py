"""The gate as a pure function: every obstacle, their order, and the exact second."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from external_accounts.accounts import AccountFacts
from lms_bridge.gate import Decision, MirrorState, Obstacle, Policy, decide, is_suspended, policy_of
from lms_bridge.settings.sections import Service

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ADA = AccountFacts(
    account_id=1,
    username="ext.ada",
    profile="learner",
    given_name="Ada",
    family_name="Lovelace",
    language="",
    activated_at=NOW - timedelta(days=9),
    suspended_at=None,
    suspended_until=None,
    rights_end_at=None,
    erased_at=None,
    version=3,
    email="ada@mail.example",
    email_confirmed_at=NOW - timedelta(days=8),
    charter_version="2026-09",
)
OPEN = Policy()
STRICT = Policy(profiles=frozenset({"learner"}), charter_version="2026-09", mirrored=True)


def obstacles(decision: Decision) -> list[Obstacle]:
    assert decision.admitted is not bool(decision.obstacles)
    return list(decision.obstacles)


def test_somebody_with_nothing_in_the_way_is_admitted() -> None:
    assert decide(ADA, STRICT, NOW).admitted
    assert decide(ADA, OPEN, NOW) == Decision()


ONE_OBSTACLE = [
    (replace(ADA, erased_at=NOW), OPEN, Obstacle.ERASED),
    (replace(ADA, merged_into_id=2), OPEN, Obstacle.MERGED),
    (replace(ADA, suspended_at=NOW), OPEN, Obstacle.SUSPENDED),
    (replace(ADA, rights_end_at=NOW), OPEN, Obstacle.RIGHTS_ENDED),
    (replace(ADA, profile="student"), STRICT, Obstacle.PROFILE_NOT_ALLOWED),
    (replace(ADA, activated_at=None), OPEN, Obstacle.NOT_ACTIVATED),
    (replace(ADA, email=None, email_confirmed_at=None), OPEN, Obstacle.NO_ADDRESS),
    (replace(ADA, email_confirmed_at=None), OPEN, Obstacle.ADDRESS_UNCONFIRMED),
    (replace(ADA, charter_version=None), STRICT, Obstacle.CHARTER_NOT_ACCEPTED),
    (replace(ADA, charter_version="2025-09"), STRICT, Obstacle.CHARTER_NOT_ACCEPTED),
]


@pytest.mark.parametrize(
    ("facts", "policy", "obstacle"), ONE_OBSTACLE, ids=[f"{n} {case[2]}" for n, case in enumerate(ONE_OBSTACLE)]
)
def test_each_obstacle_stands_alone(facts: AccountFacts, policy: Policy, obstacle: Obstacle) -> None:
    decision = decide(facts, policy, NOW)
    assert obstacles(decision) == [obstacle]
    assert decision.first is obstacle


@pytest.mark.parametrize(
    ("mirror", "obstacle"),
    [
        (MirrorState.PENDING, Obstacle.BEING_PREPARED),
        (MirrorState.CONFLICT, Obstacle.MOODLE_CONFLICT),
        (MirrorState.SUSPENDED_ELSEWHERE, Obstacle.MOODLE_SUSPENDED),
    ],
)
def test_moodle_s_obstacles_count_only_where_there_is_a_moodle(mirror: MirrorState, obstacle: Obstacle) -> None:
    assert obstacles(decide(ADA, STRICT, NOW, mirror=mirror)) == [obstacle]
    assert decide(ADA, OPEN, NOW, mirror=mirror).admitted


def test_moodle_is_no_obstacle_for_somebody_who_may_not_enter_anyway() -> None:
    unconfirmed = replace(ADA, email_confirmed_at=None)
    assert obstacles(decide(unconfirmed, STRICT, NOW, mirror=MirrorState.CONFLICT)) == [Obstacle.ADDRESS_UNCONFIRMED]


def test_the_most_final_obstacle_comes_first() -> None:
    worst = replace(
        ADA,
        erased_at=NOW,
        suspended_at=NOW,
        rights_end_at=NOW,
        profile="student",
        activated_at=None,
        email=None,
        email_confirmed_at=None,
        charter_version=None,
    )
    assert obstacles(decide(worst, STRICT, NOW)) == [
        Obstacle.ERASED,
        Obstacle.SUSPENDED,
        Obstacle.RIGHTS_ENDED,
        Obstacle.PROFILE_NOT_ALLOWED,
        Obstacle.NOT_ACTIVATED,
        Obstacle.NO_ADDRESS,
        Obstacle.CHARTER_NOT_ACCEPTED,
    ]


@pytest.mark.parametrize(("offset", "suspended"), [(-SECOND, True), (timedelta(), False), (SECOND, False)])
def test_a_suspension_with_an_end_is_over_at_that_very_second(offset: timedelta, suspended: bool) -> None:
    facts = replace(ADA, suspended_at=NOW - timedelta(days=1), suspended_until=NOW)
    assert is_suspended(facts, NOW + offset) is suspended
    assert decide(facts, OPEN, NOW + offset).admitted is not suspended


def test_a_suspension_without_an_end_does_not_end() -> None:
    assert is_suspended(replace(ADA, suspended_at=NOW), NOW + timedelta(days=36500))


@pytest.mark.parametrize(("offset", "admitted"), [(-SECOND, True), (timedelta(), False), (SECOND, False)])
def test_rights_are_over_at_their_very_second(offset: timedelta, admitted: bool) -> None:
    assert decide(replace(ADA, rights_end_at=NOW), OPEN, NOW + offset).admitted is admitted


@pytest.mark.parametrize("obstacle", ["erased_at", "suspended_at", "rights_end_at"])
def test_an_ungated_service_still_refuses_who_may_not_be_here(obstacle: str) -> None:
    assert not decide(replace(ADA, **{obstacle: NOW}), Policy(gated=False), NOW).admitted


def test_an_ungated_service_asks_for_no_address_and_no_document() -> None:
    newcomer = replace(ADA, activated_at=None, email=None, email_confirmed_at=None, charter_version=None)
    assert decide(newcomer, Policy(gated=False, charter_version="2026-09"), NOW).admitted
    assert not decide(newcomer, Policy(gated=False, profiles=frozenset({"staff"})), NOW).admitted


@pytest.mark.parametrize(("charter", "asked"), [(True, "2026-09"), (False, None)])
def test_a_service_s_policy_is_what_its_settings_say(charter: bool, asked: str | None) -> None:
    service = Service(
        name="x", label={"fr": "X"}, url="https://x.example/", charter=charter, profiles=("staff",), site="updago"
    )
    assert policy_of(service, charter_version="2026-09") == Policy(
        gated=True, profiles=frozenset({"staff"}), charter_version=asked, mirrored=True
    )


moments = st.none() | st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
people = st.builds(
    AccountFacts,
    account_id=st.just(1),
    username=st.just("x"),
    profile=st.sampled_from(["learner", "staff"]),
    given_name=st.just(""),
    family_name=st.just(""),
    language=st.just(""),
    activated_at=moments,
    suspended_at=moments,
    suspended_until=moments,
    rights_end_at=moments,
    erased_at=moments,
    version=st.just(1),
    email=st.sampled_from([None, "x@mail.example"]),
    email_confirmed_at=moments,
    charter_version=st.sampled_from([None, "1", "2"]),
)
policies = st.builds(
    Policy,
    gated=st.booleans(),
    profiles=st.sampled_from([frozenset[str](), frozenset({"learner"})]),
    charter_version=st.sampled_from([None, "2"]),
    mirrored=st.booleans(),
)


@given(people, policies, st.sampled_from(MirrorState), moments.filter(bool))
def test_admitted_exactly_when_nothing_at_all_stands_in_the_way_i1(
    facts: AccountFacts, policy: Policy, mirror: MirrorState, now: datetime
) -> None:
    here = facts.erased_at is None and not (facts.rights_end_at is not None and facts.rights_end_at <= now)
    if facts.suspended_at is not None:
        here = here and facts.suspended_until is not None and facts.suspended_until <= now
    if policy.profiles:
        here = here and facts.profile in policy.profiles
    ready = facts.activated_at is not None and facts.email is not None and facts.email_confirmed_at is not None
    if policy.charter_version is not None:
        ready = ready and facts.charter_version == policy.charter_version
    admitted = here and (ready or not policy.gated) and (mirror is MirrorState.IN_STEP or not policy.mirrored)
    decision = decide(facts, policy, now, mirror=mirror)
    assert decision.admitted is admitted
    assert len(set(decision.obstacles)) == len(decision.obstacles)
    assert list(decision.obstacles) == sorted(decision.obstacles, key=list(Obstacle).index)
