"""Whether two records may be one person: a score that says which facts gave its points.

Names are compared without accents, capitals, hyphens and apostrophes; in either order; by birth name; by parts of
double names; by initials. A score decides nothing about a person: above the university's threshold a human looks.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Fact = Literal[
    "same_names",
    "swapped_names",
    "birth_name",
    "part_of_family_name",
    "part_of_given_name",
    "initial",
    "same_birth_name",
    "other_birth_name",
    "same_person_key",
    "same_confirmed_address",
    "same_address",
    "claimed_address",
    "same_unit",
]

POINTS: dict[Fact, int] = {
    "same_names": 60,
    "swapped_names": 60,
    "birth_name": 60,
    "part_of_family_name": 45,
    "part_of_given_name": 45,
    "initial": 35,
    "same_birth_name": 15,
    "other_birth_name": -20,
    "same_person_key": 100,
    "same_confirmed_address": 60,
    "same_address": 50,
    "claimed_address": 0,
    "same_unit": 10,
}
"""What each fact is worth. Of the first six, which are about names, only the strongest counts; of those about
addresses too. An address that only one of the two has shown to read is worth nothing: anybody can type it."""
PROVEN: frozenset[Fact] = frozenset({"same_person_key", "same_confirmed_address"})
"""What does not rest on names, which strangers share."""
STAFF_OFFICE = "external key"
"""The kind of the keys of the staff office's files (`person_key`)."""
WORTH_SHOWING = 35
"""Below this a likeness says nothing."""

_LETTERS = str.maketrans({"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "þ": "th", "ı": "i"})
_PARTICLES = frozenset(
    ("d", "de", "du", "des", "la", "le", "les", "l", "van", "von", "der", "den", "ben", "el", "al", "da", "do", "dos")
)
"""Half the country has one: alone they name nobody."""

Words = tuple[str, ...]


def words(name: str) -> Words:
    """The words of a name in the form compared: `Anne-Zoé D'Œuf` gives `anne`, `zoe`, `doeuf`."""
    text = unicodedata.normalize("NFKD", name.casefold().translate(_LETTERS))
    plain = "".join(letter for letter in text if not unicodedata.combining(letter) and letter not in "'’ʼ")
    return tuple(re.findall(r"[^\W_]+", plain))


@dataclass(frozen=True, slots=True)
class Traits:
    """What is compared of one record."""

    given: Words
    family: Words
    birth: Words = ()
    addresses: frozenset[str] = field(default_factory=frozenset)
    """Keys of its e-mail addresses (`external_accounts.addresses`) that somebody answers for: an office, or a human."""
    unit: str = ""
    confirmed: frozenset[str] = field(default_factory=frozenset)
    """Keys of the addresses that the person has shown to read."""
    claimed: frozenset[str] = field(default_factory=frozenset)
    """Keys of those nobody has shown to read."""
    person_keys: frozenset[int] = field(default_factory=frozenset)
    """Numbers that name a person elsewhere in the university (`person_key`)."""


def traits(
    given_name: str, family_name: str, birth_name: str = "", *, addresses: Sequence[str] = (), unit: str = ""
) -> Traits:
    return Traits(words(given_name), words(family_name), words(birth_name), frozenset(addresses), " ".join(words(unit)))


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike two records are, and why."""

    points: int = 0
    facts: tuple[Fact, ...] = ()


def likeness(one: Traits, other: Traits) -> Likeness:
    """Compare two records. The order of the two makes no difference."""
    facts: list[Fact] = []
    if (names := _names(one, other)) is not None:
        facts.append(names)
        if names != "birth_name" and one.birth and other.birth:
            facts.append("same_birth_name" if _same(one.birth, other.birth) else "other_birth_name")
    if one.person_keys & other.person_keys:
        facts.append("same_person_key")
    if (address := _address(one, other)) is not None and (facts or POINTS[address]):
        facts.append(address)
    if facts and one.unit and one.unit == other.unit:
        facts.append("same_unit")
    return Likeness(max(0, sum(POINTS[fact] for fact in facts)), tuple(facts))


def _names(one: Traits, other: Traits) -> Fact | None:
    """The strongest thing to be said about the two names."""
    if not (one.given and one.family and other.given and other.family):
        return None
    given, family = _same(one.given, other.given), _same(one.family, other.family)
    if given and family:
        return "same_names"
    if _same(one.given, other.family) and _same(one.family, other.given):
        return "swapped_names"
    by_birth = _same(one.family, other.birth) or _same(one.birth, other.family) or _same(one.birth, other.birth)
    if given and by_birth:
        return "birth_name"
    if given and _surnames(one) & _surnames(other):
        return "part_of_family_name"
    if not (family or by_birth):
        return None
    if set(one.given) & set(other.given):
        return "part_of_given_name"
    short = min(one.given[0], other.given[0], key=len)
    return "initial" if len(short) == 1 and one.given[0][0] == other.given[0][0] else None


def _address(one: Traits, other: Traits) -> Fact | None:
    """The strongest thing to be said about the two people's addresses."""
    if one.confirmed & other.confirmed:
        return "same_confirmed_address"
    if one.addresses & other.addresses:
        return "same_address"
    return "claimed_address" if (one.confirmed | one.claimed) & (other.confirmed | other.claimed) else None


def _same(one: Words, other: Words) -> bool:
    return bool(one) and "".join(one) == "".join(other)


def _significant(name: Words) -> set[str]:
    return {word for word in name if word not in _PARTICLES} or set(name)


def _surnames(person: Traits) -> set[str]:
    return _significant(person.family) | _significant(person.birth)


def stored_keys(person: Traits) -> set[int]:
    """What a record is found by in an index: whoever is alike by name shares one of `sought_keys` with it."""
    return {_number(pair) for pair in _pairs(person)} | {_number(f"{one}.") for one in _initials(person)}


def sought_keys(person: Traits) -> set[int]:
    """What to look up in an index of `stored_keys` to find everybody who is alike by name."""
    keys = {_number(pair) for pair in _pairs(person)}
    if person.given and len(person.given[0]) == 1:
        return keys | {_number(f"{one}.") for one in _initials(person)}
    # Somebody who is on file with an initial only has it for a given name.
    return keys | {_number(one) for one in _initials(person)}


def _pairs(person: Traits) -> set[str]:
    """A given name and a surname each, in alphabetical order: swapped names are the same pair."""
    if not person.given:
        return set()
    given = {*person.given, "".join(person.given)}
    surnames = _surnames(person) | {"".join(name) for name in (person.family, person.birth) if name}
    return {" ".join(sorted((one, other))) for one in given for other in surnames}


def _initials(person: Traits) -> set[str]:
    if not person.given:
        return set()
    surnames = _surnames(person) | {"".join(name) for name in (person.family, person.birth) if name}
    return {" ".join(sorted((person.given[0][0], surname))) for surname in surnames}


def person_key(kind: str, value: str) -> int:
    """The number of `value`, which names a person among all that are of this `kind`, for an index."""
    return _number(f"{kind} {value.strip().lower()}")


def _number(key: str) -> int:
    """64 bits of it: an index of numbers is small, and repeats nobody's name."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), signed=True)
