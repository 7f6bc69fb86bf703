"""Which new passwords are refused, and for which reason (PWD-01 to PWD-04)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from external_accounts.password_lists import PasswordFile, is_common
from external_accounts.password_policy import (
    Common,
    Leaked,
    NotText,
    Predictable,
    SaysWho,
    TooLong,
    TooShort,
    Weakness,
    weaknesses,
)

CONTEXT = ("Élodie", "Le Goff", "Anne", "ext.e.legoff", "bretonne.29", "Université de Poitiers", "UPdago")


def against(password: str, **rules: int) -> list[Weakness]:
    return weaknesses(password, context=CONTEXT, **rules)


@pytest.mark.parametrize(
    "good",
    [
        "correct horse battery",
        "aB3$xY9!pQ2z",
        "une lampe dans le grenier",
        "zebra-7391-8264",
        "l'annexe du panneau",
        "длинный пароль здесь",
        "合言葉は長いほうがよいのです",
        "🦔🐌🦋🐙🦀🐳🦚🌵🍄🌻🌈🎈",
    ],
)
def test_no_rule_of_composition_stands_in_the_way_pwd_03(good: str) -> None:
    assert against(good) == []


def test_length_counts_code_points_of_the_normal_form_pwd_02() -> None:
    eleven_and_an_accent = "chemin du pe\u0301"
    assert len(eleven_and_an_accent) == 13
    assert against(eleven_and_an_accent) == []
    assert against("un chemin d\u0065\u0301") == []
    assert against("un chemin e\u0301") == [TooShort(12)]


def test_the_minimum_is_said_and_nist_wants_fifteen_pwd_01() -> None:
    assert against("lampe grenie") == []
    assert against("lampe greni") == [TooShort(12)]
    assert against("lampe grenier 4", minimum=15) == []
    assert against("lampe grenier", minimum=15) == [TooShort(15)]


def test_sixty_four_characters_are_welcome_and_a_book_is_not_pwd_02() -> None:
    assert against("lampe dans le grenier, " * 3) != [TooLong(1024)]
    assert against("".join(chr(0x4E00 + index * 7) for index in range(1024))) == []
    assert against("x" * 1025) == [TooLong(1024)]
    assert against("\ufdfa" * 100) == [TooLong(1024)]  # one character that stands for eighteen


@pytest.mark.parametrize(
    "common",
    [
        "motdepasse2026",
        "Password1234!",
        "P@ssw0rd2024!",
        "M0tDeP4sse!!!!",
        "Soleil123456",
        "soleil20241231",
        "123azerty!!!",
        "qwerty123456",
        "Mötdépassé2026",
        "ｐａｓｓｗｏｒｄ１２３４",
    ],
)
def test_a_common_password_with_figures_around_it_is_refused_pwd_04(common: str) -> None:
    assert against(common) == [Common()]


@pytest.mark.parametrize(
    "run",
    [
        "aaaaaaaaaaaa",
        "123456789012",
        "210987654321",
        "abcdefghijkl",
        "azertyuiopqsdf",
        "mlkjhgfdsq123",
        "abcabcabcabc",
        "abcd1234efgh",
        "soleilsoleil",
        "            ",
        "........----",
    ],
)
def test_repetitions_and_rows_of_keys_are_refused_pwd_04(run: str) -> None:
    assert against(run) == [Predictable()]


@pytest.mark.parametrize(
    ("password", "word"),
    [
        ("elodie aime la mer", "Élodie"),
        ("la mer de Le Goff", "Le Goff"),
        ("3l0die aime la mer", "Élodie"),
        ("mot pour ext.e.legoff", "ext.e.legoff"),
        ("les bretonnes en mer", "bretonne"),
        ("le ciel de POITIERS", "Poitiers"),
        ("j'entre dans updago", "UPdago"),
        ("Anne-du-phare-9", "Anne"),
        ("le1phare2anne3", "Anne"),
    ],
)
def test_the_persons_and_the_universitys_words_are_refused_and_named_pwd_04(password: str, word: str) -> None:
    assert against(password) == [SaysWho(word)]


def test_half_a_character_is_refused() -> None:
    assert against("lampe dans le \ud800 grenier") == [NotText()]


def test_several_reasons_are_all_given() -> None:
    assert against("poitiers86") == [TooShort(12), SaysWho("Poitiers")]


@given(st.text(max_size=60), st.lists(st.text(max_size=20), max_size=4))
def test_every_text_is_judged_without_breaking(password: str, context: list[str]) -> None:
    for weakness in weaknesses(password, context=context):
        assert isinstance(weakness, Weakness)


def test_the_shipped_list_holds_far_more_than_three_thousand_and_no_line_of_its_notice_pwd_04() -> None:
    lines = (Path(__file__).parents[2] / "external_accounts" / "common_passwords.txt").read_text("utf-8").splitlines()
    words = [line for line in lines if not line.startswith("#")]
    assert len(words) > 25_000
    assert words == sorted(set(words))
    assert all(word.casefold() == word for word in words)
    assert is_common("motdepasse")
    assert not is_common("motdepa")
    assert not is_common("azerty\nqwerty")


def test_a_file_of_passwords_is_looked_into_line_by_line_pwd_04(tmp_path: Path) -> None:
    path = tmp_path / "further.txt"
    path.write_bytes(b"premier vol de nuit\r\nvol de nuit\nle dernier vol")
    held = PasswordFile(path).holds
    assert [held(word) for word in ("premier vol de nuit", "vol de nuit", "le dernier vol")] == [True] * 3
    assert [held(word) for word in ("de nuit", "vol de nui", "dernier vol", "vol de nuit\nle", "")] == [False] * 5


@pytest.mark.parametrize("counted", [":17", ""])
def test_a_sorted_list_of_hashes_is_searched_pwd_04(tmp_path: Path, counted: str) -> None:
    listed = [f"stolen password {number}" for number in range(500)]
    hashes = sorted(hashlib.sha1(word.encode(), usedforsecurity=False).hexdigest().upper() + counted for word in listed)
    path = tmp_path / "pwned.txt"
    path.write_text("\r\n".join(hashes))
    held = PasswordFile(path).holds
    assert all(held(word) for word in listed)
    assert not any(held(f"other password {number}") for number in range(500))


def test_an_empty_file_refuses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "empty.txt"
    path.touch()
    assert not PasswordFile(path).holds("lampe dans le grenier")


def test_what_a_list_holds_is_refused_with_that_reason_pwd_04() -> None:
    stolen = {"une lampe dans le grenier"}
    found = weaknesses("une lampe dans le grenier", context=(), is_leaked=stolen.__contains__)
    assert found == [Leaked()]
