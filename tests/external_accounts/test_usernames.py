"""LNK-06, I12: whatever people are called, their user names lie in the name space that no CAS can issue."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from external_accounts.accounts import USERNAME_PATTERN, Person, UsernameRefused, create_account
from external_accounts.database import Database
from external_accounts.identities import SubjectRefused, canonical_subject
from external_accounts.usernames import folded, free_username, proposals, read_local_username
from tests.external_accounts.conftest import NOW

SPACE = re.compile(r"ext\.[a-z0-9._-]{1,90}")
FORM = "ext.{given}.{family}"
NAMES = st.text(max_size=100)


@given(NAMES, NAMES)
def test_lnk_06_every_proposal_is_reserved_for_local_accounts(given_name: str, family_name: str) -> None:
    for name in proposals(FORM, Person(given_name, family_name), space=SPACE):
        assert SPACE.fullmatch(name)
        assert USERNAME_PATTERN.fullmatch(name)
        with pytest.raises(SubjectRefused):
            canonical_subject(name, local_names=SPACE)


@given(st.text(max_size=120))
def test_i12_what_is_accepted_is_in_the_name_space_and_nothing_is_folded_but_capitals(typed: str) -> None:
    try:
        name = read_local_username(typed, space=SPACE)
    except UsernameRefused:
        return
    assert SPACE.fullmatch(name)
    assert typed.strip().isascii()
    assert name == typed.strip().lower()


@pytest.mark.parametrize(
    ("name", "letters"),
    [
        ("Anne-Zoé", "anne-zoe"),
        ("D'Œuf", "doeuf"),
        ("Straße", "strasse"),
        ("Nguyễn Thị", "nguyen-thi"),
        ("Łukasz", "lukasz"),
        ("محمد", ""),
        ("  ", ""),
    ],
)
def test_names_are_written_in_the_letters_of_user_names(name: str, letters: str) -> None:
    assert folded(name) == letters


@pytest.mark.parametrize("typed", ["rené", "ext.rené", "jdupont", "ext.", "ext.a b", "ext.ada\n.x", "ext.\u212aurt"])
def test_other_names_are_refused(typed: str) -> None:
    with pytest.raises(UsernameRefused):
        read_local_username(typed, space=SPACE)


def test_people_with_one_name_get_numbers_also_after_those_who_left(embedded: Database) -> None:
    ada = Person("Ada", "Lovelace")
    with embedded.begin() as session:
        for expected in ("ext.ada.lovelace", "ext.ada.lovelace2", "ext.ada.lovelace3"):
            name = free_username(session, FORM, ada, space=SPACE)
            assert name == expected
            account = create_account(session, username=name, profile="learner", person=ada, activated=True, now=NOW)
            account.erased_at = NOW
            session.flush()


def test_a_person_without_a_latin_letter_gets_a_name_too(embedded: Database) -> None:
    with embedded.read() as session:
        assert SPACE.fullmatch(free_username(session, FORM, Person("محمد", "علي"), space=SPACE))
