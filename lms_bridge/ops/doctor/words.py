"""Sentences that several families of checks share."""

from __future__ import annotations

from datetime import datetime, timedelta

from lms_bridge.i18n import gettext as _
from lms_bridge.i18n import ngettext
from lms_bridge.ops.doctor.findings import Finding, Subject, foreign
from lms_bridge.ops.doctor.probes import NoAnswer, Silence

CERTIFICATE_SOON = timedelta(days=21)
"""A certificate renewed by itself is renewed 30 days before its end: below this it was not."""
CLOCK_WARNING = 10.0
CLOCK_PROBLEM = 120.0


def silence(nothing: NoAnswer) -> str:
    """Why nothing came, in words."""
    match nothing.why:
        case Silence.NAME:
            return _("the host name is not known to this machine")
        case Silence.CERTIFICATE:
            return _("TLS fails: %(reason)s", reason=foreign(nothing.detail))
        case Silence.TIMEOUT:
            return _("no answer in time")
        case _:
            return _("no connection")


def certificate(subject: Subject, until: datetime | NoAnswer | None, now: datetime) -> list[Finding]:
    """The line about a certificate; none where there is no certificate because the address is plain http."""
    if until is None:
        return []
    if isinstance(until, NoAnswer):
        if until.why is not Silence.CERTIFICATE:
            return []  # the line about the server itself says that it does not answer
        fix = _(
            "Install a certificate for this very host name, with its whole chain. Trying by hand: %(command)s",
            command="openssl s_client -showcerts -connect HOST:443",
        )
        return [subject.problem(silence(until), fix)]
    left = (until - now).days
    seen = ngettext(
        "chain and host name are right; %(num)d day left", "chain and host name are right; %(num)d days left", left
    )
    if until - now < CERTIFICATE_SOON:
        return [subject.warning(seen, _("Renew the certificate, and see why it did not renew by itself."))]
    return [subject.ok(seen)]


def clock(subject: Subject, ahead: float | None) -> Finding:
    """The line about another machine's clock. `ahead`: seconds it is ahead of ours."""
    fix = _("Set both machines' clocks by NTP: %(command)s", command="timedatectl")
    if ahead is None:
        return subject.unseen(_("the answers carry no date"), fix)
    if abs(ahead) < CLOCK_WARNING:
        return subject.ok(_("differs by less than %(seconds)d s", seconds=max(2, int(abs(ahead)) + 1)))
    seen = (
        _("%(seconds)d s ahead of this machine", seconds=int(ahead))
        if ahead > 0
        else _("%(seconds)d s behind this machine", seconds=int(-ahead))
    )
    return subject.problem(seen, fix) if abs(ahead) >= CLOCK_PROBLEM else subject.warning(seen, fix)


def too_slow(subject: Subject, *, moodle_unreachable: bool = False) -> Finding:
    """The line about something whose look did not end within the doctor's limit."""
    return subject.problem(
        _("did not end within the time given to the whole examination"),
        _("Look at this server: it accepts connections and then does not answer."),
        moodle_unreachable=moodle_unreachable,
    )


def age(then: datetime, now: datetime) -> str:
    """How long ago, in the largest unit that says something."""
    seconds = max(0, int((now - then).total_seconds()))
    if seconds < 120:
        return ngettext("%(num)d second", "%(num)d seconds", seconds)
    if seconds < 7200:
        return ngettext("%(num)d minute", "%(num)d minutes", seconds // 60)
    if seconds < 172800:
        return ngettext("%(num)d hour", "%(num)d hours", seconds // 3600)
    return ngettext("%(num)d day", "%(num)d days", seconds // 86400)
