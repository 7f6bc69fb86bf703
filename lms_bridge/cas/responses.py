"""Protocol answers: what CAS clients read. Errors render themselves here, in every version of the protocol.

`cas:user` stands first inside a success, because Moodle's client takes the first element called `user` wherever it
stands (ground truth §7). Everything is built as a tree and serialised, so nothing is ever escaped by hand; the success
alone, which every sign-in of every application waits for, is written as text, every value through `_leaf`.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from xml.sax.saxutils import escape

from lxml import etree

CAS_NS = "http://www.yale.edu/tp/cas"
_CAS = f"{{{CAS_NS}}}"
XML = "application/xml; charset=utf-8"
_RETURN = {"\r": "&#13;"}  # else readers make a line feed of it
_SUCCESS = f'<cas:serviceResponse xmlns:cas="{CAS_NS}"><cas:authenticationSuccess>'
_SUCCESS_END = "</cas:authenticationSuccess></cas:serviceResponse>"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class FailureCode(StrEnum):
    """The codes of CAS 2.5.3 and 2.7.2 (CAS-17)."""

    INVALID_REQUEST = "INVALID_REQUEST"
    INVALID_TICKET_SPEC = "INVALID_TICKET_SPEC"
    UNAUTHORIZED_SERVICE_PROXY = "UNAUTHORIZED_SERVICE_PROXY"
    INVALID_PROXY_CALLBACK = "INVALID_PROXY_CALLBACK"
    INVALID_TICKET = "INVALID_TICKET"
    INVALID_SERVICE = "INVALID_SERVICE"
    UNAUTHORIZED_SERVICE = "UNAUTHORIZED_SERVICE"
    INTERNAL_ERROR = "INTERNAL_ERROR"


class ValidationFailure(Exception):
    """A validation that must fail. `text` is shown to people by Moodle at any debug level: it holds no secret."""

    def __init__(self, code: FailureCode, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class Success:
    """What a service learns about the person."""

    user: str
    authenticated_at: datetime
    from_new_login: bool
    attributes: Mapping[str, Any] = field(default_factory=dict)
    proxies: Sequence[str] = ()
    grant_iou: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, whatever carries it."""

    body: bytes
    content_type: str
    status: int = 200


def success_xml(success: Success, *, with_attributes: bool) -> Answer:
    """CAS 2.0 (without attributes) and 3.0 success, valid against the 3.0 schema (CAS-25)."""
    parts = [_SUCCESS, _leaf("user", success.user)]
    if with_attributes:
        parts += (
            "<cas:attributes>",
            _leaf("authenticationDate", _instant(success.authenticated_at)),
            _leaf("longTermAuthenticationRequestTokenUsed", "false"),
            _leaf("isFromNewLogin", "true" if success.from_new_login else "false"),
        )
        for name, value in success.attributes.items():
            parts += [_leaf(name, _text(one)) for one in (value if isinstance(value, list | tuple) else (value,))]
        parts.append("</cas:attributes>")
    if success.grant_iou is not None:
        parts.append(_leaf("proxyGrantingTicket", success.grant_iou))
    if success.proxies:
        parts += ("<cas:proxies>", *(_leaf("proxy", proxy) for proxy in success.proxies), "</cas:proxies>")
    parts.append(_SUCCESS_END)
    return Answer("".join(parts).encode(), XML)


def success_json(success: Success, *, with_attributes: bool) -> Answer:
    """The same as JSON (CAS 3.0, `format=JSON`)."""
    body: dict[str, Any] = {"user": success.user}
    if with_attributes:
        body["attributes"] = {
            "authenticationDate": _instant(success.authenticated_at),
            "longTermAuthenticationRequestTokenUsed": False,
            "isFromNewLogin": success.from_new_login,
            **success.attributes,
        }
    if success.grant_iou is not None:
        body["proxyGrantingTicket"] = success.grant_iou
    if success.proxies:
        body["proxies"] = list(success.proxies)
    return _json({"serviceResponse": {"authenticationSuccess": body}})


def failure_xml(failure: ValidationFailure) -> Answer:
    root = etree.Element(_CAS + "serviceResponse", nsmap={"cas": CAS_NS})
    _element(root, "authenticationFailure", failure.text).set("code", failure.code)
    return _xml(root)


def failure_json(failure: ValidationFailure) -> Answer:
    return _json({"serviceResponse": {"authenticationFailure": {"code": failure.code, "description": failure.text}}})


def plain_yes(user: str) -> Answer:
    """CAS 1.0: the specification shows `yes` alone; clients read the user on the second line (CAS-13)."""
    return Answer(f"yes\n{user}\n".encode(), "text/plain; charset=utf-8")


def plain_no() -> Answer:
    return Answer(b"no\n", "text/plain; charset=utf-8")


def proxy_success(ticket: str) -> Answer:
    root = etree.Element(_CAS + "serviceResponse", nsmap={"cas": CAS_NS})
    _element(etree.SubElement(root, _CAS + "proxySuccess"), "proxyTicket", ticket)
    return _xml(root)


def proxy_success_json(ticket: str) -> Answer:
    return _json({"serviceResponse": {"proxySuccess": {"proxyTicket": ticket}}})


def proxy_failure(failure: ValidationFailure) -> Answer:
    root = etree.Element(_CAS + "serviceResponse", nsmap={"cas": CAS_NS})
    _element(root, "proxyFailure", failure.text).set("code", failure.code)
    return _xml(root)


def proxy_failure_json(failure: ValidationFailure) -> Answer:
    return _json({"serviceResponse": {"proxyFailure": {"code": failure.code, "description": failure.text}}})


def logout_request(ticket: str, user: str, now: datetime) -> str:
    """The back-channel message of single logout (CAS-12).

    The `samlp:` prefix is literal and SessionIndex has no attributes: phpCAS reads the message with a pattern.
    """
    return (
        '<samlp:LogoutRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" '
        f'ID="LR-{secrets.token_hex(16)}" Version="2.0" IssueInstant="{_instant(now)}">'
        f'<saml:NameID xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">{escape(user)}</saml:NameID>'
        f"<samlp:SessionIndex>{escape(ticket)}</samlp:SessionIndex></samlp:LogoutRequest>"
    )


SOAP_NS = "http://schemas.xmlsoap.org/soap/envelope/"
SAML_NS = "urn:oasis:names:tc:SAML:1.0:assertion"
SAMLP_NS = "urn:oasis:names:tc:SAML:1.0:protocol"
SAML_LIFETIME = timedelta(seconds=60)


def saml_success(success: Success, *, service: str, issuer: str, request_id: str, now: datetime) -> Answer:
    """SAML 1.1 response of `/samlValidate` (CAS-28)."""
    body, response = _saml_response(service, request_id, now)
    _saml_status(response, "samlp:Success")
    assertion = etree.SubElement(
        response,
        f"{{{SAML_NS}}}Assertion",
        {
            "AssertionID": f"_{secrets.token_hex(16)}",
            "IssueInstant": _instant(now),
            "Issuer": issuer,
            "MajorVersion": "1",
            "MinorVersion": "1",
        },
        nsmap={"saml": SAML_NS},
    )
    conditions = etree.SubElement(
        assertion,
        f"{{{SAML_NS}}}Conditions",
        {"NotBefore": _instant(now), "NotOnOrAfter": _instant(now + SAML_LIFETIME)},
    )
    restriction = etree.SubElement(conditions, f"{{{SAML_NS}}}AudienceRestrictionCondition")
    etree.SubElement(restriction, f"{{{SAML_NS}}}Audience").text = _clean(service)
    statement = etree.SubElement(
        assertion,
        f"{{{SAML_NS}}}AuthenticationStatement",
        {
            "AuthenticationInstant": _instant(success.authenticated_at),
            "AuthenticationMethod": "urn:oasis:names:tc:SAML:1.0:am:unspecified",
        },
    )
    _saml_subject(statement, success.user)
    attributes = {"isFromNewLogin": "true" if success.from_new_login else "false", **success.attributes}
    block = etree.SubElement(assertion, f"{{{SAML_NS}}}AttributeStatement")
    _saml_subject(block, success.user)
    for name, value in attributes.items():
        attribute = etree.SubElement(
            block,
            f"{{{SAML_NS}}}Attribute",
            {"AttributeName": name, "AttributeNamespace": "http://www.ja-sig.org/products/cas/"},
        )
        for one in value if isinstance(value, list | tuple) else (value,):
            etree.SubElement(attribute, f"{{{SAML_NS}}}AttributeValue").text = _clean(_text(one))
    return _xml(body.getroottree().getroot())


def saml_failure(failure: ValidationFailure, *, service: str, request_id: str, now: datetime) -> Answer:
    """SAML 1.1 refusal."""
    body, response = _saml_response(service, request_id, now)
    value = "samlp:Responder" if failure.code is FailureCode.INTERNAL_ERROR else "samlp:RequestDenied"
    status = _saml_status(response, value)
    etree.SubElement(status, f"{{{SAMLP_NS}}}StatusMessage").text = _clean(f"{failure.code}: {failure.text}")
    return _xml(body.getroottree().getroot())


def _saml_response(service: str, request_id: str, now: datetime) -> tuple[etree._Element, etree._Element]:
    envelope = etree.Element(f"{{{SOAP_NS}}}Envelope", nsmap={"SOAP-ENV": SOAP_NS})
    etree.SubElement(envelope, f"{{{SOAP_NS}}}Header")
    body = etree.SubElement(envelope, f"{{{SOAP_NS}}}Body")
    values = {
        "IssueInstant": _instant(now),
        "MajorVersion": "1",
        "MinorVersion": "1",
        "Recipient": _clean(service),
        "ResponseID": f"_{secrets.token_hex(16)}",
    }
    if request_id:
        values["InResponseTo"] = _clean(request_id)
    return body, etree.SubElement(body, f"{{{SAMLP_NS}}}Response", values, nsmap={"samlp": SAMLP_NS})


def _saml_status(response: etree._Element, value: str) -> etree._Element:
    status = etree.SubElement(response, f"{{{SAMLP_NS}}}Status")
    etree.SubElement(status, f"{{{SAMLP_NS}}}StatusCode", {"Value": value})
    return status


def _saml_subject(parent: etree._Element, user: str) -> None:
    subject = etree.SubElement(parent, f"{{{SAML_NS}}}Subject")
    etree.SubElement(subject, f"{{{SAML_NS}}}NameIdentifier").text = _clean(user)
    confirmation = etree.SubElement(subject, f"{{{SAML_NS}}}SubjectConfirmation")
    etree.SubElement(confirmation, f"{{{SAML_NS}}}ConfirmationMethod").text = "urn:oasis:names:tc:SAML:1.0:cm:artifact"


def _leaf(name: str, text: str) -> str:
    """An element with text, as `_element` makes it. Names are ours or checked when the settings were read."""
    return f"<cas:{name}>{escape(_clean(text), _RETURN)}</cas:{name}>"


def _element(parent: etree._Element, name: str, text: str) -> etree._Element:
    element = etree.SubElement(parent, _CAS + name)
    element.text = _clean(text)
    return element


def _clean(text: str) -> str:
    # Characters that XML cannot carry, escaped or not, would make the whole answer unreadable.
    return _NOT_XML.sub("\ufffd", text)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def _xml(root: etree._Element) -> Answer:
    return Answer(etree.tostring(root, encoding="utf-8"), XML)


def _json(value: Any) -> Answer:
    return Answer(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"), "application/json; charset=utf-8")
