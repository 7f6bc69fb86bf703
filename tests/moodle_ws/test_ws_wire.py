"""Forms out, JSON and XML in."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moodle_ws.simulator.wire import parse_form
from moodle_ws.wire import Unreadable, count_variables, decode, flatten

texts = st.text(st.characters(codec="utf-8"), max_size=20)
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789_", min_size=1, max_size=8)
scalars = st.one_of(texts, st.integers(-(2**40), 2**40), st.booleans())
nested = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4), st.dictionaries(names, inner, min_size=1, max_size=4)
    ),
    max_leaves=15,
)
parameters = st.dictionaries(names, nested, max_size=4)


def as_php_stores(value: Any) -> Any:
    """What a PHP script finds in place of `value`: text at the leaves, lists as numbered structures."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, dict):
        return {key: as_php_stores(item) for key, item in value.items()}
    if isinstance(value, list):
        return {str(index): as_php_stores(item) for index, item in enumerate(value)}
    return str(value)


def encode(fields: list[tuple[str, str]]) -> bytes:
    return urlencode(fields).encode()


@settings(deadline=None)
@given(parameters)
def test_what_is_flattened_arrives_in_php_as_it_was(parameters: dict[str, Any]) -> None:
    assert parse_form(encode(flatten(parameters)), 10_000) == as_php_stores(parameters)


@settings(deadline=None)
@given(parameters)
def test_variables_are_counted_as_they_are_sent(parameters: dict[str, Any]) -> None:
    assert count_variables(parameters) == len(flatten(parameters))


@settings(deadline=None)
@given(parameters, st.integers(0, 12))
def test_php_keeps_one_variable_more_than_its_limit_and_drops_the_rest(parameters: dict[str, Any], limit: int) -> None:
    fields = flatten(parameters)
    assert parse_form(encode(fields), limit) == parse_form(encode(fields[: limit + 1]), 10_000)


def test_a_key_without_a_value_is_left_out() -> None:
    assert flatten({"id": 7, "idnumber": None, "user": {"email": "a@b.fr", "ip": None}}) == [
        ("id", "7"),
        ("user[email]", "a@b.fr"),
    ]


def test_booleans_are_one_and_zero() -> None:
    assert flatten({"a": True, "b": False}) == [("a", "1"), ("b", "0")]


@pytest.mark.parametrize("value", [[], {}, {"inner": None}])
def test_what_the_wire_cannot_say_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        flatten({"users": value})


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | texts,
        lambda inner: st.lists(inner) | st.dictionaries(names, inner),
        max_leaves=8,
    )
)
def test_json_answers_are_decoded(value: Any) -> None:
    assert decode(json.dumps(value).encode()).value == value


@settings(deadline=None)
@given(
    st.lists(st.dictionaries(names, texts | st.integers(), min_size=1), min_size=1),
    st.text("<>br/ Warning:\n[x]$", max_size=80),
)
def test_text_before_the_answer_is_skipped_and_kept_as_noise(rows: list[dict[str, Any]], noise: str) -> None:
    decoded = decode((noise + "\n" + json.dumps(rows)).encode())
    assert decoded.value == rows
    assert decoded.noise == noise.strip()


def test_xml_answers_give_the_same_shapes_with_text_leaves() -> None:
    body = (
        b'<?xml version="1.0" encoding="UTF-8" ?>\n<RESPONSE>\n<MULTIPLE>\n<SINGLE>\n<KEY name="id"><VALUE>7</VALUE>\n'
        b'</KEY>\n<KEY name="city"><VALUE null="null"/>\n</KEY>\n<KEY name="list"><MULTIPLE>\n</MULTIPLE>\n</KEY>\n'
        b"</SINGLE>\n</MULTIPLE>\n</RESPONSE>\n"
    )
    assert decode(body).value == [{"id": "7", "city": None, "list": []}]


def test_an_outside_entity_in_an_answer_is_not_read() -> None:
    body = b'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY e SYSTEM "file:///etc/hostname">]><RESPONSE><VALUE>&e;</VALUE></RESPONSE>'
    assert decode(body).value == ""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  \n",
        b"<html><body>Login</body></html>",
        b'[{"id":1',
        b"not json",
        b"<?xml version='1.0'?><page/>",
        b"<?xml broken",
    ],
)
def test_what_is_no_answer_of_moodles_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        decode(body)
