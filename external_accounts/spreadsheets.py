"""Files that spreadsheets write: CSV in the encodings and with the separators one meets, and XLSX.

What comes out is text, cell by cell, with the number of the line; what goes back is in the form that came in. XLSX
needs the extra `xlsx`.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Literal

DATES = ("%Y-%m-%d", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y")
XLSX_BEGINS = b"PK\x03\x04"
COMPUTED = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that a spreadsheet would compute."""

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
"""What no XLSX file can hold."""

Kind = Literal["csv", "xlsx"]
Cells = tuple[str, ...]


class NotText(ValueError):
    """The bytes are no text in an encoding that spreadsheets write."""


class XlsxMissing(Exception):
    """XLSX cannot be read or written here: the extra `xlsx` is not installed."""


class Unreadable(ValueError):
    """Neither CSV nor XLSX, or damaged: CSV from `line` on, where that is known."""

    def __init__(self, line: int = 0) -> None:
        super().__init__(f"line {line}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Table:
    """A file, read. Empty lines are left out."""

    kind: Kind
    header: Cells
    lines: tuple[tuple[int, Cells], ...]
    """The number of each line, counted from 1 with the header, and its cells."""


def read_table(content: bytes) -> Table:
    """Read a file, whatever its name says it is.

    Raises:
        Unreadable: see there.
        XlsxMissing: it is an XLSX file, and these cannot be read here.
    """
    kind: Kind = "xlsx" if content.startswith(XLSX_BEGINS) else "csv"
    try:
        numbered = list(_xlsx(content) if kind == "xlsx" else _csv(content))
    except NotText:
        raise Unreadable from None
    lines = [(number, cells) for number, cells in numbered if any(cells)]
    if not lines:
        return Table(kind, (), ())
    return Table(kind, lines[0][1], tuple(lines[1:]))


def _csv(content: bytes) -> Iterator[tuple[int, Cells]]:
    text = decoded(content)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter(text), strict=True)
    number = 1
    try:
        for cells in lines:
            yield number, tuple(_unguarded(cell.strip()) for cell in cells)
            number = lines.line_num + 1
    except csv.Error:  # a quotation mark that is not closed, say: what follows would all be one cell
        raise Unreadable(number) from None


def _unguarded(cell: str) -> str:
    """A cell without the apostrophe that `harmless` put before it."""
    return cell[1:] if cell[:1] == "'" and cell[1:2] in COMPUTED and len(cell) > 1 else cell


def _xlsx(content: bytes) -> Iterator[tuple[int, Cells]]:
    try:
        from python_calamine import CalamineError, CalamineWorkbook  # noqa: PLC0415 (an extra)
    except ImportError:
        raise XlsxMissing from None
    try:
        sheet = CalamineWorkbook.from_filelike(io.BytesIO(content)).get_sheet_by_index(0)
        rows = sheet.to_python(skip_empty_area=False)
    except (CalamineError, ValueError, OSError):
        raise Unreadable from None
    for number, cells in enumerate(rows, 1):
        yield number, tuple(_unguarded(_text(cell)) for cell in cells)


def _text(cell: Any) -> str:
    """A cell of XLSX as somebody would type it: `123` for the number 123.0, `2027-06-30` for a day."""
    if isinstance(cell, bool):
        return "1" if cell else "0"
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, datetime) and cell.time() == time():
        return cell.date().isoformat()
    if isinstance(cell, date | datetime | time | timedelta):
        return cell.isoformat() if not isinstance(cell, timedelta) else str(cell)
    return str(cell).strip()


def written(kind: Kind, rows: Iterable[Sequence[str]]) -> bytes:
    """A file of these rows, every cell as text: no spreadsheet takes a key's leading zeros away, or computes anything.

    CSV is written with `;` and a mark, as a French spreadsheet opens it.

    Raises:
        XlsxMissing: see there.
    """
    if kind == "csv":
        out = io.StringIO(newline="")
        writer = csv.writer(out, delimiter=";", lineterminator="\r\n")
        writer.writerows([[harmless(cell) for cell in row] for row in rows])
        return ("\ufeff" + out.getvalue()).encode()
    try:
        from openpyxl import Workbook  # noqa: PLC0415 (an extra)
        from openpyxl.cell import WriteOnlyCell  # noqa: PLC0415
    except ImportError:
        raise XlsxMissing from None
    book = Workbook(write_only=True)
    sheet = book.create_sheet()
    for row in rows:
        cells = []
        for value in row:
            cell = WriteOnlyCell(sheet)
            cell.number_format = "@"
            cell.value = _UNPRINTABLE.sub(" ", value)
            cell.data_type = "s"  # "=…" would be a formula
            cells.append(cell)
        sheet.append(cells)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def harmless(cell: str) -> str:
    """A cell that a spreadsheet would compute gets an apostrophe in front."""
    return f"'{cell}" if cell.startswith(COMPUTED) else cell


def decoded(content: bytes) -> str:
    """The text of a file: UTF-8 with or without a mark, UTF-16, or Windows-1252.

    Raises:
        NotText: none of these.
    """
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            return content.decode("utf-16")
        except UnicodeDecodeError:
            raise NotText from None
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            break  # a format of its own
        return text
    raise NotText


def delimiter(text: str) -> str:
    """What separates the cells: whatever the first line has most of."""
    first = text.lstrip().partition("\n")[0]
    return max((";", ",", "\t"), key=first.count)


def plain(header: str) -> str:
    """A header without accents, blanks, signs and capitals."""
    letters = unicodedata.normalize("NFKD", header.casefold())
    return "".join(letter for letter in letters if letter.isalnum() and letter.isascii())


def read_date(text: str) -> date | None:
    """A day as people write it: `2027-06-30` or `30/06/2027`. None for an empty text.

    Raises:
        ValueError: neither.
    """
    if not text.strip():
        return None
    for form in DATES:
        try:
            return datetime.strptime(text.strip(), form).date()  # noqa: DTZ007 (a day, not a moment)
        except ValueError:
            continue
    raise ValueError(text)
