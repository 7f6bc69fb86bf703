"""Who may be the same person, and why."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from external_accounts.duplicates import Fact, Traits, likeness, sought_keys, stored_keys, traits

ADA = traits("Ada", "Lovelace", "Byron", addresses=["ada@mail.example"], unit="Sciences")


@pytest.mark.parametrize(
    ("other", "facts", "points"),
    [
        (traits("Ada", "Lovelace"), ["same_names"], 60),
        (traits("ADA", "LOVELACE"), ["same_names"], 60),
        (traits("Lovelace", "Ada"), ["swapped_names"], 60),
        (traits("Ada", "Byron"), ["birth_name"], 60),
        (traits("Ada", "King", "Byron"), ["birth_name"], 60),
        (traits("Ada", "Lovelace-King"), ["part_of_family_name"], 45),
        (traits("Ada Augusta", "Lovelace"), ["part_of_given_name"], 45),
        (traits("A.", "Lovelace"), ["initial"], 35),
        (traits("Ada", "Lovelace", "Byron"), ["same_names", "same_birth_name"], 75),
        (traits("Ada", "Lovelace", "Milbanke"), ["same_names", "other_birth_name"], 40),
        (traits("Bob", "Noether", addresses=["ada@mail.example"]), ["same_address"], 50),
        (traits("Ada", "Lovelace", addresses=["ada@mail.example"]), ["same_names", "same_address"], 110),
        (traits("A", "Lovelace", unit="sciences"), ["initial", "same_unit"], 45),
        (traits("Grace", "Hopper", unit="Sciences"), [], 0),
        (traits("Bob", "Lovelace"), [], 0),
        (traits("", ""), [], 0),
    ],
)
def test_a_score_says_which_facts_gave_it(other: Traits, facts: list[Fact], points: int) -> None:
    score = likeness(ADA, other)
    assert (list(score.facts), score.points) == (facts, points)
    assert likeness(other, ADA) == score


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("Anne-Zoé", "D'Œuf"), ("anne zoe", "doeuf")),
        (("Jean Pierre", "Dupont-Martin"), ("JEAN-PIERRE", "Dupont Martin")),
        (("Łukasz", "Müller"), ("Lukasz", "Muller")),
        (("Иван", "Петров"), ("ИВАН", "петров")),
        (("Rene\u0301", "L’Hôpital"), ("René", "l'hopital")),
    ],
)
def test_accents_hyphens_apostrophes_and_capitals_make_no_difference(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert likeness(traits(*one), traits(*other)).facts == ("same_names",)


def test_particles_name_nobody() -> None:
    assert likeness(traits("Anne", "de la Tour"), traits("Anne", "de la Roche")).points == 0
    assert likeness(traits("Anne", "de la Tour"), traits("Anne", "Tour")).facts == ("part_of_family_name",)


NAMES = st.sampled_from(
    ["Ada", "A", "Lovelace", "Byron", "Jean-Pierre", "Jean", "de la Tour", "Tour", "Dupont-Martin", ""]
)
PEOPLE = st.builds(traits, NAMES, NAMES, NAMES)


@given(PEOPLE, PEOPLE)
def test_whoever_is_alike_by_name_is_found_by_the_index_from_either_side(one: Traits, other: Traits) -> None:
    assert likeness(one, other) == likeness(other, one)
    if likeness(one, other).facts:
        for sought, stored in permutations((one, other)):
            assert sought_keys(sought) & stored_keys(stored)
