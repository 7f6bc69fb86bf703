"""`[[directories]]`: where the passwords of a CAS door live."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from external_accounts.directory.ldap_options import ChoicePlace, LdapOptions
from lms_bridge.settings.sections import File, Name, Section
from lms_bridge.settings.web_addresses import LOOPBACK_HOSTS


def _ldap_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("ldap", "ldaps") and parts.hostname and parts.port != 0
    except ValueError:
        usable = None
    if not usable or parts.path.strip("/") or parts.query or "@" in parts.netloc:
        shown = re.sub(r"//[^/]*@", "//…@", url)  # a password may stand there
        raise ValueError(f"`{shown}` is no LDAP address; write it like `ldaps://ldap.univ.example`")
    return url.rstrip("/")


def _filter(text: str) -> str:
    if not (text.startswith("(") and text.endswith(")") and text.count("(") == text.count(")")):
        raise ValueError(f"`{text}` is no LDAP filter; write it in brackets, like `(objectClass=inetOrgPerson)`")
    return text


LdapUrl = Annotated[str, AfterValidator(_ldap_url)]
Attribute = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,127}$")]
Attributes = tuple[Attribute, ...]


class Choice(Section):
    """Where a person’s choice is written in their entry."""

    attribute: Attribute = Field(description="The LDAP attribute.")
    values: dict[str, str] = Field(
        default_factory=dict,
        description='What is written for a value of the bridge’s, e.g. `{ yes = "FALSE", no = "TRUE" }`. Others are '
        "written as they are; an empty one removes the attribute.",
    )


class Directory(Section):
    """Where the passwords of a CAS door live. With `kind = "embedded"` only the name is needed."""

    name: Name = Field(description="Internal name. Never change it.")
    kind: Literal["embedded", "ldap"] = Field(
        description="`embedded`: in the bridge’s own database. `ldap`: the university’s, over LDAP (extra `ldap`)."
    )
    urls: tuple[LdapUrl, ...] = Field(
        (),
        max_length=5,
        description="LDAP: `ldaps://host` or `ldap://host`, with `:port` if it is another one. Several hold the same "
        "directory and take changes: the first that answers is used.",
    )
    start_tls: bool = Field(False, description="LDAP: secure `ldap://` by StartTLS. Required but on loopback.")
    ca_file: File | None = Field(
        None, description="LDAP: CA bundle to verify the server with, if not the system’s. It is always verified."
    )
    timeout_seconds: int = Field(
        5, ge=1, le=10, description="LDAP: how long one server is waited for, at each step of a connection."
    )
    bind_dn: str = Field("", description="LDAP: the service account of the bridge.")
    bind_password: SecretStr = Field(SecretStr(""), description="LDAP: its password.")
    base: str = Field("", description="LDAP: where people are looked for, e.g. `ou=people,dc=univ,dc=example`.")
    user_attribute: Attribute = Field("uid", description="LDAP: the attribute that holds the user name.")
    user_filter: Annotated[str, AfterValidator(_filter)] = Field(
        "(objectClass=inetOrgPerson)", description="LDAP: what else is true of a person’s entry."
    )
    create: bool = Field(
        False,
        description="LDAP: make an entry for an account that has none. Without it, entries are only updated.",
    )
    create_under: str = Field("", description="LDAP: where entries are made, if not at `base`.")
    object_classes: Attributes = Field(
        ("inetOrgPerson",), min_length=1, description="LDAP: object classes of a new entry, e.g. with `supannPerson`."
    )
    given_name: Attributes = Field(("givenName",), description="LDAP: attributes the given name is written to.")
    family_name: Attributes = Field(("sn",), description="LDAP: those of the family name.")
    full_name: Attributes = Field(("cn", "displayName"), description="LDAP: those of both together.")
    email: Attributes = Field(
        ("mail",), description="LDAP: those of the institutional address. A private one is never written."
    )
    fixed: dict[Attribute, tuple[str, ...]] = Field(
        default_factory=dict,
        description='LDAP: attributes that every new entry gets, e.g. `{ supannEtablissement = ["{UAI}0860856N"] }`.',
    )
    choices: dict[Name, Choice] = Field(
        default_factory=dict,
        description="LDAP: where people’s choices are written: `listed`, `forward_to`, `keep_copy`, `antispam`. One "
        "that is not named here is not written.",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind == "embedded":
            return self
        for name in ("urls", "bind_dn", "base"):
            if not getattr(self, name):
                raise ValueError(f"{name}: an LDAP directory needs it")
        if not self.bind_password.get_secret_value():
            raise ValueError("bind_password: an LDAP directory needs it")
        for url in self.urls:
            parts = urlsplit(url)
            if parts.scheme == "ldap" and not self.start_tls and parts.hostname not in LOOPBACK_HOSTS:
                raise ValueError(f"urls: `{url}` would carry passwords in the clear; use ldaps://, or start_tls = true")
        if find_spec("ldap3") is None:
            raise ValueError("kind: LDAP needs ldap3: `pip install 'lms-bridge[ldap]'`")
        return self

    @property
    def ldap(self) -> LdapOptions:
        """The options of an LDAP directory."""
        return LdapOptions(
            urls=self.urls,
            bind_dn=self.bind_dn,
            bind_password=self.bind_password.get_secret_value(),
            base=self.base,
            start_tls=self.start_tls,
            ca_file=self.ca_file,
            timeout_seconds=self.timeout_seconds,
            user_attribute=self.user_attribute,
            user_filter=self.user_filter,
            create=self.create,
            create_under=self.create_under,
            object_classes=self.object_classes,
            given_name=self.given_name,
            family_name=self.family_name,
            full_name=self.full_name,
            email=self.email,
            fixed=self.fixed,
            choices={name: ChoicePlace(place.attribute, place.values) for name, place in self.choices.items()},
        )
