"""French is the default language: nothing a reader may meet is left in English, and the typography holds."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Message
from babel.messages.extract import extract_from_dir
from jinja2 import Environment, FileSystemLoader

from lms_bridge import i18n

TEMPLATES = Path(__file__).parents[2] / "templates"
FRENCH = i18n.read_catalogue("fr")
COLLECTED = i18n.collect_messages(TEMPLATES)
MESSAGES = [message for message in FRENCH if message.id]


def forms(value: str | list[str] | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def key(message: Message) -> tuple[str | None, str]:
    return message.context, forms(message.id)[0]


def texts(*, without: frozenset[str] = frozenset()) -> Iterator[str]:
    for message in MESSAGES:
        if forms(message.id)[0] not in without:
            yield from forms(message.string)


def for_operators() -> frozenset[str]:
    """The messages of the operations room: they name settings and Moodle's own menus ("Gérer les jetons")."""
    found = extract_from_dir(Path(i18n.__file__).parent / "ops", keywords=i18n._KEYWORDS)
    return frozenset(forms(message)[0] for _file, _line, message, _comments, _context in found)


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"%\((\w+)\)[sd]", text))


def test_every_message_of_the_sources_has_a_french_translation() -> None:
    known = {key(message) for message in MESSAGES if all(forms(message.string)) and not message.fuzzy}
    missing = sorted(forms(message.id)[0] for message in COLLECTED if message.id and key(message) not in known)
    assert missing == [], "run `python -m lms_bridge.i18n`, then translate these in messages.po"


def test_the_french_catalogue_holds_no_message_that_nobody_uses() -> None:
    used = {key(message) for message in COLLECTED}
    assert sorted(forms(message.id)[0] for message in MESSAGES if key(message) not in used) == []
    assert list(FRENCH.obsolete) == []


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: forms(message.id)[0][:50])
def test_a_translation_names_the_same_values_as_its_message(message: Message) -> None:
    wanted = set().union(*(placeholders(text) for text in forms(message.id)))
    for text in forms(message.string):
        assert placeholders(text) == wanted


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: forms(message.id)[0][:50])
def test_a_translation_carries_the_same_markup_as_its_message(message: Message) -> None:
    wanted = re.findall(r"<[^>]+>", forms(message.id)[0])
    for text in forms(message.string):
        assert re.findall(r"<[^>]+>", text) == wanted


def test_french_punctuation_never_starts_a_line() -> None:
    loose = [text for text in texts() if re.search(r"[^\u00a0][?!;»]|[^\u00a0]:(?!//)|«[^\u00a0]", text)]
    assert loose == []


def test_french_says_vous_and_speaks_no_jargon() -> None:
    refused = re.compile(r"\b(tu|toi|ton|ta|tes|token|jeton|provisionn\w*|soumettre|login|mail)\b", re.IGNORECASE)
    assert [text for text in texts(without=for_operators()) if refused.search(text.replace("E-mail", ""))] == []


def test_writing_the_catalogue_again_changes_nothing() -> None:
    path = i18n.catalogue_path("fr")
    assert i18n.refreshed(i18n.read_catalogue("fr"), COLLECTED).decode() == path.read_text(encoding="utf-8")


def test_every_template_compiles() -> None:
    env = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    i18n.install(env)
    names = env.list_templates()
    assert "signin/doors.html" in names
    for name in names:
        env.get_template(name)


def test_no_page_carries_inline_code_or_style() -> None:
    refused = re.compile(
        r"\sstyle=|\son\w+=\"|<script(?![^>]*\ssrc=)|javascript:|https?://(?!www\.w3\.org)", re.IGNORECASE
    )
    pages = [path for path in TEMPLATES.rglob("*.html") if path.parent.name != "mail"]
    assert [path.name for path in pages if refused.search(path.read_text(encoding="utf-8"))] == []
