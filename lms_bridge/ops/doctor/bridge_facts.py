"""What the doctor sees of the bridge's surroundings: its mail server, the CAS it signs in with, its public address."""

from __future__ import annotations

import json
import smtplib
import ssl
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from external_accounts.keys import Keys
from lms_bridge.mail.delivery import connection
from lms_bridge.ops import identification
from lms_bridge.ops.doctor.probes import NoAnswer, Page, certificate_until, fetch
from lms_bridge.settings import Settings
from lms_bridge.settings.sections import Mail, Upstream
from lms_bridge.signin.upstream import UpstreamCas, UpstreamRefused, UpstreamUnreachable, callback_url

MADE_UP_TICKET = "ST-1-lms-bridge-doctor"
SPOOFED = "192.0.2.77"
"""An address nobody has (RFC 5737). If the bridge believes that we come from it, anybody can choose theirs."""
MAIL_SECONDS = 10.0

MailStage = Literal["ok", "connect", "certificate", "starttls", "auth", "sender", "hung_up"]


@dataclass(frozen=True, slots=True)
class MailFacts:
    """How far a conversation with the mail server went; `code` is its refusal, 0 when it gave none."""

    stage: MailStage
    code: int = 0


@dataclass(frozen=True, slots=True)
class UpstreamFacts:
    """`code`: the CAS's error code for a made-up ticket; empty when it accepted it; None when nothing usable came."""

    code: str | None
    page: Page | NoAnswer
    certificate: datetime | NoAnswer | None


@dataclass(frozen=True, slots=True)
class PublicFacts:
    """What comes back from our own public address. `told` is the identification, when it is proved to be ours."""

    page: Page | NoAnswer
    told: dict[str, Any] | None
    spoofed: dict[str, Any] | None
    """The same, when the caller writes an `X-Forwarded-For` of its own."""
    plain: Page | NoAnswer | None
    """What plain http answers on the usual port; None when https is not on its own."""
    certificate: datetime | NoAnswer | None


def look_at_mail(mail: Mail) -> MailFacts:
    """Connect, TLS, sign in, name the sender, take everything back. Nothing is sent."""
    try:
        with connection(mail.model_copy(update={"timeout": min(mail.timeout, MAIL_SECONDS)})) as smtp:
            smtp.ehlo_or_helo_if_needed()
            code, _ = smtp.mail(mail.sender)
            smtp.rset()
            return MailFacts("ok") if code == 250 else MailFacts("sender", code)
    except ssl.SSLError:
        return MailFacts("certificate")
    except smtplib.SMTPNotSupportedError as error:
        return MailFacts("starttls" if str(error).startswith("STARTTLS") else "auth")
    except smtplib.SMTPAuthenticationError as error:
        return MailFacts("auth", error.smtp_code)
    except smtplib.SMTPServerDisconnected:
        return MailFacts("hung_up")
    except smtplib.SMTPResponseException as error:
        return MailFacts("hung_up", error.smtp_code)
    except (OSError, smtplib.SMTPException):
        return MailFacts("connect")


def look_at_upstream(upstream: Upstream, public_url: str) -> UpstreamFacts:
    """Ask the university's CAS about a ticket that nobody has, as the bridge would ask about a real one."""
    cas = UpstreamCas(upstream)
    code: str | None
    try:
        cas.validate(MADE_UP_TICKET, callback_url(public_url, upstream.issuer, "doctor"))
        code = ""
    except UpstreamRefused as refusal:
        code = refusal.code
    except UpstreamUnreachable:
        code = None
    finally:
        cas.close()
    url = f"{upstream.cas_url.rstrip('/')}/login"
    return UpstreamFacts(code, fetch(url, ca_file=upstream.ca_file), certificate_until(url, ca_file=upstream.ca_file))


def look_at_public_url(settings: Settings, keys: Keys, now: datetime) -> PublicFacts:
    """Ask our own public address who answers there, once plainly and once with a false forwarding header."""
    ca_file = settings.services_ca_file
    question = identification.question(keys, now)
    url = f"{settings.public_url}/healthz?ask={question}"
    page = fetch(url, ca_file=ca_file)
    told = _told(page, keys, question)
    spoofed = None
    if told is not None:
        spoofed = _told(fetch(url, ca_file=ca_file, headers={"X-Forwarded-For": SPOOFED}), keys, question)
    parts = urlsplit(settings.public_url)
    plain = fetch(f"http://{parts.netloc}/healthz") if settings.secure and parts.port is None else None
    return PublicFacts(page, told, spoofed, plain, certificate_until(settings.public_url, ca_file=ca_file))


def _told(page: Page | NoAnswer, keys: Keys, question: str) -> dict[str, Any] | None:
    if isinstance(page, NoAnswer) or page.status != 200:
        return None
    try:
        answer = json.loads(page.body)
    except ValueError:
        return None
    return identification.verified(keys, question, answer)
