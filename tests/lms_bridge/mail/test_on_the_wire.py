"""What mail systems see of our mails: headers, encodings, lines; and that no address ever stands in a link (D21)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from lms_bridge.mail.compose import compose
from lms_bridge.runtime import templates_folder
from tests.bridge_under_test import BridgeUnderTest, running_bridge
from tests.peers.mail_server import running_mail_server
from tests.peers.programs import reserved_port
from tests.peers.test_mail_server import ADA, ask_for_the_mail, part, rows

NAMES = [
    "UT",
    "Université de Poitiers",
    'Univ, "Paris" (est); <x>',
    "Université très longue dont le nom ne tient pas sur une ligne de soixante-dix-huit signes, loin de là",
    "大学 👩‍🎓",
]


@contextmanager
def mailed(folder: Path, **institution: Any) -> Iterator[tuple[BridgeUnderTest, bytes]]:
    """A bridge, and the bytes of a confirmation mail as a server gets them."""
    with reserved_port() as port, running_mail_server(port) as server:
        settings = {"host": "127.0.0.1", "port": port, "security": "none", "sender": "noreply@univ.example"}
        about = {"name": "Université de test", "short_name": "UT", "help_email": "aide@univ.example", **institution}
        with running_bridge(folder, mail=settings, institution=about) as bridge:
            ask_for_the_mail(bridge)
            bridge.runner.run_once()
            [raw] = server.raw
            yield bridge, raw


def parsed(raw: bytes) -> EmailMessage:
    message = message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_university_arrives_as_it_is_in_lines_and_bytes_that_every_server_takes(
    tmp_path: Path, name: str
) -> None:
    with mailed(tmp_path, short_name=name) as (_, raw):
        message = parsed(raw)
        assert message["From"].addresses[0].display_name == name
        assert message["From"].addresses[0].addr_spec == "noreply@univ.example"
        assert message["To"] == ADA
        assert raw.isascii()
        assert all(len(line) <= 78 for line in raw.split(b"\r\n")), max(raw.split(b"\r\n"), key=len)
        assert b"\n" not in raw.replace(b"\r\n", b"")


def test_a_name_with_a_line_break_makes_no_header(tmp_path: Path) -> None:
    with mailed(tmp_path, short_name="UT\r\nBcc: eve@evil.example") as (_, raw):
        assert parsed(raw)["Bcc"] is None


def test_text_and_html_are_coded_for_servers_that_know_seven_bits_only(tmp_path: Path) -> None:
    with mailed(tmp_path) as (_, raw):
        codings = [one["Content-Transfer-Encoding"] for one in parsed(raw).iter_parts()]
        assert codings == ["quoted-printable", "quoted-printable"]
        assert "Université de test" in part(parsed(raw), "plain")


def test_a_mail_to_one_person_does_not_look_like_a_list_s(tmp_path: Path) -> None:
    with mailed(tmp_path) as (_, raw):
        message = parsed(raw)
        for name in (
            "List-Id",
            "List-Unsubscribe",
            "List-Unsubscribe-Post",
            "Precedence",
            "Feedback-ID",
            "Return-Path",
        ):
            assert message[name] is None
        assert message["Auto-Submitted"] == "auto-generated"


def test_a_mail_written_again_is_the_same_mail(tmp_path: Path) -> None:
    with mailed(tmp_path) as (bridge, raw):
        [row] = rows(bridge)
        with bridge.runtime.database.read() as session:
            again = compose(session, bridge.runtime, row, now=bridge.clock())
        for name in ("Message-ID", "Date", "From", "To", "Subject"):
            assert again[name] == parsed(raw)[name]


class Words(HTMLParser):
    """The text of a page without its head."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self._in_head = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self._in_head = self._in_head or tag in ("head", "style")

    def handle_endtag(self, tag: str) -> None:
        if tag == "head":
            self._in_head = False

    def handle_data(self, data: str) -> None:
        if not self._in_head:
            self.words += data.replace("\u00a0", " ").replace("\u202f", " ").split()


def test_whatever_the_text_says_the_html_says_too(tmp_path: Path) -> None:
    with mailed(tmp_path) as (_, raw):
        reader = Words()
        reader.feed(part(parsed(raw), "html"))
        shown = " ".join(reader.words)
        text = part(parsed(raw), "plain").replace("\u00a0", " ").replace("\u202f", " ")
        for line in text.splitlines():
            said = " ".join(line.split()).rstrip(" :")
            if said not in ("", "--") and "aide@univ.example" not in said:
                assert said in shown


# --- D21 ---

TEMPLATES = sorted([*templates_folder().rglob("*.html"), *templates_folder().rglob("*.txt")])
URL_ATTRIBUTE = re.compile(r"""\b(?:href|src|action|formaction|data-[a-z-]+)\s*=\s*(["'])(.*?)\1""", re.DOTALL)
ADDRESSES = re.compile(r"\b(?:e?mail|recipient)\b|\baddress\b(?!\.(?:id|handle|token)\b)")


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(templates_folder())))
def test_d21_no_template_puts_an_address_into_a_url(template: Path) -> None:
    for _, value in URL_ATTRIBUTE.findall(template.read_text("utf-8")):
        if not value.startswith("mailto:"):
            filled = " ".join(re.findall(r"\{\{(.*?)\}\}", value))
            assert not ADDRESSES.search(filled), value


def test_d21_no_url_of_a_mail_or_of_its_pages_holds_an_address(tmp_path: Path) -> None:
    with mailed(tmp_path) as (bridge, raw):
        texts = [part(parsed(raw), "plain"), part(parsed(raw), "html")]
        [link] = set(re.findall(r"https?://\S+/account/confirm/[^\s\"<]+", texts[0]))
        browser = bridge.browser()
        texts += [browser.get(link).text, browser.page.url]
        for url in re.findall(r"https?://[^\s\"<>]+", " ".join(texts)):
            assert "@" not in unquote(url)
            assert "+" not in url
            assert "ext.ada" not in unquote(url)
