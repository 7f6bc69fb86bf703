"""The page of ours that somebody asked for before they signed in: they get to it afterwards.

It waits in this browser, for some minutes: whoever signs in tomorrow wants something else.
"""

from __future__ import annotations

import re
from datetime import timedelta

from flask import make_response, redirect, request
from werkzeug.wrappers import Response

from lms_bridge.web import cookies
from lms_bridge.web.request import runtime

KEEP = timedelta(minutes=15)
_COOKIE = "wanted"
_OUR_PAGES = re.compile(r"/helpdesk(/[a-z]+(/[0-9]+(/[a-z]+)?)?)?|/account(/[a-z]+){0,2}")
"""Pages behind a sign-in. No address of these holds anybody's data, and none leads out of the house."""


def to_sign_in() -> Response:
    """To the doors, and back to this request's page afterwards."""
    response = make_response(redirect("/", 303))
    return remember(response, request.path) if request.method == "GET" else response


def remember(response: Response, path: str) -> Response:
    """Lead whoever signs in from here to that page of ours, if it is one."""
    if _OUR_PAGES.fullmatch(path):
        cookies.put(response, runtime().settings, _COOKIE, path, keep=KEEP)
    return response


def wanted_page() -> str | None:
    """One of our own paths, or None."""
    path = request.cookies.get(cookies.name(runtime().settings, _COOKIE), "")
    return path if _OUR_PAGES.fullmatch(path) else None


def go_to(path: str) -> Response:
    """There, once: the next visit to the home page is one."""
    response = make_response(redirect(path, 303))
    cookies.drop(response, runtime().settings, _COOKIE)
    return response
