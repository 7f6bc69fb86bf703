"""Making writes to Moodle, a batch of one kind at a time: put down, made, settled.

Three steps, each complete in itself, so that a crash between any two of them leaves a state the next run understands:

1. one transaction writes the journal's entries and says in the mirrors what is about to be done;
2. Moodle is called once;
3. one transaction settles the entries and says in the mirrors what was done.

A call whose outcome is unknown is read back, never repeated.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts.database import Database
from external_accounts.schema import Account, AccountId
from lms_bridge.schema import Mirror
from lms_bridge.settings.moodle_sites import Site
from lms_bridge.sync import journal, mirrors, predecessors, remembered
from lms_bridge.sync.actions import Action, Kind
from lms_bridge.sync.compare import PROTECTED_IDS, protected_names
from lms_bridge.sync.desired import CUSTOM
from lms_bridge.sync.journal import Outcome
from lms_bridge.sync.observed import ask
from moodle_ws.client import MoodleClient
from moodle_ws.cohorts import Membership
from moodle_ws.errors import BadRow, MoodleError
from moodle_ws.outcomes import RowOutcome, RowStatus
from moodle_ws.user_writes import Created, NewUser, UpdateOutcome, UserUpdate

log = structlog.get_logger(__name__)

UPDATES = frozenset({Kind.CLOSE, Kind.PARK, Kind.REFRESH, Kind.TAKE, Kind.ADOPT, Kind.OPEN})


_REFUSED = Outcome(journal.REFUSED)
_NOT_SENT = Outcome(journal.LOST, "not sent")
_CHANGED = Outcome(journal.LOST, "the account changed")
_IN_THE_WAY = Outcome(journal.LOST, "another user still has it")
_STUCK = Outcome(journal.REFUSED, "another user has it")


@dataclass
class Turns:
    """Lets so many batches call Moodle at once; none any more when a call has failed. The others write down what they
    are about to do or have done, so that Moodle need not wait for our database."""

    free: threading.Semaphore
    failed: bool = False

    @classmethod
    def at_once(cls, calls: int) -> Turns:
        return cls(threading.Semaphore(calls))


Settled = tuple[int, Action, Outcome]
"""A journal entry, what was to be written, and what became of it."""


class ForbiddenTarget(Exception):
    """A write was meant for a user that is never touched."""

    def __init__(self, action: Action) -> None:
        self.action = action
        super().__init__(f"{action.kind} of protected user {action.username or action.moodle_id}")


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes to one site."""

    database: Database
    client: MoodleClient
    site: Site
    cohort_ids: Mapping[str, int]
    clock: Callable[[], datetime]
    run_id: int | None = None
    turns: Turns = field(default_factory=lambda: Turns.at_once(1))

    def write(self, actions: Sequence[Action]) -> list[Outcome]:
        """Make `actions`, all of one kind, one for an account at most. Returns what became of each, in order.

        Raises:
            MoodleError: Moodle could not go on. What it did before is settled; what may have happened stays written
                down as intended, for `settle_open`.
        """
        kind = actions[0].kind
        for action in actions:
            if action.moodle_id in PROTECTED_IDS or action.username in protected_names(self.site):
                raise ForbiddenTarget(action)  # the last belt: no plan may hold such an action
        with self.database.begin() as session:
            entries = journal.intend(session, actions, site=self.site.name, run_id=self.run_id, now=self.clock())
            actions = self._announce(session, actions)
            current = _versions(session, actions)
        stale = {action.account_id for action in actions if action.version != current.get(action.account_id)}
        sent = [action for action in actions if action.account_id not in stale]
        answers, failure = self._in_turn(kind, sent) if sent else ([], None)
        fresh = iter(answers)
        # Decided on what is no longer so: left to the next look, which is due already.
        outcomes = [_CHANGED if action.account_id in stale else next(fresh) for action in actions]
        known = [row for row in zip(entries, actions, outcomes, strict=True) if row[2].state != journal.INTENDED]
        with self.database.begin() as session:
            self._record(session, known)
        if failure is not None:
            raise failure
        return outcomes

    def _announce(self, session: Session, actions: Sequence[Action]) -> list[Action]:
        """Say in the mirrors what is about to be done. Somebody created a moment ago has an id by now."""
        rows = mirrors.ensure_mirrors(session, _accounts(actions), self.site.name)
        announced = []
        for action in actions:
            row = rows[action.account_id]
            _assign(row, remembered.before(action))
            joining = action.kind is Kind.JOIN and action.moodle_id is None
            announced.append(replace(action, moodle_id=row.moodle_id) if joining else action)
        return announced

    # -- calls ---------------------------------------------------------------------------------------------------------

    def _in_turn(self, kind: Kind, actions: Sequence[Action]) -> tuple[list[Outcome], MoodleError | None]:
        with self.turns.free:
            if self.turns.failed:
                return [_NOT_SENT] * len(actions), None
            outcomes, failure = self._call(kind, actions)
            self.turns.failed = self.turns.failed or failure is not None
            return outcomes, failure

    def _call(self, kind: Kind, actions: Sequence[Action]) -> tuple[list[Outcome], MoodleError | None]:
        if kind is Kind.TAKE:
            return self._take(actions)
        if kind in UPDATES:
            return self._update(actions)
        if kind is Kind.CREATE:
            return self._create(actions)
        return self._membership(kind, actions)

    def _take(self, actions: Sequence[Action]) -> tuple[list[Outcome], MoodleError | None]:
        """As an update, of what another user had until now: only where Moodle shows that it has it no more."""
        try:
            waiting = predecessors.waiting(self.database, self.client, self.site.name, actions)
        except MoodleError as error:
            return [_NOT_SENT] * len(actions), error
        free = [action for action in actions if action.account_id not in waiting]
        written, failure = self._update(free) if free else ([], None)
        answers = iter(written)
        outcomes = [
            next(answers) if action.account_id not in waiting else _STUCK if waiting[action.account_id] else _IN_THE_WAY
            for action in actions
        ]
        return outcomes, failure

    def _update(self, actions: Sequence[Action]) -> tuple[list[Outcome], MoodleError | None]:
        failure: MoodleError | None = None
        answers: Sequence[UpdateOutcome]
        try:
            answers = self.client.update_users([_user_update(action) for action in actions])
        except MoodleError as error:
            answers, failure = error.outcomes, error
        unknown = [
            action for action, answer in zip(actions, answers, strict=True) if answer.status is RowStatus.UNKNOWN
        ]
        looked = self._read_back(unknown)
        outcomes = []
        for action, answer in zip(actions, answers, strict=True):
            match answer.status:
                case RowStatus.APPLIED:
                    outcomes.append(Outcome(journal.DONE, moodle_id=action.moodle_id))
                case RowStatus.REFUSED:
                    outcomes.append(Outcome(journal.REFUSED, answer.code or "refused"))
                case RowStatus.UNKNOWN:
                    outcomes.append(looked.get(action.account_id, Outcome(journal.INTENDED)))
                case RowStatus.NOT_SENT:
                    outcomes.append(_NOT_SENT)
        return outcomes, failure

    def _create(self, actions: Sequence[Action]) -> tuple[list[Outcome], MoodleError | None]:
        failure: MoodleError | None = None
        answers: Sequence[Created | BadRow | RowStatus]
        try:
            answers = self.client.create_users_each([_new_user(action) for action in actions])
        except MoodleError as error:
            answers, failure = error.outcomes, error
        # Another window may have created one of them meanwhile, or the answer got lost: look before judging.
        unclear = [
            action
            for action, answer in zip(actions, answers, strict=True)
            if isinstance(answer, BadRow) or answer is RowStatus.UNKNOWN
        ]
        looked = self._read_back(unclear)
        outcomes = []
        for action, answer in zip(actions, answers, strict=True):
            found = looked.get(action.account_id, Outcome(journal.INTENDED))
            if isinstance(answer, Created):
                outcomes.append(Outcome(journal.DONE, moodle_id=answer.id))
            elif answer is RowStatus.NOT_SENT:
                outcomes.append(_NOT_SENT)
            elif isinstance(answer, BadRow) and not found.done:
                outcomes.append(Outcome(journal.REFUSED, answer.code or f"badrow/{answer.field}"))
            else:
                outcomes.append(found)
        return outcomes, failure

    def _membership(self, kind: Kind, actions: Sequence[Action]) -> tuple[list[Outcome], MoodleError | None]:
        rows: dict[int, Membership] = {}
        outcomes = [_REFUSED] * len(actions)
        for index, action in enumerate(actions):
            cohort = self.cohort_ids.get(str({**action.before, **action.after}["cohort"]))
            if cohort is None or action.moodle_id is None:
                outcomes[index] = Outcome(journal.REFUSED, "no such cohort" if cohort is None else "no such user")
            else:
                rows[index] = Membership(cohort, action.moodle_id)
        call = self.client.remove_cohort_members if kind is Kind.LEAVE else self.client.add_cohort_members
        failure: MoodleError | None = None
        answers: Sequence[RowOutcome[Membership]]
        try:
            answers = call(list(rows.values()))
        except MoodleError as error:
            answers, failure = error.outcomes, error
        for index, answer in zip(rows, answers, strict=True):
            if answer.applied:
                outcomes[index] = Outcome(journal.DONE, moodle_id=answer.row.userid)
            elif answer.status is RowStatus.REFUSED:
                outcomes[index] = Outcome(journal.REFUSED, answer.code or "refused")
            else:
                # Both calls may be made again without harm, so nothing needs to be read back.
                outcomes[index] = Outcome(journal.LOST, "not answered")
        return outcomes, failure

    # -- what happened -------------------------------------------------------------------------------------------------

    def settle_open(self, account_ids: Sequence[AccountId] | None = None) -> int:
        """Settle what earlier runs left as intended, by reading Moodle. Returns how many entries.

        Raises:
            MoodleError: Moodle could not be read; the rest stays open.
        """
        with self.database.read() as session:
            entries = journal.unsettled(session, self.site.name, account_ids)
        for entry, action in entries:
            outcome = self._look(action) if action.kind not in (Kind.JOIN, Kind.LEAVE) else Outcome(journal.LOST)
            with self.database.begin() as session:
                self._record(session, [(entry, action, outcome)])
        return len(entries)

    def _read_back(self, actions: Sequence[Action]) -> dict[AccountId, Outcome]:
        """What Moodle shows of actions whose outcome is unknown; nothing of those it cannot be asked about now."""
        found = {}
        try:
            for action in actions:
                found[action.account_id] = self._look(action)
        except MoodleError as error:
            log.warning("sync.read_back", outcome="failed", site=self.site.name, error=type(error).__name__)
        return found

    def _look(self, action: Action) -> Outcome:
        """Whether Moodle holds what the action wanted."""
        if action.kind is Kind.CREATE:
            users, _ = ask(self.client, "username", [str(action.after["username"])])
        else:
            users, _ = ask(self.client, "id", [action.moodle_id or 0])
        user = users[0] if len(users) == 1 else None
        if user is None or user.looks_deleted or not remembered.holds(user, action):
            return Outcome(journal.LOST)
        return Outcome(journal.DONE, moodle_id=user.id)

    def _record(self, session: Session, settled: Sequence[Settled]) -> None:
        """Settle journal entries, and say in the mirrors what was done."""
        now, site = self.clock(), self.site.name
        rows = mirrors.ensure_mirrors(session, _accounts(action for _, action, _ in settled), site)
        settled, rows = self._followed(session, settled, rows)
        journal.settle(session, {entry: outcome for entry, _, outcome in settled}, now=now)
        handled: dict[AccountId, int] = {}
        for _, action, outcome in settled:
            row = rows[action.account_id]
            changes = (
                remembered.after(action, outcome, row.written)
                if outcome.done
                else remembered.undone(action, outcome, row.state)
            )
            _assign(row, changes, done=outcome.done)
            if outcome.state == journal.REFUSED:
                log.warning(
                    "sync.write",
                    outcome="refused",
                    site=site,
                    account=action.account_id,
                    kind=action.kind.value,
                    code=outcome.code,
                )
            if action.last and outcome.state != journal.LOST and action.version:
                row.account_version, row.seen_at = action.version, now
                handled[action.account_id] = action.version
        mirrors.settle(session, site, handled)

    def _followed(
        self, session: Session, settled: Sequence[Settled], rows: Mapping[AccountId, Mirror]
    ) -> tuple[Sequence[Settled], dict[AccountId, Mirror]]:
        """The same for the accounts that the users are now: a link may have given them to another one meanwhile."""
        owners = journal.owners(session, [entry for entry, _, _ in settled])
        followed = [
            # What the new account should be was not looked at: it stays due.
            (entry, replace(action, account_id=owners[entry], last=False), outcome)
            if owners[entry] != action.account_id
            else (entry, action, outcome)
            for entry, action, outcome in settled
        ]
        missing = {action.account_id for _, action, _ in followed} - rows.keys()
        more = mirrors.ensure_mirrors(session, sorted(missing), self.site.name) if missing else {}
        return followed, {**rows, **more}


def _accounts(actions: Iterable[Action]) -> list[AccountId]:
    return list(dict.fromkeys(action.account_id for action in actions))


def _versions(session: Session, actions: Sequence[Action]) -> dict[AccountId, int]:
    ids = [action.account_id for action in actions]
    return {
        row.id: row.version for row in session.execute(select(Account.id, Account.version).where(Account.id.in_(ids)))
    }


def _assign(row: Mirror, values: Mapping[str, Any], *, done: bool = False) -> None:
    """Put `values` into the row. Another window may have created the user meanwhile: then only a success counts."""
    if "owned" in values and row.moodle_id is not None and not done:
        values = {name: value for name, value in values.items() if name == "moodle_id" and value is not None}
    for name, value in values.items():
        setattr(row, name, value)


def _user_update(action: Action) -> UserUpdate:
    plain = {name: value for name, value in action.after.items() if not name.startswith(CUSTOM)}
    return UserUpdate(id=action.moodle_id or 0, customfields=_custom(action), **plain)


def _new_user(action: Action) -> NewUser:
    plain = {name: value for name, value in action.after.items() if not name.startswith(CUSTOM)}
    return NewUser(customfields=_custom(action), **plain)


def _custom(action: Action) -> dict[str, str] | None:
    custom = {name.removeprefix(CUSTOM): str(value) for name, value in action.after.items() if name.startswith(CUSTOM)}
    return custom or None
