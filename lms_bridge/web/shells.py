"""Pages that everybody gets the same: rendered once, then only given their form token.

The sign-in page is what a whole lecture hall opens in the same minute. It depends on the address it was asked by and on
the language, and on nothing else until somebody types something.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock

from flask import current_app, g
from flask_wtf.csrf import generate_csrf

PLACEHOLDER = f"form-token-{secrets.token_hex(16)}"
"""Guessed, it could be put into an address the page shows, and the browser's token would stand there."""
MOST = 500
LONGEST = 32_000
"""Pages kept, and characters of the longest one kept: an address with junk in it must not fill the memory."""


class Shells:
    """The pages kept by one application."""

    def __init__(self) -> None:
        self._pages: OrderedDict[Hashable, str] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, render: Callable[[], str]) -> str:
        """The page for `key`, from memory or rendered now, with this browser's form token in it.

        `key` must hold everything the page depends on, and nothing personal.
        """
        with self._lock:
            page = self._pages.get(key)
            if page is not None:
                self._pages.move_to_end(key)
        if page is None:
            page = self._render(key, render)
        return page.replace(PLACEHOLDER, _own_token()) if PLACEHOLDER in page else page

    def _render(self, key: Hashable, render: Callable[[], str]) -> str:
        g.rendering_shell = True
        try:
            page = render()
        finally:
            g.rendering_shell = False
        if len(page) <= LONGEST:
            with self._lock:
                self._pages[key] = page
                if len(self._pages) > MOST:
                    self._pages.popitem(last=False)
        return page


def form_token() -> str:
    """The template's `csrf_token()`: a placeholder while a shell is rendered, the browser's own otherwise."""
    return PLACEHOLDER if g.get("rendering_shell") else _own_token()


def _own_token() -> str:
    return str(generate_csrf())  # type: ignore[no-untyped-call]


def shell(key: Hashable, render: Callable[[], str]) -> str:
    """`Shells.get` of the current application."""
    kept: Shells = current_app.extensions["lms_bridge_shells"]
    return kept.get(key, render)
