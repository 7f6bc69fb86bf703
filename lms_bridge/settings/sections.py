"""The sections of the settings: one small model each. Field descriptions are the reference page's text."""

from __future__ import annotations

import re
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_serializer,
    field_validator,
)
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from external_accounts.addresses import InvalidAddress, parse_address
from external_accounts.password_policy import DEFAULT_MINIMUM, NIST_MINIMUM
from external_accounts.reminders import Periods
from lms_bridge.settings.web_addresses import check_https, check_link

BROKERS = {"amqp": ("celery",), "redis": ("celery", "redis")}
"""Scheme of a broker's address → what must be installed to talk to it."""
RELEASABLE_NEVER = frozenset(
    {
        *("user", "proxies", "proxy", "proxyGrantingTicket", "authenticationFailure", "authenticationSuccess"),
        *("attributes", "authenticationDate", "longTermAuthenticationRequestTokenUsed", "isFromNewLogin"),
    }
)
"""Names of the protocol's own. Moodle's CAS client takes the first element of such a name wherever it stands (ground
truth §7), and an application would read a university's attribute for what CAS itself says."""


def _mailbox(value: str) -> str:
    try:
        parse_address(value)
    except InvalidAddress:
        raise ValueError(f"{value!r} is no e-mail address; write it like `name@univ.example`") from None
    return value


def _network(value: object) -> object:
    try:
        return ip_network(str(value))
    except ValueError:
        raise ValueError(f"`{value}` is no network; write it like `10.4.0.0/16` or `2001:db8::/32`") from None


def _file(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"there is no file `{path}`")
    return path


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise ValueError(f"there is no folder `{path}`")
    return path


def _mail_domain(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", value):
        raise ValueError(f"`{value}` is no mail domain; write it in lower case, like `univ.example`")
    return value


Label = Annotated[dict[Literal["fr", "en"], str], Field(min_length=1)]
HttpsUrl = Annotated[str, AfterValidator(check_https)]
Link = Annotated[str, AfterValidator(lambda value: check_link(value) if value else value)]
Mailbox = Annotated[str, AfterValidator(_mailbox)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
Folder = Annotated[Path, AfterValidator(_folder)]
File = Annotated[Path, AfterValidator(_file)]
MailDomain = Annotated[str, AfterValidator(_mail_domain)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]


def text_in(label: Label, locale: str) -> str:
    """A label in the reader's language, or in whichever it was written in."""
    return label.get("en" if locale == "en" else "fr") or next(iter(label.values()), "")


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Institution(Section):
    """Who runs the service: shown on every page and in every mail, so that people recognise their university."""

    name: str = Field("Université", description="Full name.")
    short_name: str = Field("Université", description="Short name, for mail subjects and small screens.")
    accent: str = Field("#1d5fa8", pattern=r"^#[0-9a-fA-F]{6}$", description="Accent colour, as `#rrggbb`.")
    logo: File | None = Field(None, description="Path of a logo file (SVG or PNG). Without it the name is shown.")
    help_email: Mailbox = Field(description="The help desk's address; replies to our mails go there.")
    help_phone: str = Field("", description="The help desk's telephone number.")
    help_url: Link = Field("", description="A page of the university that helps with signing in.")


class BounceMailbox(Section):
    """The mailbox that mails we could not deliver come back to, read over IMAP with TLS."""

    host: str = Field(description="IMAP server.")
    port: int = Field(993, ge=1, le=65535, description="IMAP port.")
    security: Literal["tls", "starttls"] = Field("tls", description="`tls`, or `starttls` on port 143.")
    username: str = Field(description="User name of the mailbox.")
    password: SecretStr = Field(description="Its password.")
    folder: str = Field("INBOX", pattern=r"^[\x20-\x7e]+$", description="Folder to read; unread messages only.")
    ca_file: File | None = Field(None, description="CA bundle to verify the server with, if not the system's.")
    timeout: float = Field(20, gt=0, description="Seconds before an unresponsive server is given up.")


class Mail(Section):
    """How mail leaves, and how we learn of mail that came back."""

    host: str = Field(description="SMTP server.")
    port: int = Field(25, ge=1, le=65535, description="SMTP port.")
    security: Literal["none", "starttls", "tls"] = Field(
        "starttls", description="`starttls` (default), `tls`, or `none` (only sensible on the same machine)."
    )
    username: str = Field("", description="SMTP user name, if the server wants one.")
    password: SecretStr = Field(SecretStr(""), description="SMTP password.")
    sender: Mailbox = Field(description="Sender address of all mails, e.g. `ne-pas-repondre@univ.example`.")
    ca_file: File | None = Field(None, description="CA bundle to verify the server with, if not the system's.")
    timeout: float = Field(20, gt=0, description="Seconds before an unresponsive mail server is given up.")
    bounce_address: Mailbox | None = Field(
        None,
        description="Where undeliverable mails come back to, e.g. `retours@univ.example`: must accept `+` and a tag "
        "(`retours+…@`), which names the mail. Without it they come back to `sender`, and what they return names it.",
    )
    bounce_folder: Folder | None = Field(
        None, description="A Maildir or folder into which the mail server writes what comes back, a file a message."
    )
    bounce_imap: BounceMailbox | None = Field(None, description="See `[mail.bounce_imap]`.")
    bounces_no_such_mailbox: int = Field(
        1, ge=1, le=10, description="After how many answers “there is no such mailbox” an address is confirmed no more."
    )
    bounces_unreachable: int = Field(
        3, ge=1, le=20, description="The same for other final refusals of a mailbox (disabled, unknown reason)."
    )

    @field_validator("bounce_address")
    @classmethod
    def _has_room_for_a_tag(cls, value: str | None) -> str | None:
        if value and len(value.rpartition("@")[0]) > 35:  # RFC 5321: 64, less the tag
            raise ValueError("the part before the @ leaves no room for a tag; at most 35 characters")
        return value


class Sessions(Section):
    """How long a sign-in lasts."""

    idle_minutes: int = Field(60, ge=5, description="A session unused for this long ends.")
    absolute_hours: int = Field(10, ge=1, le=24 * 7, description="A session ends after this long whatever happens.")


class Reminders(Section):
    """What people are reminded of: on the home page, and by one mail a year. Nothing is forced."""

    check_months: int = Field(
        12,
        ge=0,
        le=120,
        description="After so many months people are asked whether their addresses are right. 0: never.",
    )
    password_months: int = Field(
        0, ge=0, le=120, description="After so many months people are reminded to renew their password. 0: never."
    )

    @property
    def periods(self) -> Periods:
        return Periods(self.check_months, self.password_months)


class Audit(Section):
    """The audit trail. See `docs/explanation/audit.md`."""

    pseudonymise_months: int = Field(
        12,
        ge=0,
        le=120,
        description="After so many months an event says no more who it was about, who did it and from where. 0: never.",
    )


class Throttle(Section):
    """Protection against guessing. See `docs/explanation/throttling.md`."""

    campus_prefixes: tuple[Network, ...] = Field(
        (), description="Networks of the campus (class rooms, eduroam): they get a lecture hall's budget."
    )
    trusted_proxies: int = Field(
        0, ge=0, le=5, description="How many reverse proxies stand in front; only their `X-Forwarded-*` is believed."
    )


class Jobs(Section):
    """Background work. See `docs/explanation/background-work.md`."""

    broker_url: str = Field(
        "",
        description="Only when several machines share the work: `amqp://user:password@host/vhost` (RabbitMQ) or "
        "`redis://:password@host:6379/0`. Then `lms-bridge worker` must run somewhere. Empty: no broker is needed.",
    )

    @field_validator("broker_url")
    @classmethod
    def _known_broker(cls, value: str) -> str:
        if not value:
            return value
        try:
            url = make_url(value)
        except (ArgumentError, ValueError):
            url = None
        if url is None or url.drivername not in BROKERS or not url.host:
            raise ValueError(
                "write `amqp://user:password@host/vhost` or `redis://:password@host:6379/0`, or leave it out"
            )
        missing = [package for package in BROKERS[url.drivername] if find_spec(package) is None]
        if missing:
            raise ValueError(f"a broker needs {' and '.join(missing)}: `pip install 'lms-bridge[celery]'`")
        return value

    @field_serializer("broker_url")
    def _without_password(self, value: str) -> str:
        return make_url(value).render_as_string(hide_password=True) if value else ""


class Charter(Section):
    """The terms people must have accepted where a service asks for it."""

    version: str = Field(
        min_length=1, max_length=40, description="Version in force, e.g. `2026-09`. A new version is asked for again."
    )
    title: Label = Field({"fr": "Charte informatique", "en": "IT charter"}, description="Title by language.")
    url: Link = Field(min_length=1, description="Where the text can be read.")


class Upstream(Section):
    """A university CAS that people sign in through: a door on the sign-in page."""

    issuer: Name = Field(description="Short name; part of the door's address `/signin/<issuer>`. Never change it.")
    cas_url: HttpsUrl = Field(description="Base URL of the CAS server, e.g. `https://cas.univ.example/cas`.")
    version: Literal["2", "3"] = Field("3", description="CAS protocol version to validate with.")
    title: Label = Field(
        {"fr": "Enseignant·es, étudiant·es", "en": "Teachers and students"}, description="The door's title by language."
    )
    text: Label = Field(
        {"fr": "J’ai un compte de l’université.", "en": "I have a university account."},
        description="The line below the title: for whom the door is.",
    )
    attributes: dict[Literal["given_name", "family_name", "email"], str] = Field(
        {"given_name": "givenName", "family_name": "sn", "email": "mail"},
        description="Which CAS attribute holds what. Attributes not named here or in `keep` are dropped.",
    )
    keep: tuple[str, ...] = Field((), description="Further CAS attributes to keep, for release to services.")
    profile: Name = Field("staff", description="Profile of people who come in here, if no rule below fits.")
    profile_rules: tuple[ProfileRule, ...] = Field((), description="Profile by attribute value; the first match wins.")
    trusted_domains: tuple[MailDomain, ...] = Field(
        (), description="Mail domains this CAS may vouch for: such an address counts as confirmed."
    )
    connect_timeout: float = Field(3, gt=0, description="Seconds to reach the CAS server.")
    read_timeout: float = Field(5, gt=0, description="Seconds to wait for its answer.")
    ca_file: File | None = Field(None, description="CA bundle to verify it with, if not the system's.")
    logout: bool = Field(True, description="Offer to end the CAS session too when somebody signs out.")
    recovery_url: Link = Field(
        "", description="Where its people recover a forgotten password: told in the mail to those who ask here."
    )

    @field_validator("issuer")
    @classmethod
    def _not_local(cls, value: str) -> str:
        if value == "local":
            raise ValueError("`local` names the accounts kept here; choose another name")
        return value


class ProfileRule(Section):
    """`attribute = value` gives `profile`."""

    attribute: str = Field(description="CAS attribute.")
    value: str = Field(description="Its value (any of them, when it has several).")
    profile: Name = Field(description="The profile to give.")


class Local(Section):
    """The Extérieurs door."""

    enabled: bool = Field(True, description="Whether accounts kept here exist at all.")
    title: Label = Field({"fr": "Extérieurs", "en": "External users"}, description="The door's title by language.")
    text: Label = Field(
        {
            "fr": "J’ai reçu un compte de la part d’un enseignant ou d’un service.",
            "en": "A teacher or a department gave me an account.",
        },
        description="The line below the title: for whom the door is.",
    )
    username_pattern: str = Field(
        r"ext\.[a-z0-9._-]{1,90}",
        description="Regular expression of local user names: a space from which the CAS can never issue a name.",
    )

    @field_validator("username_pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return value


class Passwords(Section):
    """What a new password of the Extérieurs door must be like. See `docs/explanation/passwords.md`."""

    profile: Literal["standard", "nist"] = Field(
        "standard", description="`standard`: at least 12 characters. `nist`: 15, as NIST SP 800-63B-4 asks."
    )
    minimum: int | None = Field(None, ge=8, le=64, description="Fewest characters, instead of the profile's.")
    words: tuple[str, ...] = Field(
        (),
        description="Words of the place that no password may contain: city, campus, acronyms. The institution's names "
        "and the labels of the services are known anyway.",
    )
    leaked_file: File | None = Field(
        None,
        description="A file of further passwords to refuse: one a line, or the list of Have I Been Pwned sorted by "
        "SHA-1. The short list that is shipped is always used.",
    )

    @property
    def fewest(self) -> int:
        return self.minimum or (NIST_MINIMUM if self.profile == "nist" else DEFAULT_MINIMUM)


class Recovery(Section):
    """Forgotten user names and passwords. See `docs/explanation/recovery.md`."""

    tell_unknown: bool = Field(
        False,
        description="Whether an address that belongs to no account gets a mail saying so. The page never says it.",
    )


class Service(Section):
    """An application allowed to use the bridge's CAS server."""

    name: Name = Field(description="Internal name.")
    label: Label = Field(description="What people read: “Se connecter à {label}”.")
    url: HttpsUrl = Field(description="Address the application asks tickets for.")
    match: Literal["exact", "prefix"] = Field(
        "prefix",
        description="`exact`: this address and no other. `prefix`: also longer paths and queries below it "
        "(compared as parsed URLs, whole path segments).",
    )
    logout_urls: tuple[HttpsUrl, ...] = Field(
        (), description="Addresses (prefixes) people may be sent to after signing out."
    )
    home_url: Link = Field("", description="Where the button “Entrer” leads. Empty: `url`.")
    anonymous_url: Link = Field("", description="Where anonymous visitors enter. Empty: no such door.")
    attributes: dict[str, str] = Field(
        {}, description="What is released: our attribute name → the name the application expects."
    )
    gated: bool = Field(True, description="Whether the gate (confirmed address …) stands before this application.")
    charter: bool = Field(False, description="Whether the charter must have been accepted.")
    profiles: tuple[Name, ...] = Field((), description="Profiles that may enter. Empty: all.")
    site: Name | None = Field(None, description="The Moodle site behind it, if it is one.")
    proxy: bool = Field(False, description="Whether it may ask for proxy-granting tickets.")
    proxy_callbacks: tuple[HttpsUrl, ...] = Field((), description="Addresses (prefixes) allowed as `pgtUrl`.")
    single_logout: bool = Field(True, description="Whether it is told (back channel) when a session ends.")
    logout_parameter: Literal["service", "url"] = Field(
        "service", description="Name of its return address when it sends people to sign out."
    )

    @field_validator("attributes")
    @classmethod
    def _no_dangerous_names(cls, value: dict[str, str]) -> dict[str, str]:
        if len(set(value.values())) != len(value):
            raise ValueError("two attributes would be released by the same name")
        for name in value.values():
            if name in RELEASABLE_NEVER:
                raise ValueError(f"`{name}` cannot be released: applications would take it for CAS's own word")
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", name):
                raise ValueError(f"`{name}` cannot be an XML element name")
        return value
