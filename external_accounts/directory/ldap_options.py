"""How an LDAP directory is reached, and what its entries look like. Needs no LDAP library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ChoicePlace:
    """Where a person's choice stands in their entry."""

    attribute: str
    values: Mapping[str, str] = field(default_factory=dict)
    """What the directory writes for a value of ours; others stand as they are."""


@dataclass(frozen=True, slots=True)
class LdapOptions:
    """How a directory is reached, and what its entries look like."""

    urls: tuple[str, ...]
    bind_dn: str
    bind_password: str = field(repr=False)
    base: str
    start_tls: bool = False
    ca_file: Path | None = None
    timeout_seconds: int = 5
    user_attribute: str = "uid"
    user_filter: str = "(objectClass=*)"
    create: bool = False
    create_under: str = ""
    """Where entries are made; empty: `base`."""
    object_classes: tuple[str, ...] = ("inetOrgPerson",)
    given_name: tuple[str, ...] = ("givenName",)
    family_name: tuple[str, ...] = ("sn",)
    full_name: tuple[str, ...] = ("cn", "displayName")
    email: tuple[str, ...] = ("mail",)
    fixed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Attributes that every new entry gets."""
    choices: Mapping[str, ChoicePlace] = field(default_factory=dict)
