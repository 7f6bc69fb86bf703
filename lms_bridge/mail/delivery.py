"""Delivery: takes leased mails to the SMTP server and notes what it said.

A 5xx answer is final, everything else is tried again with a growing pause; a server that refuses *us* (sender, sign-in)
is a matter for the operator, and the mails wait. Nothing is sent twice on purpose: the row
is marked in the same breath as the server's answer; a crash between the two repeats the mail under the same
Message-ID.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import structlog
from sqlalchemy.orm import Session

from external_accounts import audit, outbox, proof_deadlines
from external_accounts.bounces import Refusal, enhanced_status, note_bounce, severity
from external_accounts.schema import OutboxMail, Proof
from lms_bridge.mail.bounces import patience
from lms_bridge.mail.compose import NothingToSay, compose
from lms_bridge.mail.return_path import envelope_sender
from lms_bridge.runtime import Runtime
from lms_bridge.settings.sections import Mail

log = structlog.get_logger(__name__)

ORIGIN = audit.Origin(actor="job:deliver_mails")
BATCH = 5
"""Mails taken at once. A process that is killed holds so many up until its lease ends."""
LONGEST_CONVERSATION = 100
"""Mails in one conversation, about: some servers end it after so many."""
SMTP_ANSWERS = 8
"""A mail waits for fewer than this: greeting, names, encryption, sign-in, sender, recipient, content, the dot."""


def deliver_due(runtime: Runtime, *, now: datetime) -> int:
    """Deliver mails that are due, in one conversation with the mail server. Returns how many were taken."""
    work = _Round.take(runtime, now)
    taken = len(work.left)
    if not work.left:
        return 0
    connected = False
    try:
        with connection(runtime.settings.mail) as smtp:
            connected = True
            while work.left:
                work.deliver(smtp, work.left[0])
                work.left.pop(0)
                if not work.left and taken < LONGEST_CONVERSATION:
                    work = _Round.take(runtime, runtime.clock())
                    taken += len(work.left)
    except (OSError, smtplib.SMTPException) as error:
        log.warning("mail.delivery", outcome="server", error=type(error).__name__)
        for mail_id in work.left:
            # What the server hung up on may be the cause: only the mails behind it are none the worse for it.
            work.not_delivered(mail_id, error, tried=not connected or mail_id == work.left[0])
    return taken


class _Round:
    """The mails that one runner has taken, each its own until the lease ends or it is done with."""

    @classmethod
    def take(cls, runtime: Runtime, now: datetime) -> _Round:
        lease = max(outbox.LEASE, timedelta(seconds=SMTP_ANSWERS * runtime.settings.mail.timeout))
        with runtime.database.begin() as session:
            ids = outbox.lease_due(session, now=now, limit=BATCH, lease=lease)
        return cls(runtime, now, lease, ids)

    def __init__(self, runtime: Runtime, now: datetime, lease: timedelta, ids: list[int]) -> None:
        self.left = ids
        """Not begun yet, the first perhaps excepted."""
        self._runtime = runtime
        self._database = runtime.database
        self._now = now
        self._lease = lease
        self._held: dict[int, datetime] = {}
        """Until when a mail is ours, once it was begun. Before that: the end of the batch's lease."""

    def deliver(self, smtp: smtplib.SMTP, mail_id: int) -> None:
        """Raises what says that the connection is of no use any more."""
        with self._database.begin() as session:
            mail = self._begin(session, mail_id)
            if mail is None:
                return
            try:
                message = compose(session, self._runtime, mail, now=self._runtime.clock())
                recipient = mail.recipient
            except NothingToSay as reason:
                outbox.withdrawn(mail, str(reason))
                return
            except Exception as error:  # one mail that cannot be written must not hold up the others
                log.exception("mail.compose", template=mail.template, mail=mail_id)
                outbox.refused(mail, f"cannot be written: {type(error).__name__}", permanent=False, now=self._now)
                return
        # No transaction is open while the network is waited for.
        refusal: Exception | None = None
        sender = envelope_sender(self._runtime.settings.mail, self._runtime.keys, mail_id)
        try:
            smtp.send_message(message, from_addr=sender, to_addrs=[recipient])
        except (
            smtplib.SMTPRecipientsRefused,
            smtplib.SMTPSenderRefused,
            smtplib.SMTPDataError,
            smtplib.SMTPNotSupportedError,
        ) as error:
            refusal = error
        except (OSError, smtplib.SMTPException):
            raise
        except Exception as error:  # a mail that cannot be put on the wire must not hold up the others either
            log.exception("mail.send", template=mail.template, mail=mail_id)
            refusal = error
        with self._database.begin() as session:
            mail = session.get_one(OutboxMail, mail_id, with_for_update=True)
            if refusal is None:
                taken = self._runtime.clock()
                if mail.bounced_at is None:  # it may have come back before we got here
                    outbox.delivered(mail, taken)
                if mail.proof_id is not None:
                    proof_deadlines.note_accepted(session, mail.proof_id, taken)
            elif self._is_ours(mail):
                self._note_refusal(session, mail, refusal)
        outcome = "sent" if refusal is None else "refused"
        log.info("mail.delivery", outcome=outcome, template=mail.template, mail=mail_id, attempts=mail.attempts)

    def _note_refusal(self, session: Session, mail: OutboxMail, refusal: Exception) -> None:
        words, permanent = describe(refusal), _is_permanent(refusal)
        outbox.refused(mail, words, permanent=permanent, now=self._now)
        if permanent:
            status = enhanced_status(words)
            weight = severity(
                status, _codes(refusal)[0][0] if isinstance(refusal, smtplib.SMTPRecipientsRefused) else 0
            )
            said = Refusal(status, weight, words, "smtp")
            limits = patience(self._runtime.settings.mail)
            note_bounce(session, mail, said, patience=limits, now=self._runtime.clock(), origin=ORIGIN)

    def not_delivered(self, mail_id: int, error: Exception, *, tried: bool) -> None:
        """The server is gone. `tried`: this mail was offered, or none could be."""
        with self._database.begin() as session:
            if tried and mail_id not in self._held:
                self._begin(session, mail_id)
            mail = session.get_one(OutboxMail, mail_id, with_for_update=True)
            if not self._is_ours(mail):
                return
            if tried:
                outbox.refused(mail, describe(error), permanent=False, now=self._now)
            else:
                outbox.put_back(mail, self._now)

    def _begin(self, session: Session, mail_id: int) -> OutboxMail | None:
        """Count the try. The deadline that the mail will state is counted from now."""
        begun = self._runtime.clock()
        mail = outbox.begin_try(session, mail_id, leased_until=self._now + self._lease, until=begun + self._lease)
        if mail is not None:
            self._held[mail_id] = begun + self._lease
            if mail.proof_id is not None:
                proof_deadlines.begin_life(session, session.get_one(Proof, mail.proof_id), begun)
        return mail

    def _is_ours(self, mail: OutboxMail) -> bool:
        held = self._held.get(mail.id, self._now + self._lease)
        return mail.state == "pending" and mail.leased_until == held


@contextmanager
def connection(mail: Mail) -> Iterator[smtplib.SMTP]:
    """A conversation with the mail server: encrypted and signed in as the settings say."""
    context = ssl.create_default_context(cafile=mail.ca_file)
    smtp: smtplib.SMTP
    if mail.security == "tls":
        smtp = smtplib.SMTP_SSL(mail.host, mail.port, timeout=mail.timeout, context=context)
    else:
        smtp = smtplib.SMTP(mail.host, mail.port, timeout=mail.timeout)
    with smtp:
        if mail.security == "starttls":
            smtp.starttls(context=context)
        if mail.username:
            smtp.login(mail.username, mail.password.get_secret_value())
        yield smtp


def _codes(error: Exception) -> list[tuple[int, bytes | str]]:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return list(error.recipients.values())
    if isinstance(error, smtplib.SMTPResponseException):
        return [(error.smtp_code, error.smtp_error)]
    return []


def _is_permanent(error: Exception) -> bool:
    if isinstance(error, smtplib.SMTPSenderRefused):
        return False  # about our sender, which settings or the server's own can mend: no mail is lost to that (D18)
    codes = _codes(error)
    return bool(codes) and all(500 <= code < 600 for code, _ in codes)


def describe(error: Exception) -> str:
    """The server's words, or ours where it had none."""
    texts = [
        f"{code} {text.decode('utf-8', 'replace') if isinstance(text, bytes) else text}" for code, text in _codes(error)
    ]
    return "; ".join(texts) or f"{type(error).__name__}: {error}"
