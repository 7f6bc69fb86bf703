"""The three-way comparison of one account: what it should be, what Moodle shows, what was last written.

A pure function: it can be asked in a REPL without an application, a database or a network. The rules (ground truth
§3, §7; MariaDB page §5):

* a user found by name must be byte-equal with our sign-in method (I12); another method, a changed name, a row that
  cannot be read: nothing is written, a human looks;
* what Moodle does not show is unknown, never "no";
* only suspensions the bridge set are lifted, only users it owns are written (I7);
* a field changed here and in Moodle since the last write is a conflict of that field and is not written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lms_bridge.gate import MirrorState
from lms_bridge.i18n import N_
from lms_bridge.settings.moodle_sites import FieldMode, Site
from lms_bridge.sync.actions import Action, Conflict, Kind
from lms_bridge.sync.desired import CUSTOM, DesiredUser, Subject, parked_values
from lms_bridge.sync.mirrors import MirrorView
from lms_bridge.sync.ties import NONE, Ties
from moodle_ws.users import MoodleUser, same_email

SUSPENDED_IN_MOODLE = N_("suspended in Moodle")
NOT_OURS = N_("the user of a joined account is not ours to close: suspend it in Moodle")
PROTECTED = N_("the Moodle user is protected")
PROTECTED_IDS = frozenset({1, 2})
"""Guest and first administrator: Moodle's installer makes them in this order."""
PROTECTED_NAMES = frozenset({"guest", "admin"})


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is to be done for one account, in order, and where it stands when all of it is done."""

    state: MirrorState
    actions: tuple[Action, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    problem: str = ""
    moodle_id: int | None = None
    noted: Mapping[str, Any] = field(default_factory=dict)
    """Fields that Moodle shows as they should be although we did not write them: as good as written."""

    def __post_init__(self) -> None:
        actions = tuple(replace(action, last=action is self.actions[-1]) for action in self.actions)
        object.__setattr__(self, "actions", actions)

    @property
    def state_before(self) -> MirrorState:
        """Where the account stands until the actions are done: somebody not created yet is not in step."""
        creating = any(action.kind is Kind.CREATE for action in self.actions)
        return MirrorState.PENDING if creating else self.state


@dataclass(frozen=True, slots=True)
class Rules:
    """What of a site's settings the comparison needs."""

    modes: Mapping[str, FieldMode]
    creates: bool = True
    """Whether somebody unknown to Moodle is created now."""
    runs_before_absence: int = 0
    """How many complete runs must have missed a user before this look may call it gone."""
    protected: frozenset[str] = PROTECTED_NAMES
    """User names never touched."""
    own_user: int = 0
    """The id of the token's own user: suspending it would end our own access (ground truth §3)."""
    adopts: frozenset[str] = frozenset()
    """Sign-in methods that are changed in place when a link asks for it."""


def compare(
    subject: Subject,
    desired: DesiredUser,
    observed: MoodleUser | None,
    mirror: MirrorView,
    rules: Rules,
    *,
    member_of: frozenset[str] | None = None,
    decision: str = "",
    shared_address: bool = False,
    ties: Ties = NONE,
) -> Comparison:
    """Compare one account.

    `observed` is the user a look-up by id (for a mirrored account) or by name returned, None when it returned
    nobody. `member_of` holds the ID numbers of our cohorts Moodle shows the user in; None: not looked at. `decision`
    is the gate's first obstacle, for the reason of a closing. `shared_address`: another account of ours holds the
    same address at this site (`source.without_address`), so this one's is not written. `ties`: to accounts that were
    joined to this one, or to the one that was kept.
    """
    if shared_address:
        fields = {name: value for name, value in desired.fields.items() if name != "email"}
        desired = replace(desired, fields=fields)
    look = _Look(subject, desired, mirror, rules, member_of, decision, ties)
    if observed is None:
        return look.nobody()
    problem = look.problem(observed)
    if problem is not None:
        return look.conflict(problem, observed)
    if look.joined:
        return look.parked(observed)
    return look.closed(observed) if desired.suspended else look.opened(observed)


@dataclass(frozen=True, slots=True)
class _Look:
    subject: Subject
    desired: DesiredUser
    mirror: MirrorView
    rules: Rules
    member_of: frozenset[str] | None
    decision: str
    ties: Ties

    @property
    def joined(self) -> bool:
        """Whether the account was joined to another one: its user is parked."""
        return self.subject.facts.merged_into_id is not None

    # -- nobody there --------------------------------------------------------------------------------------------------

    def nobody(self) -> Comparison:
        if self.mirror.moodle_id is not None:
            if self.mirror.absent_runs < self.rules.runs_before_absence:
                return Comparison(
                    self.mirror.state, moodle_id=self.mirror.moodle_id, problem=N_("not found by this run")
                )
            return self.conflict(N_("the user is gone from Moodle"), None)
        if self.desired.suspended or not self.rules.creates:
            return Comparison(MirrorState.PENDING)
        if "email" not in self.desired.fields:
            return self.conflict(N_("another account has the same address"), None)
        if self.desired.username in self.rules.protected:
            return self.conflict(PROTECTED, None)
        values = {"username": self.desired.username, "auth": self.desired.auth, **self.desired.fields}
        create = self._action(Kind.CREATE, None, {}, values, N_("not in Moodle yet"))
        return Comparison(MirrorState.IN_STEP, (create, *self._joins(None)))

    # -- somebody there ------------------------------------------------------------------------------------------------

    def problem(self, user: MoodleUser) -> str | None:
        """Why a human must look before this user is touched, or None."""
        if user.looks_deleted:
            return N_("the user was deleted in Moodle")
        if user.id in PROTECTED_IDS or user.id == self.rules.own_user or user.username in self.rules.protected:
            return PROTECTED
        if user.username is None or user.auth is None or user.suspended is None:
            return N_("Moodle does not show user name, auth method or suspension")
        if self.joined and not self.mirror.owned:
            return None if user.suspended else NOT_OURS  # whatever a human made of it meanwhile
        if user.auth != self.desired.auth and not (self._changes_in_place and user.auth in self.rules.adopts):
            return N_("the user has another sign-in method")
        if user.confirmed is False:
            return N_("the user is not confirmed in Moodle")
        expected = self.mirror.written.get("username", self.desired.username)
        if user.username not in (self.desired.username, expected):
            return N_("the user was renamed in Moodle")
        if user.username != self.desired.username and not self.mirror.owned:
            return N_("the user name is not the account's")
        return None

    @property
    def _changes_in_place(self) -> bool:
        return self.mirror.owned and (self.joined or self.ties.keeps)

    def conflict(self, problem: str, user: MoodleUser | None) -> Comparison:
        """Nothing is written, not even a closing: it is not certain whose user this is. No ticket is issued either."""
        facts = self.subject.facts
        theirs = "" if user is None else " ".join(filter(None, (user.username, user.auth)))
        found = Conflict(
            facts.account_id,
            facts.username,
            self.mirror.moodle_id or (user.id if user else None),
            problem,
            field="user",
            ours=f"{self.desired.username} {self.desired.auth}",
            theirs=theirs,
        )
        return Comparison(MirrorState.CONFLICT, conflicts=(found,), problem=problem, moodle_id=self.mirror.moodle_id)

    def closed(self, user: MoodleUser) -> Comparison:
        """The gate refuses: suspend a user of ours. Somebody else's is closed by giving no ticket (I7)."""
        if not self.mirror.owned:
            return Comparison(MirrorState.IN_STEP, moodle_id=user.id)
        actions: list[Action] = []
        if not user.suspended:
            before, after = {"suspended": False}, {"suspended": True}
            actions.append(self._action(Kind.CLOSE, user.id, before, after, self.decision or "not admitted"))
        refresh, conflicts, noted = self._fields(user)
        return Comparison(
            MirrorState.IN_STEP,
            (*actions, *refresh),
            conflicts,
            moodle_id=user.id,
            noted=noted,
            problem=_texts(conflicts),
        )

    def parked(self, user: MoodleUser) -> Comparison:
        """The person goes on with another user: this one is closed, and bears nothing that the other is to have."""
        if not self.mirror.owned:
            return Comparison(MirrorState.IN_STEP, moodle_id=user.id)
        actions: list[Action] = []
        if not user.suspended:
            actions.append(self._action(Kind.CLOSE, user.id, {"suspended": False}, {"suspended": True}, self.decision))
        away = {"username": self.desired.username}
        for name, value in self.ties.yields.items():
            theirs = observed_value(user, name) or self.mirror.written.get(name)
            if theirs is not None and _same(name, theirs, value):
                away[name] = parked_values(self.subject.key)[name]
        before = {name: observed_value(user, name) for name in away}
        if before != away:
            actions.append(self._action(Kind.PARK, user.id, before, away, N_("out of the way of the kept user")))
        return Comparison(MirrorState.IN_STEP, tuple(actions), moodle_id=user.id)

    def opened(self, user: MoodleUser) -> Comparison:
        if user.suspended and not self.mirror.suspended_by_us:
            # Nothing is asked of it but to bear its own name again, after an undo.
            named = self.mirror.written.get("username", self.desired.username) == self.desired.username
            refresh = self._fields(user)[0] if self.mirror.owned and not named else []
            return Comparison(
                MirrorState.SUSPENDED_ELSEWHERE, tuple(refresh), moodle_id=user.id, problem=SUSPENDED_IN_MOODLE
            )
        actions: list[Action] = []
        conflicts: tuple[Conflict, ...] = ()
        noted: Mapping[str, Any] = {"username": self.desired.username}
        if self.mirror.owned:
            refresh, conflicts, noted = self._fields(user)
            actions += refresh
        if user.suspended:
            before, after = {"suspended": True}, {"suspended": False}
            actions.append(self._action(Kind.OPEN, user.id, before, after, N_("admitted again")))
        if self.mirror.owned:
            actions += self._joins(user.id)
            actions += self._leaves(user.id)
        return Comparison(
            MirrorState.IN_STEP, tuple(actions), conflicts, moodle_id=user.id, noted=noted, problem=_texts(conflicts)
        )

    # -- fields --------------------------------------------------------------------------------------------------------

    def _fields(self, user: MoodleUser) -> tuple[list[Action], tuple[Conflict, ...], dict[str, Any]]:
        """One refresh of all fields that are to be written, the fields in conflict, and those that are right."""
        before: dict[str, Any] = {}
        after: dict[str, Any] = {}
        conflicts: list[Conflict] = []
        noted: dict[str, Any] = {}
        drifted = False
        for name, ours in self._owned_fields():
            theirs = observed_value(user, name)
            last = self.mirror.written.get(name)
            if theirs is not None and _same(name, theirs, ours):
                noted[name] = ours
            elif theirs is None and last == ours:
                pass  # not shown: what was written is taken for what is there
            elif last is not None and last != ours and theirs is not None and not _same(name, theirs, last):
                conflicts.append(self._both_changed(name, ours, theirs, user))
            else:
                before[name], after[name] = theirs, ours
                drifted = drifted or last == ours
        if user.auth != self.desired.auth:
            before["auth"], after["auth"] = user.auth, self.desired.auth
        if not after:
            return [], tuple(conflicts), noted
        reason = N_("changed in Moodle") if drifted else N_("changed here")
        write = self._action(Kind.REFRESH, user.id, before, after, reason)
        needs = self._in_the_way(after)
        if needs:
            write = replace(write, kind=Kind.TAKE, needs=needs, reason=N_("another user had it until now"))
        return [write], tuple(conflicts), noted

    def _in_the_way(self, after: Mapping[str, Any]) -> tuple[int, ...]:
        """Whose user must be read back before `after` is written, because it may bear the name or the address."""
        if not after.keys() & {"username", "email"}:
            return ()
        email = after.get("email")
        return tuple(
            other.moodle_id
            for other in self.ties.before
            if other.moodle_id is not None
            and (not other.away or (email is not None and same_email(email, other.email)))
        )

    def _owned_fields(self) -> Iterator[tuple[str, str]]:
        if self.subject.facts.erased_at is None:
            yield "username", self.desired.username
        for name, value in self.desired.fields.items():
            if self.rules.modes.get(name) == "own":
                yield name, value

    def _both_changed(self, name: str, ours: str, theirs: str, user: MoodleUser) -> Conflict:
        facts = self.subject.facts
        return Conflict(
            facts.account_id,
            facts.username,
            user.id,
            N_("changed here and in Moodle"),
            field=name,
            ours=ours,
            theirs=theirs,
            blocking=False,
        )

    # -- cohorts -------------------------------------------------------------------------------------------------------

    def _joins(self, moodle_id: int | None) -> list[Action]:
        if self.desired.cohorts is None:
            return []
        there = self.member_of if self.member_of is not None else self._written_cohorts()
        return [
            self._action(Kind.JOIN, moodle_id, {}, {"cohort": idnumber}, N_("belongs in the cohort"))
            for idnumber in sorted(self.desired.cohorts - there)
        ]

    def _leaves(self, moodle_id: int) -> list[Action]:
        """Only out of cohorts we put the user in: somebody a human added stays (I7)."""
        if self.desired.cohorts is None:
            return []
        ours = self._written_cohorts()
        there = ours if self.member_of is None else ours & self.member_of
        return [
            self._action(Kind.LEAVE, moodle_id, {"cohort": idnumber}, {}, N_("belongs in the cohort no more"))
            for idnumber in sorted(there - self.desired.cohorts)
        ]

    def _written_cohorts(self) -> frozenset[str]:
        return frozenset(self.mirror.written.get("cohorts", ()))

    def _action(
        self, kind: Kind, moodle_id: int | None, before: Mapping[str, Any], after: Mapping[str, Any], reason: str
    ) -> Action:
        facts = self.subject.facts
        return Action(kind, facts.account_id, facts.username, facts.version, moodle_id, before, after, reason)


def protected_names(site: Site) -> frozenset[str]:
    """The user names of a site that nothing is ever written to."""
    return PROTECTED_NAMES | frozenset(site.protected)


def observed_value(user: MoodleUser, name: str) -> str | None:
    """A field of a Moodle user by the names of `DesiredUser.fields`; None: empty, or not shown."""
    if name.startswith(CUSTOM):
        return None if user.customfields is None else user.customfields.get(name.removeprefix(CUSTOM))
    value: str | None = getattr(user, name)
    return value


def _same(name: str, one: str, other: str) -> bool:
    return same_email(one, other) if name == "email" else one == other


def _texts(conflicts: tuple[Conflict, ...]) -> str:
    return "; ".join(f"{conflict.field}: {conflict.problem}" for conflict in conflicts)[:200]
