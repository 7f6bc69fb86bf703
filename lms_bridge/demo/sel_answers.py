"""What the simulated university CAS says to applications: validation answers and logout messages (XML)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from xml.sax.saxutils import escape

from lms_bridge.demo.sel_directory import SelUser
from lms_bridge.demo.sel_sessions import ServiceTicket, random_name

# XML 1.0, 2.2: these characters cannot stand in a document, not even as references.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _text(value: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", value), {"\r": "&#13;"})


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _document(body: str) -> str:
    return f'<cas:serviceResponse xmlns:cas="http://www.yale.edu/tp/cas">\n{body}</cas:serviceResponse>\n'


def success(user: SelUser, ticket: ServiceTicket | None = None) -> str:
    """A success answer; with the `ticket`, the attributes of CAS 3.0 (CAS 3.0.3, 2.5.7 and Appendix A)."""
    attributes = "" if ticket is None else _attributes(user.attributes, ticket)
    return _document(
        " <cas:authenticationSuccess>\n"
        f"  <cas:user>{_text(user.username)}</cas:user>\n{attributes}"
        " </cas:authenticationSuccess>\n"
    )


def _attributes(released: Mapping[str, str | list[str]], ticket: ServiceTicket) -> str:
    rows: list[tuple[str, str]] = [
        ("authenticationDate", _instant(ticket.authenticated_at)),
        ("longTermAuthenticationRequestTokenUsed", "false"),
        ("isFromNewLogin", "true" if ticket.primary else "false"),
    ]
    for name, given in released.items():
        values: Iterable[str] = [given] if isinstance(given, str) else given
        rows.extend((name, value) for value in values)
    inside = "".join(f"   <cas:{name}>{_text(value)}</cas:{name}>\n" for name, value in rows)
    return f"  <cas:attributes>\n{inside}  </cas:attributes>\n"


def failure(code: str, sentence: str) -> str:
    """A failure answer with one of the codes of CAS 3.0.3, 2.5.3."""
    return _document(f' <cas:authenticationFailure code="{code}">{_text(sentence)}</cas:authenticationFailure>\n')


def logout_request(username: str, ticket: str, now: datetime) -> str:
    """The message of CAS 3.0.3, Appendix C. phpCAS looks for the literal prefix `samlp:`."""
    return (
        '<samlp:LogoutRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol"'
        ' xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"'
        f' ID="{random_name("LR-")}" Version="2.0" IssueInstant="{_instant(now)}">'
        f"<saml:NameID>{_text(username)}</saml:NameID>"
        f"<samlp:SessionIndex>{ticket}</samlp:SessionIndex>"
        "</samlp:LogoutRequest>"
    )
