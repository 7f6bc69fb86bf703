"""Mails that came back: what a refusal says about the mailbox, and when an address is no longer confirmed.

A refusal is about the mailbox, or about something else: a full disk, our text, our reputation. Only the first kind may
take a confirmation away (RFC 3463 and its IANA registry say which is which; `severity` is the table). The exact mail is
named each time: who cannot name a mail that we sent to that very mailbox loses nobody anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from external_accounts import audit, confirmation
from external_accounts.schema import Address, OutboxMail

BOUNCE = "bounce"
"""The reason for which a confirmation is lost."""


class Severity(StrEnum):
    """What a refusal says of the mailbox."""

    NO_SUCH_MAILBOX = "no such mailbox"
    UNREACHABLE = "unreachable"
    """Refused for good, without the word that the mailbox does not exist."""
    PASSING = "passing"
    """For now, or for a reason that is not the mailbox's."""


_NO_SUCH_MAILBOX = frozenset({"5.1.0", "5.1.1", "5.1.2", "5.1.3", "5.1.4", "5.1.6", "5.1.10"})
_UNREACHABLE = frozenset(
    {
        "5.0.0",  # nothing said but "for good"
        "5.2.0",
        "5.2.1",  # disabled
        "5.2.4",  # a mailing list's own trouble
        "5.4.0",
        "5.4.1",  # Exchange Online says so of recipients it does not know
        "5.4.4",  # the domain leads nowhere
        "5.5.0",  # Outlook.com says so of mailboxes it does not have
    }
)
_REFUSES_MAILBOX = frozenset({550, 551, 553})
"""RFC 5321 §4.2.3, of a recipient: the mailbox is not found, not here, or has no such name. 552 is a full one, 554 says
nothing."""


def severity(status: str, code: int = 0) -> Severity:
    """What an enhanced status code (`5.1.1`) says; without one, the plain reply `code` to a recipient.

    Everything not named is passing: x.2.2 a full mailbox, x.2.3 too long, x.3.x the system, x.4.6 a loop, x.5.x our
    protocol, x.6.x our text, x.7.x their policy, 5.1.7 and 5.1.8 our own address.
    """
    if not status:
        return Severity.UNREACHABLE if code in _REFUSES_MAILBOX else Severity.PASSING
    if status in _NO_SUCH_MAILBOX:
        return Severity.NO_SUCH_MAILBOX
    return Severity.UNREACHABLE if status in _UNREACHABLE else Severity.PASSING


_ENHANCED = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")


def enhanced_status(text: str) -> str:
    """The first enhanced status code of a server's words, or empty. Parts of an IP address are none."""
    found = _ENHANCED.search(text)
    return found.group(1) if found else ""


@dataclass(frozen=True, slots=True)
class Patience:
    """How many bounces in a row take a confirmation away."""

    no_such_mailbox: int = 1
    unreachable: int = 3


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a server said of one mail, at once or in a report that came back."""

    status: str
    severity: Severity
    text: str
    channel: str
    """`smtp`, `folder` or `mailbox`: how we learned of it."""


def note_bounce(
    session: Session, mail: OutboxMail, refusal: Refusal, *, patience: Patience, now: datetime, origin: audit.Origin
) -> bool:
    """Write down that `mail` came back, and take the confirmation of its address away when the rule says so.

    Returns False when it was known already: the same report twice counts once. The caller holds the row.
    """
    if mail.bounced_at is not None:
        return False
    mail.bounce_status = refusal.status
    mail.last_error = refusal.text[:500]
    if refusal.severity is not Severity.PASSING:
        mail.bounced_at = now
        mail.leased_until = None
        if mail.state != "failed":
            mail.state = "bounced"
    audit.record(
        session,
        "mail.bounced",
        outcome=refusal.severity.value,
        now=now,
        origin=origin,
        account_id=mail.account_id,
        mail=mail.id,
        status=refusal.status,
        channel=refusal.channel,
    )
    if mail.bounced_at is not None:
        session.flush()
        _lose_what_is_refuted(session, mail.recipient.lower(), patience, now=now, origin=origin)
    return True


def _lose_what_is_refuted(
    session: Session, email_key: str, patience: Patience, *, now: datetime, origin: audit.Origin
) -> None:
    """A mailbox that is not there is not there for anybody: the address may stand in several accounts."""
    confirmed = select(Address).where(Address.email_key == email_key, Address.confirmed_at.is_not(None))
    for address in session.scalars(confirmed.with_for_update()):
        since = session.scalars(
            select(OutboxMail.bounce_status).where(
                OutboxMail.bounced_at >= address.confirmed_at, func.lower(OutboxMail.recipient) == email_key
            )
        )
        if is_refuted([severity(status or "5.0.0") for status in since], patience):
            confirmation.lose_confirmation(session, address, reason=BOUNCE, now=now, origin=origin)


def is_refuted(bounces: list[Severity], patience: Patience) -> bool:
    """Whether what came back since an address was confirmed outweighs that confirmation."""
    missing = sum(1 for one in bounces if one is Severity.NO_SUCH_MAILBOX)
    return missing >= patience.no_such_mailbox or len(bounces) >= patience.unreachable
