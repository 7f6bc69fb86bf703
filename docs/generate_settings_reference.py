"""Writes `docs/reference/settings.md` from the field descriptions of `lms_bridge/settings`."""

from __future__ import annotations

import json
import sys
from datetime import time
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from generated_page import DOCS, cell, run
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from lms_bridge.settings import Settings
from lms_bridge.settings.moodle_sites import Threshold

SCRIPT = "docs/generate_settings_reference.py"
INTRODUCTION = """\
# Settings

Everything that can be set, with the words the program itself uses. `lms-bridge config check` says whether a file can
be used and names each wrong or missing setting; `lms-bridge config dump` prints what is in force, secrets masked.

* The settings are one TOML file, named by `lms-bridge --config FILE` or by the environment variable
  `LMS_BRIDGE_CONFIG`.
* The environment wins over the file. A variable is `LMS_BRIDGE_` and the name in capitals, with two underscores
  between the levels: `LMS_BRIDGE_DATABASE_URL`, `LMS_BRIDGE_MAIL__PASSWORD`. A list or a table is given as JSON:
  `LMS_BRIDGE_SECRET_KEYS='["…"]'`.
* A name that does not exist is refused: a typing error never passes silently.
* Plain `http://` addresses are accepted on `127.0.0.1` and `localhost` only.

A complete example is in the guide [Installer](../guides/installer.md#le-fichier-de-réglages).
"""


_THRESHOLD = "Thresholds of a guard"


def page() -> str:
    parts = [INTRODUCTION]
    parts.append(_section("Top level", "These stand first in the file, before any `[section]`.", Settings, top=True))
    parts += _sections(Settings, "", set())
    return "\n".join(parts)


def _sections(model: type[BaseModel], prefix: str, seen: set[str]) -> list[str]:
    parts = []
    for name, field in model.model_fields.items():
        section = _model_in(field.annotation)
        if section is None:
            continue
        if section is Threshold:  # the same small table in many places: shown once
            if _THRESHOLD not in seen:
                seen.add(_THRESHOLD)
                parts.append(_section(_THRESHOLD, " ".join((section.__doc__ or "").split()), section))
            continue
        path = f"{prefix}{name}"
        title = f"`[[{path}]]`" if _is_list(field.annotation) else f"`[{path}]`"
        parts.append(_section(title, " ".join((section.__doc__ or "").split()), section))
        parts += _sections(section, f"{path}.", seen)
    return parts


def _section(title: str, text: str, model: type[BaseModel], *, top: bool = False) -> str:
    lines = [f"## {title}", "", text, "", "| setting | value | without it | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        if top and _model_in(field.annotation) is not None:
            continue
        lines.append(f"| `{name}` | {cell(_kind(field))} | {cell(_default(field))} | {cell(field.description or '')} |")
    return "\n".join(lines) + "\n"


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        # A section that names one written below it is complete only now.
        annotation.model_rebuild(force=True)
        return annotation
    return next((model for one in get_args(annotation) if (model := _model_in(one)) is not None), None)


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is tuple


def _kind(field: FieldInfo) -> str:
    kind = _words(field.annotation)
    least = next((f"{bound.ge:g}" for bound in field.metadata if isinstance(bound, Ge)), None)
    most = next((f"{bound.le:g}" for bound in field.metadata if isinstance(bound, Le)), None)
    above = next((f"above {bound.gt:g}" for bound in field.metadata if isinstance(bound, Gt)), None)
    below = next((f"below {bound.lt:g}" for bound in field.metadata if isinstance(bound, Lt)), None)
    bounds = f"{least} to {most}" if least and most else f"at least {least}" if least else f"at most {most}"
    pattern = next((bound.pattern for bound in field.metadata if getattr(bound, "pattern", None)), None)
    words = [bounds if least or most else "", above or "", below or "", f"matching `{pattern}`" if pattern else ""]
    return ", ".join([kind, *(word for word in words if word)])


_PLAIN = {
    "str": "text",
    "SecretStr": "text (secret)",
    "int": "whole number",
    "float": "number",
    "bool": "`true` or `false`",
    "Path": "path",
    "date": "date",
    "time": "time of day",
    "IPv4Network": "IPv4 network",
    "IPv6Network": "IPv6 network",
}


def _words(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Threshold:
        return "table: `percent`, `floor`"
    if _model_in(annotation) is annotation:
        return "section"
    if origin is Annotated:
        return _words(arguments[0])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (Union, UnionType):
        return " or ".join(_words(one) for one in arguments if one is not NoneType)
    if origin is tuple:
        model = _model_in(annotation)
        return "list of sections" if model else f"list of {_words(arguments[0])}"
    if origin is dict:
        return f"table: {_words(arguments[0])} → {_words(arguments[1])}"
    return _PLAIN[annotation.__name__]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**must be given**"
    model = _model_in(field.annotation)
    if model is not None and model is not Threshold:
        return "as below" if isinstance(field.default, BaseModel) else "none"
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined or value in ("", ()):
        return "–"
    return f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    if isinstance(value, SecretStr):
        return '""'
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if isinstance(value, time):
        return value.strftime("%H:%M:%S")
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{" + ", ".join(f" {key} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, str):
        # A literal string, as the file would hold it: patterns keep their backslashes.
        return f"'{value}'" if "\\" in value else json.dumps(value, ensure_ascii=False)
    return str(value)


if __name__ == "__main__":
    sys.exit(run(SCRIPT, DOCS / "reference" / "settings.md", page()))
