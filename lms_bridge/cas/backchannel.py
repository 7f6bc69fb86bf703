"""The back channel: the addresses that applications call, as a small WSGI application in front of the pages.

Machines call here: no cookie, no language, no form. Leaving Flask out of it halves the work of a validation, and a
validation is what every sign-in of every application waits for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import structlog
from lxml import etree

from lms_bridge.cas import responses
from lms_bridge.cas.responses import Answer, FailureCode, ValidationFailure
from lms_bridge.cas.validation import Parameters, Validator

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = structlog.get_logger(__name__)

MAX_QUERY = 16_384
MAX_BODY = 65_536
MAX_FIELDS = 30

_HEADERS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
)
_REASONS = {200: "200 OK", 400: "400 Bad Request", 405: "405 Method Not Allowed", 413: "413 Content Too Large"}

GET_PATHS = frozenset(
    f"/cas/{name}"
    for name in (
        "validate",
        "serviceValidate",
        "proxyValidate",
        "proxy",
        "p3/serviceValidate",
        "p3/proxyValidate",
    )
)
SAML_PATH = "/cas/samlValidate"


class MalformedQuery(ValueError):
    """The query cannot be read in one way only."""


def parse_query(text: str) -> list[tuple[str, str]]:
    """The parameters of a query string, in order, empty ones kept.

    Raises:
        MalformedQuery: too long, too many, or not UTF-8.
    """
    if len(text) > MAX_QUERY:
        raise MalformedQuery("too long")
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError as error:  # UnicodeDecodeError is one too
        raise MalformedQuery(str(error)) from None


class BackChannel:
    """Answers the validation addresses, hands everything else to `pages`."""

    def __init__(self, validator: Validator, pages: WSGIApplication) -> None:
        self._validator = validator
        self._pages = pages

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path in GET_PATHS:
            return self._answer(environ, start_response, path, saml=False)
        if path == SAML_PATH:
            return self._answer(environ, start_response, path, saml=True)
        return self._pages(environ, start_response)

    def _answer(
        self, environ: WSGIEnvironment, start_response: StartResponse, path: str, *, saml: bool
    ) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        allowed = ("POST",) if saml else ("GET",)
        if method not in allowed:
            # HEAD included: a validation spends the ticket, so it must not hang on a method that promises nothing.
            text = f"{path} takes {allowed[0]}\n".encode()
            answer = Answer(text, "text/plain; charset=utf-8", 405)
            headers = [("Allow", allowed[0])]
        else:
            answer, headers = self._saml(environ) if saml else self._get(environ, path), []
        if method == "HEAD":
            answer = Answer(b"", answer.content_type, answer.status)
        headers += [("Content-Type", answer.content_type), ("Content-Length", str(len(answer.body))), *_HEADERS]
        start_response(_REASONS[answer.status], headers)
        return [answer.body]

    def _get(self, environ: WSGIEnvironment, path: str) -> Answer:
        try:
            parameters: Parameters = parse_query(environ.get("QUERY_STRING", ""))
        except MalformedQuery:
            failure = ValidationFailure(FailureCode.INVALID_REQUEST, "the query cannot be read")
            if path == "/cas/validate":
                return responses.plain_no()
            return responses.proxy_failure(failure) if path == "/cas/proxy" else responses.failure_xml(failure)
        if path == "/cas/validate":
            return self._validator.validate(parameters)
        if path == "/cas/proxy":
            return self._validator.proxy(parameters)
        return self._validator.service_validate(
            parameters, version=3 if "/p3/" in path else 2, proxies=path.endswith("/proxyValidate")
        )

    def _saml(self, environ: WSGIEnvironment) -> Answer:
        parameters: Parameters
        try:
            parameters = parse_query(environ.get("QUERY_STRING", ""))
            length = int(environ.get("CONTENT_LENGTH") or 0)
        except ValueError:
            parameters, length = [], 0
        if length > MAX_BODY:
            return Answer(b"too long\n", "text/plain; charset=utf-8", 413)
        ticket, request_id = read_saml_request(environ["wsgi.input"].read(length)) if length > 0 else ("", "")
        return self._validator.saml_validate(parameters, ticket, request_id)


def read_saml_request(body: bytes) -> tuple[str, str]:
    """The ticket (AssertionArtifact) and the RequestID of a SAML 1.1 request; empty texts when it has none.

    Entities, external documents and DTDs are not read.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError):
        return "", ""
    if root.getroottree().docinfo.internalDTD is not None:
        return "", ""
    namespaces = {"samlp": responses.SAMLP_NS}
    requests = root.findall(".//samlp:Request", namespaces)
    artifacts = root.findall(".//samlp:AssertionArtifact", namespaces)
    ticket = (artifacts[0].text or "").strip() if len(artifacts) == 1 else ""
    request_id = requests[0].get("RequestID", "") if len(requests) == 1 else ""
    return ticket, request_id[:200]
