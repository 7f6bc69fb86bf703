"""Whether other systems take what they are told of accounts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from external_accounts.handover_deliveries import Figures
from lms_bridge.i18n import gettext as _
from lms_bridge.ops.doctor import words
from lms_bridge.ops.doctor.findings import Finding, Subject, foreign
from lms_bridge.settings import Settings


def check(settings: Settings, told: Sequence[Figures], now: datetime) -> Iterator[Finding]:
    known = {one.target: one for one in told}
    names = [f"hook:{hook.name}" for hook in settings.hooks]
    for name in [*names, *(target for target in known if target not in names)]:
        yield _one(name, known.get(name), now)


def _one(target: str, figures: Figures | None, now: datetime) -> Finding:
    subject = Subject(
        "handovers", target, _("What changes is taken by %(name)s", name=target), "lms-bridge hooks status"
    )
    if figures is None:
        return subject.ok(_("nothing has been told yet"))
    mend = _("See its log and its settings, then `lms-bridge hooks retry --to %(name)s`.", name=target)
    if figures.failed:
        return subject.problem(
            _("%(count)d given up; last: %(error)s", count=figures.failed, error=foreign(figures.last_error)),
            mend,
        )
    if figures.is_stuck(now) and figures.oldest is not None:
        since = words.age(figures.oldest, now)
        return subject.warning(
            _(
                "%(count)d wait, the oldest for %(age)s; last: %(error)s",
                count=figures.waiting,
                age=since,
                error=foreign(figures.last_error),
            ),
            mend,
        )
    return subject.ok(_("%(done)d taken, %(waiting)d on their way", done=figures.done, waiting=figures.waiting))
