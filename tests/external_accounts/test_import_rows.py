"""Which column is what, and what a line says."""

from __future__ import annotations

from datetime import date

import pytest

from external_accounts.import_rows import ColumnTwice, MissingColumns, Problem, Wish, read_sheet
from external_accounts.spreadsheets import read_table
from tests.external_accounts.importing import csv_of, sheet


@pytest.mark.parametrize(
    "header",
    [
        ("Matricule", "Nom d'usage", "Prénom", "Nom de naissance", "Adresse privée", "Fin de droits"),
        ("MATRICULE", "NOM", "PRENOM", "nom_de_naissance", "courriel personnel", "date de fin de contrat"),
        ("external_key", "family_name", "given_name", "birth_name", "private_email", "rights_end"),
    ],
)
def test_headers_are_known_in_french_and_english_with_or_without_accents(header: tuple[str, ...]) -> None:
    lines = sheet([("007", "Lovelace", " Ada  Augusta", "Byron", "ada@Mail.Example", "30/06/2027")], header).lines
    assert lines[0].wish == Wish(
        "007",
        given_name="Ada Augusta",
        family_name="Lovelace",
        birth_name="Byron",
        private_email="ada@mail.example",
        rights_end=date(2027, 6, 30),
    )


def test_every_wrong_cell_of_a_line_is_told_at_once() -> None:
    header = ("matricule", "nom", "prénom", "adresse privée", "fin", "identifiant", "langue", "homonyme vérifié")
    line = sheet([("a/b", "x" * 101, "A\x07", "nobody", "31/02/2027", "Zoé", "de", "peut-être", "more")], header).lines[
        0
    ]
    assert line.wish is None
    assert {(one.column, one.reason) for one in line.problems} == {
        ("external_key", "unreadable"),
        ("family_name", "too_long"),
        ("given_name", "unreadable"),
        ("private_email", "unreadable"),
        ("rights_end", "unreadable"),
        ("username", "unreadable"),
        ("language", "unknown"),
        ("homonym_checked", "unreadable"),
        (None, "too_many_cells"),
    }


def test_an_empty_cell_says_nothing_and_aucune_says_that_there_is_no_end() -> None:
    header = ("matricule", "fin", "composante", "homonyme_verifie")
    says_nothing, no_end = (line.wish for line in sheet([("1", "", "", ""), ("2", "aucune", "", "Oui")], header).lines)
    assert says_nothing == Wish("1")
    assert no_end == Wish("2", no_end=True, homonym_checked=True)


def test_every_line_of_a_key_that_stands_twice_is_refused() -> None:
    lines = sheet([("1", "A", "B"), ("2", "C", "D"), ("1", "A", "E")]).lines
    assert [line.wish is None for line in lines] == [True, False, True]
    assert lines[0].problems == (Problem("twice", "external_key", "1"),)


def test_a_line_that_is_wrong_still_names_its_person() -> None:
    wrong = sheet([("1", "A", "B", "nobody")], ("matricule", "nom", "prénom", "adresse privée")).lines[0]
    assert (wrong.wish, wrong.external_key) == (None, "1")


def test_the_reasons_of_a_corrected_file_and_unknown_columns_are_not_read() -> None:
    read = sheet([("1", "A", "B", "x", "y")], ("matricule", "nom", "prénom", "Motif", "Bureau"))
    assert read.lines[0].wish is not None
    assert read.ignored == ["Bureau"]


def test_a_file_without_a_key_or_with_two_columns_for_one_thing_is_refused() -> None:
    with pytest.raises(MissingColumns):
        read_sheet(read_table(csv_of([], ("nom", "prénom"))))
    with pytest.raises(ColumnTwice) as refused:
        read_sheet(read_table(csv_of([], ("matricule", "nom", "Nom d'usage"))))
    assert refused.value.headers == ("nom", "Nom d'usage")


def test_i12_a_user_name_is_lower_cased_in_ascii_only() -> None:
    header = ("matricule", "identifiant")
    plain, kelvin = sheet([("1", "JDupont"), ("2", "jdu\u212apont")], header).lines
    assert plain.wish is not None
    assert plain.wish.username == "jdupont"
    assert kelvin.wish is None
