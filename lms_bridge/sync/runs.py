"""A run over a whole site: read, compare, ask the guard, write; and the record of it.

A dry run (`plan`) reads and leaves no trace. A run that is meant to write (`apply`, the nightly one) settles first
what an earlier run left open, notes what it finds, and writes only when the guard has nothing against it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

import structlog
from sqlalchemy import func, select, update

from external_accounts import audit
from external_accounts.database import Database
from external_accounts.schema import AccountId
from lms_bridge.gate import Policy
from lms_bridge.runtime import Runtime
from lms_bridge.schema import Mirror, SiteState, SyncRun
from lms_bridge.settings.moodle_sites import Site
from lms_bridge.sync import adopt, canary, guard, journal, source, strays
from lms_bridge.sync.actions import Action, Kind
from lms_bridge.sync.apply import Turns, Writer
from lms_bridge.sync.compare import Comparison
from lms_bridge.sync.guard import Stop
from lms_bridge.sync.journal import Outcome
from lms_bridge.sync.lease import run_lease
from lms_bridge.sync.notes import changes, note, note_seen
from lms_bridge.sync.plan import Cohorts, Plan, PlanFile, make_plan, read_cohorts
from lms_bridge.sync.sites import MoodleSites, enrol_sites, note_success, note_trouble, policy_behind
from lms_bridge.sync.source import Entry
from lms_bridge.sync.ties import ties_of
from moodle_ws.batches import MOST_ROWS
from moodle_ws.client import MoodleClient
from moodle_ws.cohorts import NewCohort
from moodle_ws.errors import AccessDenied, MoodleError, TokenInvalid

log = structlog.get_logger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with the work at hand (`read`, `write`), how much is done, and of how much."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a run works with."""

    database: Database
    sites: MoodleSites
    policy: Policy
    """The gate policy of the service behind the site."""
    clock: Callable[[], datetime]
    local_day: Callable[[datetime], date]
    """The university's calendar day of a moment, for dated thresholds."""


def tools_of(runtime: Runtime, site_name: str) -> Tools:
    """The tools of a running bridge for one of its sites.

    Raises:
        NoServiceBehind: no service in settings names the site.
    """
    zone = runtime.settings.zone
    return Tools(
        runtime.database,
        runtime.sites,
        policy_behind(runtime.settings, site_name),
        runtime.clock,
        lambda moment: moment.astimezone(zone).date(),
    )


@dataclass(frozen=True, slots=True)
class Orders:
    """What the operator asked for."""

    write: bool
    adopt: bool = False
    checksum: str = ""
    """Of the plan the operator has seen: lifts the thresholds when this run's plan is the same."""
    accept_release: bool = False
    actor: str = "system"
    kind: str = "apply"


@dataclass(frozen=True, slots=True)
class Report:
    """How a run ended."""

    plan: Plan
    stops: tuple[Stop, ...] = ()
    outcome: str = "planned"
    """`planned`, `nothing`, `done`, `partial`, `stopped`, `unreachable`, or `denied` (token or rights)."""
    done: Mapping[Kind, int] = field(default_factory=dict)
    refused: int = 0
    failure: MoodleError | None = None
    """What ended the writing before its time; a run again goes on from there."""


def run_site(
    tools: Tools, site_name: str, orders: Orders, folder: Path, *, progress: Progress = lambda *_: None
) -> Report:
    """One run over one site. The plan's file is left in `folder`.

    Raises:
        MoodleError: Moodle could not be read: there is no plan and nothing was written.
        AlreadyRunning: see there; only for runs that write.
    """
    if not orders.write:
        return _Run(tools, site_name, orders, folder, progress).plan_only()
    enrol_sites(tools.database, tools.sites)
    with run_lease(tools.database, site_name, tools.clock):
        return _Run(tools, site_name, orders, folder, progress).recorded()


def _ended_by(error: MoodleError) -> str:
    return "denied" if isinstance(error, TokenInvalid | AccessDenied) else "unreachable"


class _Run:
    def __init__(
        self,
        tools: Tools,
        site_name: str,
        orders: Orders,
        folder: Path,
        progress: Progress,
    ) -> None:
        self._tools = tools
        self._database = tools.database
        self._site: Site = tools.sites.site(site_name)
        self._client: MoodleClient = tools.sites.patient_client(site_name)
        self._orders = orders
        self._folder = folder
        self._progress = progress
        self._release = ""

    def plan_only(self) -> Report:
        plan, stops, _ = self._plan(record=False)
        return Report(plan, tuple(stops), "planned" if plan.size else "nothing")

    def recorded(self) -> Report:
        """A run that may write, with its row in `sync_runs` and its line in the audit trail."""
        now = self._tools.clock()
        with self._database.begin() as session:
            row = SyncRun(
                site=self._site.name, kind=self._orders.kind, actor=self._orders.actor, started_at=now, counts={}
            )
            session.add(row)
            session.flush()
            run_id = row.id
        outcome, problem = "failed", "interrupted"
        report: Report | None = None
        try:
            report = self._write(run_id)
            outcome, problem = report.outcome, str(report.failure or "; ".join(stop.text for stop in report.stops))
        except MoodleError as error:
            outcome, problem = _ended_by(error), str(error)
            note_trouble(self._database, self._site.name, str(error), now=self._tools.clock())
            raise
        finally:
            self._end(run_id, report, outcome, problem)
        return report

    def _write(self, run_id: int) -> Report:
        writer = Writer(self._database, self._client, self._site, {}, self._tools.clock, run_id)
        writer.settle_open()
        plan, stops, cohorts = self._plan(record=True)
        stops = [stop for stop in stops if not self._lifted(stop, plan)]
        if stops:
            return Report(plan, tuple(stops), "stopped")
        self._note_complete(plan)
        if not plan.size:
            return Report(plan, outcome="nothing")
        ids = {**cohorts.ids, **self._make_cohorts(cohorts)}
        self._remember_cohorts(ids)
        turns = Turns.at_once(self._site.parallel_calls)
        writer = Writer(self._database, self._client, self._site, ids, self._tools.clock, run_id, turns)
        done, refused, failure = self._apply(writer, plan)
        if failure is not None:
            return Report(plan, outcome=_ended_by(failure), done=done, refused=refused, failure=failure)
        note_success(self._database, self._site.name)
        return Report(plan, outcome="partial" if refused else "done", done=done, refused=refused)

    def _lifted(self, stop: Stop, plan: Plan) -> bool:
        if isinstance(stop, guard.TooManyChanges):
            return bool(self._orders.checksum) and self._orders.checksum == plan.checksum
        return isinstance(stop, guard.ReleaseChanged) and self._orders.accept_release

    # -- reading -------------------------------------------------------------------------------------------------------

    def _plan(self, *, record: bool) -> tuple[Plan, list[Stop], Cohorts]:
        site, client = self._site, self._client
        info = client.site_info()
        with self._database.read() as session:
            state = session.get(SiteState, site.name)
            known_release = state.release if state is not None else ""
        self._release = guard.release_of(info)
        stops = guard.check_site(info, site, known_release=known_release)
        stops += canary.prove(client, self._database, site, own_user=info.userid)
        expected = source.extent(self._database)
        cohorts = Cohorts() if self._orders.adopt or not site.cohorts else read_cohorts(client, site)
        name = "adoption" if self._orders.adopt else "plan"
        with PlanFile(self._folder / f"{name}-{site.name}.jsonl") as file:
            file.head(site=site.name, url=info.siteurl, release=info.release, at=self._tools.clock().isoformat())
            plan = self._compare(file, expected, cohorts, info.userid, record=record)
        stops += guard.check_source(plan.read, expected.count)
        stops += guard.check_targets(plan.actions(), site, own_user=info.userid)
        day = self._tools.local_day(self._tools.clock())
        stops += guard.check_counts(plan.counts, self._known(), site.guard.on(day))
        return plan, stops, cohorts

    def _compare(
        self, file: PlanFile, expected: source.Extent, cohorts: Cohorts, own_user: int, *, record: bool
    ) -> Plan:
        def progress(read: int) -> None:
            self._progress("read", read, expected.count)

        pages = source.stream(self._database, self._site.name, expected.last_id)
        if self._orders.adopt:
            return adopt.make_plan(
                pages,
                self._client,
                self._site,
                self._tools.policy,
                file,
                taken=self._taken,
                own_user=own_user,
                clock=self._tools.clock,
                progress=progress,
                noticed=self._note_strays if record else lambda _left, _found: None,
            )
        return make_plan(
            pages,
            self._client,
            self._site,
            self._tools.policy,
            file,
            cohorts=cohorts,
            own_user=own_user,
            without_address=source.without_address(self._database, self._site.name),
            ties=lambda entries: ties_of(self._database, entries, self._site),
            clock=self._tools.clock,
            record=self._record if record else None,
            progress=progress,
        )

    def _known(self) -> int:
        query = select(func.count()).where(Mirror.site == self._site.name, Mirror.moodle_id.is_not(None))
        with self._database.read() as session:
            return session.scalar(query) or 0

    def _taken(self, ids: Sequence[int]) -> frozenset[int]:
        """Those of `ids` that are some account's user already."""
        query = select(Mirror.moodle_id).where(Mirror.site == self._site.name, Mirror.moodle_id.in_(ids))
        with self._database.read() as session:
            return frozenset(number for number in session.scalars(query) if number is not None)

    # -- noting --------------------------------------------------------------------------------------------------------

    def _record(self, compared: Sequence[tuple[Entry, Comparison]]) -> None:
        """Write down where the accounts of a page stand; those just as they should be in one statement."""
        now, site = self._tools.clock(), self._site.name
        seen: list[int] = []
        noted: list[tuple[Entry, Comparison]] = []
        for entry, comparison in compared:
            changed = changes(entry, comparison, now)
            if changed.keys() - {"seen_at"} or (entry.mirror.due and not comparison.actions):
                noted.append((entry, comparison))
            elif changed:
                seen.append(entry.account_id)
        with self._database.begin() as session:
            note_seen(session, site, seen, now)
            for entry, comparison in noted:
                note(session, entry, comparison, site, now)

    def _note_strays(self, left: Sequence[Entry], found: Mapping[AccountId, adopt.Candidates]) -> None:
        """Whom an adoption found for accounts that it leaves to a human: for the help desk to see."""
        with self._database.begin() as session:
            strays.note(session, self._site, left, found, self._tools.clock())

    def _note_complete(self, plan: Plan) -> None:
        """This run read everything: whom it missed, it missed (two such runs make a conflict)."""
        now, site = self._tools.clock(), self._site.name
        with self._database.begin() as session:
            session.execute(
                update(SiteState).where(SiteState.site == site).values(complete_run_at=now, release=self._release)
            )
            for start in range(0, len(plan.absent), 500):
                some = plan.absent[start : start + 500]
                session.execute(
                    update(Mirror)
                    .where(Mirror.site == site, Mirror.account_id.in_(some))
                    .values(absent_runs=Mirror.absent_runs + 1)
                )

    def _end(self, run_id: int, report: Report | None, outcome: str, problem: str) -> None:
        now = self._tools.clock()
        counts = {kind.value: count for kind, count in report.plan.counts.items()} if report else {}
        made = {kind.value: count for kind, count in report.done.items()} if report else {}
        with self._database.begin() as session:
            session.execute(
                update(SyncRun)
                .where(SyncRun.id == run_id)
                .values(
                    ended_at=now,
                    outcome=outcome,
                    checksum=report.plan.checksum if report else "",
                    counts={"planned": counts, "done": made, "refused": report.refused if report else 0},
                    problem=problem[:500],
                )
            )
            audit.record(
                session,
                "sync.run",
                outcome=outcome,
                now=now,
                origin=audit.Origin(actor=self._orders.actor),
                site=self._site.name,
                kind=self._orders.kind,
                run=run_id,
                planned=counts,
                done=made,
            )
            if outcome in ("done", "nothing", "partial"):
                session.execute(
                    update(SiteState).where(SiteState.site == self._site.name).values(held_since=None, held_reason="")
                )
        log.info("sync.run", outcome=outcome, site=self._site.name, kind=self._orders.kind, done=made, problem=problem)

    # -- writing -------------------------------------------------------------------------------------------------------

    def _make_cohorts(self, cohorts: Cohorts) -> dict[str, int]:
        """Make our cohorts that are missing. One that cannot be made keeps its members waiting, nobody else."""
        made: dict[str, int] = {}
        for wanted in self._site.cohorts:
            if wanted.idnumber in cohorts.missing:
                try:
                    [cohort] = self._client.create_cohorts([NewCohort(name=wanted.name, idnumber=wanted.idnumber)])
                except MoodleError as error:
                    log.warning("sync.cohort", outcome="refused", cohort=wanted.idnumber, error=str(error))
                    continue
                made[wanted.idnumber] = cohort.id
        return made

    def _remember_cohorts(self, ids: Mapping[str, int]) -> None:
        with self._database.begin() as session:
            session.execute(update(SiteState).where(SiteState.site == self._site.name).values(cohort_ids=dict(ids)))

    def _apply(self, writer: Writer, plan: Plan) -> tuple[Counter[Kind], int, MoodleError | None]:
        """All actions, kind after kind: nothing is opened before everything that closes is closed (I6)."""
        done: Counter[Kind] = Counter()
        refused = finished = 0
        failure: MoodleError | None = None
        for kind in Kind:
            for batch, outcomes in self._in_parallel(writer, _batches(plan.actions(kind))):
                if isinstance(outcomes, MoodleError):
                    failure = outcomes
                    continue
                done[kind] += sum(outcome.done for outcome in outcomes)
                refused += sum(outcome.state == journal.REFUSED for outcome in outcomes)
                finished += len(batch)
                self._progress("write", finished, plan.size)
            if failure is not None:
                break
        return done, refused, failure

    def _in_parallel(
        self, writer: Writer, batches: Iterator[list[Action]]
    ) -> Iterator[tuple[list[Action], list[Outcome] | MoodleError]]:
        """Write batches, one more at once than call Moodle. After a failure no new one."""
        running: dict[Future[list[Outcome]], list[Action]] = {}
        failed = False
        hands = self._site.parallel_calls + 1
        with ThreadPoolExecutor(hands) as pool:
            while True:
                while not failed and len(running) < hands and (batch := next(batches, None)):
                    running[pool.submit(writer.write, batch)] = batch
                if not running:
                    return
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    batch = running.pop(future)
                    error = future.exception()
                    if isinstance(error, MoodleError):
                        failed = True
                        yield batch, error
                    else:
                        yield batch, future.result()


def _batches(actions: Iterator[Action]) -> Iterator[list[Action]]:
    batch: list[Action] = []
    for action in actions:
        batch.append(action)
        if len(batch) == MOST_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch
