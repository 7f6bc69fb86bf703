"""Structured logs that carry no secret.

Every line passes `redact`: what looks like a ticket, a signed token, a password field or an e-mail address is masked
wherever it stands, in values and inside longer texts. Line breaks in values cannot forge a line: JSON escapes them,
and the console form shows them escaped (SES-06).
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

SECRET_NAMES = re.compile(r"pass(word|wd)?|secret|token|ticket|cookie|authorization|code\b|pgt", re.IGNORECASE)
_TICKETS = re.compile(r"\b(ST|PT|PGT|PGTIOU|TGT|TGC)-[A-Za-z0-9-]{4,}")
_PROOFS = re.compile(
    r"((?:/account/(?:confirm|forgot|register|reset|activate|undo|keep)|/perte-identifiant|/assistance)/)[^/\s?\"']+"
)
_PARAMETERS = re.compile(r"\b((?:ticket|pgtId|pgtIou|pgt|code|wstoken|key|password)=)[^&\s\"']+", re.IGNORECASE)
_ADDRESSES = re.compile(r"([\w!#$%&'*+=?^`{|}~.-])[\w!#$%&'*+/=?^`{|}~.-]*@([\w.-]+\.\w{2,})")
_MALFORMED = re.compile(r"(Invalid request from ip=\S+: [^:]+: ).*", re.DOTALL)
"""gunicorn's line about a request it cannot read goes on with a piece of it: half a cookie header, for example."""
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
LONGEST_VALUE = 2000
LONGEST_READ = 100_000


def redact_text(text: str) -> str:
    """`text` with tickets, proof links, secret parameters and addresses masked; of a long one, both ends."""
    text = _MALFORMED.sub(r"\1…", text[:LONGEST_READ])
    text = _TICKETS.sub(r"\1-…", text)
    text = _PROOFS.sub(r"\1…", text)
    text = _PARAMETERS.sub(r"\1…", text)
    text = _ADDRESSES.sub(r"\1…@\2", text)
    if len(text) > LONGEST_VALUE:
        text = f"{text[: LONGEST_VALUE // 2]} … {text[-LONGEST_VALUE // 2 :]}"
    return text


def on_one_line(text: str) -> str:
    """`text` with what could begin a new line or command a terminal written out (SES-06)."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def redact_value(name: str, value: Any) -> Any:
    """A log value made safe; `name` says whether it is a secret as a whole."""
    if SECRET_NAMES.search(name) and not isinstance(value, bool | int | float | None):
        return "…"
    if isinstance(value, str):
        # A trace has lines of its own.
        return redact_text(value) if name == "exception" else on_one_line(redact_text(value))
    if isinstance(value, dict):
        return {key: redact_value(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_value("", item) for item in value]
    return value


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The structlog processor that every line passes last before it is written."""
    for name, value in event.items():
        event[name] = redact_value(name, value)
    return event


def configure(level: str, form: str) -> None:
    """Send structlog's and the standard library's lines to standard error in one form."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared[:-1],
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared[:-1],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # One line a request is ours (see lms_bridge.app); the libraries' own would carry whole addresses, python-cas's the
    # whole answer of the university's CAS.
    for noisy in ("urllib3", "werkzeug", "mail.log", "cas"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # gunicorn writes malformed requests as they came: its lines take the same way as ours.
    server = logging.getLogger("gunicorn.error")
    server.handlers[:] = []
    server.propagate = True
