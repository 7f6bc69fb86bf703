"""The one table of background work: which job, how often it looks for rows, and which rows wake it before that.

A sweep finds what no wake-up announced: retries whose time has come, rows of a killed worker, rights that end by
themselves, everything that waited while the broker was away.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from external_accounts.database import Base, Waiting
from external_accounts.institution_schema import Handover
from external_accounts.schema import Account, OutboxMail, Proof, Registration
from lms_bridge.jobs import audit, duplicates, functions, people
from lms_bridge.runtime import Runtime
from lms_bridge.schema import BulkRun, Mirror, Ticket, WhyRequest
from lms_bridge.selfservice import why_answers
from lms_bridge.selfservice.activation import mails

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """A function that looks for rows, works on some, and returns how many; 0 when nothing is left to do now."""

    name: str
    """Stable: it is part of the messages between machines, which may run different versions."""
    run: Callable[[Runtime], int]
    every: float
    """Seconds between two sweeps."""
    woken_by: tuple[type[Base], ...] = ()
    """What somebody notes with `note_waiting` for it."""

    def work(self, runtime: Runtime, stopping: threading.Event) -> None:
        """Go round until nothing is left to do, or `stopping`. Never raises: the next sweep tries again."""
        try:
            while self.run(runtime) and not stopping.is_set():
                pass
        except Exception:  # a failing job must not end the others
            log.exception("jobs.round", job=self.name)


JOBS = (
    Job("deliver_logouts", functions.deliver_logouts, every=1, woken_by=(Ticket,)),
    Job("answer_registrations", functions.answer_registrations, every=2, woken_by=(Registration,)),
    Job("write_activation_mails", mails.write_first_mails, every=2, woken_by=(Account,)),
    Job("answer_searches", functions.answer_searches, every=1, woken_by=(Proof,)),
    Job("answer_whys", why_answers.answer_due, every=2, woken_by=(WhyRequest,)),
    Job("deliver_mails", functions.deliver_mails, every=1, woken_by=(OutboxMail,)),
    Job("deliver_handovers", functions.deliver_handovers, every=2, woken_by=(Handover,)),
    Job("carry_out_bulk_runs", functions.carry_out_bulk_runs, every=2, woken_by=(BulkRun,)),
    Job("read_bounces", functions.read_bounces, every=15),
    Job("end_sessions_in_moodle", functions.end_sessions_in_moodle, every=2, woken_by=(Mirror,)),
    Job("bring_mirrors_into_step", functions.bring_mirrors_into_step, every=0.5, woken_by=(Account, Mirror)),
    Job("make_nightly_runs", functions.make_nightly_runs, every=60),
    Job("introduce_sites", functions.introduce_sites, every=600),
    Job("keep_registrations_tidy", functions.keep_registrations_tidy, every=600),
    Job("end_overdue_sessions", functions.end_overdue_sessions, every=30),
    Job("seal_events", audit.seal_events, every=5),
    Job("pseudonymise_events", audit.pseudonymise_events, every=3600),
    Job("erase_accounts", people.erase_accounts, every=60),
    Job("settle_links", people.settle_links, every=600),
    Job("seek_strays", duplicates.seek_strays, every=60),
    Job("seek_pairs", duplicates.seek_pairs, every=5, woken_by=(Account,)),
    Job("write_directory_entries", people.write_directory_entries, every=30, woken_by=(Account,)),
    Job("settle_passwords", people.settle_passwords, every=60),
    Job("run_lifecycle", people.run_lifecycle, every=60),
    Job("remind_people", people.remind_people, every=3600),
    Job("purge", functions.purge, every=600),
)
"""Work on rows: any process may do it for all."""


def woken(kinds: Waiting) -> list[Job]:
    """The jobs that rows of these kinds wake."""
    return [job for job in JOBS if kinds.intersection(job.woken_by)]
