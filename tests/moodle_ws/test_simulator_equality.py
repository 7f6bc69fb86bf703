"""What the simulated databases call equal: the table of the MariaDB page."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moodle_ws.simulator import Database
from moodle_ws.simulator.flavours import equality_key
from moodle_ws.simulator.site import equal

SAFE = "abcdefghijklmnopqrstuvwxyz0123456789._-@"

LANDS = [
    *[("rene", variant) for variant in ("rené", "renè", "renę", "rene\u0301")],
    *[("francois", "françois"), ("munoz", "muñoz"), ("joel", "joël"), ("rene@univ.test", "rené@univ.test")],
    *[("rene@univ.test", "rene＠univ.test"), ("strasse", "straße"), ("strasse", "straſſe"), ("strasse", "STRAẞE")],
    *[("oeuvre", "œuvre"), ("fin", "ﬁn"), ("isik", "İsik".lower()), ("rene", "ｒｅｎｅ"), ("rene", "ⓡⓔⓝⓔ")],
    *[("rene", "reⁿe"), ("user1", "user¹"), ("user1", "user١"), ("rene", "re\u200bne"), ("rene", "re\u200dne")],
    *[("rene", "\ufeffrene"), ("rene", "re\x7fne"), ("rene", "rene\u00a0"), ("rene", "rene\u3000"), ("rene", "RENE")],
    *[("rene😀", "rene😁"), ("rene", "rene  ")],
]
DISTINCT = [
    *[("rene", "rene."), ("jeanluc", "jean-luc"), ("jean.luc", "jean_luc"), ("jean-luc", "jean‑luc"), ("i", "ı")],
    *[("o", "ø"), ("l", "ł"), ("d", "đ"), ("ae", "æ"), ("th", "þ"), ("e", "е"), ("v", "ν"), ("rene", "re\u00adne")],
    *[("rene", "𝐫𝐞𝐧𝐞"), ("rene", "\u00a0rene"), ("muller", "mueller"), ("rene", "rene😀")],
]


@pytest.mark.parametrize(("stored", "asserted"), LANDS)
def test_mariadb_calls_these_equal_and_postgresql_does_not(stored: str, asserted: str) -> None:
    assert equal(stored, asserted, Database.MARIADB)
    assert not equal(stored, asserted, Database.POSTGRESQL)


@pytest.mark.parametrize(("one", "other"), DISTINCT)
def test_both_keep_these_apart(one: str, other: str) -> None:
    assert not equal(one, other, Database.MARIADB)
    assert not equal(one, other, Database.POSTGRESQL)


@settings(deadline=None)
@given(st.text(SAFE, max_size=12), st.text(SAFE, max_size=12))
def test_on_the_safe_set_both_databases_agree_with_bytes(one: str, other: str) -> None:
    assert equal(one, other, Database.MARIADB) == (one == other)


@settings(deadline=None)
@given(st.text(max_size=12))
def test_the_key_of_a_key_is_the_key(text: str) -> None:
    key = equality_key(text, Database.MARIADB)
    assert equality_key(key, Database.MARIADB) == key


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=12))
def test_postgresql_compares_bytes(text: str) -> None:
    assert equality_key(text, Database.POSTGRESQL) == text
