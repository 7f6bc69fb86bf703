"""Redirects that leave the bridge: to applications, byte for byte."""

from __future__ import annotations

from typing import Any, cast

from flask import Response
from werkzeug.utils import redirect

from lms_bridge.cas.services import header_safe


class _ExactRedirect(Response):
    """Werkzeug rewrites `Location` (`[` becomes `%5B`); the application would then see another address than the one
    its ticket was issued for, and validation would fail."""

    def get_wsgi_headers(self, environ: Any) -> Any:
        headers = super().get_wsgi_headers(environ)
        headers["Location"] = self.headers["Location"]
        return headers


def redirect_to_application(url: str, status: int = 302) -> Response:
    """Send the browser to `url`, which the service registry has let through."""
    return cast(Response, redirect(header_safe(url), status, Response=_ExactRedirect))
