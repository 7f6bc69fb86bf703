"""Lines of the staff office's files: which column is what, and what a line says of a person.

A line says only what it has a filled cell for: an empty cell, like a column that is not there, leaves an account as it
is. What is wrong is a `Problem` of one cell; the words are the reader's (`lms_bridge`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal

from external_accounts.accounts import USERNAME_PATTERN
from external_accounts.addresses import InvalidAddress, parse_address
from external_accounts.spreadsheets import Cells, Table, plain, read_date

Column = Literal[
    "external_key",
    "given_name",
    "family_name",
    "birth_name",
    "profile",
    "private_email",
    "institutional_email",
    "username",
    "unit",
    "rights_end",
    "sponsor",
    "language",
    "homonym_checked",
]
Reason = Literal[
    "missing",
    "unreadable",
    "too_long",
    "unknown",
    "twice",
    "too_many_cells",
    "taken",
    "joined",
    "other_person",
    "not_here",
    "cannot_change",
    "past",
    "homonym",
    "no_name_left",
    "changed_meanwhile",
]

HEADERS: dict[str, Column] = {
    **dict.fromkeys(
        ("externalkey", "key", "matricule", "numeromatricule", "numero", "identifiantrh", "idrh", "clerh", "cle"),
        "external_key",
    ),
    **dict.fromkeys(("givenname", "firstname", "prenom", "prenoms"), "given_name"),
    **dict.fromkeys(("familyname", "lastname", "surname", "nom", "nomdusage", "nomusuel", "nomusage"), "family_name"),
    **dict.fromkeys(("birthname", "nomdenaissance", "nomnaissance", "nompatronymique", "nomfamille"), "birth_name"),
    **dict.fromkeys(("profile", "profil", "population", "statut"), "profile"),
    **dict.fromkeys(
        (
            *("privateemail", "personalemail", "recoveryemail", "adresseprivee", "adressepersonnelle"),
            *("courrielprive", "courrielpersonnel", "mailpersonnel", "mailprive", "emailpersonnel", "emailprive"),
            *("adressedesecours", "courrieldesecours", "emaildesecours"),
        ),
        "private_email",
    ),
    **dict.fromkeys(
        (
            *("institutionalemail", "email", "mail", "courriel", "adresseinstitutionnelle"),
            *("courrielinstitutionnel", "mailinstitutionnel", "emailinstitutionnel", "courrielprofessionnel"),
        ),
        "institutional_email",
    ),
    **dict.fromkeys(("username", "login", "identifiant", "uid", "identifiantsel"), "username"),
    **dict.fromkeys(("unit", "department", "composante", "service", "affectation", "structure"), "unit"),
    **dict.fromkeys(
        (
            *("rightsend", "end", "enddate", "until", "fin", "datefin", "datedefin", "findedroits", "findesdroits"),
            *("fincontrat", "findecontrat", "datefincontrat", "datedefindecontrat", "jusquau"),
        ),
        "rights_end",
    ),
    **dict.fromkeys(("sponsor", "referent", "referente", "repondant", "repondante", "responsable"), "sponsor"),
    **dict.fromkeys(("language", "langue"), "language"),
    **dict.fromkeys(("homonymchecked", "homonymeverifie", "homonymeverifiee", "homonymieverifiee"), "homonym_checked"),
}
"""Headers as they are written, without accents, blanks, signs and capitals."""
REASON_HEADERS: Final = frozenset({"motif", "motifs", "reason", "reasons"})
"""The column that a file of rejected lines has more: not read."""
NO_END: Final = frozenset({"aucune", "aucun", "sans", "sansfin", "none", "never", "cdi", "permanent"})
YES: Final = frozenset({"oui", "o", "yes", "y", "x", "1", "vrai", "true"})
NO: Final = frozenset({"", "non", "n", "no", "0", "faux", "false"})
LANGUAGES: Final = {"fr": "fr", "francais": "fr", "french": "fr", "en": "en", "anglais": "en", "english": "en"}
KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,99}")
"""What a key of the staff office may look like: it is part of addresses of the API."""
LENGTH: Final = 100


class MissingColumns(ValueError):
    """Columns without which no line can be read."""

    def __init__(self, names: Sequence[Column]) -> None:
        super().__init__(", ".join(names))
        self.names = tuple(names)


class ColumnTwice(ValueError):
    """Two columns are the same."""

    def __init__(self, headers: Sequence[str]) -> None:
        super().__init__(", ".join(headers))
        self.headers = tuple(headers)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one cell; `column` is None when it is the line as a whole."""

    reason: Reason
    column: Column | None = None
    value: str = ""
    """What stood there, or whom it is about."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants an account to be. None: they did not say, so it stays as it is."""

    external_key: str
    given_name: str | None = None
    family_name: str | None = None
    birth_name: str | None = None
    profile: str | None = None
    private_email: str | None = None
    institutional_email: str | None = None
    username: str | None = None
    unit: str | None = None
    rights_end: date | None = None
    """The last day of the rights."""
    no_end: bool = False
    """The rights have no end."""
    sponsor: str | None = None
    """A user name, a key or a confirmed address."""
    language: str | None = None
    homonym_checked: bool = False
    """Somebody made sure that this is nobody who has an account already."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file as it was, and what it says: a wish, or what is wrong with it."""

    number: int
    cells: Cells
    wish: Wish | None
    problems: tuple[Problem, ...] = ()
    external_key: str = ""
    """Also of a line that is wrong otherwise: the person is in the file. Empty when it cannot be read."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file, line by line."""

    kind: Literal["csv", "xlsx"]
    header: Cells
    columns: tuple[Column | None, ...]
    lines: tuple[Line, ...]

    @property
    def ignored(self) -> list[str]:
        """Headers of columns that mean nothing here."""
        return [
            header
            for header, column in zip(self.header, self.columns, strict=True)
            if column is None and header and plain(header) not in REASON_HEADERS
        ]


def read_sheet(table: Table) -> Sheet:
    """What a table says.

    Raises:
        MissingColumns: there is no column for the key.
        ColumnTwice: two columns mean the same.
    """
    columns = tuple(HEADERS.get(plain(header)) for header in table.header)
    if "external_key" not in columns:
        raise MissingColumns(["external_key"])
    counts = Counter(column for column in columns if column is not None)
    if twice := {column for column, count in counts.items() if count > 1}:
        raise ColumnTwice([header for header, column in zip(table.header, columns, strict=True) if column in twice])
    lines = [_line(number, cells, columns) for number, cells in table.lines]
    keys = Counter(line.external_key for line in lines if line.external_key)
    # All lines of one key: which of them is right, their order must not say.
    return Sheet(
        table.kind,
        table.header,
        columns,
        tuple(
            Line(
                line.number,
                line.cells,
                None,
                (*line.problems, Problem("twice", "external_key", line.external_key)),
                line.external_key,
            )
            if keys[line.external_key] > 1
            else line
            for line in lines
        ),
    )


def _line(number: int, cells: Cells, columns: Sequence[Column | None]) -> Line:
    found = {column: cell for column, cell in zip(columns, cells, strict=False) if column is not None}
    reader = _Reader(found)
    if any(cells[len(columns) :]):
        reader.problems.append(Problem("too_many_cells"))
    wish = reader.wish()
    key = wish.external_key if KEY.fullmatch(wish.external_key) else ""
    return Line(number, cells, None if reader.problems else wish, tuple(reader.problems), key)


def wish_of(values: Mapping[str, Any]) -> tuple[Wish, list[Problem]]:
    """A wish from named texts, as the API brings them, and what is wrong with it."""
    reader = _Reader({name: str(value) for name, value in values.items()})
    return reader.wish(), reader.problems


class _Reader:
    """Reads the cells of one line, and collects what is wrong with them: all of it, so that it is put right at once."""

    def __init__(self, cells: Mapping[Any, str]) -> None:
        self._cells = cells
        self.problems: list[Problem] = []

    def wish(self) -> Wish:
        end, no_end = self._end()
        return Wish(
            external_key=self._key(),
            given_name=self._text("given_name"),
            family_name=self._text("family_name"),
            birth_name=self._text("birth_name"),
            profile=self._text("profile"),
            private_email=self._email("private_email"),
            institutional_email=self._email("institutional_email"),
            username=self._username(),
            unit=self._text("unit"),
            rights_end=end,
            no_end=no_end,
            sponsor=self._text("sponsor"),
            language=self._word("language", LANGUAGES),
            homonym_checked=self._flag(),
        )

    def _cell(self, column: Column) -> str:
        return self._cells.get(column, "").strip()

    def _wrong(self, reason: Reason, column: Column) -> None:
        self.problems.append(Problem(reason, column, self._cell(column)))

    def _key(self) -> str:
        key = self._cell("external_key")
        if not key:
            self._wrong("missing", "external_key")
        elif not KEY.fullmatch(key):
            self._wrong("unreadable", "external_key")
        return key

    def _text(self, column: Column) -> str | None:
        text = " ".join(self._cell(column).split())
        if len(text) > LENGTH:
            self._wrong("too_long", column)
        elif not text.isprintable():
            self._wrong("unreadable", column)
        return text or None

    def _email(self, column: Column) -> str | None:
        if not self._cell(column):
            return None
        try:
            return parse_address(self._cell(column)).email
        except InvalidAddress:
            self._wrong("unreadable", column)
            return None

    def _username(self) -> str | None:
        name = self._cell("username")
        # Only ASCII is lower-cased: U+212A KELVIN SIGN would become a `k` (I12).
        name = name.lower() if name.isascii() else name
        if name and not USERNAME_PATTERN.fullmatch(name):
            self._wrong("unreadable", "username")
        return name or None

    def _end(self) -> tuple[date | None, bool]:
        text = self._cell("rights_end")
        if plain(text) in NO_END:
            return None, True
        try:
            return read_date(text), False
        except ValueError:
            self._wrong("unreadable", "rights_end")
            return None, False

    def _word(self, column: Column, known: Mapping[str, str]) -> str | None:
        text = self._cell(column)
        if text and plain(text) not in known:
            self._wrong("unknown", column)
        return known.get(plain(text))

    def _flag(self) -> bool:
        text = plain(self._cell("homonym_checked"))
        if text not in YES | NO:
            self._wrong("unreadable", "homonym_checked")
        return text in YES
