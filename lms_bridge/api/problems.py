"""Errors of the API: `application/problem+json` (RFC 9457), in the caller's language."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

import structlog
from flask import Blueprint, Response, request
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import HTTPException

from external_accounts.throttle import Throttled
from lms_bridge.i18n import N_
from lms_bridge.i18n import gettext as _

log = structlog.get_logger(__name__)

TYPE = "urn:lms-bridge:problem:"
TITLES: Mapping[str, tuple[int, str]] = {
    "malformed": (400, N_("The request cannot be read")),
    "unauthorised": (401, N_("A valid key is needed")),
    "forbidden": (403, N_("This key may not do that")),
    "not_found": (404, N_("There is no such thing here")),
    "method": (405, N_("This address does not take that method")),
    "exists": (409, N_("There is an account with this key already")),
    "homonym": (409, N_("This may be somebody who has an account")),
    "too_many_ends": (409, N_("More accounts than this key may end in a day")),
    "changed_meanwhile": (409, N_("The account changed meanwhile")),
    "too_large": (413, N_("The request is too large")),
    "invalid": (422, N_("Something in the request is wrong")),
    "idempotency": (422, N_("This Idempotency-Key came with another request before")),
    "too_many_requests": (429, N_("Too many requests")),
    "broken": (500, N_("Something went wrong here")),
    "unavailable": (503, N_("Something that is needed does not answer")),
}


class ApiProblem(Exception):
    """A request that is refused. Renders itself."""

    def __init__(self, name: str, detail: str = "", *, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(name)
        self.name, self.detail = name, detail
        self.headers = dict(headers or {})
        self.more = more

    def response(self) -> Response:
        status, title = TITLES[self.name]
        body = {"type": TYPE + self.name, "title": _(title), "status": status, **self.more}
        if self.detail:
            body["detail"] = self.detail
        response = Response(json.dumps(body, ensure_ascii=False), status, content_type="application/problem+json")
        response.headers.update(self.headers)
        return response


def install(pages: Blueprint) -> None:
    """Let every error of these addresses be a problem."""
    pages.register_error_handler(ApiProblem, ApiProblem.response)
    pages.register_error_handler(Throttled, _throttled)
    pages.register_error_handler(HTTPException, _http)
    pages.register_error_handler(OperationalError, _database)
    pages.register_error_handler(Exception, _broken)


def _throttled(error: Throttled) -> Response:
    wait = str(error.retry_after)
    return ApiProblem("too_many_requests", headers={"Retry-After": wait}).response()


def _http(error: HTTPException) -> Response:
    names = {404: "not_found", 405: "method", 413: "too_large"}
    allowed: Iterable[str] = getattr(error, "valid_methods", None) or ()
    headers = {"Allow": ", ".join(sorted(allowed))} if allowed else {}
    return ApiProblem(names.get(error.code or 0, "malformed"), headers=headers).response()


def _database(error: OperationalError) -> Response:
    log.error("api.database", error=type(error.orig).__name__, path=request.path)
    return ApiProblem("unavailable", headers={"Retry-After": "30"}).response()


def _broken(error: Exception) -> Response:
    reference = secrets.token_hex(4)
    log.exception("api.error", reference=reference, path=request.path, error=type(error).__name__)
    return ApiProblem("broken", reference=reference).response()
