"""The lists of requests: a page at a time, by the number of its last row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import urlencode

from flask import redirect, request
from flask.typing import ResponseReturnValue

from lms_bridge.helpdesk.members import row_number
from lms_bridge.web.request import parameter

T = TypeVar("T")

PAGE = 50
"""Rows a page. Ask the database for one more: it says whether there is a next page."""


class NothingFurther(Exception):
    """What stood beyond the asked-for row was dealt with meanwhile."""


def to_the_first_page(_error: NothingFurther) -> ResponseReturnValue:
    others = {name: text for name, text in request.args.items() if name != "after"}
    return redirect(request.path + (f"?{urlencode(others)}" if others else ""), 303)


def beyond() -> int | None:
    """The number of the row after which the asked-for page begins; None: it is the first one."""
    return row_number(parameter("after") or "")


def page_of(rows: Sequence[T], url: str, *, number: Callable[[T], int]) -> tuple[Sequence[T], str | None]:
    """The rows to show, and the address of the next page; `url` of the list, `number` of a row.

    Raises:
        NothingFurther: see there.
    """
    if not rows and beyond() is not None:
        raise NothingFurther
    shown = rows[:PAGE]
    joint = "&" if "?" in url else "?"
    return shown, f"{url}{joint}after={number(shown[-1])}" if len(rows) > PAGE else None
