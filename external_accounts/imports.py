"""What becomes of a line of the staff office's file: a decision for each line, and the brake for all of them.

Pure: a line's wish, the facts about it and the rules give a decision. The same decisions are made for a preview, for a
run, and for a request of the API; and the order of the lines plays no part in any of them.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Literal

from external_accounts.accounts import Person
from external_accounts.addresses import stored_address
from external_accounts.duplicates import Traits, likeness, traits
from external_accounts.import_rows import Problem, Wish
from external_accounts.name_index import Alike
from external_accounts.profiles import ProfilePolicy
from external_accounts.schema import AccountId
from external_accounts.usernames import has_letters, series

ENDING_SOON = timedelta(days=30)
"""An end of rights that is brought forward to less than this from now counts as an end: soon it is one."""
SAME_PERSON = 35
"""How alike names must be for a user name alone to say that an account is the file's person."""
RECOVERY, INSTITUTIONAL = "recovery", "institutional"

Kind = Literal["create", "update", "end", "revive", "leave", "refuse"]
CHANGING: tuple[Kind, ...] = ("create", "update", "end", "revive")
Note = Literal["taken_over", "address_confirmed", "homonym_accepted", "homonym_near", "ended", "ends_now"]


@dataclass(frozen=True, slots=True)
class Rules:
    """What the settings say, and the time."""

    now: datetime
    profiles: Mapping[str, ProfilePolicy]
    last_moment: Callable[[date], datetime]
    """The moment at which a last day is over, on the university's clocks."""
    local_names: re.Pattern[str]
    """User names that only accounts kept here may have."""
    username_form: str
    """How a user name is made for somebody who signs in through a CAS."""
    local_username_form: str
    homonym_threshold: int
    language: str
    default_profile: str | None = None
    accepted: frozenset[str] = frozenset()
    """Keys of people of whom somebody made sure that they are nobody else."""

    def form(self, policy: ProfilePolicy) -> str:
        """How user names of a profile are made."""
        return self.username_form if policy.issuer else self.local_username_form

    def fits(self, username: str, policy: ProfilePolicy) -> bool:
        """Whether a user name lies where those of the profile do: kept here, or given by a CAS (LNK-06)."""
        return bool(self.local_names.fullmatch(username)) != bool(policy.issuer)


@dataclass(frozen=True, slots=True)
class KnownAddress:
    """An address of an account."""

    key: str
    role: str
    is_primary: bool
    confirmed: bool


@dataclass(frozen=True, slots=True)
class Known:
    """What an import has to know of an account."""

    id: AccountId
    username: str
    external_key: str | None
    profile: str
    given_name: str
    family_name: str
    birth_name: str
    unit: str
    sponsor_id: AccountId | None
    rights_end_at: datetime | None
    activated: bool
    erased: bool
    joined_to: str = ""
    """The user name of the account that the person kept when they joined this one to it."""
    addresses: tuple[KnownAddress, ...] = ()
    issuers: frozenset[str] = frozenset()
    """Those it signs in through by its user name."""

    @property
    def traits(self) -> Traits:
        return traits(self.given_name, self.family_name, self.birth_name)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about one line."""

    account: Known | None = None
    """The account with its key."""
    namesake: Known | None = None
    """The account with its user name."""
    sponsor_id: AccountId | None = None
    alike: tuple[Alike, ...] = ()
    """Accounts that may be the same person; looked up for lines that would create one."""
    alike_lines: tuple[str, ...] = ()
    """Keys of lines of the same file that are so alike that one of them may be too many."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done about one key, or why nothing can be."""

    kind: Kind
    external_key: str
    account_id: AccountId | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    """New values by field. Of addresses: `private_email`, `institutional_email`."""
    problems: tuple[Problem, ...] = ()
    notes: tuple[Note, ...] = ()
    alike: tuple[Alike, ...] = ()
    ends: bool = False
    """It counts as an end of rights: see `ENDING_SOON`."""
    renames: bool = False

    @property
    def essence(self) -> list[Any]:
        """What makes it another decision when it is taken again. An end "now" is the same a moment later."""
        now = "ends_now" in self.notes
        changes = {name: "now" if now else str(value) for name, value in self.changes.items()}
        return [self.kind, self.external_key, self.account_id, changes]


def decide(wish: Wish, facts: Facts, rules: Rules) -> Decision:
    """What one line comes to."""
    if facts.account is not None and facts.account.joined_to:
        # Two lines for one person: which of the two keys goes on, the staff office knows.
        return _refused(wish, Problem("joined", "external_key", facts.account.joined_to))
    if facts.account is not None and not facts.account.erased:
        return _change(wish, facts.account, facts, rules, taken_over=False)
    if (there := facts.namesake) is not None and wish.username is not None:
        if _is_theirs(wish, there, rules):
            return _change(wish, there, facts, rules, taken_over=True)
        return _refused(wish, Problem("taken", "username", wish.username))
    return _create(wish, facts, rules)


def end_now(account_id: AccountId, external_key: str, now: datetime) -> Decision:
    """For somebody whom a complete file no longer has."""
    return Decision("end", external_key, account_id, {"rights_end_at": now}, notes=("ends_now",), ends=True)


def _is_theirs(wish: Wish, there: Known, rules: Rules) -> bool:
    """Whether an account that came in by the university's CAS before is this line's person: name and user name agree.

    A user name is the issuer's to give, so it names one person; the names are compared to catch a wrong cell.
    """
    policy = rules.profiles.get(wish.profile or rules.default_profile or "")
    if (
        there.erased
        or there.joined_to
        or there.external_key is not None
        or policy is None
        or policy.issuer not in there.issuers
    ):
        return False
    said = traits(wish.given_name or "", wish.family_name or "", wish.birth_name or "")
    return likeness(said, there.traits).points >= SAME_PERSON


def _refused(wish: Wish, *problems: Problem, alike: tuple[Alike, ...] = ()) -> Decision:
    return Decision("refuse", wish.external_key, problems=problems, alike=alike)


def _create(wish: Wish, facts: Facts, rules: Rules) -> Decision:
    problems = [
        Problem("missing", column) for column in ("given_name", "family_name") if getattr(wish, column) is None
    ]  # fmt: skip
    name = wish.profile or rules.default_profile
    policy = rules.profiles.get(name or "")
    if policy is None:
        problems.append(Problem("unknown" if name else "missing", "profile", name or ""))
    else:
        problems += _about_username(wish, policy, rules)
    end = rules.last_moment(wish.rights_end) if wish.rights_end else None
    if end is not None and end <= rules.now:
        problems.append(Problem("past", "rights_end", str(wish.rights_end)))
    problems += _about_sponsor(wish, facts)
    if problems or policy is None:
        return _refused(wish, *problems)
    checked = wish.homonym_checked or wish.external_key in rules.accepted
    alike = tuple(one for one in facts.alike if one.likeness.points >= rules.homonym_threshold)
    if (alike or facts.alike_lines) and not checked:
        whom = ", ".join([*(one.username for one in alike), *facts.alike_lines])
        return _refused(wish, Problem("homonym", "homonym_checked", whom), alike=facts.alike)
    notes: tuple[Note, ...] = ()
    if facts.alike or facts.alike_lines:
        notes = ("homonym_accepted" if alike or facts.alike_lines else "homonym_near",)
    values = {
        "username": wish.username,
        "profile": policy.name,
        "given_name": wish.given_name,
        "family_name": wish.family_name,
        "birth_name": wish.birth_name,
        "unit": wish.unit,
        "language": wish.language,
        "rights_end_at": end,
        "sponsor_id": facts.sponsor_id,
        "private_email": wish.private_email,
        "institutional_email": wish.institutional_email,
    }
    said = {field: value for field, value in values.items() if value is not None}
    return Decision("create", wish.external_key, changes=said, notes=notes, alike=facts.alike)


def _about_username(wish: Wish, policy: ProfilePolicy, rules: Rules) -> list[Problem]:
    """A user name must lie in its own space; where no directory can be asked which ones are free, it must be given."""
    if wish.username is None:
        person = Person(wish.given_name or "", wish.family_name or "")
        if policy.issuer and not policy.directory:
            return [Problem("missing", "username")]
        if not (person.given_name and person.family_name):
            return []
        makes = has_letters(person) and rules.fits(next(series(rules.form(policy), person)), policy)
        return [] if makes else [Problem("no_name_left", "username")]
    if not rules.fits(wish.username, policy):
        return [Problem("not_here", "username", wish.username)]
    return []


def _about_sponsor(wish: Wish, facts: Facts) -> list[Problem]:
    return [Problem("unknown", "sponsor", wish.sponsor)] if wish.sponsor and facts.sponsor_id is None else []


def _change(wish: Wish, account: Known, facts: Facts, rules: Rules, *, taken_over: bool) -> Decision:
    problems = _about_sponsor(wish, facts)
    if wish.username is not None and wish.username != account.username:
        problems.append(Problem("cannot_change", "username", wish.username))
    if wish.profile is not None and wish.profile != account.profile:
        problems += _about_profile(wish.profile, account, rules)
    if problems:
        return _refused(wish, *problems)
    changes: dict[str, Any] = {"external_key": wish.external_key} if taken_over else {}
    for name in ("given_name", "family_name", "birth_name", "unit", "profile"):
        said = getattr(wish, name)
        if said is not None and said != getattr(account, name):
            changes[name] = said
    if facts.sponsor_id is not None and facts.sponsor_id not in (account.sponsor_id, account.id):
        changes["sponsor_id"] = facts.sponsor_id
    addresses, notes = _addresses(wish, account)
    if taken_over:
        notes.append("taken_over")
    end = _end(wish, account, rules)
    was_over = account.rights_end_at is not None and account.rights_end_at <= rules.now
    if end != account.rights_end_at:
        changes["rights_end_at"] = end
    elif was_over:
        notes.append("ended")
    changes |= addresses
    return Decision(
        _kind(changes, end, was_over=was_over, now=rules.now),
        wish.external_key,
        account.id,
        changes,
        notes=tuple(notes),
        ends=_ends(account.rights_end_at, end, rules.now),
        renames=not {"given_name", "family_name"}.isdisjoint(changes),
    )


def _about_profile(name: str, account: Known, rules: Rules) -> list[Problem]:
    """Another profile behind the same door is a change like others; another door is a matter of linking."""
    new, old = rules.profiles.get(name), rules.profiles.get(account.profile, ProfilePolicy(account.profile))
    if new is None:
        return [Problem("unknown", "profile", name)]
    if (new.issuer, new.directory) != (old.issuer, old.directory):
        return [Problem("cannot_change", "profile", name)]
    return []


def _addresses(wish: Wish, account: Known) -> tuple[dict[str, str], list[Note]]:
    """New addresses. One that the person confirmed is theirs: no file replaces it (I4)."""
    changes: dict[str, str] = {}
    notes: list[Note] = []
    held = {address.key for address in account.addresses}
    for name, role, email in (
        ("institutional_email", INSTITUTIONAL, wish.institutional_email),
        ("private_email", RECOVERY, wish.private_email),
    ):
        if email is None or stored_address(email).key in held:
            continue
        if any(address.role == role and address.confirmed for address in account.addresses):
            notes.append("address_confirmed")
        else:
            changes[name] = email
    return changes, notes


def _end(wish: Wish, account: Known, rules: Rules) -> datetime | None:
    if wish.no_end:
        return None
    if wish.rights_end is None:
        return account.rights_end_at
    end = rules.last_moment(wish.rights_end)
    over = account.rights_end_at is not None and account.rights_end_at <= rules.now
    # Over is over: a file that goes on naming an earlier day than the one that ended it changes nothing.
    return account.rights_end_at if over and end <= rules.now else end


def _kind(changes: Mapping[str, Any], end: datetime | None, *, was_over: bool, now: datetime) -> Kind:
    if "rights_end_at" in changes:
        is_over = end is not None and end <= now
        if is_over and not was_over:
            return "end"
        if was_over and not is_over:
            return "revive"
    return "update" if changes else "leave"


def _ends(before: datetime | None, after: datetime | None, now: datetime) -> bool:
    if after is None or (before is not None and (after >= before or before <= now)):
        return False
    return after <= now + ENDING_SOON


@dataclass(frozen=True, slots=True)
class Limit:
    """How many changes of a kind a run may make unasked: `percent` of the accounts known, but at least `floor`."""

    percent: float
    floor: int

    def of(self, known: int) -> int:
        return max(self.floor, math.floor(self.percent * known / 100))


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a run does not begin."""

    name: Literal["too_many_ends", "too_many_renames", "incomplete", "empty"]
    count: int = 0
    known: int = 0
    limit: int = 0

    @property
    def answerable(self) -> bool:
        """Whether somebody who has looked may go on: with the plan's checksum."""
        return self.name.startswith("too_many")


def stops(
    decisions: Iterable[Decision], *, known: int, ended: Limit, renamed: Limit, lines: int, unread: int, complete: bool
) -> list[Stop]:
    """Why a run over `decisions` must not begin (I9). `known`: how many living accounts come from files.

    `complete`: whoever is not in the file is to be ended. Then each of its `lines` must name somebody; `unread` do not.
    """
    decisions = list(decisions)
    found: list[Stop] = []
    if complete and not lines:
        found.append(Stop("empty"))
    if complete and unread:
        found.append(Stop("incomplete", unread))
    ends = sum(decision.ends for decision in decisions)
    if ends > ended.of(known):
        found.append(Stop("too_many_ends", ends, known, ended.of(known)))
    renames = sum(decision.renames for decision in decisions)
    if renames > renamed.of(known):
        found.append(Stop("too_many_renames", renames, known, renamed.of(known)))
    return found


def checksum(decisions: Sequence[Decision]) -> str:
    """Names a plan: the same changes have the same, in whatever order the lines came."""
    essence = sorted(decision.essence for decision in decisions if decision.kind in CHANGING)
    return hashlib.sha256(json.dumps(essence, sort_keys=True).encode()).hexdigest()[:16]
