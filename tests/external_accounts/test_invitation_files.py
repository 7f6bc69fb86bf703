"""D56: lists of people as spreadsheets write them."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from external_accounts.invitation_files import Sheet, UnreadableFile, read_sheet, rejected_file

TODAY = date(2026, 11, 22)
FRENCH = "Prénom;Nom;Courriel;Fin;Référent\r\nÉmile;Borel;emile@mail.example;30/06/2027;tmartin\r\n"


def read(content: bytes) -> Sheet:
    return read_sheet(content, today=TODAY)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_every_encoding_of_a_spreadsheet_gives_the_same_people(encoding: str) -> None:
    (row,) = read(FRENCH.encode(encoding)).rows
    assert (row.line, row.person.given_name, row.email.email) == (2, "Émile", "emile@mail.example")
    assert (row.until, row.sponsor) == (date(2027, 6, 30), "tmartin")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_english_headers_and_every_delimiter(delimiter: str) -> None:
    text = "E-Mail Address,Given name,Family_Name,until\nada@mail.example,Ada,Lovelace,2027-06-30\n"
    (row,) = read(text.replace(",", delimiter).encode()).rows
    assert (row.person.display_name, row.until) == ("Ada Lovelace", date(2027, 6, 30))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("nowhere;Ada;L;", "email"),
        ("ada@mail.example;;L;", "given_name"),
        ("ada@mail.example;Ada; ;", "family_name"),
        ("ada@mail.example;Ada;L;soon", "until"),
        ("ada@mail.example;Ada;L;21/11/2026", "past"),
        ("ada@mail.example;Ada;L;;more", "columns"),
        ("EMILE@mail.example;Ada;L;", "twice"),
        ("ada@mail.example;Ada\x1b[31m;L;", "given_name"),
    ],
)
def test_a_line_that_cannot_be_used_is_set_aside_with_its_number_and_reason(line: str, problem: str) -> None:
    sheet = read(f"courriel;prénom;nom;fin\nemile@mail.example;Émile;Borel;\n\n{line}\n".encode())
    assert [row.line for row in sheet.rows] == [2]
    assert [(rejected.line, rejected.problem) for rejected in sheet.rejected] == [(4, problem)]


def test_quoted_cells_may_hold_delimiters_and_line_ends() -> None:
    sheet = read(b'nom;prenom;courriel\n"Lovelace; comtesse";"Ada\nAugusta";ada@mail.example\nB;C;b@mail.example\n')
    assert [row.person.display_name for row in sheet.rows] == ["Ada Augusta Lovelace; comtesse", "C B"]
    assert [row.line for row in sheet.rows] == [2, 4]


def test_today_is_not_over_yet() -> None:
    assert read(b"email;prenom;nom;fin\nada@mail.example;A;L;22/11/2026\n").rows[0].until == TODAY


@pytest.mark.parametrize("content", [b"", b"a;b\n1;2\n", b"PK\x03\x04\0\0", b"\xff\xfe\0"])
def test_what_is_no_list_of_people_is_said_to_be_none(content: bytes) -> None:
    with pytest.raises(UnreadableFile):
        read(content)


def test_the_missing_columns_are_named() -> None:
    with pytest.raises(UnreadableFile) as refused:
        read(b"courriel;fin\na@mail.example;\n")
    assert refused.value.missing == ("given_name", "family_name")


def test_the_lines_to_correct_can_be_corrected_and_brought_back() -> None:
    sheet = read("courriel;prénom;nom\nnowhere;Ada;Lovelace\n=1+1;B;C\n".encode())
    text = rejected_file(sheet, [(line, "pas une adresse") for line in sheet.rejected], reason_header="motif")
    assert text.startswith("\ufeffcourriel;prénom;nom;motif\r\n")
    assert "'=1+1;B;C;pas une adresse" in text
    again = read(text.replace("nowhere", "ada@mail.example").encode())
    assert [row.email.email for row in again.rows] == ["ada@mail.example"]


@given(st.binary(max_size=300))
def test_no_file_breaks_the_reader(content: bytes) -> None:
    try:
        sheet = read(b"courriel;nom;prenom\n" + content)
    except UnreadableFile:
        return
    assert all(row.person.given_name and row.person.family_name for row in sheet.rows)
