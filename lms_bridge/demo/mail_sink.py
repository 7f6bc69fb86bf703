"""An SMTP server that keeps every mail in memory and delivers nothing."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message

from aiosmtpd.smtp import SMTP, Envelope, Session

LARGEST_MAIL = 20 * 1024 * 1024
START_SECONDS = 5.0


@dataclass(frozen=True)
class Mail:
    """One mail as one recipient received it; `html` is empty when the mail has no such part."""

    id: str
    to: str
    subject: str
    text: str
    html: str
    date: datetime

    def as_json(self) -> dict[str, str]:
        """The mail as the mailbox's API gives it; the date of arrival in ISO 8601, UTC."""
        date = self.date.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {
            "id": self.id,
            "to": self.to,
            "subject": self.subject,
            "text": self.text,
            "html": self.html,
            "date": date,
        }


def decoded_header(message: Message, name: str) -> str:
    """The header as people read it: unfolded, encoded words (RFC 2047) and raw UTF-8 (RFC 6532) decoded."""
    for given, value in message.raw_items():
        if given.lower() == name.lower():
            raw = str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            line = re.sub(r"[\r\n]+", "", raw)
            try:
                return str(make_header(decode_header(line)))
            except (HeaderParseError, LookupError, ValueError):
                return line
    return ""


def decoded_part(message: Message, content_type: str) -> str:
    """The first part of that type which is no attachment, as text with LF line ends; empty when there is none."""
    for part in message.walk():
        if part.get_content_type() != content_type or part.is_multipart():
            continue
        if part.get_content_disposition() == "attachment":
            continue
        payload = part.get_payload(decode=True)
        content = payload if isinstance(payload, bytes) else b""
        try:
            text = content.decode(part.get_content_charset("utf-8"), "replace")
        except (LookupError, ValueError):  # a charset nobody knows, or no name of one
            text = content.decode("utf-8", "replace")
        return text.replace("\r\n", "\n")
    return ""


class MailSink:
    """Listens on a free port of 127.0.0.1 and keeps one `Mail` a recipient, in the order of arrival.

    `refuse_with`, such as "451 4.7.1 greylisted", is the answer to every RCPT while it is set.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.refuse_with: str | None = None
        self._now = now
        self._lock = threading.Lock()
        self._mails: list[Mail] = []
        self._count = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"smtp-{self.port}", daemon=True)
        self._listening = threading.Event()

    def mails(self) -> list[Mail]:
        """Every mail, oldest first."""
        with self._lock:
            return list(self._mails)

    def clear(self) -> None:
        """Forget every mail. Ids are not used again."""
        with self._lock:
            self._mails.clear()

    def start(self) -> None:
        """Accept mail. A sink starts once.

        Raises: RuntimeError when started a second time, or when the server does not come up.
        """
        self._thread.start()
        if not self._listening.wait(START_SECONDS):
            raise RuntimeError("the SMTP server did not start")

    def stop(self) -> None:
        """End connections and free the port. May be called twice."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        elif not self._loop.is_closed():
            self._loop.close()
        self._listener.close()

    def _run(self) -> None:
        loop = self._loop
        asyncio.set_event_loop(loop)
        server = loop.run_until_complete(loop.create_server(self._connection, sock=self._listener))
        self._listening.set()
        loop.run_forever()
        server.close()
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        loop.run_until_complete(asyncio.sleep(0))  # lets transports close their sockets
        loop.close()

    def _connection(self) -> SMTP:
        # Without a host name, aiosmtpd asks the resolver for one at each connection.
        return SMTP(
            self,
            hostname="localhost",
            ident="mailbox",
            enable_SMTPUTF8=True,
            data_size_limit=LARGEST_MAIL,
            timeout=60,
            loop=self._loop,
        )

    # aiosmtpd calls these by name.

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Accept the recipient, or answer with the fault that was set."""
        if self.refuse_with is not None:
            return self.refuse_with
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep the mail once for each recipient."""
        content = envelope.content
        message = message_from_bytes(content if isinstance(content, bytes) else (content or "").encode())
        subject = decoded_header(message, "subject")
        text, html = decoded_part(message, "text/plain"), decoded_part(message, "text/html")
        with self._lock:
            for recipient in envelope.rcpt_tos:
                self._count += 1
                self._mails.append(Mail(str(self._count), recipient, subject, text, html, self._now()))
        return "250 2.0.0 OK"
