"""Whether mails arrive: what is sent back, and whether anybody reads it."""

from __future__ import annotations

import imaplib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lms_bridge.i18n import gettext as _
from lms_bridge.mail import bounce_folder, bounce_mailbox
from lms_bridge.mail.bounce_mailbox import MailboxRefused
from lms_bridge.mail.figures import Domain, flags, total
from lms_bridge.ops.doctor import words
from lms_bridge.ops.doctor.findings import Finding, Subject
from lms_bridge.settings.sections import BounceMailbox, Mail

FOLDER_PATIENCE = timedelta(minutes=10)
"""Files are taken four times a minute."""
NAMED = 3


@dataclass(frozen=True, slots=True)
class BounceFacts:
    """What stands in the way of reading what comes back; `oldest`: since when a file waits."""

    folder_trouble: str = ""
    mailbox_trouble: str = ""
    oldest: datetime | None = None


def look_at_bounces(mail: Mail) -> BounceFacts:
    """Look into the folder and sign in to the mailbox; nothing is read or moved."""
    trouble, oldest = _look_at_folder(mail.bounce_folder) if mail.bounce_folder else ("", None)
    return BounceFacts(trouble, _look_at_mailbox(mail.bounce_imap) if mail.bounce_imap else "", oldest)


def _look_at_folder(folder: Path) -> tuple[str, datetime | None]:
    try:
        waiting = [path.stat().st_mtime for path in bounce_folder.waiting(folder)]
    except OSError as error:
        return type(error).__name__, None
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return "PermissionError", None
    return "", datetime.fromtimestamp(min(waiting), UTC) if waiting else None


def _look_at_mailbox(mailbox: BounceMailbox) -> str:
    try:
        with bounce_mailbox.connection(mailbox):
            return ""
    except (OSError, imaplib.IMAP4.error, MailboxRefused) as error:
        return type(error).__name__


def check(mail: Mail, facts: BounceFacts | None, domains: Sequence[Domain], now: datetime) -> Iterator[Finding]:
    yield returned(mail, facts, now)
    yield refusals(domains, now)


def returned(mail: Mail, facts: BounceFacts | None, now: datetime) -> Finding:
    subject = Subject("mail", "bounces", _("Mails that come back are read"), "mail.bounce_folder, mail.bounce_imap")
    if mail.bounce_folder is None and mail.bounce_imap is None:
        return subject.warning(
            _("nobody reads them: an address that stops working stays confirmed"),
            _("Name a folder or a mailbox that undeliverable mails come back to; see the guide about mail."),
        )
    if facts is None:
        return words.too_slow(subject)
    if facts.folder_trouble:
        return subject.problem(
            f"{mail.bounce_folder}: {facts.folder_trouble}", _("Let the service's own user read and write there.")
        )
    if facts.mailbox_trouble and mail.bounce_imap is not None:
        return subject.problem(
            f"{mail.bounce_imap.host}:{mail.bounce_imap.port}: {facts.mailbox_trouble}",
            _("See the user name, the password, the folder, ca_file and the network."),
        )
    if facts.oldest is not None and now - facts.oldest > FOLDER_PATIENCE:
        return subject.problem(
            _("a file has been waiting for %(age)s", age=words.age(facts.oldest, now)),
            _("Start the worker, or let `serve` work too (without --no-jobs). See its log."),
        )
    return subject.ok(_("the way back is open"))


def refusals(domains: Sequence[Domain], now: datetime) -> Finding:
    subject = Subject("mail", "refusals", _("The domains we write to take our mails"), "lms-bridge mail status")
    everything = total(domains)
    seen = _(
        "in 7 days %(refused)d of %(count)d refused or sent back", refused=everything.refused, count=everything.settled
    )
    worse = [one.name for one in domains if {"refuses", "stuck"} & set(flags(one, now))]
    if worse:
        names = ", ".join(worse[:NAMED]) + (", …" if len(worse) > NAMED else "")
        return subject.warning(
            _("%(seen)s; look at %(names)s", seen=seen, names=names),
            _("The command shows what their servers said; the guide about mail says what to do."),
        )
    return subject.ok(seen)
