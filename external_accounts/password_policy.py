"""Which passwords are refused, and why (PWD-01 to PWD-04).

There are no rules of composition (PWD-03): a password is refused because it is short, or because it is among the first
an attacker tries: a common one, whatever figures stand around it; one made of the person's or the university's own
words; a run along the keyboard. Every refusal has its reason, so that the next try can be better.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from external_accounts.password_lists import is_common
from external_accounts.passwords import MAX_PASSWORD_LENGTH, normal_form

DEFAULT_MINIMUM = 12
NIST_MINIMUM = 15
"""PWD-01: what NIST asks of a password that is the only factor."""

SHORTEST_WORD = 3
"""Shorter words of the context (`de`, `fr`) stand in every other password."""
WHOLE_WORD = 5
"""Words shorter than this count only when they stand alone: `anne` is in `panneau` by chance."""
DECORATION = 8
"""A common password stays one with this many unforeseeable characters around it: a date, a number, `!`."""
FEWEST_PIECES = 5
"""What consists of fewer steps (`1234`, `aaaa`, `azerty`) than this is tried early, however long it is."""
SHORTEST_RUN = 3

KEYBOARD_ROWS = ("1234567890", "azertyuiop", "qsdfghjklm", "wxcvbn", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop")


@dataclass(frozen=True, slots=True)
class TooShort:
    minimum: int


@dataclass(frozen=True, slots=True)
class TooLong:
    maximum: int


@dataclass(frozen=True, slots=True)
class NotText:
    """Half a character, which no keyboard types."""


@dataclass(frozen=True, slots=True)
class Common:
    """Many people chose it, or it differs from such a one by figures and signs only."""


@dataclass(frozen=True, slots=True)
class Leaked:
    """It stands in the university's list of passwords that were stolen somewhere."""


@dataclass(frozen=True, slots=True)
class Predictable:
    """Repetitions and runs (`aaaa`, `1234`, `azerty`)."""


@dataclass(frozen=True, slots=True)
class SaysWho:
    """It contains a word that is known of the person or the university."""

    word: str


Weakness = TooShort | TooLong | NotText | Common | Leaked | Predictable | SaysWho

_LOOKALIKES = tuple(str.maketrans("@4031!5$7|", f"aaoe{one}{one}sst{one}") for one in "il")
_WORDS = re.compile(r"[^\W_]+")


def weaknesses(
    password: str,
    *,
    context: Iterable[str],
    minimum: int = DEFAULT_MINIMUM,
    is_leaked: Callable[[str], bool] | None = None,
) -> list[Weakness]:
    """What is wrong with a new password; empty when it may be used.

    Args:
        password: as typed. Lengths are counted in code points of its normal form, each one counts (PWD-02).
        context: what is known of the person and the place: names, user name, addresses, university, city. Each text is
            taken as a whole and word by word.
        minimum: fewest code points.
        is_leaked: whether a list of the university's own holds the normal form.
    """
    if len(password) > MAX_PASSWORD_LENGTH:
        return [TooLong(MAX_PASSWORD_LENGTH)]
    if any("\ud800" <= letter <= "\udfff" for letter in password):
        return [NotText()]
    normal = normal_form(password)
    found: list[Weakness] = []
    if len(normal) < minimum:
        found.append(TooShort(minimum))
    if len(normal) > MAX_PASSWORD_LENGTH:  # one character may become eighteen
        return [TooLong(MAX_PASSWORD_LENGTH)]
    folded = _folded(normal)
    if word := _contained(folded, context):
        found.append(SaysWho(word))
    if _is_common(folded):
        found.append(Common())
    elif normal and _is_predictable(folded):
        found.append(Predictable())
    if not found and is_leaked is not None and is_leaked(normal):
        found.append(Leaked())
    return found


def _folded(text: str) -> str:
    """Lower case, without accents: how attackers vary is not what makes a password good."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def _contained(folded: str, context: Iterable[str]) -> str | None:
    """The longest word of the context that the password contains, as the context writes it."""
    forms = (folded, *(folded.translate(table) for table in _LOOKALIKES))
    alone = {word for form in forms for word in _WORDS.findall(re.sub(r"\d+", " ", form))}
    for word in sorted(set(_words(context)), key=lambda word: (-len(word), word)):
        plain = _folded(word)
        if plain in alone or (len(plain) >= WHOLE_WORD and any(plain in form for form in forms)):
            return word
    return None


def _words(context: Iterable[str]) -> Iterator[str]:
    for text in context:
        for word in (text.strip(), *_WORDS.findall(text)):
            if len(_folded(word)) >= SHORTEST_WORD and not word.isdecimal():
                yield word


def _is_common(folded: str) -> bool:
    if is_common(folded):
        return True
    core = folded.strip("".join({letter for letter in folded if not letter.isalpha()}))
    tail_only = folded.rstrip("".join({letter for letter in folded if not letter.isalnum()} | set("0123456789")))
    for stem in {core, tail_only}:
        decoration = folded.replace(stem, "", 1) if stem else folded
        if _pieces(decoration) > DECORATION:
            continue
        if any(is_common(form) for form in {stem, *(stem.translate(table) for table in _LOOKALIKES)} if len(form) > 3):
            return True
    return False


def _is_predictable(folded: str) -> bool:
    unit = next(size for size in range(1, len(folded) + 1) if folded == (folded[:size] * len(folded))[: len(folded)])
    repeated = unit <= len(folded) // 2 and (unit < DECORATION or _is_common(folded[:unit]))
    return repeated or _pieces(folded) < FEWEST_PIECES


def _pieces(text: str) -> int:
    """How many steps it takes to spell `text`, when a run or a repetition is one."""
    count = position = 0
    while position < len(text):
        run = max(_run_length(text, position), 1)
        position += run if run >= SHORTEST_RUN else 1
        count += 1
    return count


def _run_length(text: str, start: int) -> int:
    """Length of the longest run from `start`: one letter again, the alphabet, the keyboard; either way."""
    return max(_while_stepping(text, start, steps) for steps in _STEPS)


def _while_stepping(text: str, start: int, steps: frozenset[str]) -> int:
    end = start + 1
    while end < len(text) and (text[end - 1 : end + 1] in steps or (not steps and text[end] == text[start])):
        end += 1
    return end - start


def _steps(row: str) -> frozenset[str]:
    return frozenset(row[index] + row[(index + 1) % len(row)] for index in range(len(row)))


_ROWS = (*KEYBOARD_ROWS, "abcdefghijklmnopqrstuvwxyz", "0123456789")
_STEPS = (frozenset[str](), *(_steps(row) for row in _ROWS), *(_steps(row[::-1]) for row in _ROWS))
