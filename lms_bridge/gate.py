"""The gate: may this account enter this service now, and if not, what stands in the way and what is the next step.

One pure function over values. Ticket issue, ticket validation and the home page all ask it (I1); nothing else decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from external_accounts.accounts import AccountFacts
from external_accounts.schema import Account
from lms_bridge.settings.sections import Service


class Obstacle(StrEnum):
    """What can stand in the way, most final first: the first one is what the person is told to work on."""

    ERASED = "erased"
    MERGED = "merged"
    SUSPENDED = "suspended"
    RIGHTS_ENDED = "rights_ended"
    PROFILE_NOT_ALLOWED = "profile_not_allowed"
    NOT_ACTIVATED = "not_activated"
    NO_ADDRESS = "no_address"
    ADDRESS_UNCONFIRMED = "address_unconfirmed"
    CHARTER_NOT_ACCEPTED = "charter_not_accepted"
    MOODLE_CONFLICT = "moodle_conflict"
    MOODLE_SUSPENDED = "moodle_suspended"
    BEING_PREPARED = "being_prepared"


class MirrorState(StrEnum):
    """What is known of the account's user in the Moodle behind the service."""

    IN_STEP = "in_step"
    PENDING = "pending"
    CONFLICT = "conflict"
    SUSPENDED_ELSEWHERE = "suspended_elsewhere"


@dataclass(frozen=True, slots=True)
class Policy:
    """What a service asks of those who enter."""

    gated: bool = True
    profiles: frozenset[str] = frozenset()
    """Empty: all profiles."""
    charter_version: str | None = None
    mirrored: bool = False
    """Whether a Moodle user must be in step first."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The gate's answer. `obstacles` is empty exactly when the account is admitted."""

    obstacles: tuple[Obstacle, ...] = ()

    @property
    def admitted(self) -> bool:
        return not self.obstacles

    @property
    def first(self) -> Obstacle:
        """The obstacle to work on next. Only for a refusal."""
        return self.obstacles[0]


def policy_of(service: Service, *, charter_version: str | None) -> Policy:
    """The policy that settings give a service. `charter_version` is the one in force."""
    return Policy(
        gated=service.gated,
        profiles=frozenset(service.profiles),
        charter_version=charter_version if service.charter else None,
        mirrored=service.site is not None,
    )


def is_suspended(facts: AccountFacts | Account, now: datetime) -> bool:
    """A suspension with an end is over at that very moment."""
    return facts.suspended_at is not None and (facts.suspended_until is None or now < facts.suspended_until)


def decide(
    facts: AccountFacts, policy: Policy, now: datetime, *, mirror: MirrorState = MirrorState.IN_STEP
) -> Decision:
    """Whether `facts` may pass `policy` at `now`.

    A service that is not gated still refuses accounts that are erased, joined to another, suspended or whose profile it
    does not take: the gate's open doors are about addresses and documents, not about people who may not be here.
    """
    obstacles = [
        obstacle
        for obstacle, stands in (
            (Obstacle.ERASED, facts.erased_at is not None),
            (Obstacle.MERGED, facts.merged_into_id is not None),
            (Obstacle.SUSPENDED, is_suspended(facts, now)),
            (Obstacle.RIGHTS_ENDED, facts.rights_end_at is not None and facts.rights_end_at <= now),
            (Obstacle.PROFILE_NOT_ALLOWED, bool(policy.profiles) and facts.profile not in policy.profiles),
        )
        if stands
    ]
    if policy.gated:
        obstacles += _gated(facts, policy)
    if policy.mirrored and not obstacles:
        # Moodle is only prepared for people who may enter, so its state says nothing before.
        match mirror:
            case MirrorState.PENDING:
                obstacles.append(Obstacle.BEING_PREPARED)
            case MirrorState.CONFLICT:
                obstacles.append(Obstacle.MOODLE_CONFLICT)
            case MirrorState.SUSPENDED_ELSEWHERE:
                obstacles.append(Obstacle.MOODLE_SUSPENDED)
            case MirrorState.IN_STEP:
                pass
    return Decision(tuple(obstacles))


def _gated(facts: AccountFacts, policy: Policy) -> list[Obstacle]:
    obstacles = []
    if facts.activated_at is None:
        obstacles.append(Obstacle.NOT_ACTIVATED)
    if facts.email is None:
        obstacles.append(Obstacle.NO_ADDRESS)
    elif facts.email_confirmed_at is None:
        obstacles.append(Obstacle.ADDRESS_UNCONFIRMED)
    if policy.charter_version is not None and facts.charter_version != policy.charter_version:
        obstacles.append(Obstacle.CHARTER_NOT_ACCEPTED)
    return obstacles
