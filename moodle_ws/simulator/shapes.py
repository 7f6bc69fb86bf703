"""Descriptions of parameters and answers, and Moodle's way of holding both to them.

Moodle validates what comes in and what it sends out by the same kind of description. Both failures are total: one
wrong key refuses the call, one unfit row spoils the whole answer ("poison rows", ground truth §3). The wording of the
details follows the recordings `create-dbg-*` and `poison-*-debug`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from moodle_ws.simulator.errors import invalid_parameter, invalid_response
from moodle_ws.simulator.flavours import php_trim
from moodle_ws.simulator.options import SimulatorOptions

_ABSENT = object()


@dataclass(frozen=True)
class Value:
    """One scalar of a named type. `default` fills in a parameter; without it and not required, it may be missing."""

    type: str
    required: bool = True
    default: Any = _ABSENT


@dataclass(frozen=True)
class Single:
    """A structure with these keys, in this order."""

    keys: "Mapping[str, Shape]"
    required: bool = True


@dataclass(frozen=True)
class Multiple:
    """A list of one shape."""

    of: "Shape"
    required: bool = True
    default: Any = _ABSENT


Shape: TypeAlias = Value | Single | Multiple


@dataclass
class _Mismatch(Exception):
    detail: str
    path: list[str] = field(default_factory=list)


# -- types -----------------------------------------------------------------------------------------------------------

# What a type accepts as it stands: PHP cleans a value and refuses it when cleaning changed it.
_PATTERNS: dict[str, re.Pattern[str]] = {
    "raw": re.compile(r"(?s:.*)\Z"),
    "text": re.compile(r"(?s:.*)\Z"),
    "notags": re.compile(r"(?s:(?!<[A-Za-z/!?]).)*\Z"),
    "timezone": re.compile(r"[A-Za-z0-9_/+.-]*\Z"),
    "int": re.compile(r"-?(0|[1-9]\d{0,18})\Z"),
    "bool": re.compile(r"[01]\Z"),
    "alpha": re.compile(r"[A-Za-z]*\Z"),
    "alphanum": re.compile(r"[A-Za-z0-9]*\Z"),
    "alphanumext": re.compile(r"[A-Za-z0-9_-]*\Z"),
    "theme": re.compile(r"(boost|classic)?\Z"),
}
_USERNAME = re.compile(r"[-.@_a-z0-9]*\Z")


def _fits(value: str, kind: str, options: SimulatorOptions) -> bool:
    # Broken UTF-8 arrives here as lone surrogates.
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        return False
    if kind == "username":
        clean = value == php_trim(value).lower()
        return clean and (options.extendedusernamechars or _USERNAME.match(value) is not None)
    if kind == "raw_trimmed":
        return value == php_trim(value)
    if kind == "auth":
        return value == "" or value in options.auth_plugins
    if kind == "lang":
        return value == "" or value in options.languages
    return _PATTERNS[kind].match(value) is not None


# -- in --------------------------------------------------------------------------------------------------------------


def accept(shape: Single, form: Mapping[str, Any], options: SimulatorOptions) -> dict[str, Any]:
    """The parameters of a call, checked and converted. Raises the `invalidparameter` answer."""
    try:
        accepted = _accept(shape, form, options)
    except _Mismatch as mismatch:
        steps = "".join(f"{step} => Invalid parameter value detected: " for step in mismatch.path)
        raise invalid_parameter(steps + mismatch.detail) from None
    assert isinstance(accepted, dict)  # noqa: S101 - a Single gives a dict
    return accepted


def _accept(shape: Shape, value: Any, options: SimulatorOptions) -> Any:
    if isinstance(shape, Value):
        if not isinstance(value, str):
            raise _Mismatch("Scalar type expected, array or object received.")
        if not _fits(value, shape.type, options):
            raise _Mismatch(
                f'Invalid external api parameter: the value is "{value}", the server was expecting "{shape.type}" type'
            )
        return int(value) if shape.type == "int" else value == "1" if shape.type == "bool" else value
    if not isinstance(value, Mapping):
        raise _Mismatch(f"Only arrays accepted. The bad value is: '{value}'")
    if isinstance(shape, Multiple):
        return [_accept(shape.of, item, options) for item in value.values()]
    return _accept_single(shape, value, options)


def _accept_single(shape: Single, value: Mapping[str, Any], options: SimulatorOptions) -> dict[str, Any]:
    accepted: dict[str, Any] = {}
    for key, inner in shape.keys.items():
        if key not in value:
            if not isinstance(inner, Single) and inner.default is not _ABSENT:
                accepted[key] = inner.default
            elif inner.required:
                raise _Mismatch(f"Missing required key in single structure: {key}")
            continue
        try:
            accepted[key] = _accept(inner, value[key], options)
        except _Mismatch as mismatch:
            mismatch.path.insert(0, key)
            raise
    unexpected = [key for key in value if key not in shape.keys]
    if unexpected:
        raise _Mismatch(f"Unexpected keys ({', '.join(unexpected)}) detected in parameter array.")
    return accepted


# -- out -------------------------------------------------------------------------------------------------------------


def release(shape: Shape, value: Any, options: SimulatorOptions) -> Any:
    """An answer held to its description: keys in the described order. Raises the `invalidresponse` answer."""
    try:
        return _release(shape, value, options)
    except _Mismatch as mismatch:
        steps = "".join(f"{step} => Invalid response value detected: " for step in mismatch.path)
        raise invalid_response(steps + mismatch.detail) from None


def _release(shape: Shape, value: Any, options: SimulatorOptions) -> Any:
    if isinstance(shape, Value):
        if isinstance(value, str) and not _fits(value, shape.type, options):
            raise _Mismatch(
                f'Invalid external api response: the value is "{value}" of PHP type "string", '
                f'the server was expecting "{shape.type}" type'
            )
        return value
    if isinstance(shape, Multiple):
        return [_release(shape.of, item, options) for item in value]
    released = {}
    for key, inner in shape.keys.items():
        if key not in value:
            continue
        try:
            released[key] = _release(inner, value[key], options)
        except _Mismatch as mismatch:
            mismatch.path.insert(0, key)
            raise
    return released
