"""Lists of people to invite, as spreadsheets write them: `;` or `,`, UTF-8 with or without a mark, or Windows-1252.

A row that cannot be used is set aside with its line number and the reason, and can be written out again as a file to
correct and bring back (D56). What is said about a row is a key; the words are the reader's (`lms_bridge`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from external_accounts.accounts import Person
from external_accounts.addresses import EmailAddress, InvalidAddress, parse_address
from external_accounts.spreadsheets import NotText, decoded, delimiter, harmless, plain, read_date

Column = Literal["email", "given_name", "family_name", "until", "sponsor"]
Problem = Literal["email", "given_name", "family_name", "until", "twice", "columns", "past"]

HEADERS: dict[str, Column] = {
    **dict.fromkeys(
        ("email", "mail", "courriel", "adresse", "adressecourriel", "adressemail", "emailaddress"), "email"
    ),
    **dict.fromkeys(("givenname", "firstname", "prenom"), "given_name"),
    **dict.fromkeys(("familyname", "lastname", "surname", "nom", "nomdefamille"), "family_name"),
    **dict.fromkeys(("until", "end", "enddate", "fin", "datefin", "datedefin", "jusquau"), "until"),
    **dict.fromkeys(("sponsor", "referent", "referente", "repondant", "repondante", "parrain", "marraine"), "sponsor"),
}
"""Headers as they are written, without accents, blanks and capitals."""
NEEDED: tuple[Column, ...] = ("email", "given_name", "family_name")
NAME_LENGTH = 100


class UnreadableFile(ValueError):
    """No list of people: not text, or without the columns that are needed. `missing` names these."""

    def __init__(self, missing: Sequence[Column] = ()) -> None:
        super().__init__(", ".join(missing) or "not text")
        self.missing = tuple(missing)


@dataclass(frozen=True, slots=True)
class Row:
    """One person to invite. `line` is the line of the file, counted from 1, the header included."""

    line: int
    email: EmailAddress
    person: Person
    until: date | None
    sponsor: str
    cells: tuple[str, ...]
    """The line as it was."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that cannot be used, as it was, and why."""

    line: int
    cells: tuple[str, ...]
    problem: Problem


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file, read."""

    header: tuple[str, ...]
    rows: tuple[Row, ...]
    rejected: tuple[Rejected, ...]


def read_sheet(content: bytes, *, today: date) -> Sheet:
    """Read a file of people.

    Raises:
        UnreadableFile: see there. Whatever is wrong with one line only is in `Sheet.rejected`.
    """
    try:
        text = decoded(content)
    except NotText:
        raise UnreadableFile from None
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter(text))
    try:
        header = tuple(cell.strip() for cell in next(lines, []))
        columns = [HEADERS.get(plain(cell)) for cell in header]
        if missing := [name for name in NEEDED if name not in columns]:
            raise UnreadableFile(missing)
        rows: list[Row] = []
        rejected: list[Rejected] = []
        seen: set[str] = set()
        while True:
            line = lines.line_num + 1
            cells = next(lines, None)
            if cells is None:
                break
            if not any(cell.strip() for cell in cells):
                continue
            read = _row(line, cells, columns, today)
            if isinstance(read, Row) and read.email.key in seen:
                read = Rejected(line, tuple(cells), "twice")
            if isinstance(read, Row):
                seen.add(read.email.key)
                rows.append(read)
            else:
                rejected.append(read)
    except csv.Error:
        raise UnreadableFile from None
    return Sheet(header, tuple(rows), tuple(rejected))


def _row(line: int, cells: Sequence[str], columns: Sequence[Column | None], today: date) -> Row | Rejected:
    def no(problem: Problem) -> Rejected:
        return Rejected(line, tuple(cells), problem)

    if len(cells) > len(columns) and any(cell.strip() for cell in cells[len(columns) :]):
        return no("columns")
    found: dict[str, str] = {name: cell.strip() for name, cell in zip(columns, cells, strict=False) if name is not None}
    try:
        email = parse_address(found.get("email", ""))
    except InvalidAddress:
        return no("email")
    given, family = _name(found.get("given_name", "")), _name(found.get("family_name", ""))
    if not given:
        return no("given_name")
    if not family:
        return no("family_name")
    try:
        until = read_date(found.get("until", ""))
    except ValueError:
        return no("until")
    if until is not None and until < today:
        return no("past")
    return Row(line, email, Person(given, family), until, found.get("sponsor", ""), tuple(cells))


def _name(text: str) -> str:
    name = " ".join(text.split())
    return name if name.isprintable() and len(name) <= NAME_LENGTH else ""


def rejected_file(sheet: Sheet, reasons: Iterable[tuple[Row | Rejected, str]], *, reason_header: str) -> str:
    """The rejected lines as a file to correct and bring back: the same header, and the reason in a last column.

    Written with `;` and a mark, as a French spreadsheet opens it.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=";", lineterminator="\r\n")
    writer.writerow([*sheet.header, reason_header])
    width = len(sheet.header)
    for rejected, reason in reasons:
        cells = [*rejected.cells[:width], *[""] * (width - len(rejected.cells))]
        writer.writerow([harmless(cell) for cell in cells] + [reason])
    return "\ufeff" + out.getvalue()
