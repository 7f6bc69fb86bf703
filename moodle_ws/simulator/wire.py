"""PHP's side of the wire: reading forms as PHP does, and writing JSON and XML byte for byte as Moodle does."""

import json
import re
from typing import Any
from urllib.parse import unquote_to_bytes

from moodle_ws.simulator.errors import WebServiceError
from moodle_ws.simulator.flavours import Version, exception_class
from moodle_ws.simulator.shapes import Multiple, Shape, Value

_KEY = re.compile(r"([^\[]+)((?:\[[^\]]*\])*)\Z")
_STEP = re.compile(r"\[([^\]]*)\]")


def parse_form(encoded: bytes, max_input_vars: int) -> dict[str, Any]:
    """A body or query string as PHP reads it: nested keys, later values win, and everything after the first
    `max_input_vars` + 1 variables dropped without a word (ground truth §1). Broken UTF-8 becomes lone surrogates."""
    form: dict[str, Any] = {}
    for count, pair in enumerate(part for part in encoded.split(b"&") if part):
        if count > max_input_vars:
            break
        key, _sep, value = pair.partition(b"=")
        _store(form, _text(key), _text(value))
    return form


def store_all(pairs: list[tuple[str, str]], max_input_vars: int) -> dict[str, Any]:
    """The same for the fields of a multipart body."""
    form: dict[str, Any] = {}
    for key, value in pairs[: max_input_vars + 1]:
        _store(form, key, value)
    return form


def _text(encoded: bytes) -> str:
    return unquote_to_bytes(encoded.replace(b"+", b" ")).decode("utf-8", errors="surrogateescape")


def _store(form: dict[str, Any], key: str, value: str) -> None:
    match = _KEY.match(key)
    if match is None:
        form[key] = value
        return
    steps = [match[1], *_STEP.findall(match[2])]
    place = form
    for step in steps[:-1]:
        name = step or str(len(place))
        if not isinstance(place.get(name), dict):
            place[name] = {}
        place = place[name]
    place[steps[-1] or str(len(place))] = value


def json_answer(value: Any) -> bytes:
    """Non-ASCII as escapes, `/` escaped, no blanks."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True).replace("/", "\\/")
    # PHP leaves DEL as it is (`collision-ext1-control-01-create`, PostgreSQL's answer).
    return text.replace("\\u007f", "\x7f").encode("ascii")


def json_error(error: WebServiceError, version: Version, *, show_debug: bool) -> bytes:
    """The error structure; `debuginfo` only when the site debugs and there is one."""
    answer = {
        "exception": exception_class(error.exception, version),
        "errorcode": error.errorcode,
        "message": error.message,
    }
    if show_debug and error.debuginfo:
        answer["debuginfo"] = error.debuginfo
    return json_answer(answer)


def xml_answer(value: Any, shape: Shape | None) -> bytes:
    """Every described key is there: optional ones as `<VALUE null="null"/>`, missing lists as empty ones."""
    inner = "" if shape is None else _xml(value, shape)
    return f'<?xml version="1.0" encoding="UTF-8" ?>\n<RESPONSE>\n{inner}</RESPONSE>\n'.encode()


def _xml(value: Any, shape: Shape) -> str:
    if isinstance(shape, Value):
        if value is None:
            return '<VALUE null="null"/>\n'
        text = ("1" if value else "0") if isinstance(value, bool) else str(value)
        return f"<VALUE>{_escaped(text)}</VALUE>\n"
    if isinstance(shape, Multiple):
        return "<MULTIPLE>\n" + "".join(_xml(item, shape.of) for item in value or []) + "</MULTIPLE>\n"
    keys = "".join(
        f'<KEY name="{key}">{_xml((value or {}).get(key), inner)}</KEY>\n' for key, inner in shape.keys.items()
    )
    return f"<SINGLE>\n{keys}</SINGLE>\n"


def _escaped(text: str) -> str:
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(character, entity)
    return text


def xml_error(error: WebServiceError, version: Version, *, show_debug: bool) -> bytes:
    """The `<EXCEPTION>` form of an error."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8" ?>',
        f'<EXCEPTION class="{_escaped(exception_class(error.exception, version))}">',
        f"<ERRORCODE>{_escaped(error.errorcode)}</ERRORCODE>",
        f"<MESSAGE>{_escaped(error.message)}</MESSAGE>",
    ]
    if show_debug and error.debuginfo:
        lines.append(f"<DEBUGINFO>{_escaped(error.debuginfo)}</DEBUGINFO>")
    return "\n".join([*lines, "</EXCEPTION>", ""]).encode("utf-8", errors="replace")
