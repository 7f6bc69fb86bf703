"""Reads what comes back: delivery status notifications (RFC 3464), and the older forms that are still about.

Out-of-office replies, receipts and complaints are no bounces. Nothing here decides what follows; a message can say
anything, so `lms_bridge.mail.bounces` believes it only about a mail of ours that it can name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from email.utils import getaddresses

from external_accounts.bounces import enhanced_status

LONGEST_TEXT = 20_000
"""Characters of a human-readable part that are looked at."""

_MESSAGE_ID = re.compile(r"<[^<>\s@]{1,64}@[^<>\s@]{1,255}>")
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,255}")
_REPLY = re.compile(r"(?<![\d.])([45]\d\d)(?![\d.])")
_MACHINES = re.compile(r"^(mailer-daemon|postmaster|mail-daemon|mdaemon|amavis)$", re.IGNORECASE)
_QMAIL = re.compile(r"^Hi\. This is the ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one recipient."""

    recipients: frozenset[str]
    """The mailbox as it is named (first and last form), in lower case; empty when it is not named."""
    status: str
    """Enhanced code, or empty."""
    code: int
    """SMTP reply, or 0."""
    text: str


@dataclass(frozen=True, slots=True)
class Bounce:
    """A message that says that another one was not delivered."""

    reports: tuple[Report, ...]
    message_ids: frozenset[str] = field(default_factory=frozenset)
    """Of messages that it returns or names."""
    delivered_to: frozenset[str] = field(default_factory=frozenset)
    """Addresses it was sent to: one of them may be the envelope sender of the mail it is about."""


class Unreadable(ValueError):
    """Not a message at all."""


def read(raw: bytes) -> Bounce | None:
    """The bounce that a message is, or None when it is something else.

    Raises:
        Unreadable: there is no header, or the message cannot be taken apart.
    """
    try:
        message = message_from_bytes(raw)
        if not message.keys():
            raise Unreadable("no header")
        reports = tuple(_reports(message))
        if not reports:
            return None
        return Bounce(reports, frozenset(_message_ids(message)), frozenset(_delivered_to(message)))
    except Unreadable:
        raise
    except Exception as error:  # a hostile message must not stop the others
        raise Unreadable(type(error).__name__) from error


def _reports(message: Message) -> Iterator[Report]:
    status = next((part for part in message.walk() if _is_status(part)), None)
    if status is not None:
        yield from _standard(status)
    elif failed := message.get("X-Failed-Recipients"):  # Exim
        for address in _addresses([str(failed)]):
            yield _from_words(frozenset({address}), _text(message))
    elif _QMAIL.search(text := _text(message)):
        for named, words in re.findall(r"^<([^>\s]+)>:\s*\n(.*?)(?:\n\s*\n|\Z)", text, re.MULTILINE | re.DOTALL):
            yield _from_words(frozenset({named.lower()}), words)
    elif _is_from_a_machine(message) and enhanced_status(text).startswith("5"):
        yield _from_words(frozenset(address.lower() for address in _ADDRESS.findall(text)), text)


def _is_status(part: Message) -> bool:
    return part.get_content_type() in ("message/delivery-status", "message/global-delivery-status")


def _standard(status: Message) -> Iterator[Report]:
    """The recipient blocks that report a failure. `delayed` is no end, `delivered` and the like are good news."""
    payload = status.get_payload()
    blocks = payload if isinstance(payload, list) else []
    for block in blocks:
        if not isinstance(block, Message) or str(block.get("Action", "")).strip().lower() != "failed":
            continue
        words = _storable(str(block.get("Diagnostic-Code", "")))
        said, exact = enhanced_status(str(block.get("Status", ""))), enhanced_status(words)
        # "5.0.0" is what a gateway writes when it did not look; the far server's own words then know more.
        code = exact if exact and (not said or said.endswith(".0.0")) else said
        names = [str(block.get(name, "")).rpartition(";")[2] for name in ("Original-Recipient", "Final-Recipient")]
        yield Report(frozenset(_addresses(names)), code, _reply(words), words)


def _from_words(recipients: frozenset[str], text: str) -> Report:
    return Report(recipients, enhanced_status(text), _reply(text), _storable(text))


def _storable(text: str) -> str:
    """On one line, without what a database cannot hold."""
    return " ".join(text.replace("\0", " ").encode("utf-8", "replace").decode().split())[:500]


def _reply(words: str) -> int:
    found = _REPLY.search(words)
    return int(found.group(1)) if found else 0


def _is_from_a_machine(message: Message) -> bool:
    senders = _addresses([str(message.get("From", ""))])
    return any(_MACHINES.match(address.partition("@")[0]) for address in senders)


def _message_ids(message: Message) -> Iterator[str]:
    """Message-IDs of what is returned: its own headers first, else wherever the text quotes them."""
    for name in ("References", "In-Reply-To"):
        yield from _MESSAGE_ID.findall(str(message.get(name, "")))
    for part in message.walk():
        kind = part.get_content_type()
        if part is not message and kind not in ("text/plain", "text/rfc822-headers"):
            yield from _MESSAGE_ID.findall(str(part.get("Message-ID", "")))
        if kind in ("text/plain", "text/rfc822-headers", "message/global-headers") and not part.is_multipart():
            yield from _MESSAGE_ID.findall(_decoded(part))


def _delivered_to(message: Message) -> Iterator[str]:
    for name in ("Delivered-To", "X-Original-To", "Envelope-To", "To"):
        yield from _addresses([str(value) for value in message.get_all(name, [])])


def _addresses(values: list[str]) -> list[str]:
    return [address.strip().lower() for _, address in getaddresses(values) if "@" in address]


def _text(message: Message) -> str:
    """The first human-readable part."""
    parts = (part for part in message.walk() if part.get_content_type() == "text/plain")
    return next((_decoded(part) for part in parts), "")


def _decoded(part: Message) -> str:
    payload = part.get_payload(decode=True)
    content = payload[:LONGEST_TEXT] if isinstance(payload, bytes) else b""
    # The codes and addresses in it are ASCII whatever the charset claims.
    return content.decode("utf-8", "replace").replace("\r\n", "\n")
