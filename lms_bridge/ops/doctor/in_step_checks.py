"""Whether a site is kept in step, by what its runs and the worker left in the database (`sync status`)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from lms_bridge.gate import MirrorState
from lms_bridge.i18n import gettext as _
from lms_bridge.i18n import ngettext
from lms_bridge.ops.doctor import words
from lms_bridge.ops.doctor.findings import Finding, Subject
from lms_bridge.sync.status import SiteStatus

RUN_PATIENCE = timedelta(days=2)
"""A nightly run that failed once is mended by the next; two in a row are worth a look."""
MERGE_PATIENCE = timedelta(days=21)
"""A person has a week to undo; then course work that lies elsewhere is missed."""
STATUS = "lms-bridge sync status"
PLAN = "lms-bridge sync plan"


def check(status: SiteStatus, now: datetime) -> Iterator[Finding]:
    area = f"site:{status.site}"
    yield complete_run(area, status, now)
    yield held(area, status, now)
    yield conflicts(area, status)
    yield unsettled(area, status)
    yield merges(area, status, now)


def complete_run(area: str, status: SiteStatus, now: datetime) -> Finding:
    subject = Subject(area, "complete_run", _("The whole site was gone over lately"), STATUS)
    if status.complete_run_at is None:
        return subject.warning(_("no run yet"), _("Look at a first plan: %(command)s", command=PLAN))
    seen = _("%(age)s ago", age=words.age(status.complete_run_at, now))
    if now - status.complete_run_at > RUN_PATIENCE:
        return subject.warning(
            seen, _("See why the nightly run does not get there: the last runs and their reasons are in the status.")
        )
    return subject.ok(seen)


def held(area: str, status: SiteStatus, now: datetime) -> Finding:
    subject = Subject(area, "held_changes", _("The guard holds nothing back"), STATUS)
    if status.held_since is None:
        return subject.ok(_("nothing"))
    return subject.problem(
        _("for %(age)s: %(reason)s", age=words.age(status.held_since, now), reason=status.held_reason),
        _("Look at the plan; if it is right, apply it with its checksum: %(command)s", command=PLAN),
    )


def conflicts(area: str, status: SiteStatus) -> Finding:
    subject = Subject(area, "conflicts", _("No account waits for a human's decision"), STATUS)
    count = status.states.get(MirrorState.CONFLICT, 0)
    if not count:
        return subject.ok(_("none"))
    return subject.warning(
        ngettext("%(num)d account, who cannot enter", "%(num)d accounts, who cannot enter", count),
        _("The status names them with both sides; the guide on keeping Moodle in step says how to settle each."),
    )


def unsettled(area: str, status: SiteStatus) -> Finding:
    subject = Subject(area, "unsettled_writes", _("The outcome of every write is known"), STATUS)
    if not status.unsettled or status.running_until is not None:
        return subject.ok(_("a run is at work") if status.running_until else _("none is open"))
    return subject.warning(
        ngettext("%(num)d write is open", "%(num)d writes are open", status.unsettled),
        _("The next run reads them back: %(command)s", command="lms-bridge sync apply"),
    )


def merges(area: str, status: SiteStatus, now: datetime) -> Finding:
    subject = Subject(area, "merges", _("Course work of people with two users is moved"), "lms-bridge merges list")
    if not status.merges or status.merges_since is None:
        return subject.ok(_("none waits"))
    seen = ngettext(
        "%(num)d merge waits, for %(age)s",
        "%(num)d merges wait, the oldest for %(age)s",
        status.merges,
        age=words.age(status.merges_since, now),
    )
    if now - status.merges_since <= MERGE_PATIENCE:
        return subject.ok(seen)
    return subject.warning(
        seen,
        _(
            "An administrator of that Moodle makes them with the merge-users plugin: %(command)s",
            command="lms-bridge merges export",
        ),
    )
