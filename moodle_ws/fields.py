"""Reading single fields of an answer, in either format, with "not there" kept apart from "empty" and from "no".

Moodle leaves a key out both when the value is empty and when the token may not see it (ground truth §3); XML says
`null` for the same. Both read as None: unknown, never False.
"""

from collections.abc import Mapping
from typing import Any


def text(row: Mapping[str, Any], key: str) -> str | None:
    """The field as text, or None when it is not there."""
    value = row.get(key)
    return None if value is None else str(value)


def integer(row: Mapping[str, Any], key: str) -> int | None:
    """The field as a number, or None when it is not there or not a number."""
    value = row.get(key)
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError):
        return None


def flag(row: Mapping[str, Any], key: str) -> bool | None:
    """The field as a boolean (JSON true/false, XML 1/0), or None when it is not there or something else."""
    value = row.get(key)
    return {True: True, False: False, "1": True, "0": False}.get(value) if isinstance(value, bool | int | str) else None


def rows(answer: Any) -> list[Mapping[str, Any]]:
    """The structures of a list answer; anything that is not a list of structures raises TypeError."""
    if not isinstance(answer, list) or not all(isinstance(item, Mapping) for item in answer):
        raise TypeError("not a list of structures")
    return answer
