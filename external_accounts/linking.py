"""One person, two accounts: whether they may become one, and what the one is then. Rules over values, no database.

Of two accounts one is kept (its row, its key, its history), the other is closed and named by nothing any more. What
each table does is in docs/explanation/linking.md; `joining` carries it out, `parting` takes it back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from external_accounts.identities import LOCAL
from external_accounts.schema import Account, AccountId, Address

UNDO_FOR = timedelta(days=7)
INSTITUTIONAL = "institutional"


class Refusal(StrEnum):
    """Why two accounts do not become one. Says nothing of the other side but this word (LNK-11)."""

    SAME = "same"
    GONE = "gone"
    """Erased, or joined to another account meanwhile."""
    SUSPENDED = "suspended"
    """Nobody leaves a suspension behind by joining accounts."""
    NOT_ACTIVATED = "not_activated"
    ENDING = "ending"
    """Its owner asked for its deletion: that is taken back first."""
    NAME_TAKEN = "name_taken"
    """The user name that the university's CAS asserts is somebody else's here: a human must look."""
    STALE = "stale"
    """What was proved does not hold any more (another password, another way in)."""


class LinkRefused(Exception):
    """The two accounts stay two."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Side:
    """What the rules know of one of the two accounts."""

    account_id: AccountId
    username: str
    profile: str
    institutional: bool
    """Whether a CAS vouches for it."""
    rights_end_at: datetime | None = None
    suspended_at: datetime | None = None
    suspended_until: datetime | None = None
    activated_at: datetime | None = None
    erased_at: datetime | None = None
    merged_into_id: AccountId | None = None
    erasure_due_at: datetime | None = None
    given_name: str = ""
    family_name: str = ""
    birth_name: str = ""
    unit: str = ""
    directory: str = ""
    language: str = ""
    external_key: str | None = None
    sponsor_id: AccountId | None = None
    last_sign_in_at: datetime | None = None

    def alive(self, now: datetime) -> bool:
        """Whether its rights have not ended."""
        return self.rights_end_at is None or self.rights_end_at > now


def side_of(account: Account) -> Side:
    return Side(
        account_id=account.id,
        username=account.username,
        profile=account.profile,
        institutional=any(identity.issuer != LOCAL for identity in account.identities),
        rights_end_at=account.rights_end_at,
        suspended_at=account.suspended_at,
        suspended_until=account.suspended_until,
        activated_at=account.activated_at,
        erased_at=account.erased_at,
        merged_into_id=account.merged_into_id,
        erasure_due_at=account.erasure_due_at,
        given_name=account.given_name,
        family_name=account.family_name,
        birth_name=account.birth_name,
        unit=account.unit,
        directory=account.directory,
        language=account.language,
        external_key=account.external_key,
        sponsor_id=account.sponsor_id,
        last_sign_in_at=account.last_sign_in_at,
    )


def refusal(one: Side, two: Side, now: datetime) -> Refusal | None:
    """What forbids that the two become one, or None. The order of the two does not matter."""
    sides = (one, two)
    if one.account_id == two.account_id:
        return Refusal.SAME
    if any(side.erased_at is not None or side.merged_into_id is not None for side in sides):
        return Refusal.GONE
    if any(_is_suspended(side, now) for side in sides):
        return Refusal.SUSPENDED
    if any(side.erasure_due_at is not None for side in sides):
        return Refusal.ENDING
    if any(side.activated_at is None for side in sides):
        return Refusal.NOT_ACTIVATED
    return None


def _is_suspended(side: Side, now: datetime) -> bool:
    return side.suspended_at is not None and (side.suspended_until is None or now < side.suspended_until)


@dataclass(frozen=True, slots=True)
class Joined:
    """What the kept account is from now on."""

    swaps_names: bool
    """Whether the two exchange their user names: nobody's name is ever free for somebody else."""
    profile: str
    rights_end_at: datetime | None
    given_name: str
    family_name: str
    birth_name: str
    unit: str
    directory: str
    language: str
    external_key: str | None
    sponsor_id: AccountId | None
    last_sign_in_at: datetime | None


def joined(kept: Side, other: Side, now: datetime) -> Joined:
    """The facts of the kept account: those of the side that the university vouches for, while that side is alive."""
    leading, trailing = _leading(kept, other, now)
    sponsor = leading.sponsor_id or trailing.sponsor_id
    return Joined(
        swaps_names=other.institutional and not kept.institutional and other.alive(now),
        profile=leading.profile,
        rights_end_at=_rights_end(kept, other, now),
        given_name=leading.given_name or trailing.given_name,
        family_name=leading.family_name or trailing.family_name,
        birth_name=leading.birth_name or trailing.birth_name,
        unit=leading.unit or trailing.unit,
        directory=leading.directory,
        language=kept.language or other.language,
        external_key=kept.external_key or other.external_key,
        sponsor_id=None if sponsor in (kept.account_id, other.account_id) else sponsor,
        last_sign_in_at=max((m for m in (kept.last_sign_in_at, other.last_sign_in_at) if m is not None), default=None),
    )


def _leading(kept: Side, other: Side, now: datetime) -> tuple[Side, Side]:
    order = sorted((kept, other), key=lambda side: (not side.alive(now), not side.institutional, side is other))
    return order[0], order[1]


def _rights_end(kept: Side, other: Side, now: datetime) -> datetime | None:
    """The later end of those that have not come. A member without an end has none; an invited learner without one
    does not outlast the contract of the member they are."""
    living = [side for side in (kept, other) if side.alive(now)]
    ends = [side.rights_end_at for side in living or (kept, other) if side.rights_end_at is not None]
    endless = [side for side in living if side.rights_end_at is None]
    if not ends or any(side.institutional for side in endless):
        return None
    return max(ends)


@dataclass(frozen=True, slots=True)
class Addresses:
    """What becomes of the addresses of both, by the ids of their rows."""

    moved: tuple[int, ...] = ()
    """From the other account to the kept one, as they are: moving is not confirming (I4)."""
    dropped: tuple[int, ...] = ()
    """Nobody ever showed that they read them (LNK-03), or the same address is confirmed on the other side."""
    parked: tuple[int, ...] = ()
    """Confirmed on both sides: the kept row stands for both, the other waits on the closed account."""
    primary: int | None = None


def addresses(kept: Sequence[Address], other: Sequence[Address]) -> Addresses:
    """Sort the addresses of both sides.

    The main one is an institutional confirmed one, else any confirmed one (the kept account's main one first), else
    the one it was.
    """
    everything = [*kept, *other]
    confirmed = [one for one in everything if one.confirmed_at is not None]
    keys = {one.email_key for one in confirmed}
    last_resort = None if confirmed else _main([*_primary(kept), *_primary(other)])
    moved: list[int] = []
    dropped: list[int] = []
    parked: list[int] = []
    kept_keys: set[str] = set()
    for one in kept:
        if one.confirmed_at is not None or one is last_resort or (_asserted(one) and one.email_key not in keys):
            kept_keys.add(one.email_key)
        else:
            dropped.append(one.id)
    for one in other:
        if one.confirmed_at is not None:
            (parked if one.email_key in kept_keys else moved).append(one.id)
        elif one is last_resort or (_asserted(one) and one.email_key not in keys | kept_keys):
            moved.append(one.id)
        else:
            dropped.append(one.id)
    left = [one for one in everything if one.id not in {*dropped, *parked}]
    return Addresses(tuple(moved), tuple(dropped), tuple(parked), _primary_of(left))


def _primary(rows: Sequence[Address]) -> list[Address]:
    return [one for one in rows if one.is_primary]


def _main(rows: Sequence[Address]) -> Address | None:
    return rows[0] if rows else None


def _asserted(address: Address) -> bool:
    """Whether the university's CAS named it, and not whoever had the account in hand."""
    return address.role == INSTITUTIONAL


def _primary_of(left: Sequence[Address]) -> int | None:
    """`left` has the kept account's addresses first."""
    if not left:
        return None
    best = min(left, key=lambda one: (one.confirmed_at is None, not _asserted(one), not one.is_primary))
    return best.id
