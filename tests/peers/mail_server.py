"""A real SMTP server on loopback that takes mail, or refuses it as it is told to."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword

Answer = Callable[[str], str]
"""From a sender's or recipient's address to an SMTP reply."""


@dataclass
class MailServer:
    """What arrived, what was refused, and how it behaves from now on."""

    port: int
    accepted: list[EmailMessage] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    """The same, byte for byte."""
    envelopes: list[tuple[str, list[str]]] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    """Recipients, in the order in which they were offered."""
    seen_ids: list[str] = field(default_factory=list)
    """Message-IDs of everything whose content was sent, accepted or not."""
    to_sender: Answer = lambda _: "250 OK"
    to_recipient: Answer = lambda _: "250 OK"
    to_content: Answer = lambda _: "250 OK"

    async def handle_MAIL(
        self, _server: Any, _session: Any, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self.to_sender(address)
        if answer.startswith("250"):
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return answer

    async def handle_RCPT(
        self, _server: Any, _session: Any, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        self.tried.append(address)
        answer = self.to_recipient(address)
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: Any, _session: Any, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        message = message_from_bytes(content, policy=policy.default)
        self.seen_ids.append(str(message["Message-ID"]))
        answer = self.to_content(envelope.rcpt_tos[0])
        if answer == "hang up":
            server.transport.abort()
            return "421 closing"
        if answer.startswith("250"):
            self.accepted.append(message)
            self.raw.append(content)
            self.envelopes.append((str(envelope.mail_from), list(envelope.rcpt_tos)))
        return answer


@contextmanager
def running_mail_server(
    port: int, *, tls: ssl.SSLContext | None = None, login: tuple[str, str] | None = None
) -> Iterator[MailServer]:
    """Listen on `port`. With `tls`, STARTTLS is offered and demanded; with `login`, so is signing in."""
    handler = MailServer(port)

    def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, given: Any) -> AuthResult:
        assert login is not None
        right = given == LoginPassword(login[0].encode(), login[1].encode())
        return AuthResult(success=right, handled=False)  # not handled: the server itself answers 535

    controller = Controller(
        handler,
        hostname="127.0.0.1",
        port=port,
        tls_context=tls,
        require_starttls=tls is not None,
        authenticator=authenticate if login else None,
        auth_required=login is not None,
        auth_require_tls=tls is not None,
    )
    controller.start()
    try:
        yield handler
    finally:
        controller.stop()
