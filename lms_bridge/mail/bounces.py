"""What came back: from the folder or the mailbox that settings name, to the mail it is about.

A report counts only when it names a mail that we sent (by its Message-ID, which nobody else knows, or by the signed
envelope sender) *to that very mailbox*. A mailbox that forwards elsewhere, where it is refused, is still read perhaps:
that is noted and counts for nothing.
"""

from __future__ import annotations

import imaplib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum

import structlog
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from external_accounts import audit, throttle
from external_accounts.bounces import Patience, Refusal, Severity, note_bounce, severity
from external_accounts.schema import OutboxMail
from external_accounts.throttle import Limit, Throttled, Use
from lms_bridge.mail import bounce_folder, bounce_mailbox, dsn
from lms_bridge.mail.bounce_mailbox import MailboxRefused
from lms_bridge.mail.return_path import mail_named_by
from lms_bridge.runtime import Runtime
from lms_bridge.settings.sections import Mail

log = structlog.get_logger(__name__)

ORIGIN = audit.Origin(actor="job:read_bounces")
MAILBOX_ROUND = Limit("bounce mailbox round", burst=1, every=50)
"""Whichever process comes first looks into the mailbox; the others need not sign in as well."""


class Outcome(StrEnum):
    """What was done with a message."""

    NOTED = "noted"
    FOREIGN = "about no mail of ours"
    NO_BOUNCE = "no bounce"
    UNREADABLE = "unreadable"


Take = Callable[[bytes], Outcome]
"""Does with one raw message what is to be done."""


def read_all(runtime: Runtime) -> int:
    """Read what has come into the folder and the mailbox. Returns how many messages were taken.

    A channel that cannot be read now is for the next round, and for the doctor to name.
    """
    mail = runtime.settings.mail
    taken = 0
    if (folder := mail.bounce_folder) is not None:
        with _trouble_noted("folder"):
            taken += bounce_folder.read(folder, _taker(runtime, "folder"), now=runtime.clock())
    if (mailbox := mail.bounce_imap) is not None and _is_my_round(runtime):
        with _trouble_noted("mailbox"):
            taken += bounce_mailbox.read(mailbox, _taker(runtime, "mailbox"))
    return taken


@contextmanager
def _trouble_noted(channel: str) -> Iterator[None]:
    try:
        yield
    except (OSError, imaplib.IMAP4.error, MailboxRefused) as error:
        log.warning("mail.bounces", outcome="cannot be read", channel=channel, error=type(error).__name__)


def _is_my_round(runtime: Runtime) -> bool:
    try:
        with runtime.database.begin() as session:
            throttle.reserve(session, [Use(MAILBOX_ROUND, "")], runtime.clock())
    except Throttled:
        return False
    return True


def _taker(runtime: Runtime, channel: str) -> Take:
    def take(raw: bytes) -> Outcome:
        outcome = _take(runtime, raw, channel)
        log.info("mail.bounce", outcome=outcome.value, channel=channel)
        return outcome

    return take


def _take(runtime: Runtime, raw: bytes, channel: str) -> Outcome:
    try:
        bounce = dsn.read(raw)
    except dsn.Unreadable:
        return Outcome.UNREADABLE
    if bounce is None:
        return Outcome.NO_BOUNCE
    try:
        with runtime.database.begin() as session:
            return _note(session, runtime, bounce, channel, runtime.clock())
    except OperationalError:
        raise  # the database is away: the message waits
    except Exception:
        log.exception("mail.bounce", channel=channel)
        return Outcome.UNREADABLE


def _note(session: Session, runtime: Runtime, bounce: dsn.Bounce, channel: str, now: datetime) -> Outcome:
    outcome = Outcome.FOREIGN
    for mail, by_envelope in _mails_named(session, runtime, bounce):
        for report in bounce.reports:
            if not _is_about(mail, report, by_envelope=by_envelope):
                # Another recipient's fate: of a forwarding, since our mails have one recipient each.
                weight = Severity.PASSING
            else:
                weight = severity(report.status, report.code)
            refusal = Refusal(report.status, weight, report.text, channel)
            note_bounce(session, mail, refusal, patience=patience(runtime.settings.mail), now=now, origin=ORIGIN)
            outcome = Outcome.NOTED
    return outcome


def _mails_named(session: Session, runtime: Runtime, bounce: dsn.Bounce) -> Iterator[tuple[OutboxMail, bool]]:
    """Each mail the bounce names, and whether the signed envelope sender names it."""
    tagged = {mail_named_by(runtime.keys, address) for address in bounce.delivered_to} - {None}
    by_id = OutboxMail.id.in_([number for number in tagged if number is not None])
    by_message_id = OutboxMail.message_id.in_(sorted(bounce.message_ids)[:100])
    for mail in session.scalars(
        select(OutboxMail).where(by_id | by_message_id).order_by(OutboxMail.id).with_for_update()
    ):
        yield mail, mail.id in tagged


def _is_about(mail: OutboxMail, report: dsn.Report, *, by_envelope: bool) -> bool:
    if report.recipients:
        return mail.recipient.lower() in report.recipients
    return by_envelope


def patience(mail: Mail) -> Patience:
    return Patience(mail.bounces_no_such_mailbox, mail.bounces_unreachable)
