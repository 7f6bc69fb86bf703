"""The bridge's database, and whether somebody does the background work."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from lms_bridge.i18n import gettext as _
from lms_bridge.i18n import ngettext
from lms_bridge.ops.doctor import words
from lms_bridge.ops.doctor.database_facts import DatabaseFacts, Waiting
from lms_bridge.ops.doctor.findings import Finding, Subject

MAIL_PATIENCE = timedelta(minutes=2)
LOGOUT_PATIENCE = timedelta(minutes=5)
SESSION_PATIENCE = timedelta(minutes=10)
"""How long background work may leave rows lying; it looks for them every second, overdue sessions every 30."""


def check(facts: DatabaseFacts, now: datetime) -> Iterator[Finding]:
    yield reachable(facts)
    if facts.error:
        return
    yield up_to_date(facts)
    if facts.is_sqlite:
        yield sqlite(facts)
    else:
        yield words.clock(
            Subject("database", "clock", _("The database server's clock"), "database_url"), facts.clock_ahead
        )
    if facts.current:
        yield writable(facts)
        yield background_work(facts, now)
        yield mails(facts, now)


def reachable(facts: DatabaseFacts) -> Finding:
    subject = Subject("database", "reachable", _("The database answers"), "database_url")
    if facts.missing_file:
        return subject.problem(
            _("there is no such file"),
            _("Correct the path, or create the tables: %(command)s", command="lms-bridge db upgrade"),
        )
    if facts.error:
        return subject.problem(
            facts.error,
            _("See that the server runs, that user and password are right, and that this machine may connect."),
        )
    return subject.ok("SQLite" if facts.is_sqlite else "PostgreSQL")


def up_to_date(facts: DatabaseFacts) -> Finding:
    subject = Subject("database", "migrations", _("The tables have their newest form"), "lms-bridge db upgrade")
    if not facts.version:
        return subject.problem(_("there are no tables"), _("Create them with this command."))
    version = ", ".join(sorted(facts.version))
    if not facts.current:
        return subject.problem(
            _(
                "version %(version)s, this program has %(newest)s",
                version=version,
                newest=", ".join(sorted(facts.newest)),
            ),
            _("Bring them up to date with this command; if the database is the newer one, install the newer program."),
        )
    return subject.ok(_("version %(version)s", version=version))


def sqlite(facts: DatabaseFacts) -> Finding:
    subject = Subject("database", "sqlite", _("SQLite's modes"), "database_url")
    if facts.journal_mode.lower() != "wal" or not facts.foreign_keys:
        return subject.problem(
            _(
                "journal_mode = %(mode)s, foreign_keys = %(keys)s",
                mode=facts.journal_mode,
                keys=int(facts.foreign_keys),
            ),
            _("Put the file on a local disk: a network file system cannot hold it. Several machines need PostgreSQL."),
        )
    return subject.ok("journal_mode = wal, foreign_keys = 1")


def writable(facts: DatabaseFacts) -> Finding:
    subject = Subject("database", "writable", _("The database takes writes"), "database_url")
    if facts.refuses_writes:
        return subject.problem(
            facts.refuses_writes,
            _("Run this as the service's own user; see the rights on the file and its folder, or of the role."),
        )
    return subject.ok(_("a row was written and taken back"))


def background_work(facts: DatabaseFacts, now: datetime) -> Finding:
    """Nobody says "I am alive"; what lies undone says whether somebody works."""
    subject = Subject("jobs", "running", _("Somebody does the background work"), "lms-bridge worker")
    late: list[str] = []
    for waiting, patience, what in (
        (_untried(facts.mails), MAIL_PATIENCE, _("mails never tried")),
        (facts.logouts, LOGOUT_PATIENCE, _("sign-outs to announce")),
        (facts.sessions, SESSION_PATIENCE, _("sessions to end")),
    ):
        if waiting.since is not None and now - waiting.since > patience:
            late.append(
                _(
                    "%(what)s: %(count)d, the oldest for %(age)s",
                    what=what,
                    count=waiting.count,
                    age=words.age(waiting.since, now),
                )
            )
    if late:
        return subject.problem(
            "; ".join(late), _("Start the worker, or let `serve` work too (without --no-jobs). See its log.")
        )
    return subject.ok(_("nothing has been left lying"))


def mails(facts: DatabaseFacts, now: datetime) -> Finding:
    subject = Subject("jobs", "outbox", _("Mails leave"), "outbox_mails")
    waiting = facts.mails
    if waiting.since is None or not waiting.tried or now - waiting.since <= MAIL_PATIENCE:
        return subject.ok(ngettext("%(num)d mail is due", "%(num)d mails are due", waiting.count))
    return subject.warning(
        _("%(count)d are due, the oldest for %(age)s, tried %(times)d times", count=waiting.count,
          age=words.age(waiting.since, now), times=waiting.tried),
        _("See the line about the mail server, and last_error in this table."),
    )  # fmt: skip


def _untried(waiting: Waiting) -> Waiting:
    return Waiting() if waiting.tried else waiting
