"""Bringing one account into step with one Moodle: before its ticket is issued, or in the background.

The rules (ground truth §7, MariaDB page §5):

* a look-up by user name must return exactly one row, byte-equal, with our auth method (I12). Another auth method, a
  changed id, an unreadable row: nothing is written and a human looks;
* what Moodle does not show is unknown, never "no";
* only suspensions the bridge set are lifted, only users it owns are written (I7);
* the mirror row is written before Moodle is (what we are about to do) and after (what we did), so a crash in between
  leaves nothing that the next run does not see.

Moodle being down stops nobody who was seen in step not long ago.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.accounts import AccountFacts, account_facts
from external_accounts.database import Database
from external_accounts.schema import AccountId
from lms_bridge import gate
from lms_bridge.gate import MirrorState, Policy
from lms_bridge.schema import Mirror
from lms_bridge.settings.sections import Site
from lms_bridge.sync.desired import DesiredUser, desired_user
from lms_bridge.sync.sites import MoodleSites
from moodle_ws.client import MoodleClient
from moodle_ws.errors import BadRequest, InvalidResponse, MoodleError, UnknownOutcome
from moodle_ws.user_writes import NewUser, UserUpdate
from moodle_ws.users import MoodleUser

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class MirrorView:
    """A mirror row as values, read at the start of a step."""

    moodle_id: int | None = None
    state: MirrorState = MirrorState.PENDING
    owned: bool = False
    suspended_by_us: bool = False
    written: dict[str, Any] | None = None
    account_version: int = 0
    seen_at: datetime | None = None


def is_fresh(mirror: MirrorView, facts: AccountFacts, site: Site, now: datetime) -> bool:
    """Whether a recent look found this very version of the account in step: no need to look again."""
    return (
        mirror.state is MirrorState.IN_STEP
        and not mirror.suspended_by_us
        and mirror.account_version == facts.version
        and mirror.seen_at is not None
        and now - mirror.seen_at < timedelta(minutes=site.trust_minutes)
    )


def outlives_outage(mirror: MirrorView, facts: AccountFacts, site: Site, now: datetime) -> bool:
    """Whether the person may enter although Moodle's web service does not answer."""
    return (
        mirror.state is MirrorState.IN_STEP
        and not mirror.suspended_by_us
        and (mirror.written or {}).get("username", facts.username) == facts.username
        and mirror.seen_at is not None
        and now - mirror.seen_at < timedelta(hours=site.outage_hours)
    )


def bring_into_step(
    database: Database, sites: MoodleSites, site_name: str, account_id: AccountId, policy: Policy, *, now: datetime
) -> MirrorState:
    """Make the account's Moodle user what it should be, and say where it stands. Never raises for Moodle's faults.

    `policy` is the gate policy of the service behind the site; an account the gate refuses is closed in Moodle, and
    not created there.
    """
    facts = account_facts(database, account_id)
    if facts is None:
        return MirrorState.PENDING
    site = sites.site(site_name)
    mirror = read_mirror(database, account_id, site_name)
    admitted = gate.decide(facts, policy, now).admitted
    if admitted and is_fresh(mirror, facts, site, now):
        return MirrorState.IN_STEP
    if not admitted and mirror.moodle_id is None:
        return MirrorState.PENDING  # nothing in Moodle to close, and nobody is created who may not enter
    step = _Step(database, sites.client(site_name), site, facts, mirror, now)
    try:
        return step.run(desired_user(facts, auth=site.auth_method, admitted=admitted))
    except (InvalidResponse, BadRequest) as error:
        # An unreadable or refused row is a fact about this user, not about the site.
        return step.conflict(f"Moodle: {type(error).__name__}")
    except MoodleError as error:
        log.warning("sync.step", outcome="unavailable", site=site_name, account=account_id, error=type(error).__name__)
        return MirrorState.IN_STEP if admitted and outlives_outage(mirror, facts, site, now) else MirrorState.PENDING


@dataclass(frozen=True, slots=True)
class _Step:
    """One account, one site, one time."""

    database: Database
    client: MoodleClient
    site: Site
    facts: AccountFacts
    mirror: MirrorView
    now: datetime

    def run(self, desired: DesiredUser) -> MirrorState:
        user = self._look()
        if user is None:
            return self._create(desired)
        if (problem := self._problem(user)) is not None:
            return self.conflict(problem)
        if desired.suspended:
            return self._close(user)
        return self._open(user, desired)

    def _look(self) -> MoodleUser | None:
        """The user by name; for a mirrored user also by id, since names can be changed in Moodle.

        Raises:
            MoodleError: the look-up failed, which is not the same as "not found".
        """
        if self.mirror.moodle_id is not None:
            found = self.client.users_by_field("id", [self.mirror.moodle_id])
            return found[0] if len(found) == 1 else None
        found = self.client.users_by_field("username", [self.facts.username])
        return found[0] if len(found) == 1 else None

    def _problem(self, user: MoodleUser) -> str | None:
        """Why a human must look before this user is touched, or None."""
        if user.looks_deleted:
            return "the user was deleted in Moodle"
        if user.username is None or user.auth is None or user.suspended is None:
            return "Moodle does not show user name, auth method or suspension: check the token's capabilities"
        if user.auth != self.site.auth_method:
            return f"the user's auth method is {user.auth}"
        if user.confirmed is False:
            return "the user is not confirmed in Moodle"
        expected = (self.mirror.written or {}).get("username", self.facts.username)
        if user.username not in (self.facts.username, expected):
            return "the user was renamed in Moodle"
        return None

    def _create(self, desired: DesiredUser) -> MirrorState:
        if self.mirror.moodle_id is not None:
            return self.conflict("the user is gone from Moodle")
        if desired.suspended:
            return MirrorState.PENDING
        new = NewUser(
            username=desired.username,
            firstname=desired.firstname,
            lastname=desired.lastname,
            email=desired.email,
            auth=desired.auth,
        )
        # Nobody has the name, and we are about to take it: said before, so that a lost answer leaves it ours.
        self._save(state=MirrorState.PENDING, owned=True, problem="")
        try:
            created = self.client.create_users([new])[0]
        except (BadRequest, UnknownOutcome):
            # Another window may have created it meanwhile, or the answer got lost: look before judging.
            user = self._look()
            if user is None:
                self._save(owned=False)
                raise
            if (problem := self._problem(user)) is not None:
                self._save(owned=False)
                return self.conflict(problem)
            ours = replace(self.mirror, owned=True, written=desired.fields())
            return replace(self, mirror=ours)._open(user, desired)
        return self._save(
            state=MirrorState.IN_STEP,
            moodle_id=created.id,
            owned=True,
            written=desired.fields(),
            account_version=self.facts.version,
            seen_at=self.now,
            problem="",
        )

    def _open(self, user: MoodleUser, desired: DesiredUser) -> MirrorState:
        if user.suspended and not self.mirror.suspended_by_us:
            return self._save(state=MirrorState.SUSPENDED_ELSEWHERE, moodle_id=user.id, problem="suspended in Moodle")
        changes: dict[str, Any] = {"suspended": False} if user.suspended else {}
        if self.mirror.owned:
            written = self.mirror.written or {}
            changes |= {name: value for name, value in desired.fields().items() if value and written.get(name) != value}
        elif user.username != desired.username:
            return self.conflict("the user name differs from the account's")
        if changes:
            self._write(UserUpdate(id=user.id, **changes))
        return self._save(
            state=MirrorState.IN_STEP,
            moodle_id=user.id,
            suspended_by_us=False,
            written=desired.fields() if self.mirror.owned else {"username": desired.username},
            account_version=self.facts.version,
            seen_at=self.now,
            problem="",
        )

    def _close(self, user: MoodleUser) -> MirrorState:
        if not user.suspended and self.mirror.owned:  # I7: somebody else's user is closed by giving no ticket
            self._save(suspended_by_us=True)  # said before it is done: a crash in between can be lifted again
            self._write(UserUpdate(id=user.id, suspended=True))
        return self._save(state=MirrorState.IN_STEP, account_version=self.facts.version, seen_at=self.now, problem="")

    def end_moodle_sessions(self, *, admitted: bool) -> None:
        """Suspend and lift: the only way to end a Moodle user's sessions from outside (ground truth §3).

        Only a suspension of ours is lifted, and only for somebody who may be there (I6, I7).
        """
        user = self._look()
        if user is None or not self.mirror.owned or self._problem(user) is not None:
            return
        if not user.suspended:
            self._save(suspended_by_us=True)
            self._write(UserUpdate(id=user.id, suspended=True))
        elif not self.mirror.suspended_by_us:
            return
        if admitted:
            self._write(UserUpdate(id=user.id, suspended=False))
            self._save(suspended_by_us=False)

    def _write(self, update: UserUpdate) -> None:
        outcome = self.client.update_users([update])[0]
        if not outcome.applied:
            raise BadRequest(f"update refused: {outcome.code or outcome.status}")

    def conflict(self, problem: str) -> MirrorState:
        log.warning(
            "sync.step", outcome="conflict", site=self.site.name, account=self.facts.account_id, problem=problem
        )
        return self._save(state=MirrorState.CONFLICT, problem=problem)

    def _save(self, **values: Any) -> MirrorState:
        with self.database.begin() as session:
            row = mirror_row(session, self.facts.account_id, self.site.name)
            for name, value in values.items():
                setattr(row, name, value)
            return MirrorState(row.state)


def mirror_row(session: Session, account_id: AccountId, site: str) -> Mirror:
    """The account's mirror row, made when there is none yet."""
    query = select(Mirror).where(Mirror.account_id == account_id, Mirror.site == site).with_for_update()
    row = session.scalar(query)
    if row is None:
        # Two sign-ins of one person may come here at once; the second finds the first one's row.
        insert = sqlite_insert if session.get_bind().dialect.name == "sqlite" else postgresql_insert
        fresh = {"account_id": account_id, "site": site, "state": MirrorState.PENDING.value, "account_version": 0}
        session.execute(insert(Mirror).values(**fresh, written={}, problem="").on_conflict_do_nothing())
        row = session.scalars(query).one()
    return row


def forget_mirror(session: Session, account_id: AccountId, site: str, *, now: datetime, origin: audit.Origin) -> None:
    """Begin again with a site as if the account had never been there. Nothing is written to Moodle."""
    session.execute(delete(Mirror).where(Mirror.account_id == account_id, Mirror.site == site))
    audit.record(session, "mirror.forgotten", outcome="ok", now=now, origin=origin, account_id=account_id, site=site)


def read_mirror(database: Database, account_id: AccountId, site: str) -> MirrorView:
    with database.read() as session:
        row = session.scalar(select(Mirror).where(Mirror.account_id == account_id, Mirror.site == site))
        if row is None:
            return MirrorView()
        return MirrorView(
            moodle_id=row.moodle_id,
            state=MirrorState(row.state),
            owned=row.owned,
            suspended_by_us=row.suspended_by_us,
            written=dict(row.written),
            account_version=row.account_version,
            seen_at=row.seen_at,
        )


def end_moodle_sessions(
    database: Database, sites: MoodleSites, mirror_id: int, policy: Policy, *, now: datetime
) -> None:
    """End the Moodle sessions of a mirrored user, and take the request off the row.

    `policy` is the gate policy of the service behind the site.

    Raises:
        MoodleError: Moodle did not do it; the row keeps the request.
    """
    with database.read() as session:
        row = session.get_one(Mirror, mirror_id)
        account_id, site = row.account_id, row.site
    facts = account_facts(database, account_id)
    if facts is not None:
        mirror = read_mirror(database, account_id, site)
        step = _Step(database, sites.client(site), sites.site(site), facts, mirror, now)
        step.end_moodle_sessions(admitted=gate.decide(facts, policy, now).admitted)
    with database.begin() as session:
        mirror_row(session, account_id, site).sign_out_pending = False
