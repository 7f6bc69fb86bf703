"""Error pages: what happened and what to do next, in the reader's language. Never a trace, never "unknown error"."""

from __future__ import annotations

import secrets
from urllib.parse import urlencode

import structlog
from flask import Flask, current_app, render_template, request
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import HTTPException

from external_accounts.passwords import HashingBusy
from external_accounts.throttle import Throttled
from lms_bridge.i18n import gettext as _

log = structlog.get_logger(__name__)


def install(app: Flask) -> None:
    app.register_error_handler(CSRFError, _form_too_old)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Throttled, _throttled)
    app.register_error_handler(HashingBusy, _busy)
    app.register_error_handler(OperationalError, _database)
    app.register_error_handler(Exception, _broken)


def error_page(status: int, **context: object) -> tuple[str, int]:
    return render_template("error.html", status=status, **context), status


def _http(error: HTTPException) -> ResponseReturnValue:
    if error.response is not None or (error.code or 500) < 400:
        return error
    page, status = error_page(error.code or 500)
    headers = [(name, value) for name, value in error.get_headers() if name.lower() in ("allow", "retry-after")]
    return page, status, headers


def _form_too_old(_error: CSRFError) -> ResponseReturnValue:
    return error_page(400, form_again_url=_form_again_url())


def _form_again_url() -> str:
    """Where the form can be opened again: the address it was posted to, or the page above when that takes posts only.

    A service that travelled in the form goes along, so that the way to it is not lost.
    """
    path = page_above(request.path)
    query = request.query_string.decode("ascii", "replace") if path == request.path else ""
    service = request.form.get("service")
    if service and "service" not in request.args:
        query = urlencode({"service": service}) + (f"&{query}" if query else "")
    return f"{path}?{query}" if query else path


def page_above(path: str) -> str:
    """This path where it is a page to open, else the nearest one above it."""
    routes = current_app.create_url_adapter(request)
    while routes is not None and path != "/" and not routes.test(path, "GET"):
        path = path.rpartition("/")[0] or "/"
    return path


def _throttled(error: Throttled) -> ResponseReturnValue:
    return *error_page(429, retry_after=error.retry_after), [("Retry-After", str(error.retry_after))]


def _busy(_error: HashingBusy) -> ResponseReturnValue:
    page, status = error_page(
        503,
        title=_("Many people are signing in"),
        what=_("Your turn will come in a few seconds. Nothing is wrong with your account."),
        retry_after=5,
        form_again_url=request.full_path.rstrip("?"),
    )
    return page, status, [("Retry-After", "5")]


def _database(error: OperationalError) -> ResponseReturnValue:
    log.error("page.database", error=type(error.orig).__name__, path=request.path)
    page, status = error_page(503, retry_after=30, next=_same_again())
    return page, status, [("Retry-After", "30")]


def _same_again() -> list[dict[str, str]]:
    """The page's next steps: the same address once more, where asking for it twice does no harm."""
    if request.method != "GET":
        return []
    here = request.full_path.rstrip("?")
    return [{"label": _("Try again"), "url": here}, {"label": _("Go to the home page"), "url": "/"}]


def _broken(error: Exception) -> ResponseReturnValue:
    reference = secrets.token_hex(4)
    log.exception("page.error", reference=reference, path=request.path, error=type(error).__name__)
    return error_page(500, reference=reference)
