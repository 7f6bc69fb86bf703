"""Delivery: takes leased mails to the SMTP server and notes what it said.

A 5xx answer is final, everything else is tried again with a growing pause. Nothing is sent twice on purpose: the row
is marked in the same breath as the server's answer; a crash between the two repeats the mail under the same
Message-ID.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import structlog

from external_accounts import outbox
from external_accounts.schema import OutboxMail
from lms_bridge.mail.compose import NothingToSay, compose
from lms_bridge.runtime import Runtime
from lms_bridge.settings.sections import Mail

log = structlog.get_logger(__name__)

BATCH = 20


def deliver_due(runtime: Runtime, *, now: datetime) -> int:
    """Deliver the mails that are due. Returns how many were tried."""
    database = runtime.database
    with database.begin() as session:
        ids = [mail.id for mail in outbox.lease_due(session, now=now, limit=BATCH)]
    if not ids:
        return 0
    left = list(ids)
    connected = False
    try:
        with connection(runtime.settings.mail) as smtp:
            connected = True
            while left:
                _deliver(runtime, smtp, left[0], now)
                left.pop(0)
    except (OSError, smtplib.SMTPException) as error:
        log.warning("mail.delivery", outcome="server", error=type(error).__name__)
        with database.begin() as session:
            for mail in (session.get_one(OutboxMail, mail_id) for mail_id in left):
                if mail.state == "pending" and mail.leased_until is not None:
                    # What the server hung up on may be the cause: only the mails behind it are none the worse for it.
                    if connected and mail.id != left[0]:
                        outbox.put_back(mail, now)
                    else:
                        outbox.refused(mail, _describe(error), permanent=False, now=now)
    return len(ids)


def _deliver(runtime: Runtime, smtp: smtplib.SMTP, mail_id: int, now: datetime) -> None:
    database = runtime.database
    with database.begin() as session:
        mail = session.get_one(OutboxMail, mail_id)
        try:
            message = compose(session, runtime, mail, now=now)
            recipient = mail.recipient
        except NothingToSay as reason:
            outbox.withdrawn(mail, str(reason))
            return
        except Exception as error:  # one mail that cannot be written must not hold up the others
            log.exception("mail.compose", template=mail.template, mail=mail_id)
            outbox.refused(mail, f"cannot be written: {type(error).__name__}", permanent=False, now=now)
            return
    # No transaction is open while the network is waited for.
    refusal: Exception | None = None
    try:
        smtp.send_message(message, from_addr=runtime.settings.mail.sender, to_addrs=[recipient])
    except (
        smtplib.SMTPRecipientsRefused,
        smtplib.SMTPSenderRefused,
        smtplib.SMTPDataError,
        smtplib.SMTPNotSupportedError,
    ) as error:
        refusal = error
    with database.begin() as session:
        mail = session.get_one(OutboxMail, mail_id)
        if refusal is None:
            outbox.delivered(mail, now)
        else:
            outbox.refused(mail, _describe(refusal), permanent=_is_permanent(refusal), now=now)
    outcome = "sent" if refusal is None else "refused"
    log.info("mail.delivery", outcome=outcome, template=mail.template, mail=mail_id, attempts=mail.attempts)


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
    codes = _codes(error)
    return bool(codes) and all(500 <= code < 600 for code, _ in codes)


def _describe(error: Exception) -> str:
    texts = [
        f"{code} {text.decode('utf-8', 'replace') if isinstance(text, bytes) else text}" for code, text in _codes(error)
    ]
    return "; ".join(texts) or f"{type(error).__name__}: {error}"
