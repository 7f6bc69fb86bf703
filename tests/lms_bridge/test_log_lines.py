"""What a log line may hold, and that nothing a caller sends can forge one (SES-06, TOK-08, PRV-04)."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lms_bridge.ops.logs import LONGEST_VALUE, redact, redact_text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("got ST-abcDEF0123456789abcdefghijk here", "got ST-… here"),
        ("PGTIOU-1234567890 and PT-abcdefgh", "PGTIOU-… and PT-…"),
        ("GET /account/confirm/abc.def-_x/resend", "GET /account/confirm/…/resend"),
        ("GET /account/register/abc.def-_x/state", "GET /account/register/…/state"),
        ("/account/reset/abc.def", "/account/reset/…"),
        ("/account/activate/abc.def?lang=fr", "/account/activate/…?lang=fr"),
        ("https://app/?x=1&ticket=ST-1&y=2", "https://app/?x=1&ticket=…&y=2"),
        ("wstoken=0123456789abcdef&wsfunction=x", "wstoken=…&wsfunction=x"),
        ("password=hunter2", "password=…"),
        ("mail to ada.lovelace+x@mail.example failed", "mail to a…@mail.example failed"),
        ("nothing secret", "nothing secret"),
    ],
)
def test_secrets_inside_texts_are_masked(text: str, masked: str) -> None:
    assert redact_text(text) == masked


def test_values_with_telling_names_are_masked_whole_also_deep_inside() -> None:
    event = redact(
        None,
        "info",
        {
            "event": "x",
            "password": "hunter2",
            "session_cookie": "abc",
            "csrf_token": "abc",
            "status": 200,
            "code": 503,
            "details": {"mail": ["ada@mail.example"], "secret": {"a": 1}},
        },
    )
    assert event == {
        "event": "x",
        "password": "…",
        "session_cookie": "…",
        "csrf_token": "…",
        "status": 200,
        "code": 503,
        "details": {"mail": ["a…@mail.example"], "secret": "…"},
    }


@given(st.emails())
def test_no_address_is_written_in_full(email: str) -> None:
    assert email not in redact_text(f"delivery to <{email}> failed") or len(email.partition("@")[0]) == 1


def test_a_long_text_keeps_its_beginning_and_its_end() -> None:
    """The end of a trace is where the error is."""
    text = "Traceback" + "x" * 50_000 + "ValueError: at last"
    shown = redact_text(text)
    assert shown.startswith("Traceback")
    assert shown.endswith("ValueError: at last")
    assert len(shown) <= LONGEST_VALUE + 10


FORGED = "path\r\n2026-11-22 [error] forged line\x1b[31m\u2028next\x00end"
WRITE = """
import logging, structlog, sys
from lms_bridge.ops import logs
logs.configure("debug", sys.argv[1])
structlog.get_logger("a").info("request", path={text!r})
logging.getLogger("b").warning("said %s", {text!r})
logging.getLogger("cas").debug("response - %s", b"<cas:mail>ada@mail.example</cas:mail>")
"""


@pytest.mark.parametrize("form", ["json", "console"])
def test_ses_06_a_line_break_in_a_value_forges_no_line(form: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRITE.format(text=FORGED), form], capture_output=True, timeout=60, check=True
    )
    written = done.stderr.decode()
    lines = written.split("\n")[:-1]
    assert len(lines) == 2, written
    for character in "\r\x1b\x00\u2028":
        assert character not in written
    if form == "json":
        assert [json.loads(line)["level"] for line in lines] == ["info", "warning"]
