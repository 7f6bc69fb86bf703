"""Whom the settings give a role at the help desk. For pages and for background work, which knows no web framework."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from external_accounts.schema import Account
from lms_bridge.settings import Settings


def works_here(account: Account, settings: Settings) -> bool:
    """Whether settings give the account a role at the help desk, by its user name or by what a CAS said of it last."""
    return any(
        account.username in entry.usernames
        or any(said(entry.rule, identity.issuer, identity.attributes) for identity in account.identities)
        for entry in settings.help_desk.members
    )


def said(rule: tuple[str, str, str] | None, issuer: str, attributes: Mapping[str, Any]) -> bool:
    """Whether this issuer, and no other, said so."""
    if rule is None or rule[0] != issuer:
        return False
    value = attributes.get(rule[1])
    return rule[2] in (value if isinstance(value, list) else [value])
