"""The CAS plugin inside Moodle, as seen from a browser and from the CAS server (ground truth §7, `cas-traces`).

What matters to a CAS server: the first question is always asked with `gateway=true`; the service address is the
request's own, without `ticket`; validation is one GET with the User-Agent of phpCAS; any HTTP status is read; only
local names count, and the first element called `user` wins; a validated name sticks to the browser session even when
Moodle then refuses it.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_plus

import requests
from lxml import etree

from moodle_ws.simulator.flavours import php_trim
from moodle_ws.simulator.options import SimulatorOptions
from moodle_ws.simulator.site import Session, Site

_TICKET = re.compile(r"[SP]T-")
_VALIDATE = {"1.0": "/validate", "2.0": "/serviceValidate", "3.0": "/p3/serviceValidate"}


# As phpCAS writes it; the protocol's own example leaves no choice but the ticket (CAS protocol, appendix on SAML 1.1).
_SAML_REQUEST = (
    '<SOAP-ENV:Envelope xmlns:SOAP-ENV="http://schemas.xmlsoap.org/soap/envelope/"><SOAP-ENV:Header/><SOAP-ENV:Body>'
    '<samlp:Request xmlns:samlp="urn:oasis:names:tc:SAML:1.0:protocol" MajorVersion="1" MinorVersion="1" '
    'RequestID="_192.168.16.51.1024506224022" IssueInstant="2002-06-19T17:03:44.022Z">'
    "<samlp:AssertionArtifact>{ticket}</samlp:AssertionArtifact></samlp:Request></SOAP-ENV:Body></SOAP-ENV:Envelope>"
)


class ValidationFailed(Exception):
    """The CAS server did not vouch for the ticket; the text is what phpCAS shows to the person."""


class BlankPage(Exception):
    """PHP died without a word: a ticket of a strange form, an empty user element."""


@dataclass(frozen=True)
class Redirect:
    """Where phpCAS sends the browser."""

    location: str


def service_url(site: Site, path: str, query: str) -> str:
    """The address phpCAS gives as `service`: the request's, less its ticket, every other parameter untouched."""
    kept = [pair for pair in query.split("&") if pair and not pair.startswith("ticket=")]
    return f"{site.wwwroot}{path}" + (f"?{'&'.join(kept)}" if kept else "")


def login_url(options: SimulatorOptions, service: str, *, gateway: bool) -> str:
    """The CAS server's login address for a service."""
    return f"{options.cas_url}/login?service={_urlencode(service)}" + ("&gateway=true" if gateway else "")


def logout_url(site: Site) -> str:
    """The CAS server's logout address; the way back is the site, without a slash at its end, unless configured."""
    target = site.options.logout_return_url or site.wwwroot
    return f"{site.options.cas_url}/logout?{site.options.cas_plugin.logout_parameter}={_urlencode(target)}"


def authenticate(site: Site, session: Session, *, service: str, ticket: str | None) -> Redirect | str:
    """One visit to the login page in CAS mode: the name phpCAS holds for this session, or where to send the browser.

    Raises ValidationFailed, BlankPage.
    """
    if isinstance(site.options.cas_verify, str) and not Path(site.options.cas_verify).exists():
        raise BlankPage  # `cert-check-on-missing-file`
    if ticket is not None:
        if not _TICKET.match(ticket):
            raise BlankPage
        session.cas_gateway_tried = False  # also when the ticket turns out bad (trace `cas-bogus-ticket-then-retry`)
        if session.cas_user is None:
            session.cas_user = _validate(site, service, ticket)
        return Redirect(service)
    if session.cas_user is not None:
        return session.cas_user
    if not session.cas_gateway_tried:
        session.cas_gateway_tried = True
        return Redirect(login_url(site.options, service, gateway=True))
    session.cas_gateway_tried = False
    return Redirect(login_url(site.options, service, gateway=False))


def _validate(site: Site, service: str, ticket: str) -> str:
    options = site.options
    method, address, body = _question(options, service, ticket)
    shown = f"CAS URL: {address} Authentication failure: "
    headers = {"User-Agent": f"phpCAS/{site.release.php_cas}", "Accept": "*/*"}
    if body is not None:
        headers |= {"Content-Type": "text/xml", "soapaction": "http://www.oasis-open.org/committees/security"}
    try:
        with requests.Session() as back_channel:
            back_channel.trust_env = False
            response = back_channel.request(
                method,
                address,
                data=body,
                headers=headers,
                timeout=options.cas_timeout,
                verify=options.cas_verify,
                allow_redirects=False,
            )
    except requests.RequestException:
        raise ValidationFailed(shown + "Ticket not validated Reason: no response from the CAS server") from None
    if options.cas_version == "1.0":
        return _plain_name(response.text, shown)
    if options.cas_version == "S1":
        return _saml_name(response.content, shown)
    return _name(response.content, shown)


def _question(options: SimulatorOptions, service: str, ticket: str) -> tuple[str, str, bytes | None]:
    """How phpCAS asks about a ticket: method, address, body."""
    if options.cas_version == "S1":
        body = _SAML_REQUEST.format(ticket=ticket).encode()
        return "POST", f"{options.cas_url}/samlValidate?TARGET={_urlencode(service)}", body
    path = _VALIDATE[options.cas_version]
    address = f"{options.cas_url}{path}?service={_urlencode(service)}&ticket={_urlencode(ticket)}"
    return "GET", address, None


def _plain_name(text: str, shown: str) -> str:
    lines = text.split("\n")
    if lines[0].strip() != "yes" or len(lines) < 2:
        raise ValidationFailed(shown + "ST not validated")
    return lines[1].strip()


def _saml_name(body: bytes, shown: str) -> str:
    bad = ValidationFailed(shown + "SA not validated Reason: bad response from the CAS server")
    try:
        root = etree.fromstring(body, etree.XMLParser(resolve_entities=False, no_network=True))
    except (etree.XMLSyntaxError, ValueError):
        raise bad from None
    names = list(root.iter("{*}NameIdentifier"))
    if not names or not (names[0].text or "").strip():
        raise bad
    return php_trim(names[0].text or "")


def _name(body: bytes, shown: str) -> str:
    if not body:
        raise ValidationFailed("DOMDocument::loadXML(): Argument #1 ($source) must not be empty")
    bad = ValidationFailed(shown + "Ticket not validated Reason: bad response from the CAS server")
    # An entity declared in the answer itself is expanded (trace `casxml-attr-dtd-entity`), an outside one never.
    parser = etree.XMLParser(resolve_entities="internal", no_network=True)  # type: ignore[arg-type]
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError):
        raise bad from None
    if parser.error_log.filter_from_errors() or _local(root) != "serviceResponse":
        raise bad
    elements = [element for element in root.iter() if isinstance(element.tag, str)]
    failures = [element for element in elements if _local(element) == "authenticationFailure"]
    if failures:
        code, reason = failures[0].get("code", ""), (failures[0].text or "").strip()
        raise ValidationFailed(f"{shown}Ticket not validated Reason: [{code}] CAS error: {reason}")
    successes = [element for element in elements if _local(element) == "authenticationSuccess"]
    if not successes or any(_local(element) == "proxies" for element in elements):
        raise bad
    names = [element for element in successes[0].iter() if isinstance(element.tag, str) and _local(element) == "user"]
    if not names:
        raise bad
    name = php_trim(names[0].text or "")
    if not name:
        raise BlankPage
    return name


def _local(element: "etree._Element") -> str:
    return etree.QName(element).localname


def _urlencode(text: str) -> str:
    # PHP's urlencode: blanks become +, and ~ is escaped too (trace `cas-ticket-replay-fresh-session`).
    return quote_plus(text, safe="").replace("~", "%7E")
