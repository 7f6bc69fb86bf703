"""Files as spreadsheets write them, read and written (D56)."""

from __future__ import annotations

import sys
from datetime import date
from io import BytesIO

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from external_accounts.spreadsheets import Kind, Unreadable, XlsxMissing, read_table, written

TEXT = "matricule;prénom;nom\n007;Zoé;D'Œuf\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("separator", [";", ",", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_csv_is_read_in_every_encoding_with_every_separator(encoding: str, separator: str, line_end: str) -> None:
    content = TEXT.replace(";", separator).replace("\n", line_end).encode(encoding)
    table = read_table(content)
    assert table.header == ("matricule", "prénom", "nom")
    assert table.lines == ((2, ("007", "Zoé", "D'Œuf")),)


def test_quoted_line_ends_stay_in_their_cell_and_line_numbers_count_on() -> None:
    table = read_table(b'a;b\n"one\ntwo";2\n\n3;4\n')
    assert table.lines == ((2, ("one\ntwo", "2")), (5, ("3", "4")))


def test_a_quotation_mark_that_is_not_closed_is_refused_with_its_line() -> None:
    """What follows would all be one cell, and whoever stands there would be missing."""
    with pytest.raises(Unreadable) as refused:
        read_table(b'a;b\n1;2\n"3;4\n5;6\n')
    assert refused.value.line == 3


@pytest.mark.parametrize("content", [b"\x00\x01\x02", b"PK\x03\x04nonsense", "a;b".encode("utf-16-le"), b"\xff\xfea"])
def test_what_is_no_file_of_a_spreadsheet_is_refused(content: bytes) -> None:
    with pytest.raises(Unreadable):
        read_table(content)


def test_an_empty_file_has_no_header() -> None:
    assert read_table(b"").header == ()


def test_xlsx_cells_are_read_as_somebody_would_type_them() -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (
        ["matricule", "fin", "note", "vu"],
        [1234567, date(2027, 6, 30), 12.5, True],
        [],
        ["007", None, " x ", ""],
    ):
        sheet.append(row)
    file = BytesIO()
    book.save(file)
    table = read_table(file.getvalue())
    assert (table.kind, table.header) == ("xlsx", ("matricule", "fin", "note", "vu"))
    assert table.lines == ((2, ("1234567", "2027-06-30", "12.5", "1")), (4, ("007", "", "x", "")))


CELLS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\ufffe\uffff"), max_size=12
).map(lambda text: " ".join(text.split()))


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
@given(rows=st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=4))
def test_what_is_written_is_read_back(kind: Kind, rows: list[list[str]]) -> None:
    table = read_table(written(kind, [["matricule", "b", "c"], *rows]))
    expected = [tuple(row) for row in rows if any(row)]
    assert [cells for _, cells in table.lines] == expected


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_no_spreadsheet_computes_what_was_written(kind: Kind) -> None:
    cells = ["=1+1", "+33 5", "@x", "-2", "007"]
    content = written(kind, [["a", "b", "c", "d", "e"], cells])
    assert read_table(content).lines[0][1] == tuple(cells)
    if kind == "xlsx":
        sheet = openpyxl.load_workbook(BytesIO(content)).active
        assert sheet is not None
        assert [cell.data_type for cell in sheet[2]] == ["s"] * 5
    else:
        assert b"'=1+1" in content


def test_without_the_extra_the_message_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    content = written("xlsx", [["a"]])
    for name in ("python_calamine", "openpyxl"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(XlsxMissing):
        read_table(content)
    with pytest.raises(XlsxMissing):
        written("xlsx", [["a"]])
