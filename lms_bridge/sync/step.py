"""Bringing one account into step with one Moodle: before its ticket is issued, or soon after it changed.

The same comparison and the same writes as a run over the whole site, for one account. Moodle being down stops nobody
who was seen in step not long ago.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from external_accounts.database import Database
from external_accounts.schema import AccountId
from lms_bridge import gate
from lms_bridge.gate import Decision, MirrorState, Policy
from lms_bridge.i18n import N_
from lms_bridge.schema import Mirror, SiteState
from lms_bridge.settings.moodle_sites import Site
from lms_bridge.sync import journal, mirrors, source
from lms_bridge.sync.actions import Action, Kind
from lms_bridge.sync.apply import Writer
from lms_bridge.sync.compare import Comparison, Rules, compare, protected_names
from lms_bridge.sync.desired import desired_user, modes
from lms_bridge.sync.mirrors import is_fresh, outlives_outage
from lms_bridge.sync.notes import note
from lms_bridge.sync.sites import MoodleSites, note_success, note_trouble
from lms_bridge.sync.source import Entry
from lms_bridge.sync.ties import NONE, Predecessor, ties_of
from moodle_ws.errors import BadRequest, InvalidResponse, MoodleError
from moodle_ws.users import MoodleUser, same_email

log = structlog.get_logger(__name__)

SIGNED_OUT = N_("signed out everywhere")
RETRY = timedelta(seconds=10)


def bring_into_step(
    database: Database, sites: MoodleSites, site_name: str, account_id: AccountId, policy: Policy, *, now: datetime
) -> MirrorState:
    """As `step`, for a person who stands at the door. Never raises for Moodle's faults: somebody who was in step not
    long ago may enter all the same."""
    entry = source.one(database, account_id, site_name)
    if entry is None:
        return MirrorState.PENDING
    try:
        return step(database, sites, site_name, entry, policy, now=now, entering=True)
    except MoodleError:
        facts, site = entry.subject.facts, sites.site(site_name)
        if gate.decide(facts, policy, now).admitted and outlives_outage(entry.mirror, facts, site, now):
            return MirrorState.IN_STEP
        return MirrorState.PENDING


def step(
    database: Database,
    sites: MoodleSites,
    site_name: str,
    entry: Entry,
    policy: Policy,
    *,
    now: datetime,
    entering: bool,
) -> MirrorState:
    """Make the account's Moodle user what it should be, and say where it stands.

    `policy` is the gate policy of the service behind the site; an account the gate refuses is closed in Moodle, and
    not created there. `entering`: the person stands at the door, so they are created wherever settings allow it.

    Raises:
        MoodleError: Moodle could not be asked or did not do it. The row stays due, for a later moment.
    """
    facts, mirror, site = entry.subject.facts, entry.mirror, sites.site(site_name)
    decision = gate.decide(facts, policy, now)
    if decision.admitted and is_fresh(mirror, facts, site, now):
        return MirrorState.IN_STEP
    creates = entering or site.creates == "admitted"
    step = _Step(database, sites, site, entry, decision, now, policy=policy, creates=creates)
    if mirror.moodle_id is None and not mirror.owned and not (decision.admitted and creates):
        # Nothing in Moodle to close, and nobody is created who may not enter.
        step.note(Comparison(MirrorState.PENDING))
        return MirrorState.PENDING
    try:
        state = step.run()
    except (InvalidResponse, BadRequest) as error:
        # An unreadable or refused row is a fact about this user, not about the site.
        step.note(Comparison(MirrorState.CONFLICT, problem=f"Moodle: {type(error).__name__}"))
        return MirrorState.CONFLICT
    except MoodleError as error:
        log.warning(
            "sync.step", outcome="unavailable", site=site_name, account=facts.account_id, error=type(error).__name__
        )
        note_trouble(database, site_name, str(error), now=now)
        step.postpone()
        raise
    note_success(database, site_name)
    return state


class _Step:
    """One account, one site, one time."""

    def __init__(
        self,
        database: Database,
        sites: MoodleSites,
        site: Site,
        entry: Entry,
        decision: Decision,
        now: datetime,
        *,
        policy: Policy,
        creates: bool,
    ) -> None:
        self._database = database
        self._site = site
        self._entry = entry
        self._decision = decision
        self._now = now
        self._policy = policy
        self._sites = sites
        self._creates = creates
        self._ties = NONE
        self._client = sites.client(site.name)
        self._cohort_ids = known_cohorts(database, site)
        self._writer = Writer(database, self._client, site, self._cohort_ids, lambda: now)

    def run(self) -> MirrorState:
        """Bring the account into step, and before it those that have to go first: whoever joined two accounts enters
        with the kept user at once, and not when somebody has come to the other one.

        Raises MoodleError when Moodle could not be asked or did not answer.
        """
        for other in self._read_ties():
            if not other.away or same_email(other.email, self._entry.subject.facts.email or ""):
                self._for(other.account_id).run_alone()
        return self.run_alone()

    def run_alone(self) -> MirrorState:
        """As `run`, of this account alone."""
        self._settle_open()
        self._read_ties()
        comparison = self._compare(self._look())
        self.note(comparison)
        for action in comparison.actions:
            outcome = self._writer.write([action])[0]
            if outcome.state == journal.LOST:
                return MirrorState.PENDING  # still due: the account changed meanwhile, or Moodle did not do it
            keeps_out = action.kind in (Kind.CLOSE, Kind.CREATE, Kind.OPEN) or "username" in action.after
            if not outcome.done and keeps_out:
                self._handled()
                return MirrorState.CONFLICT
        return comparison.state

    def _for(self, account_id: AccountId) -> _Step:
        entry = source.one(self._database, account_id, self._site.name)
        assert entry is not None  # noqa: S101 (accounts are never deleted)
        decision = gate.decide(entry.subject.facts, self._policy, self._now)
        return _Step(
            self._database, self._sites, self._site, entry, decision, self._now, policy=self._policy, creates=False
        )

    def _read_ties(self) -> Sequence[Predecessor]:
        found = ties_of(self._database, [self._entry], self._site)
        self._ties = found.get(self._entry.account_id, NONE)
        return self._ties.before

    def end_sessions(self) -> None:
        """Suspend and lift: the only way to end a Moodle user's sessions from outside (ground truth §3).

        Only a suspension of ours is lifted, and only for somebody who may be there (I6, I7).
        """
        self._settle_open()
        user = self._look()
        mirror = self._entry.mirror
        if user is None or not mirror.owned or self._compare(user).state is MirrorState.CONFLICT:
            return
        if user.suspended and not mirror.suspended_by_us:
            return
        facts = self._entry.subject.facts
        close = Action(
            Kind.CLOSE,
            facts.account_id,
            facts.username,
            facts.version,
            user.id,
            {"suspended": False},
            {"suspended": True},
            SIGNED_OUT,
            last=False,
        )
        if not user.suspended:
            self._writer.write([close])
        if self._decision.admitted:
            self._writer.write([replace(close, kind=Kind.OPEN, before=close.after, after=close.before)])

    def note(self, comparison: Comparison) -> None:
        with self._database.begin() as session:
            note(session, self._entry, comparison, self._site.name, self._now)

    def postpone(self) -> None:
        """Moodle did not take it: a little later."""
        with self._database.begin() as session:
            row = mirrors.ensure_mirror(session, self._entry.account_id, self._site.name)
            row.next_try_at, row.tries, row.due, row.leased_until = self._now + RETRY, row.tries + 1, True, None

    def _handled(self) -> None:
        facts = self._entry.subject.facts
        with self._database.begin() as session:
            mirrors.settle(session, self._site.name, {facts.account_id: facts.version})

    def _settle_open(self) -> None:
        if not self._entry.mirror.due:
            return  # what a crash left unsettled is still due
        if self._writer.settle_open([self._entry.account_id]):
            entry = source.one(self._database, self._entry.account_id, self._site.name)
            assert entry is not None  # noqa: S101 (accounts are never deleted)
            self._entry = entry

    def _look(self) -> MoodleUser | None:
        """The user by name; for a mirrored user by id, since names can be changed in Moodle.

        Raises:
            MoodleError: the look-up failed, which is not the same as "not found".
        """
        moodle_id = self._entry.mirror.moodle_id
        if moodle_id is not None:
            found = self._client.users_by_field("id", [moodle_id])
        else:
            found = self._client.users_by_field("username", [self._entry.subject.facts.username])
        return found[0] if len(found) == 1 else None

    def _compare(self, user: MoodleUser | None) -> Comparison:
        desired = desired_user(self._entry.subject, self._site, admitted=self._decision.admitted)
        if desired.cohorts is not None:
            # A cohort that is not made yet is for the next run over the whole site.
            desired = replace(desired, cohorts=desired.cohorts & self._cohort_ids.keys())
        first = "" if self._decision.admitted else self._decision.first.value
        rules = Rules(
            modes(self._site),
            creates=self._creates,
            protected=protected_names(self._site),
            adopts=frozenset(self._site.adopts),
        )
        # Asked only when it is to be told: most looks find it written already.
        told = self._entry.mirror.written.get("email") == desired.fields.get("email")
        account = self._entry.account_id
        shared = not told and account in source.without_address(self._database, self._site.name, account)
        return compare(
            self._entry.subject,
            desired,
            user,
            self._entry.mirror,
            rules,
            decision=first,
            shared_address=shared,
            ties=self._ties,
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
    entry = source.one(database, account_id, site)
    if entry is not None:
        decision = gate.decide(entry.subject.facts, policy, now)
        _Step(database, sites, sites.site(site), entry, decision, now, policy=policy, creates=False).end_sessions()
    with database.begin() as session:
        mirrors.ensure_mirror(session, account_id, site).sign_out_pending = False


def known_cohorts(database: Database, site: Site) -> Mapping[str, int]:
    """Moodle's ids of the site's own cohorts, by ID number, as the last run found or made them."""
    if not site.cohorts:
        return {}
    with database.read() as session:
        state = session.get(SiteState, site.name)
        known = state.cohort_ids if state is not None else {}
    return {cohort.idnumber: known[cohort.idnumber] for cohort in site.cohorts if cohort.idnumber in known}
