"""Bounces by mailbox: an account on an IMAP server, always over TLS.

Unread messages are looked at and then marked read; what cannot be read is flagged as well, for people to look at.
Nothing is deleted: the mailbox's own expiry does that.
"""

from __future__ import annotations

import imaplib
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from lms_bridge.settings.sections import BounceMailbox

BATCH = 50
LARGEST = 1024 * 1024
UNREADABLE = "unreadable"


class MailboxRefused(Exception):
    """The server answered, and not with what was asked for. The text is the server's."""


def read(mailbox: BounceMailbox, take: Callable[[bytes], str]) -> int:
    """Give each unread message to `take`, then mark it read. Returns how many were taken.

    Raises:
        OSError, imaplib.IMAP4.error, MailboxRefused: the mailbox cannot be used now.
    """
    taken = 0
    with connection(mailbox) as server:
        for uid in _ask(server.uid("SEARCH", "UNSEEN"))[0].split()[:BATCH]:
            number = uid.decode("ascii")
            answer = _ask(server.uid("FETCH", number, f"(BODY.PEEK[]<0.{LARGEST}>)"))
            outcome = take(next((part[1] for part in answer if isinstance(part, tuple)), b""))
            marks = r"(\Seen \Flagged)" if outcome == UNREADABLE else r"(\Seen)"
            _ask(server.uid("STORE", number, "+FLAGS.SILENT", marks))
            taken += 1
    return taken


@contextmanager
def connection(mailbox: BounceMailbox) -> Iterator[imaplib.IMAP4]:
    """Signed in, the folder opened."""
    context = ssl.create_default_context(cafile=mailbox.ca_file)
    server: imaplib.IMAP4
    if mailbox.security == "tls":
        server = imaplib.IMAP4_SSL(mailbox.host, mailbox.port, ssl_context=context, timeout=mailbox.timeout)
    else:
        server = imaplib.IMAP4(mailbox.host, mailbox.port, timeout=mailbox.timeout)
    try:
        if mailbox.security == "starttls":
            server.starttls(context)
        server.login(mailbox.username, mailbox.password.get_secret_value())
        _ask(server.select(_quoted(mailbox.folder)))
        yield server
    finally:
        with suppress(OSError, imaplib.IMAP4.error):
            server.logout()


def _ask(answer: tuple[str, list[Any]]) -> list[Any]:
    """What a command gave: lines, and pairs of a line and a literal."""
    kind, data = answer
    if kind != "OK":
        raise MailboxRefused(f"{kind} {data!r}"[:200])
    return data


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
