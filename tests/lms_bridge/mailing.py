"""A bridge whose mails arrive: the runner is run by hand, the mails are read as people read them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lms_bridge.demo.mail_sink import Mail, MailSink
from lms_bridge.i18n import translator
from tests.bridge_under_test import BridgeUnderTest, Clock, running_bridge


def in_french(message: str) -> str:
    """The French of a message, blanks folded as `heading` folds them."""
    return " ".join(translator("fr").gettext(message).split())


class Mailbox:
    """What the bridge has sent so far."""

    def __init__(self, sink: MailSink, bridge: BridgeUnderTest) -> None:
        self._sink = sink
        self._bridge = bridge

    def all(self) -> list[Mail]:
        """Every mail, after the background work that is due has been done."""
        self._bridge.runner.run_once()
        return self._sink.mails()

    def newest(self) -> Mail:
        return self.all()[-1]

    def refuse_with(self, answer: str | None) -> None:
        """Let the mail server answer every recipient like this, e.g. `451 4.7.1 greylisted`."""
        self._sink.refuse_with = answer


def link_in(mail: Mail) -> str:
    """The link of a proof's mail, whole."""
    found = re.search(r"https?://\S+/account/(?:confirm|reset|activate)/\S+", mail.text)
    assert found, mail.text
    return found.group(0)


def path_of(link: str) -> str:
    return urlsplit(link).path


def code_in(mail: Mail) -> str:
    """The typed code of a confirmation mail, as it is written there."""
    found = re.search(r"^([A-Z0-9]{4}-[A-Z0-9]{4})$", mail.text, re.MULTILINE)
    assert found, mail.text
    return found.group(1)


@contextmanager
def mailing_bridge(
    folder: Path, *, clock: Clock | None = None, **changes: Any
) -> Iterator[tuple[BridgeUnderTest, Mailbox]]:
    """A running bridge and the mailbox of all its mails."""
    clock = clock or Clock()
    sink = MailSink(clock)
    sink.start()
    mail = {"host": "127.0.0.1", "port": sink.port, "security": "none", "sender": "noreply@univ.example"}
    try:
        with running_bridge(folder, clock=clock, mail=mail, **changes) as bridge:
            yield bridge, Mailbox(sink, bridge)
    finally:
        sink.stop()
