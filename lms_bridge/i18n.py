"""Languages: which one a reader gets, the texts in it, and dates in words.

English is the language of the message ids, French the default language of the service. The repository holds the
French catalogue as text (`translations/fr/LC_MESSAGES/messages.po`); it is compiled in memory at first use, so there
is no binary to keep in step. The language in force is a context variable: a mail composed outside any request reads
its own.

`python -m lms_bridge.i18n` collects the messages of the templates and of this package again and writes the catalogue
back: new messages come without a translation (the tests refuse that), messages nobody uses are dropped.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import lru_cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_date, get_timezone_location
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from babel.numbers import format_decimal
from jinja2 import Environment, pass_context
from jinja2.runtime import Context
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

SOURCE_LOCALE = "en"
"""The language the message ids are written in."""

DEFAULT_LOCALE = "fr"

LOCALES = (DEFAULT_LOCALE, SOURCE_LOCALE)
"""The languages offered, in the order of the language switch."""

LANGUAGE_NAMES = {"fr": "Français", "en": "English"}
"""Each language in its own words: whoever looks for theirs cannot read the others."""

_PACKAGE = Path(__file__).parent
_TRANSLATIONS = _PACKAGE / "translations"

_current: ContextVar[str] = ContextVar("locale", default=DEFAULT_LOCALE)


class Translator:
    """The texts of one language.

    Values are put in by name (`%(name)s`), as Jinja's new-style gettext does, so that one message serves templates
    and Python alike. A message without a translation comes back as it is.
    """

    def __init__(self, locale: str, catalogue: NullTranslations) -> None:
        self.locale = locale
        self._catalogue = catalogue

    def gettext(self, message: str, **values: object) -> str:
        return _filled(self._catalogue.gettext(message), values)

    def ngettext(self, singular: str, plural: str, count: int, **values: object) -> str:
        """The form for `count`, which the text can name as `%(num)d`."""
        return _filled(self._catalogue.ngettext(singular, plural, count), {"num": count, **values})

    def pgettext(self, context: str, message: str, **values: object) -> str:
        return _filled(self._catalogue.pgettext(context, message), values)

    def npgettext(self, context: str, singular: str, plural: str, count: int, **values: object) -> str:
        return _filled(self._catalogue.npgettext(context, singular, plural, count), {"num": count, **values})


def _filled(text: str, values: dict[str, object]) -> str:
    return text % values if values else text


@lru_cache(maxsize=len(LOCALES))
def translator(locale: str) -> Translator:
    """The translator of a language in `LOCALES`; raises KeyError for any other."""
    if locale not in LOCALES:
        raise KeyError(locale)
    return Translator(locale, _compiled(locale))


def _compiled(locale: str) -> NullTranslations:
    if locale == SOURCE_LOCALE:
        return NullTranslations()
    binary = io.BytesIO()
    write_mo(binary, read_catalogue(locale))
    binary.seek(0)
    return GNUTranslations(binary)


def catalogue_path(locale: str) -> Path:
    return _TRANSLATIONS / locale / "LC_MESSAGES" / "messages.po"


def read_catalogue(locale: str) -> Catalog:
    with catalogue_path(locale).open("rb") as file:
        return read_po(file, locale=locale, abort_invalid=True)


# --- The language in force ---


def current_locale() -> str:
    return _current.get()


def activate(locale: str) -> None:
    """Set the language for the rest of this context: for the start of a request, where each sets its own."""
    _current.set(translator(locale).locale)


@contextmanager
def use_locale(locale: str) -> Iterator[Translator]:
    """Set the language for a block, and put the former one back: for a mail, a page of the demo, a test."""
    chosen = translator(locale)
    token = _current.set(locale)
    try:
        yield chosen
    finally:
        _current.reset(token)


def gettext(message: str, **values: object) -> str:
    """The message in the language in force. Import it as `_`."""
    return translator(_current.get()).gettext(message, **values)


def ngettext(singular: str, plural: str, count: int, **values: object) -> str:
    return translator(_current.get()).ngettext(singular, plural, count, **values)


def pgettext(context: str, message: str, **values: object) -> str:
    return translator(_current.get()).pgettext(context, message, **values)


def npgettext(context: str, singular: str, plural: str, count: int, **values: object) -> str:
    return translator(_current.get()).npgettext(context, singular, plural, count, **values)


def N_(message: str) -> str:  # noqa: N802  the name gettext tools know
    """Mark a message for translation where it is written (a table, a constant); `gettext` it where it is shown."""
    return message


def choose_locale(query_lang: str | None, cookie_lang: str | None, accept_language: str | None, default: str) -> str:
    """The language for a reader: what they just asked for, what they chose before, what their browser prefers.

    `accept_language` is the raw header. Anything unknown or malformed is passed over; `default` is the last resort.
    """
    for asked in (query_lang, cookie_lang):
        if asked in LOCALES:
            return asked
    preferred = parse_accept_header(accept_language, LanguageAccept).best_match(LOCALES)
    return preferred or default


def install(env: Environment) -> None:
    """Give templates `{% trans %}` and `_()` in the language in force, with values escaped as the template's are.

    The filter `unbroken` keeps an hour on one line ("23 h 59"); it is for pages and HTML mails, plain text stays plain.
    The `count` of a `{% pluralize %}` is written as large numbers are in that language ("12 345").
    """
    env.add_extension("jinja2.ext.i18n")
    env.policies["ext.i18n.trimmed"] = True
    callables: Any = env  # the extension adds this method at run time, so its type is not declared
    callables.install_gettext_callables(
        _raw(lambda catalogue: catalogue.gettext),
        _raw(lambda catalogue: catalogue.ngettext),
        newstyle=True,
        pgettext=_raw(lambda catalogue: catalogue.pgettext),
        npgettext=_raw(lambda catalogue: catalogue.npgettext),
    )
    env.filters["unbroken"] = unbroken
    env.globals["ngettext"] = _with_figures(env.globals["ngettext"])


def _with_figures(ngettext: Any) -> Any:
    @pass_context
    def look_up(context: Context, singular: str, plural: str, number: int, /, **values: Any) -> Any:
        if "count" in values:
            values["count"] = figure(number)
        return ngettext(context, singular, plural, number, **values)

    return look_up


def figure(number: int) -> str:
    """The number with its digits in groups, in the language in force."""
    return format_decimal(number, locale=_current.get())


def _raw(method: Callable[[NullTranslations], Callable[..., str]]) -> Callable[..., str]:
    """Look a message up at each call, values left to Jinja, which must escape them first."""

    def look_up(*arguments: Any) -> str:
        return method(translator(_current.get())._catalogue)(*arguments)

    return look_up


# --- Dates in words ---


def format_deadline(moment: datetime, zone: ZoneInfo, locale: str) -> str:
    """A date in full, with the hour and the name of the zone, as people are given a deadline.

    `moment` is aware (any zone). "mardi 24 novembre 2026 à 23 h 59, heure de Paris" /
    "Tuesday 24 November 2026 at 23:59, Paris time". It stands after "until" in a sentence, in French after "jusqu'au".
    """
    local = moment.astimezone(zone)
    text = translator(locale)
    return text.gettext(
        "%(day)s at %(hour)s, %(zone)s", day=_day(local, locale), hour=_hour(local, locale), zone=_zone(zone, locale)
    )


def format_moment(moment: datetime, zone: ZoneInfo, locale: str) -> str:
    """A moment in short, for lists of many: "24 nov. 2026, 23 h 59" / "24 Nov 2026, 23:59"."""
    local = moment.astimezone(zone)
    return f"{format_date(local, 'd MMM y', locale=locale)}, {_hour(local, locale)}"


def _day(local: datetime, locale: str) -> str:
    day = format_date(local, "EEEE d MMMM y", locale=locale)
    if locale == "fr" and local.day == 1:
        return day.replace(" 1 ", " 1er ", 1)
    return day


def _hour(local: datetime, locale: str) -> str:
    return f"{local.hour} h {local.minute:02d}" if locale == "fr" else f"{local.hour:02d}:{local.minute:02d}"


def _zone(zone: ZoneInfo, locale: str) -> str:
    if zone.key in {"UTC", "Etc/UTC"}:
        return "UTC"
    city = get_timezone_location(zone.key, locale=locale, return_city=True)
    if locale == "fr" and city[0] in "AEIOUYÉÈÊÎÔ":
        return f"heure d'{city}"
    return translator(locale).gettext("%(city)s time", city=city)


def unbroken(words: str) -> str:
    return re.sub(r"(\d) h (\d)", "\\1\N{NO-BREAK SPACE}h\N{NO-BREAK SPACE}\\2", words)


# --- Keeping the catalogue in step with the sources ---

_KEYWORDS: dict[str, Any] = {
    "_": None,
    "N_": None,
    "gettext": None,
    "ngettext": (1, 2),
    "pgettext": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
}
_JINJA_OPTIONS = {"trimmed": "true", "silent": "false"}

# Dates, tool versions and line numbers would change with every run and say nothing to a translator.
_HEADER = """\
# {language} translations of LMS Bridge.
msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Language: {locale}\\n"
"Plural-Forms: {plural_forms}\\n"

"""


def collect_messages(templates: Path) -> Catalog:
    """All messages of the templates under `templates` and of this package's Python files."""
    collected = Catalog()
    for folder, methods, options in (
        (templates, [("**", "jinja2.ext:babel_extract")], {"**": _JINJA_OPTIONS}),
        (_PACKAGE, [("**.py", "python")], None),
    ):
        for _file, _line, message, _comments, context in extract_from_dir(
            folder, method_map=methods, options_map=options, keywords=_KEYWORDS
        ):
            collected.add(message, context=context)
    return collected


def refreshed(catalogue: Catalog, collected: Catalog) -> bytes:
    """The catalogue as a .po file that holds exactly the collected messages, known translations kept."""
    catalogue.update(collected, no_fuzzy_matching=True, update_creation_date=False)
    language = catalogue.locale.english_name if catalogue.locale else ""
    body = io.BytesIO()
    write_po(body, catalogue, width=110, no_location=True, omit_header=True, sort_output=True, ignore_obsolete=True)
    header = _HEADER.format(language=language, locale=catalogue.locale, plural_forms=catalogue.plural_forms)
    return header.encode() + body.getvalue().strip() + b"\n"


def _main() -> int:
    templates = _PACKAGE.parent / "templates"
    if not templates.is_dir():
        sys.stderr.write(f"No templates at {templates}: run this in a checkout of the repository.\n")
        return 1
    collected = collect_messages(templates)
    for locale in LOCALES:
        if locale != SOURCE_LOCALE:
            catalogue_path(locale).write_bytes(refreshed(read_catalogue(locale), collected))
            missing = [message.id for message in read_catalogue(locale) if message.id and not message.string]
            sys.stdout.write(f"{locale}: {len(collected)} messages, {len(missing)} to translate\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(_main())
