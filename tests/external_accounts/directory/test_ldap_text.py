"""Hostile names in names and filters, and the answers of a password policy."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ldap3.operation.search import parse_filter
from ldap3.utils.dn import parse_dn

from external_accounts.directory import Refusal
from external_accounts.directory.ldap_text import escaped, policy_refusal, said

HOSTILE = st.text(alphabet=st.one_of(st.sampled_from('*()\\\0,+"<>;=# /éß\u202e\n'), st.characters(codec="utf-8")))


@given(HOSTILE.filter(bool))
def test_a_name_stays_one_value_of_one_name(name: str) -> None:
    parts = parse_dn(f"uid={escaped(name)},ou=people,dc=univ", escape=False, strip=False)
    assert [attribute for attribute, _value, _joint in parts] == ["uid", "ou", "dc"]
    assert _meant(parts[0][1]) == name.encode()


@given(HOSTILE)
def test_a_name_stays_one_value_of_one_filter(name: str) -> None:
    tree = parse_filter(f"(&(objectClass=person)(uid={escaped(name)}))", None, False, False, None, False)
    both = tree.elements[0].elements if len(tree.elements) == 1 else tree.elements
    assert len(both) == 2
    assert both[1].assertion["attr"] == "uid"
    value = both[1].assertion["value"]
    assert _meant(value if isinstance(value, str) else value.decode()) == name.encode()


@given(HOSTILE)
def test_what_is_escaped_has_no_sign_with_a_meaning(name: str) -> None:
    assert re.fullmatch(r"(?:[A-Za-z0-9]|\\[0-9a-f]{2})*", escaped(name))


def _meant(text: str) -> bytes:
    return re.sub(rb"\\([0-9a-f]{2})", lambda found: bytes.fromhex(found[1].decode()), text.encode())


@pytest.mark.parametrize(
    ("control", "refusal"),
    [
        ("3003810106", Refusal.TOO_SHORT),
        ("3003810108", Refusal.USED_BEFORE),
        ("3003810107", Refusal.TOO_SOON),
        ("3003810105", Refusal.TOO_SIMPLE),
        ("3003810103", Refusal.NOT_ALLOWED),
        ("3003810109", Refusal.TOO_LONG),
        ("3003810102", Refusal.OTHER),
        ("3008a0038001058101 06".replace(" ", ""), Refusal.TOO_SHORT),  # a warning before it
        ("3000", None),
        ("3005a003800105", None),
        ("", None),
        ("30", None),
        ("0403810106", None),
        ("300381", None),
        ("30038102", None),
    ],
)
def test_a_policys_answer_is_read(control: str, refusal: Refusal | None) -> None:
    assert policy_refusal(bytes.fromhex(control)) is refusal


@given(st.binary(max_size=64))
def test_any_answer_is_read_without_an_error(control: bytes) -> None:
    assert policy_refusal(control) in {None, *Refusal}


def test_a_servers_words_are_one_short_line_without_what_was_typed() -> None:
    assert said("Password is\n too\tshort\0", secret="hunter2") == "Password is too short"
    assert said("hunter2 is too short", secret="hunter2") == ""
    assert len(said("x" * 5000, secret="")) == 200
