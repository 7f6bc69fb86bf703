"""The wire: PHP-style forms out, JSON or XML in.

The rules are those of ground truth §1: lists and structures flatten to `users[0][username]`; booleans are `1` and `0`
(the words `true` and `false` are refused); nothing can be null, a key is left out instead; an empty list cannot be
said at all; and the server may print a PHP warning before its answer (recording `noise-php-warning-before-json`).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from lxml import etree

Format: TypeAlias = Literal["json", "xml"]
# None, inside a structure, leaves its key out.
Parameter: TypeAlias = "str | int | bool | Mapping[str, Parameter] | Sequence[Parameter] | None"
Form: TypeAlias = list[tuple[str, str]]

CONTROL_FIELDS = 3  # wstoken, wsfunction, moodlewsrestformat

# A PHP page may open many brackets before the answer; a real answer starts within the first few.
_MOST_CANDIDATES = 256


class Unreadable(ValueError):
    """The body is neither JSON nor Moodle's XML, even after skipping what may precede it."""


def flatten(parameters: Mapping[str, Parameter]) -> Form:
    """The form fields of `parameters`, in order. None leaves a key out. Raises ValueError on an empty list or
    structure, which the wire cannot express (recordings `create-empty-array`, `get-by-id-zero-values`)."""
    return [field for name, value in parameters.items() if value is not None for field in _flatten(name, value)]


def _flatten(name: str, value: Parameter) -> Iterator[tuple[str, str]]:
    if isinstance(value, bool):
        yield name, "1" if value else "0"
    elif isinstance(value, int):
        yield name, str(value)
    elif isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping):
        kept = [(key, item) for key, item in value.items() if item is not None]
        if not kept:
            raise ValueError(f"{name}: an empty structure cannot be sent")
        for key, inner in kept:
            yield from _flatten(f"{name}[{key}]", inner)
    elif value is not None:
        if not value:
            raise ValueError(f"{name}: an empty list cannot be sent")
        for index, item in enumerate(value):
            yield from _flatten(f"{name}[{index}]", item)


def count_variables(value: Parameter) -> int:
    """How many form variables `value` takes. PHP counts these and silently drops the tail."""
    if value is None:
        return 0
    if isinstance(value, str | int):
        return 1
    items = value.values() if isinstance(value, Mapping) else value
    return sum(count_variables(item) for item in items)


@dataclass(frozen=True)
class Decoded:
    """A decoded body: the value, the format it came in, and what stood before it (a PHP warning, usually nothing)."""

    value: Any
    format: Format
    noise: str = ""


def decode(body: bytes) -> Decoded:
    """The value of an answer, whichever format it came in and whatever precedes it.

    JSON gives plain values. XML gives the same shapes with every leaf a string or None (`<VALUE null="null"/>`);
    an exception gives `{"exception", "errorcode", "message"[, "debuginfo"]}` in both. Raises Unreadable.
    """
    text = body.decode("utf-8-sig", errors="replace").strip()
    if not text:
        raise Unreadable("the body is empty")
    start = text.find("<?xml")
    if start >= 0 and not text.startswith(("{", "[")):
        try:
            return Decoded(_from_xml(text[start:]), "xml", text[:start].strip())
        except etree.XMLSyntaxError as error:
            raise Unreadable("the XML is not well formed") from error
    return _from_json(text)


def _from_json(text: str) -> Decoded:
    try:
        return Decoded(json.loads(text), "json")
    except ValueError:
        pass
    decoder = json.JSONDecoder()
    candidates = 0
    for position, character in enumerate(text):
        if character not in "{[" and not text.startswith("null", position):
            continue
        candidates += 1
        if candidates > _MOST_CANDIDATES:
            break
        try:
            value, end = decoder.raw_decode(text, position)
        except ValueError:
            continue
        if not text[end:].strip():  # the answer is the last thing PHP prints
            return Decoded(value, "json", text[:position].strip())
    raise Unreadable("the body is neither JSON nor XML")


def _from_xml(text: str) -> Any:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
    root = etree.fromstring(text.encode("utf-8"), parser)
    if root.tag == "EXCEPTION":
        answer = {"exception": root.get("class", "")}
        for tag, key in (("ERRORCODE", "errorcode"), ("MESSAGE", "message"), ("DEBUGINFO", "debuginfo")):
            element = root.find(tag)
            if element is not None:
                answer[key] = element.text or ""
        return answer
    if root.tag != "RESPONSE":
        raise Unreadable(f"the XML is not an answer of Moodle's ({root.tag})")
    return _element(root[0]) if len(root) else None


def _element(element: "etree._Element") -> Any:
    if element.tag == "MULTIPLE":
        return [_element(child) for child in element]
    if element.tag == "SINGLE":
        return {child.get("name", ""): _element(child[0]) for child in element if len(child)}
    if element.get("null") is not None:
        return None
    return element.text or ""
