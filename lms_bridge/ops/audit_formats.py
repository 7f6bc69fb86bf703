"""Audit events as lines for other systems: CEF (ArcSight's Common Event Format) and syslog (RFC 5424)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC
from importlib.metadata import version
from ipaddress import ip_address

from external_accounts.audit_chain import Link

SELF = "self"
"""Who acted, where it was the account's owner."""
_AUDIT_FACILITY, _NOTICE, _INFORMATIONAL = 13, 5, 6
_CEF_HEAD, _CEF_VALUE, _PARAMETER = "\\|", "\\=", '\\"]'
"""What each grammar wants a backslash before."""
_STRUCTURED = "audit@32473"
"""Name of the structured data: 32473 is the number RFC 5612 gives to whoever has none of their own."""


def cef(link: Link, host: str) -> str:
    """One line of CEF."""
    ok = link.outcome == "ok"
    head = ("LMS Bridge", "lms-bridge", version("lms-bridge"), link.event, link.event, "3" if ok else "5")
    fields = {
        "rt": str(int(link.at.timestamp() * 1000)),
        "dvchost": host,
        "externalId": str(link.id),
        "outcome": link.outcome,
        "suser": link.actor or SELF,
        **({"duid": str(link.account_id)} if link.account_id is not None else {}),
        **_source(link.network),
        "cn1Label": "position",
        "cn1": str(link.position),
        "cs1Label": "hash",
        "cs1": link.hash,
        "cs2Label": "details",
        "cs2": json.dumps(link.details, ensure_ascii=False),
    }
    extension = " ".join(f"{name}={_escaped(value, _CEF_VALUE)}" for name, value in fields.items())
    return "|".join(["CEF:0", *(_escaped(part, _CEF_HEAD) for part in head), extension])


def _source(network: str) -> Mapping[str, str]:
    if not network:
        return {}
    try:
        six = ip_address(network).version == 6
    except ValueError:
        return {"shost": network}
    return {"c6a2Label": "Source IPv6 Address", "c6a2": network} if six else {"src": network}


def syslog(link: Link, host: str) -> str:
    """One line of RFC 5424, without the framing of a transport."""
    severity = _INFORMATIONAL if link.outcome == "ok" else _NOTICE
    at = link.at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    fields = {
        "id": str(link.id),
        "position": str(link.position),
        "hash": link.hash,
        "event": link.event,
        "outcome": link.outcome,
        "actor": link.actor or SELF,
        "account": "" if link.account_id is None else str(link.account_id),
        "network": link.network,
        "details": json.dumps(link.details),
    }
    data = " ".join(f'{name}="{_escaped(value, _PARAMETER)}"' for name, value in fields.items())
    name = "".join(letter for letter in link.event if "!" <= letter <= "~")[:32] or "-"
    return f"<{_AUDIT_FACILITY * 8 + severity}>1 {at} {host} lms-bridge - {name} [{_STRUCTURED} {data}]"


def _escaped(text: str, special: str) -> str:
    """One line, with a backslash before what would end the value."""
    flat = "".join(letter if letter.isprintable() else " " for letter in text)
    return "".join(f"\\{letter}" if letter in special else letter for letter in flat)


LINES: Mapping[str, Callable[[Link, str], str]] = {"cef": cef, "syslog": syslog}
